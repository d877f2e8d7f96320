//! How packets leave this host and come back: what the driver asks of a carrier, and what a carrier tells it.
//!
//! A carrier owns the sockets of one or more lanes and what tells its probes from each other. The driver owns the
//! machines, their pacing and their turns. They meet here, once per packet:
//!
//! 1. [`Carrier::put`] takes a probe that may leave now. It may leave within the call, or wait for others to share a
//!    system call with until [`Carrier::send`], which comes before the driver does anything else that could take time.
//!    Of each probe that was taken exactly one of [`Sink::sent`] and [`Sink::failed`] is told, in `put` or in `send`.
//! 2. Where a descriptor of [`Carrier::watched`] is readable, [`Carrier::read`] reads it, and tells of packets that
//!    belong to probes by [`Sink::packet`]. After sending, and before any timer is believed, [`Carrier::catch_up`] reads
//!    what may have come. A better stamp of a probe that has left is [`Sink::stamped`].
//! 3. [`Carrier::missed`] says how many packets the system dropped because nobody read them in time; the driver asks
//!    before it lets a machine look at the clock.
//! 4. What a probe holds (its key) is given back by [`Carrier::release`] when its machine is done.
//!
//! Add one by implementing [`Carrier`] in a file of its own and giving it to
//! [`Driver::add_carrier`](super::driver::Driver::add_carrier).

pub mod echo;
pub(super) mod keys;
pub mod ordinary;
pub mod raw;
pub(super) mod sources;

use std::{
    fmt, io,
    os::fd::OwnedFd,
    sync::{Arc, Mutex},
};

use mmn_probe::{
    conditions::Lane,
    packet::{Departure, Packet, Probe, ProbeId, SendFailure},
    time::{Instant, Stamp, StampSource, Utc},
};

use super::bulk::Detour;
use super::stamps::{kernel_stamp, user_stamp};
use crate::clock::Reading;

/// A way for packets through this host.
pub trait Carrier: fmt::Debug + Send {
    /// Whether it carries such a probe on this lane: [`SendFailure::NoSocket`] where lane or address family are others'
    /// business, any other reason where it is this carrier's and impossible.
    fn carries(&self, lane: Lane, probe: &Probe) -> Result<(), SendFailure>;

    /// How packets of this lane are stamped here; nothing where it is no lane of this carrier's.
    fn quality(&self, lane: Lane) -> Option<Quality>;

    /// Takes a probe to be sent, with the key or keys that it holds from now on: the lower 56 bits are the carrier's. A
    /// probe that is refused leaves nothing behind.
    fn put(&mut self, order: Order<'_>, sink: &mut dyn Sink) -> Result<Holds, Refusal>;

    /// Sends what was put.
    fn send(&mut self, sink: &mut dyn Sink) -> Progress;

    /// The descriptors to watch for what comes.
    fn watched(&self) -> Vec<Arc<OwnedFd>>;

    /// Reads the descriptor of this index in [`Carrier::watched`], up to a bound. Returns whether it has no more.
    fn read(&mut self, index: usize, sink: &mut dyn Sink) -> bool;

    /// Reads, up to a bound, whatever may hold something for a probe under way: stamps first, then packets.
    fn catch_up(&mut self, sink: &mut dyn Sink);

    /// How many packets the system has dropped since this was last asked, because a buffer of this carrier's was full.
    /// Cheap unless `look` is set: then the system's counters are read.
    fn missed(&mut self, look: bool) -> u64;

    /// Takes a key back, if it is still this machine's.
    fn release(&mut self, key: u64, job: JobKey);

    /// From now on probes that name a router leave by this; by none where it is absent. A carrier that can't do so is never
    /// given such a probe.
    fn set_detour(&mut self, _: Option<&Arc<Mutex<Detour>>>) {}

    /// Whether probes can leave by routers that they name.
    fn has_detour(&self) -> bool {
        false
    }
}

/// What a carrier tells.
pub trait Sink {
    /// Reads the clocks: once for all packets of one system call.
    fn moment(&mut self) -> Moment;

