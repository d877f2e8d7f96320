//! The self-test: what a kind does on this host alone, before an instance of it is given work.

use std::fmt;
use std::net::SocketAddr;

use mmn_schema::dispatch::Input;

use crate::erased::Measurement;
use crate::outcome::Failure;

/// How an instance shows that it can perform a kind: one task against a far end on the loopback interface. It passes the
/// way that every task passes, sends nothing off the host, and counts for no limit of the site or of a target.
pub struct SelfTest<P> {
    /// Who answers.
    pub far_end: FarEnd,
    /// The parameters and the input of a task for a far end at this address.
    pub task: fn(SocketAddr) -> (P, Input),
}

/// Who answers a self-test.
#[derive(Clone, Copy)]
pub enum FarEnd {
    /// The host itself, which answers an echo; the port means nothing.
    Host,
    /// A UDP socket that answers a datagram with what this gives.
    Datagrams(fn(&[u8]) -> Option<Vec<u8>>),
    /// A TCP listener that answers, once this gives something for all that it has read, and closes.
    Stream(fn(&[u8]) -> Option<Vec<u8>>),
}

/// A self-test of a kind whose parameters nobody needs to know.
pub struct Trial {
    /// Who answers.
    pub far_end: FarEnd,
    /// The measurement and the input for a far end at an address.
    pub task: Box<dyn Fn(SocketAddr) -> Result<Attempt, Failure>>,
}

/// A measurement and what it is performed on.
pub type Attempt = (Box<dyn Measurement>, Input);

impl<P> fmt::Debug for SelfTest<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SelfTest").field("far_end", &self.far_end).finish_non_exhaustive()
    }
}

impl fmt::Debug for Trial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trial").field("far_end", &self.far_end).finish_non_exhaustive()
    }
}

impl fmt::Debug for FarEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Host => "Host",
            Self::Datagrams(_) => "Datagrams",
            Self::Stream(_) => "Stream",
        })
    }
}
