//! A flow of datagrams: its socket, and how what comes by it is told to be about which datagram.

use std::{
    collections::VecDeque,
    io,
    net::{IpAddr, SocketAddr},
    os::fd::AsFd,
};

use mmn_probe::{
    packet::{Departure, Message, Packet, Probe, Quote, Ttl},
    time::{Instant, Nanos, Utc},
    wire::{
        PROTOCOL_UDP,
        checksum::Sum,
        extension,
        heard::{Clues, Protocol},
        icmp::Family,
        udp,
    },
};
use rustc_hash::FxHashMap;
use socket2::{SockAddr, Socket, Type};

use super::{Watch, error_bytes, extension_offset, open, report, set_fragmenting};
use crate::net::{
    carrier::{Refusal, Sink, Ticket, keys::Keys, refusal},
    control::{self, Beside, Header, ORIGIN_TIMESTAMPING},
    network::Network,
    stamps, sys,
};

/// Room for one packet and what the kernel says beside it.
#[derive(Debug)]
pub(super) struct Room {
    data: Box<[u8]>,
    control: [u8; 512],
}

impl Default for Room {
    fn default() -> Self {
        Self { data: vec![0; 65_536].into(), control: [0; 512] }
    }
}

/// A source port with its socket.
#[derive(Debug)]
pub(super) struct Flow {
    family: Family,
    selector: u16,
    socket: Socket,
    dont_fragment: Option<bool>,
    /// The number that the kernel will give the next datagram, and those whose stamps are to come.
    next_number: u32,
    awaited: VecDeque<Awaited>,
    targets: FxHashMap<SocketAddr, Target>,
    /// How many tags are given out.
    pub(super) held: u32,
    pub(super) used: Instant,
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

/// What has not been answered of a port of a target, as far as datagrams are told apart by their checksums.
#[derive(Debug, Default)]
struct Target {
    open: Vec<Open>,
}

/// A datagram that is told by its checksum.
#[derive(Clone, Copy, Debug)]
struct Open {
    tag: u16,
    sent: Instant,
    /// The octets of its payload.
    bytes: usize,
    /// What its checksum is made of, but for the payload.
    sum: Sum,
}

impl Flow {
    pub(super) fn open(
        network: &Network,
        family: Family,
        selector: u16,
        watch: &Watch,
        now: Instant,
    ) -> io::Result<Self> {
        let socket = open(network, Type::DGRAM, family, None, selector)?;
        let (level, ttl, tos) = match family {
            Family::V4 => (libc::IPPROTO_IP, libc::IP_RECVTTL, libc::IP_RECVTOS),
            Family::V6 => (libc::IPPROTO_IPV6, libc::IPV6_RECVHOPLIMIT, libc::IPV6_RECVTCLASS),
        };
        let fd = socket.as_fd();
        sys::set_option(fd, level, ttl, 1)?;
        sys::set_option(fd, level, tos, 1)?;
        stamps::request(fd, true)?;
        let dropped = sys::dropped(fd).unwrap_or(0);
        watch.add(&socket, selector.into(), false)?;
        Ok(Self {
            family,
            selector,
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
    pub(super) fn is_free(&mut self, to: SocketAddr, now: Instant) -> bool {
        let Some(target) = self.targets.get_mut(&to) else { return true };
        target.open.retain(|open| now.saturating_since(open.sent) < FORGOTTEN);
        target.open.iter().all(|open| now.saturating_since(open.sent) >= ALONE)
    }

    /// A datagram that is told by its checksum has left; `length` counts its header.
    pub(super) fn sent(&mut self, to: SocketAddr, source: IpAddr, length: usize, tag: u16, now: Instant) {
        let header = udp::encode(self.selector, to.port(), u16::try_from(length).unwrap_or(u16::MAX), 0);
        let pseudo = Sum::default().plus_pseudo_header(source, to.ip(), length, PROTOCOL_UDP);
        let sum = pseudo.unwrap_or_default().plus(&header);
        let bytes = length.saturating_sub(udp::HEADER_BYTES);
        self.targets.entry(to).or_default().open.push(Open { tag, sent: now, bytes, sum });
    }

    #[expect(clippy::too_many_arguments, reason = "parts of a carrier that are borrowed one by one")]
    pub(super) fn transmit(
        &mut self,
        to: SocketAddr,
        probe: &Probe,
        payload: &[u8],
        (ticket, departure): (Ticket, Departure),
        keys: &Keys,
        room: &mut Room,
        sink: &mut dyn Sink,
    ) -> Result<(), Refusal> {
        if self.dont_fragment != Some(probe.dont_fragment) {
            set_fragmenting(&self.socket, self.family, probe.dont_fragment)
                .map_err(|error| refusal(&error))?;
            self.dont_fragment = Some(probe.dont_fragment);
        }
        let header = Header {
            ttl: probe.ttl.map(|ttl| ttl.0),
            tos: Some(probe.tos),
            source: probe.source,
            options: &[],
        };
        let control = control::encode(self.family == Family::V6, &header);
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
            self.drain_errors(keys, room, sink);
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
    pub(super) fn drain_errors(&mut self, keys: &Keys, room: &mut Room, sink: &mut dyn Sink) {
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
                self.failed(to, data, &beside, keys, sink);
            }
        }
    }

    /// An error about a datagram that went to `to`.
    fn failed(&mut self, to: SocketAddr, data: &[u8], beside: &Beside, keys: &Keys, sink: &mut dyn Sink) {
        let Some(error) = beside.error else { return };
        let (payload, extensions) = extension::split(data, extension_offset(&error));
        let open = self.targets.get_mut(&to).and_then(|target| target.take(payload));
        // What follows is padding up to a structure.
        let payload = open.and_then(|open| payload.get(..open.bytes)).unwrap_or(payload);
        let clues = Clues {
            protocol: Protocol::Udp,
            selector: self.selector,
            tag: open.map(|open| open.tag),
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
        let bytes = error_bytes(self.family, udp::HEADER_BYTES + data.len());
        let message = Message::Error(report);
        tell(owner.ticket(), from, beside, bytes, message, sink);
    }

    /// Reads datagrams; returns how many there were.
    pub(super) fn drain(&mut self, keys: &Keys, room: &mut Room, sink: &mut dyn Sink) -> u32 {
        let (mut errors, mut count) = (0, 0);
        for _ in 0..MOST_AT_A_TIME {
            let received = sys::receive_peer(self.socket.as_fd(), 0, &mut room.data, &mut room.control);
            let (lengths, from) = match received {
                Ok((lengths, Some(from))) => (lengths, from),
                Ok((_, None)) => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return count,
                // An error about an earlier datagram, which the error queue tells better; reading cleared it.
                Err(_) if errors < MOST_ERRORS => {
                    errors += 1;
                    continue;
                }
                // A socket that fails for ever must not keep the runtime busy.
                Err(_) => return count,
            };
            count += 1;
            let payload = room.data.get(..lengths.data).unwrap_or_default();
            let beside = control::decode(room.control.get(..lengths.control).unwrap_or_default());
            if let Some(target) = self.targets.get_mut(&from) {
                target.open.pop();
            }
            let clues = Clues {
                protocol: Protocol::Udp,
                selector: self.selector,
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
        count
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
    pub(super) fn missed(&mut self) -> u64 {
        let Ok(now) = sys::dropped(self.socket.as_fd()) else { return 0 };
        u64::from(now.wrapping_sub(std::mem::replace(&mut self.dropped, now)))
    }
}

impl Target {
    /// Takes out the datagram that is quoted with this payload: the one whose checksum it gives, if it is whole; else the
    /// only one that it can be.
    fn take(&mut self, payload: &[u8]) -> Option<Open> {
        let quoted = |open: &Open| payload.get(..open.bytes).is_some_and(|whole| open.has(whole));
        let found = self.open.iter().position(quoted).or(match &self.open[..] {
            [only] if payload.len() < only.bytes => Some(0),
            _ => None,
        })?;
        Some(self.open.swap_remove(found))
    }
}

impl Open {
    /// Whether this payload gives its checksum, of which 0 is written as ffff (RFC 768).
    fn has(&self, payload: &[u8]) -> bool {
        let sum = self.sum.plus(payload).finish();
        self.tag == if sum == 0 { 0xffff } else { sum }
    }
}

fn tell(
    ticket: Ticket,
    from: IpAddr,
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
        fragment_id: None,
        ip_options: &[],
        bytes,
        message,
    };
    sink.packet(ticket.job, moment.reading.at, packet);
}

/// How long a datagram that is told by its checksum is alone under way to a port of a target, unless it is answered.
const ALONE: Nanos = Nanos::from_millis(500);
/// When nothing is expected of it any more.
const FORGOTTEN: Nanos = Nanos::from_secs(3);
/// How often a datagram is tried against errors that may be another's.
const SEND_ATTEMPTS: usize = 3;
const MOST_AT_A_TIME: usize = 64;
const MOST_ERRORS: usize = 16;
/// After how many packets in one go the buffer may have been full.
pub(super) const LOOK_AFTER: u32 = 32;
/// Stamps come at once or never; older ones than so many are given up.
const MOST_AWAITED: usize = 256;
/// How much earlier than its datagram a stamp may seem, for the inaccuracy of reading two clocks.
const STAMP_SLACK: Nanos = Nanos(20_000);
