//! A world of the lab in real time, within this process: for vantage points that have no network of their own.
//!
//! [`Universe`] keeps a [`World`] abreast of the monotonic clock, and deals what comes out to the vantage points'
//! [`SimulatedCarrier`]s. It opens no socket and needs no privilege. Packets are stamped with the instants of the world,
//! which are exact: however late this process wakes up, a round trip takes what the world says.

mod carrier;
mod lent;
pub(super) mod names;
mod peer;
mod services;
#[cfg(test)]
mod tests;

use std::{
    collections::VecDeque,
    io,
    net::{IpAddr, SocketAddr},
    os::fd::{AsFd, OwnedFd},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU16, Ordering},
    },
};

use mmn_lab::{
    ids::{Id, VpId},
    plan::Plan,
    service::Services,
    world::{Delivery, Port, ServiceSide, World},
};
use mmn_probe::time::Instant;
use rustix::{
    event::{EventfdFlags, eventfd},
    time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    },
};
use tokio::io::{Interest, unix::AsyncFd};

use self::{peer::Conversation, services::Answers};
use super::sys;
use crate::clock;

pub use carrier::SimulatedCarrier;
pub(super) use peer::UniversePeer;

/// A world that runs, shared by the vantage points of this process.
#[derive(Clone, Debug)]
pub struct Universe {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    plan: Arc<Plan>,
    state: Mutex<State>,
    timer: Arc<AsyncFd<OwnedFd>>,
    /// How many ports were given to those who speak with one peer.
    ports: AtomicU16,
}

#[derive(Debug)]
struct State {
    world: World,
    /// Of each vantage point those who listen there.
    inboxes: Vec<Vec<Weak<Inbox>>>,
    out: Vec<Delivery>,
    answers: Answers,
    /// What the timer is set to.
    armed: Option<Instant>,
    passed: lent::Passed,
}

/// What has come for one carrier.
#[derive(Debug)]
struct Inbox {
    /// What is for it; nothing: all that comes.
    wants: Option<Conversation>,
    packets: Mutex<Arrived>,
    /// Readable while there is something.
    event: Arc<OwnedFd>,
}

#[derive(Debug, Default)]
struct Arrived {
    packets: VecDeque<(Instant, Box<[u8]>)>,
    /// How many there was no room for.
    missed: u64,
}

/// How many packets wait for a carrier at most; what comes besides is counted as missed.
const MOST_WAITING: usize = 65_536;
/// Ports of those who speak with one peer: above those of probes.
const FIRST_PORT: u16 = 61_000;
const PORTS: u16 = 4_000;
/// How many packets' truth is kept.
const TRUTH_RECORDS: usize = 1 << 18;

impl Universe {
    /// Starts a world now. Must be called within a runtime, which drives it as long as there is a handle.
    pub fn start(plan: Arc<Plan>) -> io::Result<Self> {
        let timer =
            timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        let timer = Arc::new(sys::watch(timer, Interest::READABLE)?);
        let mut world = World::starting_at(Arc::clone(&plan), clock::monotonic(), TRUTH_RECORDS);
        // Nobody else is here to answer for vantage points. Of services those over UDP are played here; the others answer
        // as open ports do.
        world.set_vps_answer(true);
        world.set_services(ServiceSide { udp: true, tcp: false });
        let answers = Answers::new(Services::new(Arc::clone(&plan), clock::monotonic()));
        let inboxes = plan.vps.iter().map(|_| Vec::new()).collect();
        let state = Mutex::new(State {
            world,
            inboxes,
            out: Vec::new(),
            answers,
            armed: None,
            passed: lent::Passed::default(),
        });
        let inner = Arc::new(Inner { plan, state, timer: Arc::clone(&timer), ports: AtomicU16::new(0) });
        tokio::spawn(keep_abreast(Arc::downgrade(&inner), timer));
        Ok(Self { inner })
    }

    /// What it runs.
    pub fn plan(&self) -> &Arc<Plan> {
        &self.inner.plan
    }

    /// The addresses of a vantage point.
    pub fn addresses(&self, vp: VpId) -> Vec<IpAddr> {
        names::addresses(&self.inner.plan, vp).collect()
    }

    /// The addresses that a name has here: of hosts and vantage points by their names, and in the zones of the DNS.
    pub fn resolve(&self, name: &str) -> Vec<IpAddr> {
        names::resolve(&self.inner.plan, name)
    }

    /// A carrier for a vantage point. `seed` must be random and secret.
    pub fn carrier(&self, vp: VpId, seed: [u8; 16]) -> io::Result<SimulatedCarrier> {
        let inbox = self.inbox(vp, None)?;
        Ok(SimulatedCarrier::new(self.clone(), vp, inbox, seed))
    }

