//! What comes of performing a measurement: a [`Measured`] result, or a [`Failure`] with its reason.

use std::borrow::Cow;
use std::fmt;

use mmn_schema::outcome::{Number, Outcome, Reason, Summary};

/// The measurement was performed as asked, whatever the network answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured<B> {
    /// Whether the network answered at all; absent where the kind has no such notion.
    pub answered: Option<bool>,
    /// Its numbers. What was not measured is absent.
    pub summary: Summary,
    /// The result.
    pub body: B,
}

/// The measurement could not be performed, or may not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// [`Outcome::Failed`], [`Outcome::Refused`] or [`Outcome::Cancelled`].
    pub outcome: Outcome,
    /// Why.
    pub reason: Reason,
}

impl Failure {
    /// It could not be performed.
    pub fn failed(code: &'static str, detail: impl fmt::Display) -> Self {
        Self { outcome: Outcome::Failed, reason: Reason::with(code, detail) }
    }

    /// It may not be performed.
    pub fn refused(code: &'static str, detail: impl fmt::Display) -> Self {
        Self { outcome: Outcome::Refused, reason: Reason::with(code, detail) }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.outcome, self.reason)
    }
}

impl std::error::Error for Failure {}

/// A summary of those numbers that were measured.
///
/// ```
/// use mmn_kit::{Number, summary};
/// let numbers = summary([("sent", Some(Number::Integer(3))), ("rtt_min_ns", None)]);
/// assert_eq!(numbers.len(), 1);
/// ```
pub fn summary<const N: usize>(numbers: [(&'static str, Option<Number>); N]) -> Summary {
    numbers.into_iter().filter_map(|(name, number)| Some((Cow::Borrowed(name), number?))).collect()
}
