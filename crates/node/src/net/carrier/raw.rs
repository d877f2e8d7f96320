//! The raw and the precise lane of one address family: whole packets by sockets that leave the IP header to us.
//!
//! Both lanes receive by the same sockets, with the kernel's stamps. They differ in how packets leave: the raw lane gives
//! up to 16 to a system call and stamps them itself, just before; the precise lane gives 8 at most, and has the kernel
//! stamp them as they leave, on a socket of its own whose error queue nothing else fills.

mod fragments;
mod guards;
mod outlet;
mod receive;
mod sockets;
#[cfg(test)]
mod tests;
mod wide;

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{Arc, Mutex, PoisonError},
};

use mmn_probe::{
    conditions::Lane,
    cookie::Key as Secret,
    packet::{Body, Identity, Probe, SendFailure, UdpTag, tcp_flags},
    time::{Instant, StampSource, Utc},
    wire::{
        heard::Protocol,
        icmp::Family,
        probe::{encode, number},
    },
};
use socket2::SockAddr;

use self::{
    fragments::Fragments,
    guards::Guards,
    outlet::{Outlet, Packed},
    receive::{PROTOCOLS, Receiver},
    wide::Wide,
};
use super::{
    Carrier, Holds, JobKey, Order, Progress, Quality, Refusal, Sink,
    keys::{Claim, Given, Keys, tag_of},
    sources::Sources,
};
use crate::{
    clock,
    net::{
        bulk::Detour,
        control::{self, Header},
        icmp::IdRange,
        sys::{self, Outgoing, Room},
    },
};

pub use guards::PortFlag;
pub use sockets::{RAW_DESCRIPTORS, RawDescription, RawSockets};

/// The two lanes over sockets of one address family.
#[derive(Debug)]
pub struct RawCarrier {
    family: Family,
    ids: IdRange,
    ports: IdRange,
    receivers: [Receiver; 3],
    /// Of IPv6, where the socket for it was given.
    fragments: Option<Fragments>,
    many: Outlet,
    precise: Outlet,
    keys: Keys,
    sources: Sources,
    guards: Guards,
    wide: Wide,
    room: Room,
    detour: Option<Arc<Mutex<Detour>>>,
}

impl RawCarrier {
    /// Takes the sockets over. `seed` must be random and secret.
    pub fn new(sockets: RawSockets, seed: [u8; 16]) -> io::Result<Self> {
        let family = sockets.family();
        let RawDescription { ids, ports, .. } = sockets.describe();
        let RawSockets { network, receive: [icmp, udp, tcp], send: [many, precise], fragments, .. } = sockets;
        let receiver = |socket: OwnedFd, protocol| Receiver::new(socket, family, protocol);
        let [one, two, three] = PROTOCOLS;
        Ok(Self {
            family,
            ids,
            ports,
            receivers: [receiver(icmp, one), receiver(udp, two), receiver(tcp, three)],
            fragments: fragments.map(Fragments::new),
            many: Outlet::new(many, RAW_BATCH, false)?,
            precise: Outlet::new(precise, PRECISE_BATCH, true)?,
            keys: Keys::new(Secret::new(seed)),
            sources: Sources::new(family, &network)?,
            guards: Guards::new(family, &network),
            wide: Wide::new(ids, ports),
            room: Room::default(),
            detour: None,
        })
    }

    fn send_lane(&mut self, lane: Lane, sink: &mut dyn Sink) -> Progress {
        let Self { many, precise, receivers, .. } = self;
        let outlet = if lane == Lane::Precise { precise } else { many };
        let [icmp, udp, tcp] = receivers.each_ref().map(|receiver| receiver.socket.as_fd());
        outlet.send(sink, &|bytes, outgoing| fragment([icmp, udp, tcp], bytes, outgoing))
    }

    const fn outlet(&mut self, lane: Lane) -> &mut Outlet {
        match lane {
            Lane::Precise => &mut self.precise,
            _ => &mut self.many,
        }
    }

