//! The bulk lane: echo requests to very many targets over packet sockets.
//!
//! What leaves passes by the kernel's routing and its outgoing firewall, and goes where the kernel would have sent it
//! ([`route`]); what can't be sent that way is declined. What comes is read from a ring of shared memory ([`ring`]) with
//! the kernel's stamps. Packets leave in small batches whose beginning and end the process stamps; each packet's share of
//! that time is what its stamp may be off. The probes are in [`mmn_probe::bulk`].
//!
//! A lane waits for nothing by itself: its owner calls [`Lane::turn`] when [`Lane::ready`] says so, and takes the ends.
//! It never decides whom to refuse; it sends no faster than the page allows.

mod bare;
mod detour;
mod filter;
mod missed;
pub(super) mod netlink;
pub(super) mod ring;
mod route;
mod sockets;
mod sys;
#[cfg(test)]
mod tests;

use std::{
    io,
    net::IpAddr,
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
};

use mmn_probe::{
    bulk::{Bulk, End, Fate, Key, LAG, MAX_PACKET_BYTES, Spec, SpecId, hear},
    conditions::{self, Conditions},
    packet::SendFailure,
    time::{Instant, Nanos, StampSource},
    wire::icmp::Family,
};
use tokio::io::{Interest, unix::AsyncFd};

use self::{
    missed::Missed,
    ring::{RETIRES_AFTER, Ring},
    route::{Routes, Way},
    sys::Batch,
};
use super::{
    page::{Page, Portion},
    stamps::{kernel_stamp, user_stamp},
    timex::clock_report,
};
use crate::clock::{self, Reading};

pub use self::bare::{Bare, bare};
pub use self::detour::Detour;
pub use self::sockets::{DESCRIPTORS, Description, PacketSockets};

/// What a lane has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// What the probes' part has counted.
    pub probes: mmn_probe::bulk::Counters,
    /// Packets that the ring gave.
    pub received: u64,
    /// Packets that the ring had no room for.
    pub ring_drops: u64,
    /// Packets that the kernel dropped before any socket saw them, whomever they were for.
    pub backlog_drops: u64,
    /// Probes that another lane has to take.
    pub declined: u64,
    /// Calls that sent.
    pub batches: u64,
}

/// The lane of one module's process.
#[derive(Debug)]
pub struct Lane {
    bulk: Bulk,
    page: Arc<Page>,
    routes: Routes,
    send: OwnedFd,
    receive: [Receiver; 2],
    batch: Batch,
    keys: Vec<Key>,
    missed: Missed,
    /// When the counters of what was missed were read, and the wheel turned.
    turned: Instant,
    /// When the site's limits let the next packet go.
    opens: Instant,
    clock: Option<conditions::Clock>,
    clock_read: Instant,
    counters: Counters,
}

/// One family's socket; it gets its ring with the first target of the family.
#[derive(Debug)]
enum Receiver {
    Idle(OwnedFd),
    Ring(AsyncFd<Ring>),
    Broken,
}

/// Packets of one call: few enough that their stamps are near the truth.
const BATCH: usize = 32;
/// Batches until what came is read, and others get their turn.
const BATCHES: usize = 4;
/// The wheel turns, and counters are read, so often.
const TURNS_EVERY: Nanos = Nanos::from_millis(5);
/// Before so long ago, everything that came is in blocks that were read.
const READ_BEHIND: Nanos = Nanos(RETIRES_AFTER.0 * 4);
/// The longest time to trust an answer of the page that says to wait.
const LONGEST_HOLD: Nanos = Nanos::from_millis(250);
/// How often, and how long apart, a packet is tried while the system has no room.
const MAX_TRIES: u8 = 50;
const RETRY_AFTER: Nanos = Nanos::from_millis(1);
const NEIGHBOUR_AFTER: Nanos = Nanos::from_millis(5);
const CLOCK_EVERY: Nanos = Nanos::from_secs(1);

