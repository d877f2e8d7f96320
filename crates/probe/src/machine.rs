//! The contract between a measurement and whoever drives it.
//!
//! A driver owns sockets, a clock and the pacing of the site. A machine owns the logic. They talk like this:
//!
//! 1. Call [`Machine::poll`]. On [`Output::Send`], send the probe (now, or as soon as the site's limits let
//!    it go) and call `poll` again at once, until it answers anything else.
//! 2. On [`Output::WaitUntil`], call `poll` again at that instant, or after the next input, whichever is
//!    first. On [`Output::Wait`], call `poll` again after the next input. On [`Output::Done`], take the
//!    result; further inputs change nothing.
//! 3. For each probe that `poll` gave out, report exactly one of [`Input::Sent`] and [`Input::SendFailed`].
//!    An [`Input::Stamped`] afterwards replaces the stamp by a better one (the kernel's).
//! 4. Whatever arrives for a probe is an [`Input::Packet`]. The driver matches packets to probes by what the
//!    wire shows (ICMP identifier and sequence number, ports, checksum); the machine judges whether to believe them.
//! 5. Whenever packets may have been missed, say [`Input::Overrun`] before the next `poll`: what is under way and
//!    never answered may not be called lost.
//! 6. `now` never runs backwards. Read packets before calling `poll` for a timer, so that a reply that was
//!    in the socket in time is not taken for a late one.
//!
//! What a probe is and what comes back for it is in [`crate::packet`].

use crate::packet::{Departure, Packet, Probe, ProbeId, SendFailure};
use crate::time::{Instant, Stamp};

/// A measurement as a state machine over packets and time; the module's head says how to drive it.
pub trait Machine {
    /// Tells the machine what happened. Call [`Machine::poll`] afterwards.
    fn handle(&mut self, now: Instant, input: Input<'_>);

    /// Asks the machine what to do next. Call again at once after [`Output::Send`], otherwise as the answer
    /// says.
    fn poll(&mut self, now: Instant) -> Output;
}

/// What the driver tells a machine.
#[derive(Clone, Debug)]
pub enum Input<'a> {
    /// The probe has left, at this moment.
    Sent {
        /// Which probe.
        probe: ProbeId,
        /// When.
        stamp: Stamp,
        /// How it looked on the wire.
        departure: Departure,
    },
    /// A better stamp of a probe that has left.
    Stamped {
        /// Which probe.
        probe: ProbeId,
        /// When it left.
        stamp: Stamp,
    },
    /// The probe could not be sent and will not be tried again.
    SendFailed {
        /// Which probe.
        probe: ProbeId,
        /// Why.
        reason: SendFailure,
    },
    /// Something arrived that the wire attributes to a probe of this machine.
    Packet(Packet<'a>),
    /// The receiver was overrun: an answer to any probe that is under way may have been missed.
    Overrun,
    /// Civil time was set while probes were under way: their stamps in civil time are in doubt.
    ClockStepped,
    /// Stop: send nothing more and be done at the next poll.
    Cancel,
}

/// What a machine wants of its driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send this, then poll again at once.
    Send(Probe),
    /// Nothing to do before this instant, unless an input comes.
    WaitUntil(Instant),
    /// Nothing to do until an input comes.
    Wait,
    /// The measurement is over.
    Done,
}
