//! A plan at work: packets go in at a port, and come out where and when the plan has it.
//!
//! The driver of a world owns time:
//!
//! 1. [`World::inject`] puts an IP packet in at a [`Port`], at the instant when it left there. That may lie before the
//!    instant of the last poll: what follows is computed from when it left.
//! 2. [`World::poll`] lets time pass, and says what came out until then ([`Delivery`]). The bytes of a delivery
//!    ([`World::bytes`]) are there until the next poll.
//! 3. [`World::next_at`] says when to poll again at the latest, unless something is injected before.
//!
//! At vantage points everything that arrives comes out. Hosts answer by themselves (echo, timestamps, open, closed and
//! filtered ports); what is for a service of a host comes out at [`Port::Service`], and its driver injects the reply
//! there. Whether that holds for TCP, too, or the world takes connections by itself, is [`World::set_services`].
//!
//! The same packets at the same instants come to the same ends, to the bit. Draws are keyed by the seed, the way and how
//! many packets took it before: what one vantage point sends changes nothing on ways that it does not use.

mod answer;
mod chance;
mod error;
mod flow;
mod forward;
mod fragment;
mod head;
mod limit;
mod nat;
mod pool;
mod route;
mod state;
mod wheel;
mod write;

use std::net::IpAddr;
use std::sync::Arc;

use mmn_probe::time::{Instant, Utc};

use self::pool::Slot;
use self::state::State;
use crate::ids::{HostId, Id as _, NodeId, VpId};
use crate::plan::{NodeKind, Plan};
use crate::truth::{PacketId, Truth};

pub(crate) use self::fragment::{Assembly, Pieces};

/// Where packets enter and leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Port {
    /// A vantage point.
    Vp(VpId),
    /// The services of a host.
    Service(HostId),
}

/// A packet that came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Where.
    pub port: Port,
    /// Which: the number by which the truth knows it.
    pub id: PacketId,
    /// When, to the nanosecond: not after the instant of the poll.
    pub due: Instant,
    slot: Slot,
}

/// What of a host's services comes out of the world. The rest the world answers like any open port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceSide {
    /// UDP.
    pub udp: bool,
    /// TCP.
    pub tcp: bool,
}

/// How many records of the truth are kept where nothing is said.
pub const TRUTH_RECORDS: usize = 1 << 19;

/// The most packets under way. What is injected beyond them has its fate at once ([`crate::truth::Fate::WorldFull`]).
pub const MOST_UNDER_WAY: usize = 1 << 20;

/// A plan at work; see the module's head.
#[derive(Debug)]
pub struct World {
    plan: Arc<Plan>,
    state: State,
    /// What the last poll gave out.
    given: Vec<Slot>,
}

impl World {
    /// A world that begins at instant 0 and keeps the truth of the last [`TRUTH_RECORDS`] packets.
    pub fn new(plan: Arc<Plan>) -> Self {
        Self::starting_at(plan, Instant(0), TRUTH_RECORDS)
    }

    /// A world that begins at an instant, and keeps the truth of so many packets.
    pub fn starting_at(plan: Arc<Plan>, start: Instant, truth_records: usize) -> Self {
        let state = State::new(&plan, start, Truth::new(truth_records));
        Self { plan, state, given: Vec::new() }
    }

    /// The plan.
    pub const fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// When it began.
    pub const fn start(&self) -> Instant {
        self.state.start
    }

    /// Says what of the services comes out; at first all.
    pub const fn set_services(&mut self, side: ServiceSide) {
        self.state.services = side;
    }

    /// Says whether vantage points answer echo and timestamp requests by themselves; at first they don't: the driver
    /// gets them like everything else.
    pub const fn set_vps_answer(&mut self, answer: bool) {
        self.state.vps_answer = answer;
    }

    /// Says which civil time instant 0 is, for the clocks of hosts; at first the beginning of 1970.
    pub const fn set_civil(&mut self, at_zero: Utc) {
        self.state.civil = at_zero;
    }

    /// Puts a packet in, from its IP header on. What is no packet has its fate at once.
    pub fn inject(&mut self, now: Instant, port: Port, packet: &[u8]) -> PacketId {
        self.state.inject(&self.plan, now, port, packet)
    }

    /// The host that an address means to whoever has the address `to`: of those that share it the nearest. By this a driver
    /// that answers for all hosts at one place knows which it speaks for.
    pub fn host(&mut self, now: Instant, address: IpAddr, to: IpAddr) -> Option<HostId> {
        let from = self.state.whose(&self.plan, to, NodeId::new(0), now)?;
        let node = self.state.whose(&self.plan, address, from, now)?;
        match self.plan.nodes[node].kind {
            NodeKind::Host(host) => Some(host),
            _ => None,
        }
    }

    /// Lets time pass until `now`, and appends what came out, in the order of coming.
    pub fn poll(&mut self, now: Instant, out: &mut Vec<Delivery>) {
        self.advance(now, false, out);
    }

    /// Lets time pass until something comes out, or until `limit`. Answers whether anything came out: then time stands
    /// at [`Delivery::due`] of what did, which is one instant.
    pub fn step(&mut self, limit: Instant, out: &mut Vec<Delivery>) -> bool {
        self.advance(limit, true, out)
    }

    /// When something happens next, unless something is injected before.
    pub fn next_at(&self) -> Option<Instant> {
        self.state.wheel.next_at()
    }

    /// The bytes of a delivery, from its IP header on; there until the next poll.
    pub fn bytes(&self, delivery: &Delivery) -> &[u8] {
        self.state.pool.bytes(delivery.slot)
    }

    /// What happened to the packets.
    pub const fn truth(&self) -> &Truth {
        &self.state.truth
    }

    /// The same, for notes of when packets were passed on.
    pub const fn truth_mut(&mut self) -> &mut Truth {
        &mut self.state.truth
    }

    /// How many events there were: packets that came to a node.
    pub const fn events(&self) -> u64 {
        self.state.events
    }

    /// How many packets are under way.
    pub const fn under_way(&self) -> usize {
        self.state.wheel.len()
    }

    fn advance(&mut self, limit: Instant, one: bool, out: &mut Vec<Delivery>) -> bool {
        for slot in self.given.drain(..) {
            self.state.pool.free(slot);
        }
        let before = out.len();
        self.state.run(&self.plan, limit, one, out);
        self.given.extend(out.iter().skip(before).map(|delivery| delivery.slot));
        out.len() > before
    }
}
