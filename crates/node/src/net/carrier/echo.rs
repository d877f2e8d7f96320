//! Echo requests by one socket of [`icmp`](crate::net::icmp): the unprivileged lane's, or a raw one that a node of an
//! earlier version has given.
//!
//! The system writes the IP header, and on a datagram socket the identifier. Each packet is a system call of its own.

use std::{
    collections::VecDeque,
    io,
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
};

use mmn_probe::{
    conditions::Lane,
    cookie::Key as Secret,
    packet::{Body, Departure, Identity, Packet, Probe, SendFailure},
    time::{Instant, Nanos, StampSource, Utc},
    wire::{
        heard::{Heard, Protocol},
        icmp::Family,
        probe::{encode_transport, packet_bytes},
    },
};

use super::{
    Carrier, Holds, JobKey, Order, Progress, Quality, Refusal, Sink, Ticket,
    keys::{Claim, Given, Keys},
    refusal,
    sources::Sources,
};
use crate::{
    clock,
    net::{
        control::Header,
        icmp::{Arrival, Buffer, EchoSocket, Mode, Received},
    },
};

/// Echo over one socket.
#[derive(Debug)]
pub struct EchoCarrier {
    socket: EchoSocket,
    /// The same socket, to be watched.
    watched: Arc<OwnedFd>,
    keys: Keys,
    sources: Sources,
    dont_fragment: bool,
    /// The system's count of dropped packets when it last told, and what of it nobody was told of.
    dropped: u32,
    missed: u64,
    transmit_stamps: bool,
    /// The number that the kernel will give the next packet.
    next_number: u32,
    awaited: VecDeque<Awaited>,
    buffer: Buffer,
    packet: Vec<u8>,
    /// Something left since it was read.
    unread: bool,
}

/// A packet whose transmit stamp is to come.
#[derive(Clone, Copy, Debug)]
struct Awaited {
    number: u32,
    ticket: Ticket,
    /// When it was handed to the kernel.
    handed: Instant,
}

impl EchoCarrier {
    /// Takes a socket over. `seed` must be random.
    pub fn new(socket: EchoSocket, seed: [u8; 16]) -> io::Result<Self> {
        socket.set_stamps(true)?;
        let dropped = socket.dropped().unwrap_or(0);
        Ok(Self {
            watched: Arc::new(socket.as_fd().try_clone_to_owned()?),
            sources: Sources::new(socket.family(), socket.network())?,
            socket,
            keys: Keys::new(Secret::new(seed)),
            dont_fragment: false,
            dropped,
            missed: 0,
            transmit_stamps: true,
            next_number: 0,
            awaited: VecDeque::new(),
            buffer: Buffer::default(),
            packet: Vec::new(),
            unread: false,
        })
    }

    fn lane(&self) -> Lane {
        match self.socket.mode() {
            Mode::Datagram => Lane::Unprivileged,
            Mode::Raw => Lane::Precise,
        }
    }

    fn transmit(
        &mut self,
        ticket: Ticket,
        probe: &Probe,
        departure: Departure,
        sink: &mut dyn Sink,
    ) -> Result<(), Refusal> {
        if probe.dont_fragment != self.dont_fragment {
            self.socket.set_dont_fragment(probe.dont_fragment).map_err(|error| refusal(&error))?;
            self.dont_fragment = probe.dont_fragment;
        }
        let header = Header {
            ttl: probe.ttl.map(|ttl| ttl.0),
            tos: (probe.tos != 0).then_some(probe.tos),
            source: probe.source,
            options: &[],
        };
        let mut outcome = Refusal::Busy;
        // A datagram socket reports an error about an earlier packet by failing the next call. So the error
        // queue is read, which clears it, and the packet is tried again.
        for _ in 0..SEND_ATTEMPTS {
            let moment = sink.moment();
            match self.socket.send(probe.destination, &header, &self.packet) {
                Ok(()) => {
                    self.awaits(ticket, moment.reading.at);
                    self.unread = true;
                    sink.sent(ticket, moment.reading.at, moment.user(), departure);
                    return Ok(());
                }
                Err(error) => outcome = refusal(&error),
            }
            self.count_anew(sink);
            if outcome == Refusal::Busy {
                break;
            }
            let _ = self.socket.take_error();
        }
        if outcome == Refusal::Failed(SendFailure::Source) && probe.source.is_none() {
            outcome = Refusal::Failed(SendFailure::NoRoute);
        }
        Err(outcome)
    }

