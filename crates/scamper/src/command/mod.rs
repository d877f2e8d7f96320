//! The text of a measurement: `ping -c 3 192.0.2.1`.
//!
//! A command is a word, options and what is to be measured. Each command is a struct with a field for each option, absent
//! where it isn't given: what it then means is for whoever measures to know. What is read is written again as text that
//! reads the same, so that real daemons can be driven.
//!
//! The options are written down once for both ways, in tables: see `ping.rs`, then `table.rs` by which they are read.

mod dealias;
mod host;
mod http;
mod others;
mod ping;
mod rules;
mod split;
mod table;
#[cfg(test)]
mod tests;
mod trace;
mod tracelb;
mod udpprobe;

use std::fmt;

pub use dealias::{Dealias, DealiasMethod, DealiasOption, DealiasProbe, ProbeDef, Round, Targets};
pub use host::{Host, HostClass, HostOption, HostType};
pub use http::{Http, HttpOption};
pub use others::{
    Direction, IcmpId, NeighbourDisc, Owamp, OwampOption, Sniff, Sting, Tbit, TbitApp, TbitOption, TbitType,
};
pub use ping::{IpTimestamp, Ping, PingMethod, PingOption};
pub use trace::{Trace, TraceMethod, TraceOption};
pub use tracelb::{Tracelb, TracelbMethod, TracelbOption};
pub use udpprobe::{UdpProbe, UdpProbeOption};

/// A command. The text is that of the measurement alone, as it is sent on an attached connection.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// `dealias`: whether addresses belong to one router.
    Dealias(Box<Dealias>),
    /// `host`: a question to a name server.
    Host(Box<Host>),
    /// `http`: a page.
    Http(Box<Http>),
    /// `neighbourdisc`: the link's address of a neighbour.
    NeighbourDisc(Box<NeighbourDisc>),
    /// `owamp`: delays one way.
    Owamp(Box<Owamp>),
    /// `ping`.
    Ping(Box<Ping>),
    /// `sniff`: ICMP messages with an identifier.
    Sniff(Box<Sniff>),
    /// `sting`: loss each way, by TCP.
    Sting(Box<Sting>),
    /// `tbit`: what a TCP does.
    Tbit(Box<Tbit>),
    /// `trace`.
    Trace(Box<Trace>),
    /// `tracelb`: every path.
    Tracelb(Box<Tracelb>),
    /// `udpprobe`: payloads over UDP, and what they are answered with.
    UdpProbe(Box<UdpProbe>),
}

/// Why a text is no command. Each fits a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// The first word is none of those known.
    #[error("could not determine command type: '{0}' is no measurement")]
    Unknown(String),
    /// The text can't be taken apart into options and values.
    #[error("could not parse {command} command: {reason}")]
    Syntax {
        /// Its word.
        command: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// An option's value.
    #[error("-{letter} failed: {reason}")]
    Value {
        /// The option.
        letter: char,
        /// What is wrong with its value.
        reason: String,
    },
    /// An option that may stand once stands again.
    #[error("repeated option -{0}")]
    Repeated(char),
    /// What is to be measured.
    #[error("{0}")]
    Target(String),
    /// Options that don't go together, or one that is missing.
    #[error("{0}")]
    Together(String),
}

impl Command {
    /// Reads a command.
    pub fn parse(text: &str) -> Result<Self, CommandError> {
        let text = text.trim();
        let (word, rest) = text.split_once(|c: char| c.is_ascii_whitespace()).unwrap_or((text, ""));
        Ok(match word.to_ascii_lowercase().as_str() {
            "dealias" => Self::Dealias(Box::new(Dealias::parse(rest)?)),
            "host" => Self::Host(Box::new(Host::parse(rest)?)),
            "http" => Self::Http(Box::new(Http::parse(rest)?)),
            "neighbourdisc" => Self::NeighbourDisc(Box::new(NeighbourDisc::parse(rest)?)),
            "owamp" => Self::Owamp(Box::new(Owamp::parse(rest)?)),
            "ping" => Self::Ping(Box::new(Ping::parse(rest)?)),
            "sniff" => Self::Sniff(Box::new(Sniff::parse(rest)?)),
            "sting" => Self::Sting(Box::new(Sting::parse(rest)?)),
            "tbit" => Self::Tbit(Box::new(Tbit::parse(rest)?)),
            "trace" => Self::Trace(Box::new(Trace::parse(rest)?)),
            "tracelb" => Self::Tracelb(Box::new(Tracelb::parse(rest)?)),
            "udpprobe" => Self::UdpProbe(Box::new(UdpProbe::parse(rest)?)),
            _ => return Err(CommandError::Unknown(word.to_owned())),
        })
    }

    /// Its word.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Dealias(_) => Dealias::WORD,
            Self::Host(_) => Host::WORD,
            Self::Http(_) => Http::WORD,
            Self::NeighbourDisc(_) => NeighbourDisc::WORD,
            Self::Owamp(_) => Owamp::WORD,
            Self::Ping(_) => Ping::WORD,
            Self::Sniff(_) => Sniff::WORD,
            Self::Sting(_) => Sting::WORD,
            Self::Tbit(_) => Tbit::WORD,
            Self::Trace(_) => Trace::WORD,
            Self::Tracelb(_) => Tracelb::WORD,
            Self::UdpProbe(_) => UdpProbe::WORD,
        }
    }

    /// The number that the user gave it (`-U`).
    pub fn user_id(&self) -> Option<u32> {
        match self {
            Self::Dealias(one) => one.user_id,
            Self::Host(one) => one.user_id,
            Self::Http(one) => one.user_id,
            Self::NeighbourDisc(one) => one.user_id,
            Self::Owamp(one) => one.user_id,
            Self::Ping(one) => one.user_id,
            Self::Sniff(one) => one.user_id,
            Self::Sting(one) => one.user_id,
            Self::Tbit(one) => one.user_id,
            Self::Trace(one) => one.user_id,
            Self::Tracelb(one) => one.user_id,
            Self::UdpProbe(one) => one.user_id,
        }
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dealias(one) => one.fmt(f),
            Self::Host(one) => one.fmt(f),
            Self::Http(one) => one.fmt(f),
            Self::NeighbourDisc(one) => one.fmt(f),
            Self::Owamp(one) => one.fmt(f),
            Self::Ping(one) => one.fmt(f),
            Self::Sniff(one) => one.fmt(f),
            Self::Sting(one) => one.fmt(f),
            Self::Tbit(one) => one.fmt(f),
            Self::Trace(one) => one.fmt(f),
            Self::Tracelb(one) => one.fmt(f),
            Self::UdpProbe(one) => one.fmt(f),
        }
    }
}