    /// A port of a vantage point that speaks with one peer. Must be called within a runtime.
    pub(super) fn peer(&self, vp: VpId, peer: SocketAddr) -> io::Result<UniversePeer> {
        let number = self.inner.ports.fetch_add(1, Ordering::Relaxed) % PORTS;
        UniversePeer::new(self.clone(), vp, FIRST_PORT + number, peer)
    }

    fn inbox(&self, vp: VpId, wants: Option<Conversation>) -> io::Result<Arc<Inbox>> {
        let event = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        let inbox = Arc::new(Inbox { wants, packets: Mutex::default(), event: Arc::new(event) });
        let mut state = self.inner.lock();
        if let Some(listeners) = state.inboxes.get_mut(vp.index()) {
            listeners.retain(|listener| listener.strong_count() > 0);
            listeners.push(Arc::downgrade(&inbox));
        }
        drop(state);
        Ok(inbox)
    }

    /// Puts a packet in, at a vantage point.
    fn inject(&self, now: Instant, vp: VpId, packet: &[u8]) {
        let mut state = self.inner.lock();
        state.world.inject(now, Port::Vp(vp), packet);
        state.passed.packets_in += 1;
        self.inner.arm(&mut state);
    }

    /// Lets the world come up to now.
    fn catch_up(&self, now: Instant) {
        self.inner.advance(now);
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn advance(&self, now: Instant) {
        let mut state = self.lock();
        if state.next_at().is_none_or(|at| at > now) {
            return;
        }
        let State { world, inboxes, out, answers, passed, .. } = &mut *state;
        loop {
            let answer = answers.next_at().filter(|at| *at <= now);
            if world.step(answer.unwrap_or(now), out) {
                for delivery in out.drain(..) {
                    let bytes = world.bytes(&delivery);
                    let vp = match delivery.port {
                        Port::Vp(vp) => vp,
                        Port::Service(host) => {
                            answers.asked(delivery.due, host, bytes);
                            continue;
                        }
                    };
                    passed.packets_out += 1;
                    passed.late.add(now.saturating_since(delivery.due).0);
                    let listeners = inboxes.get(vp.index()).into_iter().flatten();
                    for inbox in listeners.filter_map(Weak::upgrade) {
                        let put = inbox.put(delivery.due, bytes);
                        passed.missed += u64::from(!put);
                    }
                }
            } else if let Some((at, host, packet)) = answer.and_then(|_| answers.pop()) {
                world.inject(at, Port::Service(host), &packet);
            } else {
                break;
            }
        }
        self.arm(&mut state);
    }

    /// Sets the timer to what is due next, unless it will ring before that anyway.
    fn arm(&self, state: &mut State) {
        let Some(next) = state.next_at() else { return };
        if state.armed.is_some_and(|armed| armed <= next) {
            return;
        }
        // Zero would stop the timer; an instant that has passed rings at once.
        let nanos = next.0.max(1);
        let it_value = Timespec {
            tv_sec: i64::try_from(nanos / 1_000_000_000).unwrap_or(i64::MAX),
            tv_nsec: i64::try_from(nanos % 1_000_000_000).unwrap_or(0),
        };
        let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value };
        if timerfd_settime(self.timer.as_fd(), TimerfdTimerFlags::ABSTIME, &once).is_ok() {
            state.armed = Some(next);
        }
    }
}

impl State {
    /// When something happens next.
    fn next_at(&self) -> Option<Instant> {
        [self.world.next_at(), self.answers.next_at()].into_iter().flatten().min()
    }
}

impl Inbox {
    /// Whether there was room for what it wants.
    fn put(&self, due: Instant, packet: &[u8]) -> bool {
        if self.wants.is_some_and(|conversation| !conversation.has(packet)) {
            return true;
        }
        let mut arrived = self.packets.lock().unwrap_or_else(PoisonError::into_inner);
        if arrived.packets.len() >= MOST_WAITING {
            arrived.missed += 1;
            return false;
        }
        let first = arrived.packets.is_empty();
        arrived.packets.push_back((due, packet.into()));
        drop(arrived);
        if first {
            // Its counter is far from full.
            let _ = rustix::io::write(&self.event, &1_u64.to_ne_bytes());
        }
        true
    }

    fn take(&self) -> VecDeque<(Instant, Box<[u8]>)> {
        let _ = rustix::io::read(&self.event, &mut [0; 8]);
        let mut arrived = self.packets.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut arrived.packets)
    }

    fn missed(&self) -> u64 {
        std::mem::take(&mut self.packets.lock().unwrap_or_else(PoisonError::into_inner).missed)
    }
}

async fn keep_abreast(inner: Weak<Inner>, timer: Arc<AsyncFd<OwnedFd>>) {
    while let Ok(mut ready) = timer.readable().await {
        let _ = rustix::io::read(timer.get_ref(), &mut [0; 8]);
        ready.clear_ready();
        let Some(inner) = inner.upgrade() else { return };
        inner.lock().armed = None;
        let now = clock::monotonic();
        inner.advance(now);
        let mut state = inner.lock();
        inner.arm(&mut state);
    }
}
