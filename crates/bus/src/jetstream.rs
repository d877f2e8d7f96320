//! Streams and buckets that are what was asked for, and publishes that must be kept.

mod ensure;
mod kept;

pub use ensure::{Bucket, EnsureError};
pub use kept::{Kept, KeptError};
