//! Datagrams of an ordinary user.
//!
//! The checksum that is a probe's tag is on the wire here, too: the payload is made such that the kernel computes just it.
//! An error that quotes the whole payload shows it again.

use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
};

use mmn_probe::{
    conditions::Lane,
    cookie::Key as Secret,
    packet::{
        Body, Departure, Identity, Message, Packet, Probe, Quote, SendFailure, Ttl, UdpTag,
    },
    time::{Instant, Nanos, StampSource, Utc},
    wire::{
        PROTOCOL_UDP,
        checksum::Sum,
        extension,
        heard::{Clues, Protocol},
        icmp::Family,
        probe::encode_transport,
        udp,
    },
};
use rustc_hash::FxHashMap;
use socket2::{SockAddr, Socket, Type};

use super::{STAMPED_ERROR_NS, Watch, error_bytes, extension_offset, open, report, selector, set_fragmenting};
use crate::{
    clock,
    net::{
        carrier::{
            Carrier, Holds, JobKey, Order, Progress, Quality, Refusal, Sink, Ticket,
            keys::{Claim, Given, Keys, tag_of},
            refusal,
            sources::Sources,
        },
        control::{self, Beside, Header, ORIGIN_TIMESTAMPING},
        icmp::IdRange,
        stamps, sys,
    },
};

/// UDP over a socket for each flow.
#[derive(Debug)]
pub struct UdpCarrier {
    ports: IdRange,
    watch: Watch,
    sockets: FxHashMap<Place, Flow>,
    v4: Of,
    v6: Of,
    room: Room,
    packet: Vec<u8>,
    tokens: Vec<u64>,
    missed: u64,
    /// Something left since this was read.
    unread: bool,
}

/// What belongs to an address family.
#[derive(Debug)]
struct Of {
    keys: Keys,
    /// Absent where the kernel does not speak it.
    sources: Option<Sources>,
}

/// Room for one packet and what the kernel says beside it.
#[derive(Debug)]
struct Room {
    data: Box<[u8]>,
    control: [u8; 512],
}

/// Where a flow is: address family and source port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Place {
    family: Family,
    selector: u16,
}

impl Place {
    fn token(self) -> u64 {
        u64::from(self.family == Family::V6) << 16 | u64::from(self.selector)
    }

    fn of(token: u64) -> Self {
        let family = if token >> 16 == 0 { Family::V4 } else { Family::V6 };
        Self { family, selector: u16::try_from(token & 0xffff).unwrap_or(0) }
    }
}

#[derive(Debug)]
struct Flow {
    socket: Socket,
    dont_fragment: Option<bool>,
    /// The number that the kernel will give the next datagram, and those whose stamps are to come.
    next_number: u32,
    awaited: VecDeque<Awaited>,
    targets: FxHashMap<SocketAddr, Target>,
    /// How many tags are given out.
    held: u32,
    used: Instant,
    /// The system's count of dropped packets when it last told.
    dropped: u32,
}

#[derive(Clone, Copy, Debug)]
struct Awaited {
    number: u32,
    ticket: Ticket,
    /// When it was handed to the kernel.
    handed: Instant,
}

/// A port of a target, as far as datagrams are told apart by their checksums.
#[derive(Debug, Default)]
struct Target {
    /// The datagram without what changes: what a quoted payload is summed up with.
    bytes: usize,
    sum: Sum,
    /// What has not been answered: tag, and when it was sent.
    open: Vec<(u16, Instant)>,
}

impl UdpCarrier {
    /// Datagrams from the ports of a range. `seed` must be random and secret.
    pub fn new(ports: IdRange, seed: [u8; 16]) -> io::Result<Self> {
        let of = |family| Of { keys: Keys::new(Secret::new(seed)), sources: Sources::new(family).ok() };
        Ok(Self {
            ports,
            watch: Watch::new()?,
            sockets: FxHashMap::default(),
            v4: of(Family::V4),
            v6: of(Family::V6),
            room: Room { data: vec![0; 65_536].into(), control: [0; 512] },
            packet: Vec::new(),
            tokens: Vec::new(),
            missed: 0,
            unread: false,
        })
    }

    const fn of(&mut self, family: Family) -> &mut Of {
        match family {
            Family::V4 => &mut self.v4,
            Family::V6 => &mut self.v6,
        }
    }

