//! A socket that packets leave by, IP header and all: what was put is sent by few calls, and where the kernel is asked
//! for stamps of transmission, they are matched with their packets.

use std::{
    collections::VecDeque,
    io,
    os::fd::{AsFd, OwnedFd},
};

use mmn_probe::{
    packet::{Departure, SendFailure},
    time::{Instant, Nanos},
};

use crate::net::{
    carrier::{Moment, Progress, Refusal, Sink, Ticket, refusal},
    control, stamps,
    sys::{self, Outgoing, Room},
};

/// A packet that was put.
#[derive(Clone, Debug)]
pub(super) struct Packed {
    pub(super) ticket: Ticket,
    pub(super) departure: Departure,
    pub(super) outgoing: Outgoing,
    /// Whether this host may fragment it.
    pub(super) may_fragment: bool,
}

#[derive(Debug)]
pub(super) struct Outlet {
    socket: OwnedFd,
    /// How many packets leave by one call at most.
    pub(super) batch: usize,
    /// The packets that were put, one after another.
    pub(super) bytes: Vec<u8>,
    packed: VecDeque<Packed>,
    /// How often in a row the system had no room.
    tries: u32,
    stamped: bool,
    /// The number that the kernel gives to the first of the awaited.
    first: u32,
    /// Packets whose stamps are to come, in the order of sending; nothing where it has come.
    awaited: VecDeque<Option<(Ticket, Instant)>>,
}

impl Outlet {
    /// Takes a socket over. With `stamped`, its kernel's stamps of transmission are read.
    pub(super) fn new(socket: OwnedFd, batch: usize, stamped: bool) -> io::Result<Self> {
        if stamped {
            stamps::request(socket.as_fd(), true)?;
        }
        Ok(Self {
            socket,
            batch: batch.min(sys::MOST_SENT),
            bytes: Vec::new(),
            packed: VecDeque::new(),
            tries: 0,
            stamped,
            first: 0,
            awaited: VecDeque::new(),
        })
    }

    pub(super) fn is_full(&self) -> bool {
        self.packed.len() >= self.batch
    }

    pub(super) fn push(&mut self, packed: Packed) {
        self.packed.push_back(packed);
    }

    /// Sends what was put. What is too big for the link and may be fragmented goes by `fragment`.
    pub(super) fn send(
        &mut self,
        sink: &mut dyn Sink,
        fragment: &dyn Fn(&[u8], &Outgoing) -> io::Result<()>,
    ) -> Progress {
        if self.packed.is_empty() {
            return Progress::Idle;
        }
        while !self.packed.is_empty() {
            let moment = sink.moment();
            let batch = self.packed.iter().take(self.batch).map(|packed| &packed.outgoing);
            match sys::send_many(self.socket.as_fd(), &self.bytes, batch) {
                Ok(count) => {
                    self.tries = 0;
                    for _ in 0..count {
                        self.left(moment, sink);
                    }
                }
                Err(error) => {
                    if self.refused(&error, moment, sink, fragment) == Progress::Blocked {
                        self.compact();
                        return Progress::Blocked;
                    }
                }
            }
        }
        self.bytes.clear();
        Progress::Sent
    }

    /// Forgets the octets of what has left.
    fn compact(&mut self) {
        let Some(start) = self.packed.front().map(|packed| packed.outgoing.at.start) else { return };
        self.bytes.drain(..start.min(self.bytes.len()));
        for Packed { outgoing: Outgoing { at, .. }, .. } in &mut self.packed {
            *at = at.start.saturating_sub(start)..at.end.saturating_sub(start);
        }
    }

    /// The first packet has left.
    fn left(&mut self, moment: Moment, sink: &mut dyn Sink) {
        let Some(Packed { ticket, departure, .. }) = self.packed.pop_front() else { return };
        if self.stamped {
            let now = moment.reading.at;
            let is_old = |front: &Option<(Ticket, Instant)>| {
                front.is_none_or(|(_, handed)| now.saturating_since(handed) > LONGEST_WAIT)
            };
            while self.awaited.len() >= MAX_AWAITED || self.awaited.front().is_some_and(is_old) {
                self.awaited.pop_front();
                self.first = self.first.wrapping_add(1);
            }
            self.awaited.push_back(Some((ticket, moment.reading.at)));
        }
        sink.sent(ticket, moment.reading.at, moment.user(), departure);
    }

