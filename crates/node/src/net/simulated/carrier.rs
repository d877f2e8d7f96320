//! The packets of a vantage point, into a world and out of it.

use std::{net::IpAddr, os::fd::OwnedFd, sync::Arc};

use mmn_lab::ids::VpId;
use mmn_probe::{
    conditions::Lane,
    cookie::Key as Secret,
    packet::{Body, Identity, Packet, Probe, SendFailure},
    time::{Stamp, StampSource, Utc},
    wire::{
        heard::{self, Checksums, Heard, Protocol},
        probe::{encode, number},
    },
};

use super::{Inbox, Universe};
use crate::net::carrier::{
    Carrier, Holds, JobKey, Order, Progress, Quality, Refusal, Sink,
    keys::{Claim, Given, Keys},
    raw::{added, by_ports, protocol},
};

/// Carries the probes of one vantage point through a world, of both address families.
#[derive(Debug)]
pub struct SimulatedCarrier {
    universe: Universe,
    vp: VpId,
    inbox: Arc<Inbox>,
    keys: Keys,
    packet: Vec<u8>,
}

/// ICMP identifiers and source ports are all the vantage point's own.
const FIRST_ID: u16 = 1;
const FIRST_PORT: u16 = 32_768;
const SELECTORS: u32 = 28_000;

impl SimulatedCarrier {
    pub(super) fn new(universe: Universe, vp: VpId, inbox: Arc<Inbox>, seed: [u8; 16]) -> Self {
        Self { universe, vp, inbox, keys: Keys::new(Secret::new(seed)), packet: Vec::new() }
    }

    fn source(&self, probe: &Probe) -> Result<IpAddr, SendFailure> {
        let own = self.universe.addresses(self.vp);
        match probe.source {
            Some(source) if own.contains(&source) => Ok(source),
            Some(_) => Err(SendFailure::Source),
            None => {
                let family = |address: &IpAddr| address.is_ipv4() == probe.destination.is_ipv4();
                own.into_iter().find(family).ok_or(SendFailure::NoRoute)
            }
        }
    }

    fn hear(&mut self, sink: &mut dyn Sink) {
        let arrived = self.inbox.take();
        if arrived.is_empty() {
            return;
        }
        let moment = sink.moment();
        for (due, bytes) in arrived {
            let heard = heard::packet(&bytes, Checksums::Unchecked).ok();
            let owner = heard.and_then(|heard| Some((self.keys.owner(&heard.clues, heard.from)?, heard)));
            let Some((owner, heard)) = owner else {
                sink.unmatched();
                continue;
            };
            let ticket = owner.ticket();
            let age = i64::try_from(moment.reading.at.saturating_since(due).0).unwrap_or(i64::MAX);
            let utc = Utc(moment.reading.wall.0.saturating_sub(age));
            let stamp = Stamp { at: due, utc, source: StampSource::Simulated };
            let Heard { from, ttl, tos, ip_id, ip_options, bytes, message, .. } = heard;
            let probe = ticket.probe;
            let packet =
                Packet { probe, from, stamp, ttl, tos, ip_id, fragment_id: None, ip_options, bytes, message };
            sink.packet(ticket.job, moment.reading.at, packet);
        }
    }
}

impl Carrier for SimulatedCarrier {
    fn carries(&self, lane: Lane, probe: &Probe) -> Result<(), SendFailure> {
        if lane != Lane::Simulated {
            return Err(SendFailure::NoSocket);
        }
        match (&probe.body, probe.destination) {
            _ if probe.fragment_offset != 0 && probe.destination.is_ipv6() => Err(SendFailure::Senseless),
            (Body::Timestamp, IpAddr::V6(_)) => Err(SendFailure::Senseless),
            (Body::Echo { .. } | Body::Timestamp | Body::Udp { .. } | Body::Tcp { .. }, _) => Ok(()),
            _ => Err(SendFailure::NoSocket),
        }
    }

    fn quality(&self, lane: Lane) -> Option<Quality> {
        let by = StampSource::Simulated;
        (lane == Lane::Simulated).then_some(Quality { sent_by: by, received_by: by, rtt_error_ns: Some(0) })
    }

    fn put(&mut self, order: Order<'_>, sink: &mut dyn Sink) -> Result<Holds, Refusal> {
        let Order { ticket, probe, base, .. } = order;
        let source = self.source(probe).map_err(Refusal::Failed)?;
        let protocol = protocol(&probe.body);
        let first = if protocol == Protocol::Icmp { FIRST_ID } else { FIRST_PORT };
        let offset = (u32::from(base) + u32::from(probe.flow.number)) % SELECTORS;
        let own = first.wrapping_add(u16::try_from(offset).unwrap_or(0));
        let selector = probe.flow.selector.unwrap_or(own);
        let moment = sink.moment();
        let (now, destination) = (moment.reading.at, probe.destination);
        let claim = Claim { ticket, protocol, selector, destination, now, added: added(&probe.body) };
        let by_ports = by_ports(&probe.body, claim.added);
        if let Some((port, true)) = by_ports
            && self.keys.ports_taken(claim, port)
        {
            let chosen = probe.flow.selector.is_some();
            return Err(if chosen { Refusal::Failed(SendFailure::InUse) } else { Refusal::NoKey });
        }
        let Given { tag, key, .. } = self.keys.give(claim).ok_or(Refusal::NoKey)?;
        let identity = Identity { selector, tag };
        let numbered = claim.added.map(|_| {
            let mut numbered = probe.clone();
            number(&mut numbered, identity, self.keys.secret());
            numbered
        });
        self.packet.clear();
        let wall = moment.reading.wall;
        let encoded = encode(numbered.as_ref().unwrap_or(probe), identity, source, wall, &mut self.packet);
        let departure = match encoded {
            Ok(departure) => departure,
            Err(reason) => {
                self.keys.release(key, ticket.job);
                return Err(Refusal::Failed(reason));
            }
        };
        let ports = by_ports.and_then(|(port, alone)| self.keys.take_ports(claim, port, alone));
        self.universe.inject(now, self.vp, &self.packet);
        sink.sent(ticket, now, Stamp { at: now, utc: wall, source: StampSource::Simulated }, departure);
        Ok([Some(key), ports])
    }

    fn send(&mut self, _sink: &mut dyn Sink) -> Progress {
        Progress::Idle
    }

    fn watched(&self) -> Vec<Arc<OwnedFd>> {
        vec![Arc::clone(&self.inbox.event)]
    }

    fn read(&mut self, _index: usize, sink: &mut dyn Sink) -> bool {
        self.hear(sink);
        true
    }

    fn catch_up(&mut self, sink: &mut dyn Sink) {
        self.universe.catch_up(sink.moment().reading.at);
        self.hear(sink);
    }

    fn missed(&mut self, _look: bool) -> u64 {
        self.inbox.missed()
    }

    fn release(&mut self, key: u64, job: JobKey) {
        self.keys.release(key, job);
    }
}