    /// Sees to it that the flow has its socket.
    fn keep(&mut self, place: Place, chosen: bool, now: Instant) -> Result<(), Refusal> {
        if let Some(flow) = self.sockets.get_mut(&place) {
            flow.used = now;
            return Ok(());
        }
        if self.sockets.len() >= MOST_SOCKETS {
            let idle = self.sockets.iter().min_by_key(|(_, flow)| flow.used);
            let idle = idle.filter(|(_, flow)| now.saturating_since(flow.used) > IDLE);
            let Some(idle) = idle.map(|(place, _)| *place) else { return Err(Refusal::NoKey) };
            self.sockets.remove(&idle);
        }
        let flow = Flow::open(place, &self.watch, now).map_err(|error| match error.raw_os_error() {
            Some(libc::EADDRINUSE) => Refusal::Failed(SendFailure::InUse),
            Some(libc::EACCES) if chosen => Refusal::Failed(SendFailure::Unprivileged),
            Some(libc::EMFILE | libc::ENFILE) => Refusal::Busy,
            _ => refusal(&error),
        })?;
        self.sockets.insert(place, flow);
        Ok(())
    }

    fn take_back(&mut self, family: Family, key: u64, job: JobKey) {
        if !self.of(family).keys.release(key, job) {
            return;
        }
        let Some((_, selector)) = tag_of(key) else { return };
        let place = Place { family, selector };
        if let Some(flow) = self.sockets.get_mut(&place) {
            flow.held = flow.held.saturating_sub(1);
            if flow.held == 0 {
                self.sockets.remove(&place);
            }
        }
    }

    /// Reads the sockets that have something; returns whether they have no more.
    fn drain(&mut self, sink: &mut dyn Sink) -> bool {
        self.unread = false;
        let Self { watch, sockets, v4, v6, room, tokens, missed, .. } = self;
        tokens.clear();
        watch.ready(tokens);
        let mut drained = tokens.len() < super::MOST_READY;
        for place in tokens.iter().map(|token| Place::of(*token)) {
            let Some(flow) = sockets.get_mut(&place) else { continue };
            let keys = if place.family == Family::V4 { &v4.keys } else { &v6.keys };
            flow.drain_errors(place, keys, room, sink);
            let (all, count) = flow.drain(place, keys, room, sink);
            drained &= all;
            if count > LOOK_AFTER {
                *missed += flow.missed();
            }
        }
        drained
    }
}

impl Carrier for UdpCarrier {
    fn carries(&self, lane: Lane, probe: &Probe) -> Result<(), SendFailure> {
        let Body::Udp { payload, tag, .. } = &probe.body else { return Err(SendFailure::NoSocket) };
        let of = if probe.destination.is_ipv4() { &self.v4 } else { &self.v6 };
        if lane != Lane::Unprivileged || of.sources.is_none() {
            return Err(SendFailure::NoSocket);
        }
        if !probe.ip_options.is_empty() {
            return Err(SendFailure::Unprivileged);
        }
        if *tag == UdpTag::Checksum && payload.len() < 2 {
            return Err(SendFailure::Senseless);
        }
        Ok(())
    }

    fn quality(&self, lane: Lane) -> Option<Quality> {
        (lane == Lane::Unprivileged).then_some(Quality {
            sent_by: StampSource::Kernel,
            received_by: StampSource::Kernel,
            rtt_error_ns: Some(STAMPED_ERROR_NS),
        })
    }