    /// Where a probe's flow is in the range that its protocol has, or what the machine says; of UDP a port that is kept.
    fn selector(&mut self, protocol: Protocol, order: &Order<'_>) -> Result<u16, SendFailure> {
        let range = if protocol == Protocol::Icmp { self.ids } else { self.ports };
        let flow = order.probe.flow;
        let keep = |guards: &mut Guards, port| match protocol {
            Protocol::Udp => guards.keep(port),
            Protocol::Icmp | Protocol::Tcp => Ok(()),
        };
        if let Some(selector) = flow.selector {
            return keep(&mut self.guards, selector).map(|()| selector);
        }
        let count = u32::from(range.last() - range.first()) + 1;
        let start = u32::from(order.base) + u32::from(flow.number);
        let mut outcome = Err(SendFailure::InUse);
        // Another program may have a port of the range: the flow takes the next.
        for offset in start..start + count.min(MOST_IN_USE) {
            let selector = range.first().wrapping_add(u16::try_from(offset % count).unwrap_or(0));
            outcome = keep(&mut self.guards, selector).map(|()| selector);
            if outcome != Err(SendFailure::InUse) {
                break;
            }
        }
        outcome
    }

    fn take_back(&mut self, key: u64, job: JobKey) {
        if self.keys.release(key, job)
            && let Some((protocol, selector)) = tag_of(key)
        {
            self.narrow(protocol, selector);
            let Self { receivers, fragments, keys, .. } = self;
            for receiver in receivers.iter_mut().filter(|receiver| !receiver.is_awaited(keys)) {
                receiver.listen(false);
            }
            if let Some(fragments) = fragments.as_mut().filter(|_| keys.under_way(Protocol::Icmp) == 0) {
                fragments.rest();
            }
        }
    }

    /// Receives what answers to probes of a protocol.
    fn listen(&mut self) {
        let Self { receivers, keys, .. } = self;
        for receiver in receivers.iter_mut().filter(|receiver| receiver.is_awaited(keys)) {
            receiver.listen(true);
        }
    }

    /// Lets answers to a selector pass that is none of the ranges'.
    fn widen(&mut self, protocol: Protocol, selector: u16) -> Result<(), SendFailure> {
        if self.wide.has(protocol, selector) {
            return Ok(());
        }
        self.wide.add(protocol, selector)?;
        self.attach(protocol).map_err(|error| SendFailure::System(error.raw_os_error().unwrap_or(0)))
    }

    fn narrow(&mut self, protocol: Protocol, selector: u16) {
        if self.wide.remove(protocol, selector) {
            // A filter that lets more pass than it must only costs time.
            let _ = self.attach(protocol);
            if protocol == Protocol::Udp {
                self.guards.leave(selector);
            }
        }
    }

    fn send_by_router(&self, probe: &Probe, packet: &[u8], now: Instant) -> Result<(), Refusal> {
        let (Some(detour), Some(router)) = (&self.detour, probe.router) else {
            return Err(Refusal::Failed(SendFailure::NoRouter));
        };
        if router.is_ipv4() != probe.destination.is_ipv4() {
            return Err(Refusal::Failed(SendFailure::Senseless));
        }
        detour.lock().unwrap_or_else(PoisonError::into_inner).send(now, router, packet)
    }

    fn attach(&self, protocol: Protocol) -> io::Result<()> {
        let sockets = self.receivers.iter().zip(PROTOCOLS);
        for (receiver, _) in sockets.filter(|(_, of)| [Protocol::Icmp, protocol].contains(of)) {
            receiver.attach(&self.wide)?;
        }
        if let Some(fragments) = self.fragments.as_ref().filter(|_| protocol == Protocol::Icmp) {
            // Without it replies are heard all the same.
            let _ = fragments.attach(&self.wide.ids());
        }
        Ok(())
    }
}

impl Carrier for RawCarrier {
    fn carries(&self, lane: Lane, probe: &Probe) -> Result<(), SendFailure> {
        let ours = matches!(lane, Lane::Raw | Lane::Precise) && Family::of(probe.destination) == self.family;
        if !ours {
            return Err(SendFailure::NoSocket);
        }
        match (&probe.body, self.family) {
            _ if probe.fragment_offset != 0 && self.family == Family::V6 => Err(SendFailure::Senseless),
            (Body::Timestamp, Family::V6) => Err(SendFailure::Senseless),
            (
                Body::Timestamp
                | Body::Echo { .. }
                | Body::TooBig { .. }
                | Body::Udp { .. }
                | Body::Tcp { .. },
                _,
            ) => Ok(()),
            _ => Err(SendFailure::NoSocket),
        }
    }

