//! The driver with the virtual clock: machines of the probing engine at vantage points of one world, in one loop.
//!
//! Nothing waits: the clock goes from event to event. Packets are what sockets would have carried, to the last octet,
//! and stamps are the world's own instants. DNS over UDP is answered by the world's services. Two runs of the same are
//! the same to the bit, and [`Simulation::digest`] says so in a number.
//!
//! [`Simulation::start`] takes machines, [`Simulation::run`] drives them to their ends, and the world's truth is beside
//! them ([`Simulation::world`]).
//!
//! ```
//! use std::sync::Arc;
//!
//! use mmn_lab::plan::Plan;
//! use mmn_lab::simulated::Simulation;
//! use mmn_probe::cookie::Key;
//! use mmn_probe::ping::{Ping, Spec};
//! use mmn_probe::time::{Instant, Nanos};
//!
//! let plan = Plan::parse(
//!     "world.toml",
//!     r#"
//!     router = [{ name = "r1", addr = "198.19.0.1" }, { name = "r2", addr = "198.19.0.2" }]
//!     link = [{ a = "r1", b = "r2", delay_ms = 10 }]
//!     vp = [{ name = "home", addr = "198.18.0.1", at = "r1", delay_ms = 2 }]
//!     host = [{ name = "www", addr = "198.18.1.1", at = "r2", delay_ms = 1 }]
//!     "#,
//! )?;
//! let home = plan.vp("home").ok_or("no such vantage point")?;
//! let mut simulation = Simulation::new(Arc::new(plan));
//! let ping = Ping::new(Spec::new([198, 18, 1, 1].into()), Key::new([7; 16]))?;
//! let job = simulation.start(home, Instant(0), ping);
//! assert!(simulation.run(Instant(u64::MAX)));
//!
//! let ping = simulation.machine(job).ok_or("no such machine")?;
//! assert!(ping.samples().all(|sample| sample.rtt == Some(Nanos::from_millis(26))));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod desk;
mod digest;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::IpAddr;
use std::sync::Arc;

use mmn_probe::cookie::Key;
use mmn_probe::machine::{Input, Machine, Output};
use mmn_probe::packet::{Packet, Probe, SendFailure};
use mmn_probe::time::{Instant, Stamp, StampSource, Utc};
use mmn_probe::wire::heard::{self, Checksums};
use mmn_probe::wire::probe;

use self::desk::{Desk, Owner};
use self::digest::Digest;
use crate::ids::{Table, VpId};
use crate::plan::Plan;
use crate::service::Services;
use crate::world::{Assembly, Delivery, Pieces, Port, ServiceSide, World};

/// Civil time at instant 0: midnight of 1 January 2026, UTC.
pub const EPOCH: Utc = Utc(1_767_225_600_000_000_000);

/// The number of a machine, counted from 0 in the order of starting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(usize);

/// Machines at vantage points of a world; see the module's head.
#[derive(Debug)]
pub struct Simulation<M> {
    world: World,
    services: Services,
    now: Instant,
    key: Key,
    desks: Table<VpId, Desk>,
    assemblies: Table<VpId, Assembly>,
    jobs: Vec<Job<M>>,
    running: usize,
    wakes: BinaryHeap<Reverse<(Instant, usize)>>,
    /// Answers of services.
    replies: BinaryHeap<Reverse<Leaving>>,
    replies_made: u64,
    digest: Digest,
    counters: Counters,
    buffer: Vec<u8>,
}

/// When an answer leaves, in which order those of an instant do, where, and what it is.
type Leaving = (Instant, u64, Port, Vec<u8>);

/// What a simulation has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Probes that left.
    pub sent: u64,
    /// Probes that could not be sent.
    pub refused: u64,
    /// Packets that were given to a machine.
    pub received: u64,
    /// Packets that belonged to no probe.
    pub unmatched: u64,
}

#[derive(Debug)]
struct Job<M> {
    vp: VpId,
    machine: M,
    /// When it wants to be asked again.
    wake: Option<Instant>,
    ended: Option<Instant>,
}

impl<M: Machine> Simulation<M> {
    /// A simulation of a plan that begins at instant 0.
    pub fn new(plan: Arc<Plan>) -> Self {
        Self::of(World::new(plan))
    }

