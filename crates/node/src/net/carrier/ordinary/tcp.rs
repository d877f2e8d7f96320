//! Connections of an ordinary user, of one address family, as probes: the kernel's SYN, and what comes of it.
//!
//! A connection that is there is reset at once. The kernel stamps no SYN and no answer to one, so this process does; it
//! shows nothing of the answer's header either. A SYN that nobody answers the kernel sends once more after a second, and an
//! answer may be to either.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
    time::Duration,
};

use mmn_probe::{
    conditions::Lane,
    packet::{
        Body, Departure, Identity, Message, Packet, Probe, Quote, Segment, SendFailure, Ttl, tcp_flags,
    },
    time::{Instant, Nanos, Stamp, StampSource},
    wire::{PROTOCOL_TCP, extension, heard, icmp::Family, probe::packet_bytes, tcp::HEADER_BYTES},
};
use rustc_hash::FxHashMap;
use socket2::{SockAddr, Socket, Type};

use super::{
    UNSTAMPED_ERROR_NS, Watch, error_bytes, extension_offset, open, report, selector, set_fragmenting,
};
use crate::{
    clock,
    net::{
        carrier::{Carrier, Holds, JobKey, Moment, Order, Progress, Quality, Refusal, Sink, Ticket, refusal},
        control::{self, Beside},
        icmp::IdRange,
        network::Network,
        stamps, sys,
    },
};

/// TCP over a socket for each probe.
#[derive(Debug)]
pub struct TcpCarrier {
    network: Network,
    family: Family,
    ports: IdRange,
    watch: Watch,
    attempts: FxHashMap<u64, Attempt>,
    /// Who has a source port and a port of a target.
    ways: FxHashMap<(u16, SocketAddr), u64>,
    next: u64,
    tokens: Vec<u64>,
    data: Box<[u8]>,
    /// Something left since this was read.
    unread: bool,
}

#[derive(Debug)]
struct Attempt {
    socket: Socket,
    ticket: Ticket,
    selector: u16,
    to: SocketAddr,
    sent: Instant,
}

/// What a socket tells of its attempt.
enum Outcome {
    /// Nothing as yet.
    Pending,
    /// Flags of the segment that answered.
    Answered(u8),
    /// An entry of the error queue: how many octets of it are in the room, and what stands beside.
    Failed(usize, Beside),
    /// The system has given up, and nobody has answered.
    GivenUp,
}

impl TcpCarrier {
    /// Connections from the ports of a range in a network.
    pub fn new(network: &Network, family: Family, ports: IdRange) -> io::Result<Self> {
        Ok(Self {
            network: network.clone(),
            family,
            ports,
            watch: Watch::new()?,
            attempts: FxHashMap::default(),
            ways: FxHashMap::default(),
            next: 0,
            tokens: Vec::new(),
            data: vec![0; 2048].into(),
            unread: false,
        })
    }

    /// Makes room for an attempt where another one is on the same way.
    fn clear(&mut self, selector: u16, to: SocketAddr, now: Instant) -> Result<(), Refusal> {
        let Some(token) = self.ways.get(&(selector, to)).copied() else { return Ok(()) };
        let young = |attempt: &Attempt| now.saturating_since(attempt.sent) < ALONE;
        if self.attempts.get(&token).is_some_and(young) {
            return Err(Refusal::NoKey);
        }
        self.close(token);
        Ok(())
    }

    fn close(&mut self, token: u64) -> Option<Attempt> {
        let attempt = self.attempts.remove(&token)?;
        self.ways.remove(&(attempt.selector, attempt.to));
        Some(attempt)
    }

    /// Reads what has come of the attempts that have something; returns whether there are no more.
    fn drain(&mut self, sink: &mut dyn Sink) -> bool {
        self.unread = false;
        let mut tokens = std::mem::take(&mut self.tokens);
        tokens.clear();
        self.watch.ready(&mut tokens);
        for token in &tokens {
            let Some(attempt) = self.attempts.get(token) else { continue };
            let outcome = attempt.outcome(&mut self.data);
            if matches!(outcome, Outcome::Pending) {
                continue;
            }
            if let Some(attempt) = self.close(*token) {
                attempt.tell(&outcome, &self.data, sink);
            }
        }
        let drained = tokens.is_empty();
        self.tokens = tokens;
        drained
    }
}