    fn quality(&self, lane: Lane) -> Option<Quality> {
        let (sent_by, rtt_error_ns) = match lane {
            Lane::Raw => (StampSource::User, RAW_ERROR_NS),
            Lane::Precise => (StampSource::Kernel, PRECISE_ERROR_NS),
            _ => return None,
        };
        Some(Quality { sent_by, received_by: StampSource::Kernel, rtt_error_ns: Some(rtt_error_ns) })
    }

    fn put(&mut self, order: Order<'_>, sink: &mut dyn Sink) -> Result<Holds, Refusal> {
        let Order { ticket, lane, probe, .. } = order;
        if self.outlet(lane).is_full() && self.send_lane(lane, sink) == Progress::Blocked {
            return Err(Refusal::Busy);
        }
        let now = clock::monotonic();
        let towards = probe.router.unwrap_or(probe.destination);
        let source = self.sources.find(towards, probe.source, now).map_err(|reason| {
            let by_router = probe.router.is_some() && reason == SendFailure::NoRoute;
            Refusal::Failed(if by_router { SendFailure::RouterSilent } else { reason })
        })?;
        let protocol = protocol(&probe.body);
        let selector = self.selector(protocol, &order).map_err(Refusal::Failed)?;
        let destination = probe.destination;
        let claim = Claim { ticket, protocol, selector, destination, now, added: added(&probe.body) };
        let by_ports = by_ports(&probe.body, claim.added);
        if let Some((port, true)) = by_ports
            && self.keys.ports_taken(claim, port)
        {
            let chosen = probe.flow.selector.is_some();
            return Err(if chosen { Refusal::Failed(SendFailure::InUse) } else { Refusal::NoKey });
        }
        self.widen(protocol, selector).map_err(Refusal::Failed)?;
        let Given { tag, key, fresh } = self.keys.give(claim).ok_or(Refusal::NoKey)?;
        if fresh {
            self.wide.hold(protocol, selector);
        }
        self.listen();
        if let Some(fragments) = &mut self.fragments {
            fragments.expect(probe);
        }
        let identity = Identity { selector, tag };
        let utc = if matches!(probe.body, Body::Timestamp) { clock::wall() } else { Utc(0) };
        let numbered = claim.added.map(|_| {
            let mut numbered = probe.clone();
            number(&mut numbered, identity, self.keys.secret());
            numbered
        });
        let probe = numbered.as_ref().unwrap_or(probe);
        let outlet = self.outlet(lane);
        let start = outlet.bytes.len();
        match encode(probe, identity, source, utc, &mut outlet.bytes) {
            Ok(departure) if probe.router.is_some() => {
                let packet = outlet.bytes.split_off(start);
                if let Err(refusal) = self.send_by_router(probe, &packet, now) {
                    self.take_back(key, ticket.job);
                    return Err(refusal);
                }
                let moment = sink.moment();
                sink.sent(ticket, moment.reading.at, moment.user(), departure);
            }
            Ok(departure) => {
                let outgoing = Outgoing { at: start..outlet.bytes.len(), to: destination };
                outlet.push(Packed { ticket, departure, outgoing, may_fragment: !probe.dont_fragment });
            }
            Err(reason) => {
                self.take_back(key, ticket.job);
                return Err(Refusal::Failed(reason));
            }
        }
        let ports = by_ports.and_then(|(port, alone)| self.keys.take_ports(claim, port, alone));
        if self.outlet(lane).is_full() {
            self.send_lane(lane, sink);
        }
        Ok([Some(key), ports])
    }

    fn send(&mut self, sink: &mut dyn Sink) -> Progress {
        let many = self.send_lane(Lane::Raw, sink);
        let precise = self.send_lane(Lane::Precise, sink);
        match (many, precise) {
            (Progress::Blocked, _) | (_, Progress::Blocked) => Progress::Blocked,
            (Progress::Idle, Progress::Idle) => Progress::Idle,
            _ => Progress::Sent,
        }
    }

    fn watched(&self) -> Vec<Arc<OwnedFd>> {
        self.receivers.iter().map(|receiver| Arc::clone(&receiver.socket)).collect()
    }

    fn read(&mut self, index: usize, sink: &mut dyn Sink) -> bool {
        let Self { receivers, fragments, precise, keys, room, .. } = self;
        precise.read_stamps(room, sink);
        receivers.get_mut(index).is_none_or(|receiver| receiver.drain(room, keys, fragments.as_mut(), sink))
    }

