//! How a task ends, and why.

mod summary;

use std::borrow::Cow;
use std::fmt;

use schemars::JsonSchema;
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

pub use self::summary::Summary;

/// How a task ended. Every accepted task ends in exactly one of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Performed as asked, whatever the network answered.
    Ok,
    /// Could not be performed: resolution of the target, no route, no privilege, wrong address family.
    Failed,
    /// Declined by policy, limits or parameters.
    Refused,
    /// Nothing came back by the deadline.
    Lost,
    /// Called off.
    Cancelled,
}

impl Outcome {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 5] = [Self::Ok, Self::Failed, Self::Refused, Self::Lost, Self::Cancelled];

    /// The word that stands for it everywhere.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::Refused => "refused",
            Self::Lost => "lost",
            Self::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Why a task did not end as *ok*: a stable code to act on, and what a person wants to know besides.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Reason {
    /// A stable code in lower case with dashes, see [`code`]. Kinds may have codes of their own.
    pub code: Cow<'static, str>,
    /// What happened in this case, for a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl Reason {
    /// A reason without detail.
    pub const fn new(code: &'static str) -> Self {
        Self { code: Cow::Borrowed(code), detail: None }
    }

    /// A reason with detail.
    pub fn with(code: &'static str, detail: impl fmt::Display) -> Self {
        Self { code: Cow::Borrowed(code), detail: Some(detail.to_string()) }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.detail {
            Some(detail) => write!(f, "{}: {detail}", self.code),
            None => f.write_str(&self.code),
        }
    }
}

/// The codes that every part knows. A code never changes its meaning.
pub mod code {
    macro_rules! codes {
        ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
            $($(#[$doc])* pub const $name: &str = $text;)*
            /// All of them.
            pub const ALL: &[&str] = &[$($text),*];
        };
    }

    codes! {
        /// failed: the name of the target has no address.
        UNRESOLVABLE = "unresolvable";
        /// failed: the resolver did not answer.
        RESOLVER_TIMEOUT = "resolver-timeout";
        /// failed: the target has no address of the family asked for, or the VP has none.
        ADDRESS_FAMILY = "address-family";
        /// failed: the VP has no route to the target.
        NO_ROUTE = "no-route";
        /// failed: a privilege is missing at the VP.
        UNPRIVILEGED = "unprivileged";
        /// failed: the target refused the connection.
        CONNECTION_REFUSED = "connection-refused";
        /// failed: the connection was reset.
        CONNECTION_RESET = "connection-reset";
        /// failed: a router said that the target can't be reached.
        UNREACHABLE = "unreachable";
        /// failed: the target did not answer in time and the kind can't do without.
        TIMEOUT = "timeout";
        /// failed: TLS could not be agreed on or the certificate did not hold.
        TLS = "tls";
        /// failed: the answer breaks its protocol.
        PROTOCOL = "protocol";
        /// failed: an error of the operating system at the VP.
        SYSTEM = "system";
        /// failed: the module broke, and said so.
        INTERNAL = "internal";
        /// refused: the site's policy does not allow the target or the kind.
        POLICY = "policy";
        /// refused: the site's limits leave no room before the deadline.
        LIMITS = "limits";
        /// refused: the parameters or the input are wrong for the kind.
        PARAMETERS = "parameters";
        /// refused: the vantage point does not offer the kind.
        UNSUPPORTED = "unsupported";
        /// refused: the instance's self-test of the kind has not passed.
        SELF_TEST = "self-test";
        /// refused: no instance had room before the deadline.
        SATURATED = "saturated";
        /// refused: the instance is going out of service and there is no other.
        DRAINING = "draining";
        /// refused: the task is of an epoch that is over.
        STALE_EPOCH = "stale-epoch";
        /// lost: no instance of the kind is there.
        NO_INSTANCE = "no-instance";
        /// lost: the instance went away and there was no time or instance left for another attempt.
        INSTANCE_LOST = "instance-lost";
        /// lost: those who perform the kind there failed again and again, and were given nothing until the deadline.
        CIRCUIT_OPEN = "circuit-open";
        /// lost: the deadline passed without a result.
        DEADLINE = "deadline";
        /// cancelled: by the client.
        BY_CLIENT = "by-client";
        /// cancelled: by an operator.
        BY_OPERATOR = "by-operator";
        /// cancelled: the measurement reached its budget.
        BUDGET = "budget";
    }
}

/// A number of a summary.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Number {
    /// A count or an integer quantity.
    Integer(i64),
    /// A ratio or another real quantity; always finite.
    Real(f64),
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyNumber)
    }
}

/// An integer as long as it fits, else a real.
struct AnyNumber;

impl Visitor<'_> for AnyNumber {
    type Value = Number;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number that is finite")
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Number, E> {
        Ok(Number::Integer(number))
    }

    #[expect(clippy::cast_precision_loss, reason = "what is beyond an integer is real")]
    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Number, E> {
        Ok(i64::try_from(number).map_or(Number::Real(number as f64), Number::Integer))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Number, E> {
        if number.is_finite() {
            Ok(Number::Real(number))
        } else {
            Err(E::invalid_value(de::Unexpected::Float(number), &self))
        }
    }
}

impl Number {
    /// The number as a real.
    #[expect(clippy::cast_precision_loss, reason = "summaries feed tables and rollups; 53 bits are plenty")]
    pub const fn as_f64(self) -> f64 {
        match self {
            Self::Integer(number) => number as f64,
            Self::Real(number) => number,
        }
    }
}

impl From<u64> for Number {
    fn from(number: u64) -> Self {
        Self::Integer(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<u32> for Number {
    fn from(number: u32) -> Self {
        Self::Integer(number.into())
    }
}

impl From<f64> for Number {
    fn from(number: f64) -> Self {
        Self::Real(number)
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(number) => number.fmt(f),
            Self::Real(number) => number.fmt(f),
        }
    }
}
