//! Results, in the forms of other systems.