    fn catch_up(&mut self, sink: &mut dyn Sink) {
        let Self { receivers, fragments, precise, keys, room, .. } = self;
        precise.read_stamps(room, sink);
        for receiver in receivers.iter_mut().filter(|receiver| receiver.is_awaited(keys)) {
            receiver.drain(room, keys, fragments.as_mut(), sink);
        }
    }

    fn missed(&mut self, look: bool) -> u64 {
        let Self { receivers, keys, .. } = self;
        let mut missed = 0;
        for receiver in receivers {
            if look && receiver.is_awaited(keys) {
                receiver.look();
            }
            missed += receiver.missed();
        }
        missed
    }

    fn release(&mut self, key: u64, job: JobKey) {
        self.take_back(key, job);
    }

    fn set_detour(&mut self, detour: Option<&Arc<Mutex<Detour>>>) {
        self.detour = detour.cloned();
    }

    fn has_detour(&self) -> bool {
        self.detour.is_some()
    }
}

pub(in crate::net) const fn protocol(body: &Body) -> Protocol {
    match body {
        Body::Udp { .. } => Protocol::Udp,
        Body::Tcp { .. } => Protocol::Tcp,
        _ => Protocol::Icmp,
    }
}

/// How many octets an answer may add to the number of a TCP probe that is ours to choose; nothing for other probes.
pub(in crate::net) fn added(body: &Body) -> Option<u16> {
    let Body::Tcp { flags, seq: None, ack, payload, .. } = body else { return None };
    let acknowledges = flags & (tcp_flags::SYN | tcp_flags::ACK) != tcp_flags::SYN;
    (ack.is_none() || !acknowledges).then(|| u16::try_from(payload.len() + 1).unwrap_or(u16::MAX))
}

/// By which far port answers find a probe that show no tag of it, and whether it is told by ports alone.
pub(in crate::net) const fn by_ports(body: &Body, added: Option<u16>) -> Option<(u16, bool)> {
    match body {
        Body::Udp { port, tag, .. } => Some((*port, matches!(tag, UdpTag::Ports))),
        Body::Tcp { port, .. } if added.is_none() => Some((*port, false)),
        _ => None,
    }
}

/// Sends a packet by a socket that writes the IP header, and fragments what is too big for the link.
fn fragment([icmp, udp, tcp]: [BorrowedFd<'_>; 3], packet: &[u8], outgoing: &Outgoing) -> io::Result<()> {
    let octet = |at: usize| packet.get(at).copied().unwrap_or(0);
    let wide = |at: usize| packet.get(at..).and_then(|rest| rest.first_chunk::<16>()).copied();
    let (length, protocol, header) = match outgoing.to {
        IpAddr::V4(_) => {
            let length = usize::from(octet(0) & 0x0f) * 4;
            let source = Ipv4Addr::new(octet(12), octet(13), octet(14), octet(15)).into();
            let options = packet.get(20..length).unwrap_or_default();
            let header = Header { ttl: Some(octet(8)), tos: Some(octet(1)), source: Some(source), options };
            (length, octet(9), header)
        }
        IpAddr::V6(_) => {
            let source = wide(8).map(|octets| Ipv6Addr::from(octets).into());
            let tos = octet(0) << 4 | octet(1) >> 4;
            (40, octet(6), Header { ttl: Some(octet(7)), tos: Some(tos), source, options: &[] })
        }
    };
    let socket = match libc::c_int::from(protocol) {
        libc::IPPROTO_UDP => udp,
        libc::IPPROTO_TCP => tcp,
        _ => icmp,
    };
    let control = control::encode(outgoing.to.is_ipv6(), &header);
    let to = SockAddr::from(SocketAddr::new(outgoing.to, 0));
    sys::send(socket, packet.get(length..).unwrap_or_default(), Some(&to), &control)
}

/// The stamp of a packet that leaves is taken when the driver of the device gets it: few at a time, so that none waits.
const PRECISE_BATCH: usize = 8;
/// One stamp serves a batch: its last packet leaves some 3 us later for each before it. More to a call saves next to nothing.
const RAW_BATCH: usize = 16;
/// How many ports that others have are stepped over.
const MOST_IN_USE: u32 = 16;
/// See docs/guides/precision.md for where these come from.
const PRECISE_ERROR_NS: u64 = 100_000;
const RAW_ERROR_NS: u64 = 500_000;