impl Lane {
    /// A lane over these sockets, whose sending the page limits. Must be used within a runtime.
    pub fn new(sockets: PacketSockets, page: Arc<Page>, secret: [u8; 16]) -> io::Result<Self> {
        let PacketSockets { ids, send, receive_v4, receive_v6 } = sockets;
        let count = u16::try_from(ids.capacity() >> 16).unwrap_or(u16::MAX);
        let mut bulk = Bulk::new((ids.first(), count), secret);
        let now = clock::both();
        // So that the first look is no step.
        bulk.civil_time(Instant(0), now.distance_ns());
        Ok(Self {
            bulk,
            page,
            routes: Routes::new()?,
            send,
            receive: [Receiver::Idle(receive_v4), Receiver::Idle(receive_v6)],
            batch: Batch::new(BATCH, MAX_PACKET_BYTES),
            keys: Vec::with_capacity(BATCH),
            missed: Missed::new(),
            turned: Instant(0),
            opens: Instant(0),
            clock: None,
            clock_read: Instant(0),
            counters: Counters::default(),
        })
    }

    /// How many more probes there is room for.
    pub const fn free(&self) -> u32 {
        self.bulk.free()
    }

    /// Probes that have not ended.
    pub const fn running(&self) -> u32 {
        self.bulk.running()
    }

    /// What was counted.
    pub const fn counters(&self) -> Counters {
        Counters { probes: self.bulk.counters(), ..self.counters }
    }

    /// Begins a measurement; nothing when too many are under way.
    pub fn measure(&mut self, spec: Spec) -> Option<SpecId> {
        self.bulk.measure(spec)
    }

    /// Takes a probe on. The site's policy must have allowed the target. Says whether there was room for it.
    pub fn submit(&mut self, spec: SpecId, target: IpAddr, owner: u32) -> bool {
        let (receiver, protocol) = match (&mut self.receive, target.to_canonical()) {
            ([v4, _], IpAddr::V4(_)) => (v4, libc::ETH_P_IP),
            ([_, v6], IpAddr::V6(_)) => (v6, libc::ETH_P_IPV6),
        };
        receiver.begin(protocol) && self.bulk.submit(spec, target, owner)
    }

    /// A measurement has no further probes.
    pub fn complete(&mut self, spec: SpecId) {
        self.bulk.complete(spec);
    }

    /// Declines what has not left yet and is meant.
    pub fn decline_waiting(&mut self, which: impl Fn(IpAddr) -> bool, ends: &mut impl FnMut(End)) {
        self.bulk.decline(which, ends);
    }

    /// Drops the probes of these measurements and owners; nothing more is heard of them.
    pub fn forget(&mut self, which: impl Fn(SpecId, u32) -> bool) {
        self.bulk.forget(which);
    }

    /// Waits until there is something to do. Waits for ever when there is no probe.
    pub async fn ready(&self) {
        let now = clock::monotonic();
        let due = match (self.bulk.running(), self.bulk.waiting()) {
            (0, _) => return std::future::pending().await,
            (_, 0) => self.turned + TURNS_EVERY,
            (_, _) => self.opens.min(self.turned + TURNS_EVERY),
        };
        if due <= now {
            return tokio::task::yield_now().await;
        }
        let [v4, v6] = &self.receive;
        tokio::select! {
            () = v4.readable() => {}
            () = v6.readable() => {}
            () = tokio::time::sleep(due.saturating_since(now).into()) => {}
        }
    }

    /// Reads what came, ends what is overdue, and sends what may leave.
    pub fn turn(&mut self, ends: &mut impl FnMut(End)) {
        let now = clock::both();
        self.look_at_clock(now);
        self.hear(now, ends);
        if now.at.saturating_since(self.turned) >= TURNS_EVERY {
            self.turned = now.at;
            self.end_overdue(now.at, ends);
        }
        self.routes.listen(now.at);
        for _ in 0..BATCHES {
            if !self.send(ends) {
                break;
            }
        }
    }