    /// The system has refused the first packet.
    fn refused(
        &mut self,
        error: &io::Error,
        moment: Moment,
        sink: &mut dyn Sink,
        fragment: &dyn Fn(&[u8], &Outgoing) -> io::Result<()>,
    ) -> Progress {
        self.count_anew(sink);
        let mut outcome = refusal(error);
        if outcome == Refusal::Failed(SendFailure::TooBig)
            && let Some(packed) = self.packed.front().filter(|packed| packed.may_fragment)
        {
            let bytes = self.bytes.get(packed.outgoing.at.clone()).unwrap_or_default();
            match fragment(bytes, &packed.outgoing) {
                Ok(()) => {
                    let Some(Packed { ticket, departure, .. }) = self.packed.pop_front() else {
                        return Progress::Sent;
                    };
                    // The system has written a header of its own.
                    let departure = Departure { ip_id: None, ..departure };
                    sink.sent(ticket, moment.reading.at, moment.user(), departure);
                    return Progress::Sent;
                }
                Err(error) => outcome = refusal(&error),
            }
        }
        let reason = match outcome {
            Refusal::Failed(reason) => reason,
            Refusal::Busy | Refusal::NoKey => {
                self.tries += 1;
                if self.tries <= MAX_TRIES {
                    return Progress::Blocked;
                }
                SendFailure::Overrun
            }
        };
        if let Some(Packed { ticket, .. }) = self.packed.pop_front() {
            sink.failed(ticket, moment.reading.at, reason);
        }
        Progress::Sent
    }

    /// The kernel may have counted a packet that it refused or not: the numbers of stamps start again.
    fn count_anew(&mut self, sink: &mut dyn Sink) {
        if !self.stamped {
            return;
        }
        self.read_stamps(&mut Room::default(), sink);
        self.awaited.clear();
        self.first = 0;
        if stamps::request(self.socket.as_fd(), true).is_err() {
            self.stamped = false;
        }
    }

    /// Reads the stamps that have come.
    pub(super) fn read_stamps(&mut self, room: &mut Room, sink: &mut dyn Sink) {
        while !self.awaited.is_empty() {
            let count = match sys::receive_many(self.socket.as_fd(), libc::MSG_ERRQUEUE, room) {
                Ok(count) if count > 0 => count,
                _ => return,
            };
            let moment = sink.moment();
            for index in 0..count {
                let Some((_, control, _)) = room.message(index) else { continue };
                let beside = control::decode(control);
                let number = beside.error.filter(|entry| entry.origin == control::ORIGIN_TIMESTAMPING);
                let Some(number) = number.map(|entry| entry.data) else { continue };
                let Some(stamp) = moment.kernel(beside.stamp) else { continue };
                let awaited = usize::try_from(number.wrapping_sub(self.first)).unwrap_or(usize::MAX);
                let Some((ticket, handed)) = self.awaited.get_mut(awaited).and_then(Option::take) else {
                    continue;
                };
                // A stamp from before the packet was handed over belongs to another packet.
                if stamp.at + STAMP_SLACK >= handed {
                    sink.stamped(ticket, moment.reading.at, stamp);
                }
            }
            while let Some(None) = self.awaited.front() {
                self.awaited.pop_front();
                self.first = self.first.wrapping_add(1);
            }
            if count < sys::MOST_RECEIVED {
                return;
            }
        }
    }
}

/// How often a packet is tried while the system has no room; the driver waits a millisecond in between.
const MAX_TRIES: u32 = 50;
/// Stamps come at once, or never: more or older ones are given up.
const MAX_AWAITED: usize = 1024;
const LONGEST_WAIT: Nanos = Nanos::from_secs(1);
/// How much earlier than its packet a transmit stamp may seem, for the inaccuracy of reading two clocks.
const STAMP_SLACK: Nanos = Nanos(20_000);
