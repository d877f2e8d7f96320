//! Datagrams of an ordinary user, of one address family.
//!
//! The checksum that is a probe's tag is on the wire here, too: the payload is made such that the kernel computes just it.
//! An error that quotes the whole payload shows it again.

use std::{io, net::SocketAddr, os::fd::OwnedFd, sync::Arc};

use mmn_probe::{
    conditions::Lane,
    cookie::Key as Secret,
    packet::{Body, Identity, Probe, SendFailure, UdpTag},
    time::{Instant, Nanos, StampSource, Utc},
    wire::{heard::Protocol, icmp::Family, probe::encode_transport, udp},
};
use rustc_hash::FxHashMap;

use super::{
    STAMPED_ERROR_NS, Watch,
    flow::{Flow, LOOK_AFTER, Room},
    selector,
};
use crate::{
    clock,
    net::{
        carrier::{
            Carrier, Holds, JobKey, Order, Progress, Quality, Refusal, Sink,
            keys::{Claim, Given, Keys, tag_of},
            refusal,
            sources::Sources,
        },
        icmp::IdRange,
        network::Network,
    },
};

/// UDP over a socket for each flow.
#[derive(Debug)]
pub struct UdpCarrier {
    network: Network,
    family: Family,
    ports: IdRange,
    watch: Watch,
    /// By source port.
    sockets: FxHashMap<u16, Flow>,
    keys: Keys,
    sources: Sources,
    room: Room,
    packet: Vec<u8>,
    tokens: Vec<u64>,
    missed: u64,
    /// Something left since this was read.
    unread: bool,
}

impl UdpCarrier {
    /// Datagrams from the ports of a range in a network. `seed` must be random and secret.
    pub fn new(network: &Network, family: Family, ports: IdRange, seed: [u8; 16]) -> io::Result<Self> {
        Ok(Self {
            network: network.clone(),
            family,
            ports,
            watch: Watch::new()?,
            sockets: FxHashMap::default(),
            keys: Keys::new(Secret::new(seed)),
            sources: Sources::new(family, network)?,
            room: Room::default(),
            packet: Vec::new(),
            tokens: Vec::new(),
            missed: 0,
            unread: false,
        })
    }

    /// Sees to it that the flow has its socket.
    fn keep(&mut self, selector: u16, chosen: bool, now: Instant) -> Result<(), Refusal> {
        if let Some(flow) = self.sockets.get_mut(&selector) {
            flow.used = now;
            return Ok(());
        }
        if self.sockets.len() >= MOST_SOCKETS {
            let idle = self.sockets.iter().min_by_key(|(_, flow)| flow.used);
            let idle = idle.filter(|(_, flow)| now.saturating_since(flow.used) > IDLE);
            let Some(idle) = idle.map(|(selector, _)| *selector) else { return Err(Refusal::NoKey) };
            self.sockets.remove(&idle);
        }
        let flow =
            Flow::open(&self.network, self.family, selector, &self.watch, now).map_err(
                |error| match error.raw_os_error() {
                    Some(libc::EADDRINUSE) => Refusal::Failed(SendFailure::InUse),
                    Some(libc::EACCES) if chosen => Refusal::Failed(SendFailure::Unprivileged),
                    Some(libc::EMFILE | libc::ENFILE) => Refusal::Busy,
                    _ => refusal(&error),
                },
            )?;
        self.sockets.insert(selector, flow);
        Ok(())
    }

    fn take_back(&mut self, key: u64, job: JobKey) {
        if !self.keys.release(key, job) {
            return;
        }
        let Some((_, selector)) = tag_of(key) else { return };
        if let Some(flow) = self.sockets.get_mut(&selector) {
            flow.held = flow.held.saturating_sub(1);
            if flow.held == 0 {
                self.sockets.remove(&selector);
            }
        }
    }

    /// Reads the sockets that have something; returns whether they have no more.
    fn drain(&mut self, sink: &mut dyn Sink) -> bool {
        self.unread = false;
        let Self { watch, sockets, keys, room, tokens, missed, .. } = self;
        tokens.clear();
        watch.ready(tokens);
        for token in tokens.iter() {
            let flow = u16::try_from(*token).ok().and_then(|selector| sockets.get_mut(&selector));
            let Some(flow) = flow else { continue };
            flow.drain_errors(keys, room, sink);
            let count = flow.drain(keys, room, sink);
            if count > LOOK_AFTER {
                *missed += flow.missed();
            }
        }
        tokens.is_empty()
    }
}

impl Carrier for UdpCarrier {
    fn carries(&self, lane: Lane, probe: &Probe) -> Result<(), SendFailure> {
        if lane != Lane::Unprivileged || Family::of(probe.destination) != self.family {
            return Err(SendFailure::NoSocket);
        }
        let (payload, tag) = match &probe.body {
            Body::Udp { payload, tag, .. } => (payload, tag),
            // Where there is a socket for it its carrier stands before this one.
            Body::Echo { .. } | Body::Timestamp => return Err(SendFailure::NoPingSocket),
            _ => return Err(SendFailure::NoSocket),
        };
        if !probe.ip_options.is_empty() || probe.fragment_offset != 0 {
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
        let selector = selector(self.ports, &order);
        let to = SocketAddr::new(probe.destination, port);
        let chosen = probe.flow.selector.is_some();
        let now = clock::monotonic();
        let destination = probe.destination;
        let claim = Claim { ticket, protocol: Protocol::Udp, selector, destination, now, added: None };
        let source = self.sources.find(destination, probe.source, now).map_err(Refusal::Failed)?;
        if by_ports && self.keys.ports_taken(claim, port) {
            return Err(if chosen { Refusal::Failed(SendFailure::InUse) } else { Refusal::NoKey });
        }
        self.keep(selector, chosen, now)?;
        let flow = self.sockets.get_mut(&selector).ok_or(Refusal::NoKey)?;
        if !by_ports && !flow.is_free(to, now) {
            return Err(Refusal::NoKey);
        }
        let given = self.keys.give(claim);
        let Some(Given { tag, key, fresh }) = given else { return Err(Refusal::NoKey) };
        flow.held += u32::from(fresh);
        let identity = Identity { selector, tag };
        self.packet.clear();
        let outcome = encode_transport(probe, identity, source, Utc(0), &mut self.packet)
            .map_err(Refusal::Failed)
            .and_then(|departure| {
                let payload = self.packet.get(udp::HEADER_BYTES..).unwrap_or_default();
                let (keys, room) = (&self.keys, &mut self.room);
                flow.transmit(to, probe, payload, (ticket, departure), keys, room, sink)
            });
        if let Err(refusal) = outcome {
            self.take_back(key, ticket.job);
            return Err(refusal);
        }
        self.unread = true;
        let ports = self.keys.take_ports(claim, port, by_ports);
        if !by_ports {
            flow.sent(to, source, self.packet.len(), tag, now);
        }
        Ok([Some(key), ports])
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
        self.take_back(key, job);
    }
}

/// The most sockets at a time; the one that was used longest ago is closed for another, if that was so long ago.
const MOST_SOCKETS: usize = 512;
const IDLE: Nanos = Nanos::from_secs(10);
