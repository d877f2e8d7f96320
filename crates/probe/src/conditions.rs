//! How a machine was driven: which lane its packets took, who stamped them, and how far that may be from the truth.

use crate::time::StampSource;

/// The way that packets take through this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Lane {
    /// Sockets that every user may open: datagram ICMP, UDP, TCP.
    Unprivileged,
    /// Raw sockets, many packets to a system call, stamped by the kernel when they come and by the process when they
    /// leave.
    Raw,
    /// Raw sockets, few packets to a system call, stamped by the kernel when they leave and when they come.
    Precise,
    /// Packet sockets with a ring, for very many targets.
    Bulk,
    /// A simulated network.
    Simulated,
}

/// Which lane a machine asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Wish {
    /// The driver's choice: the most exact one that the load allows.
    #[default]
    Any,
    /// This one or none.
    Only(Lane),
}

/// How a machine was driven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conditions {
    /// The lane of its packets.
    pub lane: Lane,
    /// Who stamps packets that leave on this lane, where all goes well; each stamp says for itself.
    pub sent_by: StampSource,
    /// Who stamps packets that come.
    pub received_by: StampSource,
    /// How far a round trip on this lane may be off, in nanoseconds: an estimate, whose origin is the guide on
    /// precision; absent where there is none.
    pub rtt_error_ns: Option<u64>,
    /// The civil clock; absent where the system does not tell.
    pub clock: Option<Clock>,
    /// The interface that has the source address of its probes; absent where nobody looked it up.
    pub interface: Option<Interface>,
}

/// A network interface of this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name, filled up with zeros.
    pub name: [u8; 16],
    /// The largest packet that its link takes, in octets.
    pub mtu: u32,
}

impl Interface {
    /// Its name.
    pub fn name(&self) -> &str {
        let end = self.name.iter().position(|byte| *byte == 0).unwrap_or(self.name.len());
        self.name.get(..end).and_then(|name| std::str::from_utf8(name).ok()).unwrap_or_default()
    }
}

/// The state of the civil clock, as the kernel tells it (`adjtimex(2)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// Whether something outside the machine keeps it in step.
    pub synchronised: bool,
    /// The estimated offset, in nanoseconds.
    pub offset_ns: i64,
    /// The greatest error that the kernel allows for, in nanoseconds.
    pub max_error_ns: u64,
}