    fn put(&mut self, order: Order<'_>, sink: &mut dyn Sink) -> Result<Holds, Refusal> {
        let Order { ticket, probe, .. } = order;
        let Body::Udp { port, tag: told_by, .. } = probe.body else {
            return Err(Refusal::Failed(SendFailure::NoSocket));
        };
        let by_ports = told_by == UdpTag::Ports;
        let (family, selector) = (Family::of(probe.destination), selector(self.ports, &order));
        let (place, to) = (Place { family, selector }, SocketAddr::new(probe.destination, port));
        let chosen = probe.flow.selector.is_some();
        let now = clock::monotonic();
        let destination = probe.destination;
        let claim = Claim { ticket, protocol: Protocol::Udp, selector, destination, now, added: None };
        let of = self.of(family);
        let source = of.sources.as_mut().ok_or(Refusal::Failed(SendFailure::NoSocket))?;
        let source = source.find(destination, probe.source, now).map_err(Refusal::Failed)?;
        if by_ports && of.keys.ports_taken(claim, port) {
            return Err(if chosen { Refusal::Failed(SendFailure::InUse) } else { Refusal::NoKey });
        }
        self.keep(place, chosen, now)?;
        let flow = self.sockets.get_mut(&place).ok_or(Refusal::NoKey)?;
        if !by_ports && !flow.is_free(to, now) {
            return Err(Refusal::NoKey);
        }
        let of = if family == Family::V4 { &mut self.v4 } else { &mut self.v6 };
        let given = of.keys.give(claim);
        let Some(Given { tag, key, fresh }) = given else { return Err(Refusal::NoKey) };
        flow.held += u32::from(fresh);
        let identity = Identity { selector, tag };
        self.packet.clear();
        let outcome = encode_transport(probe, identity, source, Utc(0), &mut self.packet)
            .map_err(Refusal::Failed)
            .and_then(|departure| {
                let payload = self.packet.get(udp::HEADER_BYTES..).unwrap_or_default();
                let keys = &of.keys;
                flow.transmit(place, to, probe, payload, (ticket, departure), keys, &mut self.room, sink)
            });
        if let Err(refusal) = outcome {
            self.take_back(family, key, ticket.job);
            return Err(refusal);
        }
        self.unread = true;
        let ports = of.keys.take_ports(claim, port, by_ports);
        if !by_ports {
            let length = self.packet.len();
            let sum = Sum::default()
                .plus_pseudo_header(source, destination, length, PROTOCOL_UDP)
                .unwrap_or_default()
                .plus(&udp::encode(selector, port, u16::try_from(length).unwrap_or(u16::MAX), 0));
            let target = flow.targets.entry(to).or_default();
            (target.bytes, target.sum) = (length - udp::HEADER_BYTES, sum);
            target.open.push((tag, now));
        }
        let family = u64::from(family == Family::V6) * V6_KEY;
        Ok([Some(key | family), ports.map(|key| key | family)])
    }

    fn send(&mut self, _: &mut dyn Sink) -> Progress {
        if self.unread { Progress::Sent } else { Progress::Idle }
    }

    fn watched(&self) -> Vec<Arc<OwnedFd>> {
        vec![Arc::clone(&self.watch.epoll)]
    }

    fn read(&mut self, _: usize, sink: &mut dyn Sink) -> bool {
        self.drain(sink)
    }

    fn catch_up(&mut self, sink: &mut dyn Sink) {
        if self.unread || !self.sockets.is_empty() {
            self.drain(sink);
        }
    }

    fn missed(&mut self, look: bool) -> u64 {
        if look {
            self.missed += self.sockets.values_mut().map(Flow::missed).sum::<u64>();
        }
        std::mem::take(&mut self.missed)
    }

    fn release(&mut self, key: u64, job: JobKey) {
        let family = if key & V6_KEY == 0 { Family::V4 } else { Family::V6 };
        self.take_back(family, key & !V6_KEY, job);
    }
}

impl Flow {
    fn open(place: Place, watch: &Watch, now: Instant) -> io::Result<Self> {
        let socket = open(Type::DGRAM, place.family, None, place.selector)?;
        let (level, ttl, tos) = match place.family {
            Family::V4 => (libc::IPPROTO_IP, libc::IP_RECVTTL, libc::IP_RECVTOS),
            Family::V6 => (libc::IPPROTO_IPV6, libc::IPV6_RECVHOPLIMIT, libc::IPV6_RECVTCLASS),
        };
        let fd = socket.as_fd();
        sys::set_option(fd, level, ttl, 1)?;
        sys::set_option(fd, level, tos, 1)?;
        stamps::request(fd, true)?;
        let dropped = sys::dropped(fd).unwrap_or(0);
        watch.add(&socket, place.token(), false)?;
        Ok(Self {
            socket,
            dont_fragment: None,
            next_number: 0,
            awaited: VecDeque::new(),
            targets: FxHashMap::default(),
            held: 0,
            used: now,
            dropped,
        })
    }

    /// Whether another datagram to a port of a target could be told from those before it.
    fn is_free(&mut self, to: SocketAddr, now: Instant) -> bool {
        let Some(target) = self.targets.get_mut(&to) else { return true };
        target.open.retain(|(_, sent)| now.saturating_since(*sent) < FORGOTTEN);
        target.open.iter().all(|(_, sent)| now.saturating_since(*sent) >= ALONE)
    }

