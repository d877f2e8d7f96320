//! Results of every kind, in every form.
#![recursion_limit = "256"]
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that fails may panic")]

mod drawn;
mod forms;
mod sagan;
mod said;
