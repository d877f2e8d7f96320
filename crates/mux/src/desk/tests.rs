//! Clients against answers that are written here.