    /// A probe has been handed to the system.
    fn sent(&mut self, ticket: Ticket, now: Instant, stamp: Stamp, departure: Departure);

    /// A better stamp of a probe that has left.
    fn stamped(&mut self, ticket: Ticket, now: Instant, stamp: Stamp);

    /// A probe could not be sent, for good.
    fn failed(&mut self, ticket: Ticket, now: Instant, reason: SendFailure);

    /// A packet that belongs to a probe; its number stands in the packet.
    fn packet(&mut self, job: JobKey, now: Instant, packet: Packet<'_>);

    /// A packet that belongs to no probe.
    fn unmatched(&mut self);
}

/// Names a machine of a driver for ever: an index that is used again has another generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct JobKey {
    pub(super) index: u32,
    pub(super) generation: u32,
}

impl JobKey {
    /// The least of all.
    pub(super) const FIRST: Self = Self { index: 0, generation: 0 };
}

/// Names a probe of a driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// Whose it is.
    pub job: JobKey,
    /// Which of his.
    pub probe: ProbeId,
}

/// A probe that may leave.
#[derive(Clone, Copy, Debug)]
pub struct Order<'a> {
    /// Its name.
    pub ticket: Ticket,
    /// The lane of its machine.
    pub lane: Lane,
    /// The probe.
    pub probe: &'a Probe,
    /// Where flow 0 of its machine begins in a range of selectors.
    pub base: u16,
}

/// The keys that a probe holds.
pub type Holds = [Option<u64>; 2];

/// Why a probe was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The system has no room at the moment.
    Busy,
    /// Nothing is free by which a reply could be told from others.
    NoKey,
    /// It can't be sent.
    Failed(SendFailure),
}

/// What sending has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Nothing was there to be sent.
    Idle,
    /// All has left, or failed.
    Sent,
    /// The system has no room for the rest at the moment.
    Blocked,
}

/// How packets of a lane are stamped, and how far a round trip may be off; see
/// [`Conditions`](mmn_probe::conditions::Conditions).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quality {
    /// Who stamps what leaves.
    pub sent_by: StampSource,
    /// Who stamps what comes.
    pub received_by: StampSource,
    /// How far a round trip may be off, in nanoseconds.
    pub rtt_error_ns: Option<u64>,
}

/// Both clocks at one moment, and whether civil time was set since they were last read.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// The clocks.
    pub reading: Reading,
    /// Whether civil time was set: the kernel's stamps from before can't be put on the monotonic clock.
    pub stepped: bool,
}

impl Moment {
    /// The moment itself, as a stamp of this process.
    pub fn user(&self) -> Stamp {
        user_stamp(self.reading)
    }

    /// A stamp of the kernel's on both clocks; nothing where it can't be believed.
    pub fn kernel(&self, utc: Option<Utc>) -> Option<Stamp> {
        utc.filter(|_| !self.stepped).and_then(|utc| kernel_stamp(self.reading, utc))
    }
}

/// What the system's refusal of a packet means.
pub(super) fn refusal(error: &io::Error) -> Refusal {
    Refusal::Failed(match error.raw_os_error() {
        Some(libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM) => return Refusal::Busy,
        Some(libc::ENETUNREACH | libc::EHOSTUNREACH | libc::ENETDOWN | libc::ENODEV) => SendFailure::NoRoute,
        Some(libc::EADDRNOTAVAIL) => SendFailure::Source,
        Some(libc::EPERM | libc::EACCES) => SendFailure::NotPermitted,
        Some(libc::EMSGSIZE) => SendFailure::TooBig,
        Some(libc::EAFNOSUPPORT) => SendFailure::NoSocket,
        errno => SendFailure::System(errno.unwrap_or(0)),
    })
}