    #[expect(clippy::too_many_arguments, reason = "parts of a carrier that are borrowed one by one")]
    fn transmit(
        &mut self,
        place: Place,
        to: SocketAddr,
        probe: &Probe,
        payload: &[u8],
        (ticket, departure): (Ticket, Departure),
        keys: &Keys,
        room: &mut Room,
        sink: &mut dyn Sink,
    ) -> Result<(), Refusal> {
        if self.dont_fragment != Some(probe.dont_fragment) {
            set_fragmenting(&self.socket, place.family, probe.dont_fragment)
                .map_err(|error| refusal(&error))?;
            self.dont_fragment = Some(probe.dont_fragment);
        }
        let header = Header {
            ttl: probe.ttl.map(|ttl| ttl.0),
            tos: Some(probe.tos),
            source: probe.source,
            options: &[],
        };
        let control = control::encode(place.family == Family::V6, &header);
        let to = SockAddr::from(to);
        let mut outcome = Refusal::Busy;
        // The socket reports an error about an earlier datagram by failing the next call. So the error queue is read,
        // which clears it, and the datagram is tried again.
        for _ in 0..SEND_ATTEMPTS {
            let moment = sink.moment();
            match sys::send(self.socket.as_fd(), payload, Some(&to), &control) {
                Ok(()) => {
                    let handed = moment.reading.at;
                    if self.awaited.len() == MOST_AWAITED {
                        self.awaited.pop_front();
                    }
                    self.awaited.push_back(Awaited { number: self.next_number, ticket, handed });
                    self.next_number = self.next_number.wrapping_add(1);
                    sink.sent(ticket, handed, moment.user(), departure);
                    return Ok(());
                }
                Err(error) => outcome = refusal(&error),
            }
            // The kernel may have counted it or not: counting starts anew.
            self.drain_errors(place, keys, room, sink);
            self.awaited.clear();
            self.next_number = 0;
            let _ = stamps::request(self.socket.as_fd(), true);
            if outcome == Refusal::Busy {
                break;
            }
            let _ = self.socket.take_error();
        }
        Err(outcome)
    }

    /// Reads the error queue: errors about datagrams, and stamps of those that left.
    fn drain_errors(&mut self, place: Place, keys: &Keys, room: &mut Room, sink: &mut dyn Sink) {
        for _ in 0..MOST_AT_A_TIME {
            let Ok((lengths, to)) =
                sys::receive_peer(self.socket.as_fd(), libc::MSG_ERRQUEUE, &mut room.data, &mut room.control)
            else {
                return;
            };
            let data = room.data.get(..lengths.data).unwrap_or_default();
            let beside = control::decode(room.control.get(..lengths.control).unwrap_or_default());
            let Some(error) = beside.error else { continue };
            if error.origin == ORIGIN_TIMESTAMPING {
                self.transmitted(error.data, beside.stamp, sink);
            } else if let Some(to) = to {
                self.failed(place, to, data, &beside, keys, sink);
            }
        }
    }

    /// An error about a datagram that went to `to`.
    fn failed(
        &mut self,
        place: Place,
        to: SocketAddr,
        data: &[u8],
        beside: &Beside,
        keys: &Keys,
        sink: &mut dyn Sink,
    ) {
        let Some(error) = beside.error else { return };
        let (payload, extensions) = extension::split(data, extension_offset(&error));
        let tag = self.targets.get_mut(&to).and_then(|target| target.tag(payload));
        let clues = Clues {
            protocol: Protocol::Udp,
            selector: place.selector,
            tag,
            ip_id: None,
            far_port: Some(to.port()),
            destination: Some(to.ip()),
            number: None,
        };
        let quote = Quote {
            destination: Some(to.ip()),
            destination_port: Some(to.port()),
            payload,
            ..Quote::default()
        };
        let heard = error.offender.zip(report(&error, quote, extensions));
        let Some((from, report)) = heard else { return };
        let Some(owner) = keys.owner(&clues, from) else { return sink.unmatched() };
        let bytes = error_bytes(place.family, udp::HEADER_BYTES + data.len());
        let message = Message::Error(report);
        tell(owner.ticket(), from, beside, bytes, message, sink);
    }

