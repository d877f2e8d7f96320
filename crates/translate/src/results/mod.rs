//! Results, in the forms of other systems: warts records, Atlas results, flat rows.
//!
//! A result record says what was found, its measurement what was asked for: both are needed. [`Asked`] is the latter,
//! read once for all records of a measurement.
//!
//! Begin with [`Asked::of`]; then [`warts::records`], [`atlas::result`] or [`rows::Rows`].

pub mod atlas;
mod bare;
pub mod rows;
pub mod warts;

use mmn_modules::{dns, http, multipath, ping, tcp, trace, udp};
use mmn_schema::api::ResultRecord;
use mmn_schema::body::Body;
use mmn_schema::id::KindName;
use mmn_schema::outcome::{Outcome, Reason};
use serde::de::DeserializeOwned;

/// The parameters of a measurement.
#[derive(Debug, Clone, PartialEq)]
pub enum Asked {
    /// Of `ping`.
    Ping(Box<ping::Params>),
    /// Of `trace`.
    Trace(Box<trace::Params>),
    /// Of `multipath`.
    Multipath(Box<multipath::Params>),
    /// Of `udp`.
    Udp(Box<udp::Params>),
    /// Of `tcp`.
    Tcp(Box<tcp::Params>),
    /// Of `dns`.
    Dns(Box<dns::Params>),
    /// Of `http`.
    Http(Box<http::Params>),
    /// Of a kind that is not built in.
    Other(KindName),
}

impl Asked {
    /// What a measurement of a kind asked for. Parameters that are absent are the kind's own.
    pub fn of(kind: &KindName, params: &Body) -> Result<Self, Untranslated> {
        Ok(match kind.as_str() {
            "ping" => Self::Ping(read(kind, params)?),
            "trace" => Self::Trace(read(kind, params)?),
            "multipath" => Self::Multipath(read(kind, params)?),
            "udp" => Self::Udp(read(kind, params)?),
            "tcp" => Self::Tcp(read(kind, params)?),
            "dns" => Self::Dns(read(kind, params)?),
            "http" => Self::Http(read(kind, params)?),
            _ => Self::Other(kind.clone()),
        })
    }

    /// The kind's name.
    pub fn kind(&self) -> &str {
        match self {
            Self::Ping(_) => "ping",
            Self::Trace(_) => "trace",
            Self::Multipath(_) => "multipath",
            Self::Udp(_) => "udp",
            Self::Tcp(_) => "tcp",
            Self::Dns(_) => "dns",
            Self::Http(_) => "http",
            Self::Other(name) => name.as_str(),
        }
    }
}

/// Why a result does not become something else.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Untranslated {
    /// The form has no place for the kind.
    #[error("{form} has no place for results of the kind {kind}: it is for {serves}")]
    Kind {
        /// Which form.
        form: &'static str,
        /// Which kind.
        kind: String,
        /// The kinds that it has a place for.
        serves: &'static str,
    },
    /// The parameters or the result are not the kind's.
    #[error("what is said to be of the kind {kind} is not: {why}")]
    Unreadable {
        /// Which kind.
        kind: String,
        /// What is wrong.
        why: String,
    },
    /// Nothing was measured, and the form has no place for that.
    #[error("nothing was measured ({0})")]
    Nothing(String),
    /// The form can't count so many.
    #[error("{form} holds no more than {most} {what}")]
    TooMany {
        /// Which form.
        form: &'static str,
        /// What there are too many of.
        what: &'static str,
        /// How many it holds.
        most: usize,
    },
}

fn read<T: DeserializeOwned + Default>(kind: &KindName, body: &Body) -> Result<Box<T>, Untranslated> {
    if *body == Body::null() {
        return Ok(Box::default());
    }
    body.decode()
        .map(Box::new)
        .map_err(|error| Untranslated::Unreadable { kind: kind.to_string(), why: error.to_string() })
}

/// What a record found; nothing where its task ended before anything was.
fn found<T: DeserializeOwned>(record: &ResultRecord) -> Result<Option<T>, Untranslated> {
    if record.body == Body::null() {
        return Ok(None);
    }
    record
        .body
        .decode()
        .map(Some)
        .map_err(|error| Untranslated::Unreadable { kind: record.kind.to_string(), why: error.to_string() })
}

/// Why nothing was measured, where it was tried. Forms of others know of measurements that failed, and of none that
/// were never begun.
fn failed(record: &ResultRecord) -> Result<&Reason, Untranslated> {
    match (&record.reason, record.outcome) {
        (Some(reason), Outcome::Failed) => Ok(reason),
        (Some(reason), outcome) => Err(Untranslated::Nothing(format!("{outcome}: {reason}"))),
        (None, outcome) => Err(Untranslated::Nothing(outcome.to_string())),
    }
}