impl Carrier for TcpCarrier {
    fn carries(&self, lane: Lane, probe: &Probe) -> Result<(), SendFailure> {
        let Body::Tcp { flags, seq, ack, payload, .. } = &probe.body else {
            return Err(SendFailure::NoSocket);
        };
        if lane != Lane::Unprivileged || Family::of(probe.destination) != self.family {
            return Err(SendFailure::NoSocket);
        }
        let plain = *flags == tcp_flags::SYN && seq.is_none() && ack.is_none() && payload.is_empty();
        let plain = plain && probe.ip_options.is_empty() && probe.fragment_offset == 0;
        if plain { Ok(()) } else { Err(SendFailure::Unprivileged) }
    }

    fn quality(&self, lane: Lane) -> Option<Quality> {
        (lane == Lane::Unprivileged).then_some(Quality {
            sent_by: StampSource::User,
            received_by: StampSource::User,
            rtt_error_ns: Some(UNSTAMPED_ERROR_NS),
        })
    }

    fn put(&mut self, order: Order<'_>, sink: &mut dyn Sink) -> Result<Holds, Refusal> {
        let Order { ticket, probe, .. } = order;
        let Body::Tcp { port, .. } = probe.body else {
            return Err(Refusal::Failed(SendFailure::NoSocket));
        };
        if self.attempts.len() >= MOST_ATTEMPTS {
            return Err(Refusal::NoKey);
        }
        let selector = selector(self.ports, &order);
        let to = SocketAddr::new(probe.destination, port);
        self.clear(selector, to, clock::monotonic())?;
        let socket =
            prepared(&self.network, probe, selector).map_err(|error| match error.raw_os_error() {
                Some(libc::EADDRINUSE) => Refusal::Failed(SendFailure::InUse),
                Some(libc::EACCES) => Refusal::Failed(SendFailure::Unprivileged),
                Some(libc::EMFILE | libc::ENFILE) => Refusal::Busy,
                _ => refusal(&error),
            })?;
        let moment = sink.moment();
        let at_once = match socket.connect(&SockAddr::from(to)) {
            Ok(()) => Some(Outcome::Answered(tcp_flags::SYN | tcp_flags::ACK)),
            Err(error) => match error.raw_os_error() {
                Some(libc::EINPROGRESS) => None,
                Some(libc::ECONNREFUSED) => Some(Outcome::Answered(tcp_flags::RST | tcp_flags::ACK)),
                // Another program has this way.
                Some(libc::EADDRNOTAVAIL | libc::EADDRINUSE) if probe.source.is_none() => {
                    return Err(Refusal::Failed(SendFailure::InUse));
                }
                _ => return Err(refusal(&error)),
            },
        };
        let token = self.next;
        self.next = (token + 1) & KEY_BITS;
        if at_once.is_none() {
            self.watch.add(&socket, token, true).map_err(|error| refusal(&error))?;
        }
        let source = socket.local_addr().ok().and_then(|address| address.as_socket());
        let tag = u16::try_from(token % 0xffff).unwrap_or(0) + 1;
        // The kernel adds options of its own.
        let departure = Departure {
            source: source.map(|source| source.ip()),
            identity: Identity { selector, tag },
            ip_id: None,
            bytes: u32::try_from(packet_bytes(probe)).unwrap_or(u32::MAX),
        };
        let sent = moment.reading.at;
        sink.sent(ticket, sent, moment.user(), departure);
        let attempt = Attempt { socket, ticket, selector, to, sent };
        if let Some(outcome) = at_once {
            attempt.tell(&outcome, &[], sink);
            return Ok([None, None]);
        }
        self.unread = true;
        self.attempts.insert(token, attempt);
        self.ways.insert((selector, to), token);
        Ok([Some(token), None])
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
        if !self.attempts.is_empty() {
            self.drain(sink);
        }
    }

    fn missed(&mut self, _: bool) -> u64 {
        // A connection has a place of its own for what becomes of it.
        0
    }

    fn release(&mut self, key: u64, job: JobKey) {
        if self.attempts.get(&key).is_some_and(|attempt| attempt.ticket.job == job) {
            self.close(key);
        }
    }
}

impl Attempt {
    /// What has come of it: first what the error queue says, which knows more.
    fn outcome(&self, data: &mut [u8]) -> Outcome {
        let mut space = [0; 512];
        while let Ok(lengths) = sys::receive(self.socket.as_fd(), libc::MSG_ERRQUEUE, data, &mut space) {
            let beside = control::decode(space.get(..lengths.control).unwrap_or_default());
            if beside.error.is_some_and(|error| report(&error, Quote::default(), &[]).is_some()) {
                return Outcome::Failed(lengths.data, beside);
            }
        }
        match self.socket.take_error() {
            Ok(None) if self.socket.peer_addr().is_ok() => Outcome::Answered(tcp_flags::SYN | tcp_flags::ACK),
            Ok(None) => Outcome::Pending,
            Ok(Some(error)) => match error.raw_os_error() {
                Some(libc::ECONNREFUSED | libc::ECONNRESET) => {
                    Outcome::Answered(tcp_flags::RST | tcp_flags::ACK)
                }
                _ => Outcome::GivenUp,
            },
            Err(_) => Outcome::GivenUp,
        }
    }