    /// Reads datagrams; returns whether there are no more, and how many there were.
    fn drain(&mut self, place: Place, keys: &Keys, room: &mut Room, sink: &mut dyn Sink) -> (bool, u32) {
        let (mut errors, mut count) = (0, 0);
        for _ in 0..MOST_AT_A_TIME {
            let received =
                sys::receive_peer(self.socket.as_fd(), 0, &mut room.data, &mut room.control);
            let (lengths, from) = match received {
                Ok((lengths, Some(from))) => (lengths, from),
                Ok((_, None)) => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return (true, count),
                // An error about an earlier datagram, which the error queue tells better; reading cleared it.
                Err(_) if errors < MOST_ERRORS => {
                    errors += 1;
                    continue;
                }
                // A socket that fails for ever must not keep the runtime busy.
                Err(_) => return (true, count),
            };
            count += 1;
            let payload = room.data.get(..lengths.data).unwrap_or_default();
            let beside = control::decode(room.control.get(..lengths.control).unwrap_or_default());
            if let Some(target) = self.targets.get_mut(&from) {
                target.open.pop();
            }
            let clues = Clues {
                protocol: Protocol::Udp,
                selector: place.selector,
                tag: None,
                ip_id: None,
                far_port: Some(from.port()),
                destination: None,
                number: None,
            };
            let Some(owner) = keys.owner(&clues, from.ip()) else {
                sink.unmatched();
                continue;
            };
            let message = Message::Udp { source_port: from.port(), payload };
            let bytes = udp::HEADER_BYTES + payload.len();
            tell(owner.ticket(), from.ip(), &beside, bytes, message, sink);
        }
        (false, count)
    }

    /// A datagram's stamp has come, if it was awaited. Those before it will get none any more.
    fn transmitted(&mut self, number: u32, stamp: Option<Utc>, sink: &mut dyn Sink) {
        let Some(at) = self.awaited.iter().position(|awaited| awaited.number == number) else { return };
        let Some(Awaited { ticket, handed, .. }) = self.awaited.drain(..=at).next_back() else { return };
        let moment = sink.moment();
        // A stamp from before the datagram was handed over belongs to another one.
        if let Some(stamp) = moment.kernel(stamp)
            && stamp.at + STAMP_SLACK >= handed
        {
            sink.stamped(ticket, moment.reading.at, stamp);
        }
    }

    /// How many packets the socket has dropped since this was last asked.
    fn missed(&mut self) -> u64 {
        let Ok(now) = sys::dropped(self.socket.as_fd()) else { return 0 };
        u64::from(now.wrapping_sub(std::mem::replace(&mut self.dropped, now)))
    }
}

impl Target {
    /// The tag of the datagram that is quoted with this payload: that of its checksum, if the payload is whole; else that of
    /// the only one that it can be.
    fn tag(&mut self, payload: &[u8]) -> Option<u16> {
        let summed = payload.get(..self.bytes).map(|payload| match self.sum.plus(payload).finish() {
            0 => 0xffff,
            sum => sum,
        });
        let tag = match summed {
            Some(tag) => tag,
            None => match &self.open[..] {
                [(tag, _)] => *tag,
                _ => return None,
            },
        };
        self.open.retain(|(open, _)| *open != tag);
        Some(tag)
    }
}

fn tell(
    ticket: Ticket,
    from: std::net::IpAddr,
    beside: &Beside,
    bytes: usize,
    message: Message<'_>,
    sink: &mut dyn Sink,
) {
    let moment = sink.moment();
    let packet = Packet {
        probe: ticket.probe,
        from,
        stamp: moment.kernel(beside.stamp).unwrap_or(moment.user()),
        ttl: beside.ttl.map(Ttl),
        tos: beside.tos,
        ip_id: None,
        ip_options: &[],
        bytes,
        message,
    };
    sink.packet(ticket.job, moment.reading.at, packet);
}

/// Of the 56 bits of a key, one that [`Keys`] leaves alone: the address family.
const V6_KEY: u64 = 1 << 55;
/// The most sockets at a time; the one that was used longest ago is closed for another, if that was so long ago.
const MOST_SOCKETS: usize = 512;
const IDLE: Nanos = Nanos::from_secs(10);
/// How long a datagram that is told by its checksum is alone under way to a port of a target, unless it is answered.
const ALONE: Nanos = Nanos::from_millis(500);
/// When nothing is expected of it any more.
const FORGOTTEN: Nanos = Nanos::from_secs(3);
/// How often a datagram is tried against errors that may be another's.
const SEND_ATTEMPTS: usize = 3;
const MOST_AT_A_TIME: usize = 64;
const MOST_ERRORS: usize = 16;
/// After how many packets in one go the buffer may have been full.
const LOOK_AFTER: u32 = 32;
/// Stamps come at once or never; older ones than so many are given up.
const MOST_AWAITED: usize = 256;
/// How much earlier than its datagram a stamp may seem, for the inaccuracy of reading two clocks.
const STAMP_SLACK: Nanos = Nanos(20_000);