    /// The same with a world that has not begun.
    pub fn of(mut world: World) -> Self {
        world.set_services(ServiceSide { udp: true, tcp: false });
        world.set_vps_answer(true);
        world.set_civil(EPOCH);
        let plan = world.plan().clone();
        Self {
            now: world.start(),
            services: Services::new(plan.clone(), world.start()),
            world,
            key: Key::new(*b"a key of the lab"),
            desks: Table::new(plan.vps.iter().map(|_| Desk::default()).collect()),
            assemblies: Table::new(plan.vps.iter().map(|_| Assembly::default()).collect()),
            jobs: Vec::new(),
            running: 0,
            wakes: BinaryHeap::new(),
            replies: BinaryHeap::new(),
            replies_made: 0,
            digest: Digest::default(),
            counters: Counters::default(),
            buffer: Vec::new(),
        }
    }

    /// Starts a machine at a vantage point, at an instant that has not passed.
    pub fn start(&mut self, vp: VpId, at: Instant, machine: M) -> JobId {
        let at = at.max(self.now);
        self.jobs.push(Job { vp, machine, wake: Some(at), ended: None });
        self.running += 1;
        let job = self.jobs.len() - 1;
        self.wakes.push(Reverse((at, job)));
        JobId(job)
    }

    /// Lets time pass until every machine is done, or until `limit`. Answers whether all are done.
    pub fn run(&mut self, limit: Instant) -> bool {
        let mut came = Vec::new();
        while self.running > 0 {
            let wake = self.wakes.peek().map(|Reverse((at, _))| *at);
            let reply = self.replies.peek().map(|Reverse((at, ..))| *at);
            let next = wake.into_iter().chain(reply).min();
            if next.is_none() && self.world.next_at().is_none() {
                // Machines that wait for what never comes wait for ever.
                return false;
            }
            let stop = next.unwrap_or(limit).min(limit);
            came.clear();
            if self.world.step(stop, &mut came) {
                self.deliver(&came);
            } else if next.is_some_and(|next| next <= limit) {
                self.now = stop.max(self.now);
                self.send_replies();
                self.wake();
            } else {
                self.now = limit;
                return false;
            }
        }
        true
    }

    /// Lets what is under way come to its end, with nobody there to hear it.
    pub fn settle(&mut self) {
        let mut came = Vec::new();
        while let Some(next) = self.world.next_at() {
            self.now = next.max(self.now);
            came.clear();
            self.world.poll(self.now, &mut came);
        }
    }

    /// The present.
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// The world.
    pub const fn world(&self) -> &World {
        &self.world
    }

    /// A machine.
    pub fn machine(&self, job: JobId) -> Option<&M> {
        self.jobs.get(job.0).map(|job| &job.machine)
    }

    /// When a machine was done; nothing as long as it is not.
    pub fn ended(&self, job: JobId) -> Option<Instant> {
        self.jobs.get(job.0)?.ended
    }

    /// All machines, in the order of starting.
    pub fn into_machines(self) -> Vec<M> {
        self.jobs.into_iter().map(|job| job.machine).collect()
    }

    /// What was counted.
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// A number made of every packet that went in or came out so far, with its instant.
    pub fn digest(&self) -> u64 {
        self.digest.finish()
    }

    fn wake(&mut self) {
        while let Some(Reverse((at, index))) = self.wakes.peek().copied()
            && at <= self.now
        {
            self.wakes.pop();
            // A machine that has changed its mind since has another entry.
            if self.jobs.get(index).is_some_and(|job| job.wake == Some(at)) {
                self.drive(index);
            }
        }
    }

    /// Asks a machine what to do until it wants to wait.
    fn drive(&mut self, index: usize) {
        loop {
            let Some(job) = self.jobs.get_mut(index).filter(|job| job.ended.is_none()) else { return };
            let wake = match job.machine.poll(self.now) {
                Output::Send(probe) => {
                    self.send(index, probe);
                    continue;
                }
                Output::Done => {
                    job.ended = Some(self.now);
                    self.running -= 1;
                    None
                }
                Output::WaitUntil(at) => Some(at.max(self.now)),
                Output::Wait => None,
            };
            if job.wake != wake || wake == Some(self.now) {
                job.wake = wake;
                self.wakes.extend(wake.map(|at| Reverse((at, index))));
            }
            return;
        }
    }