    fn tell(&self, outcome: &Outcome, data: &[u8], sink: &mut dyn Sink) {
        let moment = sink.moment();
        match outcome {
            Outcome::Pending | Outcome::GivenUp => {}
            Outcome::Answered(flags) => {
                let segment = Segment {
                    source_port: self.to.port(),
                    flags: *flags,
                    seq: None,
                    ack: None,
                    window: None,
                    options: &[],
                    payload: &[],
                };
                let message = Message::Tcp(segment);
                self.packet(self.to.ip(), (None, None), HEADER_BYTES, message, moment.user(), &moment, sink);
            }
            Outcome::Failed(length, beside) => {
                let data = data.get(..*length).unwrap_or_default();
                let Some(error) = beside.error else { return };
                // The queue gives the quoted segment from its header on.
                let (quoted, extensions) = extension::split(data, extension_offset(&error));
                let quote = heard::quoted_transport(PROTOCOL_TCP, quoted).map(|(_, quote)| quote);
                let quote = Quote { destination: Some(self.to.ip()), ..quote.unwrap_or_default() };
                let Some(report) = report(&error, quote, extensions) else { return };
                let from = error.offender.unwrap_or(self.to.ip());
                let stamp = moment.kernel(beside.stamp).unwrap_or(moment.user());
                let bytes = error_bytes(Family::of(self.to.ip()), data.len());
                let header = (beside.ttl.map(Ttl), beside.tos);
                self.packet(from, header, bytes, Message::Error(report), stamp, &moment, sink);
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of a packet")]
    fn packet(
        &self,
        from: IpAddr,
        (ttl, tos): (Option<Ttl>, Option<u8>),
        bytes: usize,
        message: Message<'_>,
        stamp: Stamp,
        moment: &Moment,
        sink: &mut dyn Sink,
    ) {
        let probe = self.ticket.probe;
        let packet = Packet {
            probe,
            from,
            stamp,
            ttl,
            tos,
            ip_id: None,
            fragment_id: None,
            ip_options: &[],
            bytes,
            message,
        };
        sink.packet(self.ticket.job, moment.reading.at, packet);
    }
}

/// A socket for one probe, bound to its port.
fn prepared(network: &Network, probe: &Probe, selector: u16) -> io::Result<Socket> {
    let family = Family::of(probe.destination);
    let socket = open(network, Type::STREAM, family, probe.source, selector)?;
    let fd = socket.as_fd();
    let (level, ttl, tos, show) = match family {
        Family::V4 => (libc::IPPROTO_IP, libc::IP_TTL, libc::IP_TOS, [libc::IP_RECVTTL, libc::IP_RECVTOS]),
        Family::V6 => (
            libc::IPPROTO_IPV6,
            libc::IPV6_UNICAST_HOPS,
            libc::IPV6_TCLASS,
            [libc::IPV6_RECVHOPLIMIT, libc::IPV6_RECVTCLASS],
        ),
    };
    for name in show {
        sys::set_option(fd, level, name, 1)?;
    }
    if let Some(Ttl(value)) = probe.ttl {
        sys::set_option(fd, level, ttl, value.into())?;
    }
    if probe.tos != 0 {
        sys::set_option(fd, level, tos, probe.tos.into())?;
    }
    set_fragmenting(&socket, family, probe.dont_fragment)?;
    if let Body::Tcp { mss: Some(mss), .. } = probe.body {
        sys::set_option(fd, libc::IPPROTO_TCP, libc::TCP_MAXSEG, mss.into())?;
    }
    sys::set_option(fd, libc::IPPROTO_TCP, libc::TCP_SYNCNT, 1)?;
    socket.set_linger(Some(Duration::ZERO))?;
    // Errors are stamped, if nothing else is.
    stamps::request(fd, false)?;
    Ok(socket)
}

/// How long an attempt is alone on its way, unless it is answered: the kernel sends its SYN anew after it.
const ALONE: Nanos = Nanos::from_secs(1);
const MOST_ATTEMPTS: usize = 512;
const KEY_BITS: u64 = (1 << 56) - 1;