    /// How probes of this lane go just now.
    pub fn conditions(&self) -> Conditions {
        Conditions {
            lane: conditions::Lane::Bulk,
            sent_by: StampSource::User,
            received_by: StampSource::Kernel,
            rtt_error_ns: Some(self.bulk.stamp_error().0),
            clock: self.clock,
            interface: None,
        }
    }

    fn look_at_clock(&mut self, now: Reading) {
        self.bulk.civil_time(now.at, now.distance_ns());
        if now.at.saturating_since(self.clock_read) >= CLOCK_EVERY {
            self.clock_read = now.at;
            self.clock = clock_report().map(|report| conditions::Clock {
                synchronised: report.synchronised,
                offset_ns: report.offset_ns,
                max_error_ns: report.max_error_ns,
            });
        }
    }

    fn hear(&mut self, now: Reading, ends: &mut impl FnMut(End)) {
        let Self { bulk, receive, counters, .. } = self;
        for (family, receiver) in [Family::V4, Family::V6].into_iter().zip(receive) {
            let Receiver::Ring(ring) = receiver else { continue };
            let seen = ring.get_mut().drain(|frame| {
                let stamp = kernel_stamp(now, frame.stamp).unwrap_or_else(|| user_stamp(now));
                let end = hear(family, frame.bytes).and_then(|heard| bulk.heard(&heard, stamp));
                end.into_iter().for_each(&mut *ends);
            });
            counters.received += u64::try_from(seen).unwrap_or(0);
        }
    }

    fn end_overdue(&mut self, now: Instant, ends: &mut impl FnMut(End)) {
        let rings = self.receive.iter().filter_map(|receiver| match receiver {
            Receiver::Ring(ring) => Some(ring.get_ref()),
            _ => None,
        });
        let (ring, backlog) = self.missed.since(rings);
        if ring + backlog > 0 {
            self.counters.ring_drops += ring;
            self.counters.backlog_drops += backlog;
            self.bulk.overrun(now);
        }
        let heard_until = Instant(now.0.saturating_sub((READ_BEHIND.0).saturating_sub(LAG.0)));
        self.bulk.turn(heard_until, ends);
    }

    /// Sends a batch. Says whether more could leave at once.
    fn send(&mut self, ends: &mut impl FnMut(End)) -> bool {
        let now = clock::monotonic();
        if now < self.opens {
            return false;
        }
        self.batch.clear();
        self.keys.clear();
        let page = Arc::clone(&self.page);
        // What the site allows to leave now.
        let mut portion: Option<Portion<'_>> = None;
        // Those that are put off count, too: they must not keep others from their turn.
        for _ in 0..4 * BATCH {
            let Some((key, target, spec, tries)) = self.bulk.front() else { break };
            if spec.deadline <= now {
                ends_of(self.bulk.give_up(key, Fate::OutOfTime), ends);
                continue;
            }
            if tries >= MAX_TRIES {
                ends_of(self.bulk.give_up(key, Fate::NotSent(SendFailure::Overrun)), ends);
                continue;
            }
            let exit = match self.routes.way(now, target) {
                Way::Out(exit) => exit,
                Way::Later => {
                    self.bulk.hold(key, now + NEIGHBOUR_AFTER);
                    continue;
                }
                Way::Elsewhere => {
                    self.decline(key, ends);
                    continue;
                }
            };
            let left = BATCH - self.batch.len();
            let Some(room) = self.batch.next() else { break };
            let header = if target.is_ipv4() { 28 } else { 48 };
            let bytes = header + u32::from(spec.shape.payload_bytes);
            if bytes > exit.mtu {
                self.decline(key, ends);
                continue;
            }
            if portion
                .as_ref()
                .is_none_or(|portion| !portion.has_more() || portion.bytes() != u64::from(bytes))
            {
                // What is left of one goes back before another one is taken.
                portion = None;
                let most = u64::from(self.bulk.waiting()).min(u64::try_from(left).unwrap_or(1));
                portion = match page.portion(now, most, u64::from(bytes)) {
                    Ok(portion) => Some(portion),
                    Err(held) if held.wait == Nanos::MAX => {
                        ends_of(self.bulk.give_up(key, Fate::NotSent(SendFailure::Forbidden)), ends);
                        continue;
                    }
                    Err(held) => {
                        self.opens = now + held.wait.min(LONGEST_HOLD);
                        break;
                    }
                };
            }
            let taken = portion.as_mut().map_or(Ok(()), |portion| portion.take(target));
            if let Err(held) = taken {
                // The limits may change meanwhile: never wait long on an old answer.
                self.bulk.hold(key, now + held.wait.min(LONGEST_HOLD));
                continue;
            }
            if let Some(length) = self.bulk.write(key, exit.source, room) {
                self.batch.push(length, target.is_ipv6(), exit.link, exit.hardware);
                self.keys.push(key);
            } else {
                self.decline(key, ends);
            }
        }
        drop(portion);
        self.dispatch(ends)
    }