    fn send(&mut self, index: usize, probe: Probe) {
        let Some(job) = self.jobs.get_mut(index) else { return };
        let (id, now) = (probe.id, self.now);
        let desk = &mut self.desks[job.vp];
        self.buffer.clear();
        let written = source(self.world.plan(), job.vp, &probe).and_then(|source| {
            let (probe, identity) = desk.admit(index, probe, &self.key)?;
            let departure = probe::encode(&probe, identity, source, utc(now), &mut self.buffer)?;
            let mtu = first_mtu(self.world.plan(), job.vp);
            if probe.dont_fragment && departure.bytes > mtu {
                Err(SendFailure::TooBig)
            } else {
                Ok(departure)
            }
        });
        match written {
            Ok(departure) => {
                let port = Port::Vp(job.vp);
                self.world.inject(now, port, &self.buffer);
                self.digest.add(now.0);
                self.digest.add_bytes(&self.buffer);
                self.counters.sent += 1;
                job.machine.handle(now, Input::Sent { probe: id, stamp: stamp(now), departure });
            }
            Err(reason) => {
                self.counters.refused += 1;
                job.machine.handle(now, Input::SendFailed { probe: id, reason });
            }
        }
    }

    /// Gives what came out, all at one instant, to those for whom it is.
    fn deliver(&mut self, came: &[Delivery]) {
        let mut asked = Vec::new();
        for delivery in came {
            self.now = delivery.due.max(self.now);
            let bytes = self.world.bytes(delivery);
            self.digest.add(delivery.due.0);
            self.digest.add_bytes(bytes);
            match delivery.port {
                Port::Service(host) => {
                    if let Some(reply) = self.services.packet(self.now, host, bytes) {
                        self.replies_made += 1;
                        let at = self.now + reply.after;
                        self.replies.push(Reverse((at, self.replies_made, delivery.port, reply.packet)));
                    }
                }
                Port::Vp(vp) => {
                    let whole = match self.assemblies[vp].take(self.now, bytes, delivery.id) {
                        Pieces::NoFragment => None,
                        Pieces::Waiting => continue,
                        Pieces::Whole(whole, _) => Some(whole),
                    };
                    let bytes = whole.as_deref().unwrap_or(bytes);
                    let owner = hear(&self.desks[vp], &self.key, bytes, self.now, &mut self.jobs);
                    match owner {
                        Some(job) => {
                            self.counters.received += 1;
                            asked.push(job);
                        }
                        None => self.counters.unmatched += 1,
                    }
                }
            }
        }
        for job in asked {
            self.drive(job);
        }
        self.send_replies();
    }

    fn send_replies(&mut self) {
        while let Some(Reverse((at, ..))) = self.replies.peek()
            && *at <= self.now
        {
            let Some(Reverse((at, _, port, packet))) = self.replies.pop() else { return };
            self.digest.add(at.0);
            self.digest.add_bytes(&packet);
            self.world.inject(at, port, &packet);
        }
    }
}

/// Tells a machine what came for it. Answers with its number.
fn hear<M: Machine>(
    desk: &Desk,
    key: &Key,
    bytes: &[u8],
    now: Instant,
    jobs: &mut [Job<M>],
) -> Option<usize> {
    let heard = heard::packet(bytes, Checksums::Unchecked).ok()?;
    let Owner { job: index, probe, .. } = desk.owner(&heard.clues, heard.from, key)?;
    let job = jobs.get_mut(index)?;
    let packet = Packet {
        probe,
        from: heard.from,
        stamp: stamp(now),
        ttl: heard.ttl,
        tos: heard.tos,
        ip_id: heard.ip_id,
        fragment_id: None,
        ip_options: heard.ip_options,
        bytes: heard.bytes,
        message: heard.message,
    };
    job.machine.handle(now, Input::Packet(packet));
    Some(index)
}

/// The address that a probe leaves from.
fn source(plan: &Plan, vp: VpId, probe: &Probe) -> Result<IpAddr, SendFailure> {
    let own = plan.vp_node(vp).addresses.like(probe.destination).ok_or(SendFailure::NoSocket)?;
    if probe.source.is_some_and(|wanted| wanted != own) { Err(SendFailure::Source) } else { Ok(own) }
}

/// The MTU of a vantage point's own line.
fn first_mtu(plan: &Plan, vp: VpId) -> u32 {
    plan.vp_node(vp).leaving.first().map_or(u32::MAX, |way| plan.ways[*way].mtu)
}

/// Civil time at an instant.
pub fn utc(at: Instant) -> Utc {
    Utc(EPOCH.0.saturating_add(i64::try_from(at.0).unwrap_or(i64::MAX)))
}

fn stamp(at: Instant) -> Stamp {
    Stamp { at, utc: utc(at), source: StampSource::Kernel }
}