    fn awaits(&mut self, ticket: Ticket, handed: Instant) {
        if !self.transmit_stamps {
            return;
        }
        if self.awaited.len() == MAX_AWAITED {
            self.awaited.pop_front();
        }
        self.awaited.push_back(Awaited { number: self.next_number, ticket, handed });
        self.next_number = self.next_number.wrapping_add(1);
    }

    /// The kernel refused a packet: it may have counted it or not, so counting starts anew.
    fn count_anew(&mut self, sink: &mut dyn Sink) {
        self.drain_errors(sink);
        self.awaited.clear();
        self.next_number = 0;
        if self.transmit_stamps && self.socket.set_stamps(true).is_err() {
            self.transmit_stamps = false;
        }
    }

    fn drain(&mut self, sink: &mut dyn Sink) -> bool {
        self.unread = false;
        self.drain_errors(sink);
        let mut errors = 0;
        let mut drained = false;
        let mut count = 0_u32;
        for _ in 0..MAX_AT_A_TIME {
            match self.socket.receive(&mut self.buffer) {
                Ok(Some(Received::Packet(arrival))) => {
                    count += 1;
                    if let Some(dropped) = arrival.dropped {
                        (self.dropped, self.missed) = counted(self.dropped, self.missed, dropped);
                    }
                    arrived(&self.keys, &arrival, sink);
                }
                Ok(Some(_)) => sink.unmatched(),
                // An error about an earlier packet, which the error queue tells better; reading cleared it.
                Err(_) if errors < MAX_ERRORS => errors += 1,
                // Nothing more; or a socket that fails for ever, which must not keep the runtime busy.
                Ok(None) | Err(_) => {
                    drained = true;
                    break;
                }
            }
        }
        if count > LOOK_AFTER {
            self.look();
        }
        drained
    }

    /// Reads the error queue: errors about packets, and stamps of those that left.
    fn drain_errors(&mut self, sink: &mut dyn Sink) {
        for _ in 0..MAX_AT_A_TIME {
            match self.socket.receive_error(&mut self.buffer) {
                Ok(Some(Received::Packet(arrival))) => arrived(&self.keys, &arrival, sink),
                Ok(Some(Received::Transmitted { number, stamp })) => {
                    transmitted(&mut self.awaited, number, stamp, sink);
                }
                Ok(Some(Received::Foreign)) => {}
                Ok(None) | Err(_) => break,
            }
        }
    }

    fn look(&mut self) {
        if let Ok(dropped) = self.socket.dropped() {
            (self.dropped, self.missed) = counted(self.dropped, self.missed, dropped);
        }
    }
}

impl Carrier for EchoCarrier {
    fn carries(&self, lane: Lane, probe: &Probe) -> Result<(), SendFailure> {
        if lane != self.lane() || Family::of(probe.destination) != self.socket.family() {
            return Err(SendFailure::NoSocket);
        }
        let raw = self.socket.mode() == Mode::Raw;
        if !matches!(probe.body, Body::Echo { .. }) {
            return Err(SendFailure::Unprivileged);
        }
        let chosen = probe.flow.selector.is_some_and(|id| id != self.socket.ids().first());
        if !probe.ip_options.is_empty() || probe.fragment_offset != 0 || chosen && !raw {
            return Err(SendFailure::Unprivileged);
        }
        if chosen && probe.flow.selector.is_some_and(|id| !self.socket.ids().contains(id)) {
            return Err(SendFailure::InUse);
        }
        Ok(())
    }

    fn quality(&self, lane: Lane) -> Option<Quality> {
        (lane == self.lane()).then_some(Quality {
            sent_by: if self.transmit_stamps { StampSource::Kernel } else { StampSource::User },
            received_by: StampSource::Kernel,
            rtt_error_ns: Some(UNPRIVILEGED_ERROR_NS),
        })
    }