    /// Lets a batch go. Says whether all of it, and a full one, has left.
    fn dispatch(&mut self, ends: &mut impl FnMut(End)) -> bool {
        let mut from = 0;
        while from < self.batch.len() {
            let began = clock::monotonic();
            let outcome = self.batch.send(self.send.as_fd(), from);
            let ended = clock::monotonic();
            match outcome {
                Ok(sent) => {
                    let left = self.keys.get(from..from + sent).unwrap_or_default();
                    self.bulk.left(left, began, ended);
                    self.counters.batches += 1;
                    from += sent.max(1);
                }
                Err(error) => {
                    self.not_sent(from, ended, &error, ends);
                    return false;
                }
            }
        }
        self.batch.len() == BATCH
    }

    /// A packet did not leave, and those behind it were not tried.
    fn not_sent(&mut self, from: usize, now: Instant, error: &io::Error, ends: &mut impl FnMut(End)) {
        let keys = self.keys.get(from..).unwrap_or_default();
        if let Some(libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM | libc::EINTR) = error.raw_os_error() {
            for key in keys {
                self.bulk.retry(*key, now + RETRY_AFTER);
            }
            return;
        }
        // Where it was to leave has changed. The kernel knows better than we do.
        tracing::debug!(%error, "a packet can't leave in bulk");
        self.routes.forget();
        for key in keys {
            self.counters.declined += 1;
            ends_of(self.bulk.give_up(*key, Fate::Declined), ends);
        }
    }

    fn decline(&mut self, key: Key, ends: &mut impl FnMut(End)) {
        self.counters.declined += 1;
        ends_of(self.bulk.give_up(key, Fate::Declined), ends);
    }
}

fn ends_of(end: Option<End>, ends: &mut impl FnMut(End)) {
    if let Some(end) = end {
        ends(end);
    }
}

impl Receiver {
    /// Starts to receive, where that has not happened yet. Says whether it does.
    fn begin(&mut self, protocol: libc::c_int) -> bool {
        let socket = match self {
            Self::Ring(_) => return true,
            Self::Broken => return false,
            Self::Idle(_) => std::mem::replace(self, Self::Broken),
        };
        let Self::Idle(socket) = socket else { return false };
        let protocol = u16::try_from(protocol).unwrap_or(0);
        let begun = Ring::new(socket, protocol).and_then(|ring| super::sys::watch(ring, Interest::READABLE));
        match begun {
            Ok(ring) => *self = Self::Ring(ring),
            Err(error) => tracing::warn!(%error, "no ring: no packet leaves in bulk"),
        }
        matches!(self, Self::Ring(_))
    }

    /// Waits until blocks are there that were not there before.
    async fn readable(&self) {
        let Self::Ring(ring) = self else { return std::future::pending().await };
        if let Ok(mut ready) = ring.readable().await {
            ready.clear_ready();
        } else {
            std::future::pending::<()>().await;
        }
    }
}