    fn put(&mut self, order: Order<'_>, sink: &mut dyn Sink) -> Result<Holds, Refusal> {
        let Order { ticket, probe, base, .. } = order;
        let ids = self.socket.ids();
        let count = u32::from(ids.last() - ids.first()) + 1;
        let offset = (u32::from(base) + u32::from(probe.flow.number)) % count;
        let own = ids.first().wrapping_add(u16::try_from(offset).unwrap_or(0));
        let selector = probe.flow.selector.unwrap_or(own);
        let destination = probe.destination;
        let now = clock::monotonic();
        let source = self.sources.find(destination, probe.source, now).map_err(Refusal::Failed)?;
        let claim = Claim { ticket, protocol: Protocol::Icmp, selector, destination, now, added: None };
        let Given { tag, key, .. } = self.keys.give(claim).ok_or(Refusal::NoKey)?;
        let identity = Identity { selector, tag };
        self.packet.clear();
        let outcome = encode_transport(probe, identity, source, Utc(0), &mut self.packet);
        let bytes = u32::try_from(packet_bytes(probe)).unwrap_or(u32::MAX);
        let departure = Departure { source: Some(source), identity, ip_id: None, bytes };
        let outcome =
            outcome.map_err(Refusal::Failed).and_then(|_| self.transmit(ticket, probe, departure, sink));
        if outcome.is_err() {
            self.keys.release(key, ticket.job);
        }
        outcome.map(|()| [Some(key), None])
    }

    fn send(&mut self, _: &mut dyn Sink) -> Progress {
        if self.unread { Progress::Sent } else { Progress::Idle }
    }

    fn watched(&self) -> Vec<Arc<OwnedFd>> {
        vec![Arc::clone(&self.watched)]
    }

    fn read(&mut self, _: usize, sink: &mut dyn Sink) -> bool {
        self.drain(sink)
    }

    fn catch_up(&mut self, sink: &mut dyn Sink) {
        if self.unread || self.keys.under_way(Protocol::Icmp) > 0 {
            self.drain(sink);
        }
    }

    fn missed(&mut self, look: bool) -> u64 {
        if look && self.keys.under_way(Protocol::Icmp) > 0 {
            self.look();
        }
        std::mem::take(&mut self.missed)
    }

    fn release(&mut self, key: u64, job: JobKey) {
        self.keys.release(key, job);
    }
}

fn arrived(keys: &Keys, arrival: &Arrival<'_>, sink: &mut dyn Sink) {
    let Heard { from, ttl, tos, ip_id, ip_options, bytes, clues, message, .. } = arrival.heard;
    let Some(owner) = keys.owner(&clues, from) else {
        sink.unmatched();
        return;
    };
    let ticket = owner.ticket();
    let moment = sink.moment();
    let stamp = moment.kernel(arrival.stamp).unwrap_or(moment.user());
    let packet = Packet {
        probe: ticket.probe,
        from,
        stamp,
        ttl,
        tos,
        ip_id,
        fragment_id: None,
        ip_options,
        bytes,
        message,
    };
    sink.packet(ticket.job, moment.reading.at, packet);
}

/// A packet's stamp has come, if it was awaited. Those before it will get none any more.
fn transmitted(awaited: &mut VecDeque<Awaited>, number: u32, stamp: Utc, sink: &mut dyn Sink) {
    let Some(at) = awaited.iter().position(|awaited| awaited.number == number) else { return };
    let Some(Awaited { ticket, handed, .. }) = awaited.drain(..=at).next_back() else { return };
    let moment = sink.moment();
    // A stamp from before the packet was handed over belongs to another packet.
    if let Some(stamp) = moment.kernel(Some(stamp))
        && stamp.at + STAMP_SLACK >= handed
    {
        sink.stamped(ticket, moment.reading.at, stamp);
    }
}

/// The system's count, and what nobody was told of, after it was read again.
fn counted(before: u32, missed: u64, now: u32) -> (u32, u64) {
    let more = now.wrapping_sub(before);
    if more <= u32::MAX / 2 { (now, missed + u64::from(more)) } else { (before, missed) }
}

/// How often a packet is tried against errors that may be another packet's.
const SEND_ATTEMPTS: usize = 3;
/// How many packets are read before others get their turn.
const MAX_AT_A_TIME: usize = 256;
const MAX_ERRORS: usize = 16;
/// After how many packets in one go the buffer may have been full.
const LOOK_AFTER: u32 = 32;
/// Stamps come at once or never; older ones than so many are given up.
const MAX_AWAITED: usize = 1024;
/// How much earlier than its packet a transmit stamp may seem, for the inaccuracy of reading two clocks.
const STAMP_SLACK: Nanos = Nanos(20_000);
/// See docs/guides/precision.md for where it comes from.
const UNPRIVILEGED_ERROR_NS: u64 = 100_000;
