//! The loop that brings real packets and real time to a world.
//!
//! A packet enters the world at the instant when the kernel says that it left its sender, however late the loop reads
//! it: what is late in the end is only the last step out, and that is measured ([`Status::late`]). The loop sleeps until
//! [`SPIN`] before the next packet is due and then looks without pause; with `busy` it never sleeps.
//!
//! The world runs a little ahead of the clock: what enters it at an end now arrives at the first router no sooner than
//! the shortest line to an end takes, so everything up to there is settled. What comes out ahead of its time is held until
//! then. So the loop need not be awake for each hop of each packet, and sleeps in spite of them.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::num::NonZeroU64;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use mmn_probe::time::{Instant, Nanos};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::inner::Inner;
use super::lateness::{Late, Lateness};
use super::search::{Found, Search, TruthQuery};
use super::stamps::Stamps;
use super::{SERVERS_LINK, is_to_many, link_of, vp_of};
use crate::clock;
use crate::ids::{HostId, Id as _};
use crate::plan::{NodeKind, Plan};
use crate::service::Services;
use crate::sys::packets::{Leaving, MOST, PacketSocket, Room};
use crate::world::{Delivery, Port, ServiceSide, TRUTH_RECORDS, World};

/// For how long before an event the loop looks without pause.
pub const SPIN: Nanos = Nanos(50_000);
/// By how much the world runs ahead at most: the truth knows of ends that are not yet.
const MOST_AHEAD: Nanos = Nanos(2_000_000);
/// A lab is exact while 99 of a hundred packets are brought no later than this.
pub const EXACT: Nanos = Nanos(1_000_000);
/// How many answers of services may wait for their time; what comes more is dropped and counted.
const MOST_WAITING: usize = 65_536;
/// How many requests may wait for the loop; who asks more waits.
const ORDERS: usize = 64;
/// Recent is what happened since the beginning of the period before this one.
const PERIOD: Nanos = Nanos(5_000_000_000);

/// The socket to all vantage points.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) socket: PacketSocket,
    pub(crate) longest: usize,
}

/// How a lab is doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Whether the lateness of late is within [`EXACT`] at 99 of a hundred, and nothing was dropped: what is measured
    /// is then what was programmed, within the stated lateness.
    pub exact: bool,
    /// When the world began, in nanoseconds of `CLOCK_MONOTONIC`.
    pub start_ns: u64,
    /// Now.
    pub now_ns: u64,
    /// Whether it waits without sleeping.
    pub busy: bool,
    /// Packets that vantage points sent.
    pub packets_in: u64,
    /// Packets that were brought to them.
    pub packets_out: u64,
    /// Packets that vantage points sent to groups, which no world has.
    pub ignored: u64,
    /// Packets that were lost because the queue before the world was full: no fate of the world's.
    pub dropped_in: u64,
    /// Packets that could not be brought: no fate of the world's either.
    pub dropped_out: u64,
    /// Packets under way.
    pub under_way: u64,
    /// Events of the world.
    pub events: u64,
    /// Records of the truth that were forgotten for lack of room.
    pub forgotten: u64,
    /// How late packets were brought, since the beginning.
    pub late: Late,
    /// How late they were in the last five to ten seconds.
    pub late_recently: Late,
}

/// Who asked for the truth: gets what was found, or the name of what there is not.
pub(crate) type Asker = SyncSender<Result<Vec<Found>, String>>;

/// A request to the loop.
#[derive(Debug)]
pub(crate) enum Order {
    Status(SyncSender<Status>),
    Truth(TruthQuery, Asker),
    End,
}

/// By which others reach the loop.
#[derive(Clone, Debug)]
pub(crate) struct Orders {
    sender: SyncSender<Order>,
    wake: Arc<OwnedFd>,
}

impl Orders {
    /// Sends a request. Fails when the loop has ended.
    pub(crate) fn send(&self, order: Order) -> io::Result<()> {
        self.sender.send(order).map_err(|_| io::ErrorKind::BrokenPipe)?;
        // It fails when the count is full: then the loop is awake.
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
        Ok(())
    }
}

/// The loop.
#[derive(Debug)]
pub(crate) struct Driver {
    world: World,
    services: Services,
    line: Line,
    orders: Receiver<Order>,
    wake: Arc<OwnedFd>,
    room: Room,
    out: Vec<Delivery>,
    /// Answers of services that wait for their time.
    waiting: BTreeMap<(Instant, u64), (HostId, Vec<u8>)>,
    answers: u64,
    /// What has come out of the world and is not due yet, in the order of coming due.
    held: VecDeque<Held>,
    /// Buffers to use again.
    spare: Vec<Vec<u8>>,
    /// By how much the world runs ahead.
    ahead: Nanos,
    inner: Arc<Inner>,
    searches: Vec<(Search, Asker)>,
    stamps: Stamps,
    busy: bool,
    count: Counts,
    late: Lateness,
    recent: [Lateness; 2],
    period_ends: Instant,
}

/// A packet that is to be brought.
#[derive(Debug)]
struct Held {
    delivery: Delivery,
    bytes: Vec<u8>,
}

/// How many buffers are kept.
const MOST_SPARE: usize = 4_096;

#[derive(Debug, Default)]
struct Counts {
    packets_in: u64,
    packets_out: u64,
    ignored: u64,
    dropped_in: u64,
    dropped_out: u64,
}

impl Driver {
    /// A loop over a plan whose networks are made. The world begins now.
    pub(crate) fn new(
        plan: &Arc<Plan>,
        line: Line,
        inner: Arc<Inner>,
        busy: bool,
    ) -> io::Result<(Self, Orders)> {
        let now = clock::both();
        let mut world = World::starting_at(plan.clone(), now.at, TRUTH_RECORDS);
        world.truth_mut().reserve();
        world.set_services(ServiceSide { udp: true, tcp: true });
        let (sender, orders) = sync_channel(ORDERS);
        let wake = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let driver = Self {
            services: Services::new(plan.clone(), now.at),
            world,
            room: Room::new(line.longest.max(1_500).next_multiple_of(64)),
            line,
            orders,
            wake: wake.clone(),
            out: Vec::new(),
            waiting: BTreeMap::new(),
            answers: 0,
            held: VecDeque::new(),
            spare: Vec::new(),
            ahead: ahead_of(plan),
            inner,
            searches: Vec::new(),
            stamps: Stamps::new(now),
            busy,
            count: Counts::default(),
            late: Lateness::default(),
            recent: [Lateness::default(), Lateness::default()],
            period_ends: now.at + PERIOD,
        };
        Ok((driver, Orders { sender, wake }))
    }

    /// When the world began.
    pub(crate) fn start(&self) -> Instant {
        self.world.start()
    }

    /// Runs until it is told to end.
    pub(crate) fn run(mut self) -> io::Result<()> {
        // Wake-ups are as late as the slack allows, 50 microseconds by default.
        rustix::thread::set_current_timer_slack(NonZeroU64::new(1))?;
        loop {
            let before = clock::monotonic();
            let taken = self.take()?;
            let now = clock::monotonic();
            // With a full room there may be more outside, from before.
            let settled = if taken < MOST { now.max(before + self.ahead) } else { now };
            let moved = self.advance(settled) | self.bring(now)?;
            if now >= self.period_ends {
                self.turn_period(now);
            }
            if !self.follow_orders() {
                return Ok(());
            }
            if taken == 0 && !moved && self.searches.is_empty() && !self.busy {
                self.wait()?;
            }
        }
    }

    /// Takes what vantage points sent.
    fn take(&mut self) -> io::Result<usize> {
        let taken = self.line.socket.receive(&mut self.room)?;
        if taken == 0 {
            return Ok(0);
        }
        let at = self.stamps.at(clock::both());
        let vps = self.world.plan().vps.len();
        for place in 0..taken {
            let Some(packet) = self.room.packet(place) else { continue };
            if packet.cut || is_to_many(packet.bytes) {
                self.count.ignored += 1;
                continue;
            }
            if packet.link == SERVERS_LINK {
                if let Some((host, bytes)) = self.inner.outward(packet.bytes) {
                    self.world.inject(at(packet.stamp), Port::Service(host), &bytes);
                }
                continue;
            }
            let Some(vp) = vp_of(packet.link, vps) else { continue };
            self.world.inject(at(packet.stamp), Port::Vp(vp), packet.bytes);
            self.count.packets_in += 1;
        }
        Ok(taken)
    }

    /// Lets the world's time pass until `limit`, and takes what comes out of it. Answers whether anything did.
    fn advance(&mut self, limit: Instant) -> bool {
        let mut moved = false;
        loop {
            let answer = self.waiting.first_key_value().map(|((at, _), _)| *at).filter(|at| *at <= limit);
            if self.world.step(answer.unwrap_or(limit), &mut self.out) {
                self.sort();
            } else if let Some(((at, _), (host, packet))) = answer.and_then(|_| self.waiting.pop_first()) {
                self.world.inject(at, Port::Service(host), &packet);
            } else {
                return moved;
            }
            moved = true;
        }
    }

    /// Holds what is for vantage points and servers until it is due, and has services answer what is for them.
    fn sort(&mut self) {
        for delivery in self.out.drain(..) {
            let packet = self.world.bytes(&delivery);
            let mut bytes = self.spare.pop().unwrap_or_default();
            bytes.clear();
            bytes.extend_from_slice(packet);
            if let Port::Service(host) = delivery.port
                && self.inner.inward(host, &mut bytes).is_none()
            {
                self.spare.push(bytes);
                let Some(reply) = self.services.packet(delivery.due, host, packet) else { continue };
                if self.waiting.len() < MOST_WAITING {
                    self.answers += 1;
                    let key = (delivery.due + reply.after, self.answers);
                    self.waiting.insert(key, (host, reply.packet));
                } else {
                    self.count.dropped_out += 1;
                }
                continue;
            }
            // Only what entered late comes out before what is held already.
            let place = self.held.iter().rev().take_while(|held| held.delivery.due > delivery.due).count();
            self.held.insert(self.held.len() - place, Held { delivery, bytes });
        }
    }

    /// Brings what is due. Answers whether anything was.
    fn bring(&mut self, now: Instant) -> io::Result<bool> {
        let due = self.held.iter().take_while(|held| held.delivery.due <= now).count();
        let batch: Vec<_> = self.held.drain(..due).collect();
        let mut rest = batch.as_slice();
        while !rest.is_empty() {
            let before = clock::monotonic();
            let leaving =
                rest.iter().map(|held| Leaving { link: link_to(held.delivery.port), bytes: &held.bytes });
            let sent = match self.line.socket.send(leaving) {
                Ok(sent) => sent.max(1),
                Err(error) if is_of_one_packet(&error) => {
                    self.count.dropped_out += 1;
                    rest = rest.get(1..).unwrap_or_default();
                    continue;
                }
                Err(error) => return Err(error),
            };
            let after = clock::monotonic();
            let took = after.saturating_since(before).0;
            let (done, left) = rest.split_at(sent.min(rest.len()));
            rest = left;
            let count = u64::try_from(done.len()).unwrap_or(1).max(1);
            for (place, held) in (0_u64..).zip(done) {
                // Each is brought in the middle of its share of the call.
                self.note(&held.delivery, before + Nanos(took * (2 * place + 1) / (2 * count)), after);
            }
        }
        self.spare.extend(batch.into_iter().map(|held| held.bytes).take(MOST_SPARE));
        self.spare.truncate(MOST_SPARE);
        Ok(due > 0)
    }

    /// Notes about when a packet was brought, and by when for certain: within the call the process may lose its processor.
    fn note(&mut self, delivery: &Delivery, at: Instant, by: Instant) {
        self.world.truth_mut().written(delivery.id, by);
        if matches!(delivery.port, Port::Vp(_)) {
            let late = at.saturating_since(delivery.due).0;
            self.count.packets_out += 1;
            self.late.add(late);
            let [recent, _] = &mut self.recent;
            recent.add(late);
        }
    }

    fn turn_period(&mut self, now: Instant) {
        self.recent.swap(0, 1);
        let [recent, _] = &mut self.recent;
        recent.clear();
        self.period_ends = now + PERIOD;
        self.count_drops();
    }

    fn count_drops(&mut self) {
        self.count.dropped_in += u64::from(self.line.socket.dropped().unwrap_or(0));
    }

    /// Answers whether to go on.
    fn follow_orders(&mut self) -> bool {
        while let Ok(order) = self.orders.try_recv() {
            match order {
                Order::End => return false,
                // Who asked may have gone.
                Order::Status(answer) => drop(answer.try_send(self.status())),
                Order::Truth(query, answer) => {
                    match Search::new(self.world.plan(), self.world.truth(), &query) {
                        Ok(search) => self.searches.push((search, answer)),
                        Err(unknown) => drop(answer.try_send(Err(unknown))),
                    }
                }
            }
        }
        if let Some((search, _)) = self.searches.last_mut()
            && let Some(found) = search.step(self.world.plan(), self.world.truth())
            && let Some((_, answer)) = self.searches.pop()
        {
            let _ = answer.try_send(Ok(found));
        }
        true
    }

    fn status(&mut self) -> Status {
        self.count_drops();
        let [recent, before] = &self.recent;
        let mut together = recent.clone();
        together.join(before);
        let late_recently = together.sum();
        let dropped = self.count.dropped_in + self.count.dropped_out;
        Status {
            exact: dropped == 0 && late_recently.p99_ns.is_none_or(|late| late <= EXACT.0),
            start_ns: self.world.start().0,
            now_ns: clock::monotonic().0,
            busy: self.busy,
            packets_in: self.count.packets_in,
            packets_out: self.count.packets_out,
            ignored: self.count.ignored,
            dropped_in: self.count.dropped_in,
            dropped_out: self.count.dropped_out,
            under_way: u64::try_from(self.world.under_way() + self.held.len()).unwrap_or(u64::MAX),
            events: self.world.events(),
            forgotten: self.world.truth().forgotten(),
            late: self.late.sum(),
            late_recently,
        }
    }

    /// Sleeps until shortly before something is due, or until something comes.
    fn wait(&mut self) -> io::Result<()> {
        let early = |at: Instant, by: u64| at.0.saturating_sub(by);
        let answer = self.waiting.first_key_value().map(|((at, _), _)| *at);
        let event = [answer, self.world.next_at()].into_iter().flatten().min();
        // An event is no hurry where the world runs ahead: it is settled well before it is due.
        let event =
            event.map(|at| early(at, if self.ahead > Nanos::ZERO { self.ahead.0 / 2 } else { SPIN.0 }));
        let due = self.held.front().map(|held| early(held.delivery.due, SPIN.0));
        let next = [event, due].into_iter().flatten().min();
        let pause = next.map(|next| next.saturating_sub(clock::monotonic().0));
        if pause == Some(0) {
            return Ok(());
        }
        let pause = pause.and_then(|ns| {
            let (seconds, nanos) = (ns / 1_000_000_000, ns % 1_000_000_000);
            Some(Timespec { tv_sec: i64::try_from(seconds).ok()?, tv_nsec: nanos.try_into().ok()? })
        });
        let mut ready = [
            PollFd::from_borrowed_fd(self.line.socket.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.wake.as_fd(), PollFlags::IN),
        ];
        match poll(&mut ready, pause.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let [_, woken] = &ready;
        if woken.revents().contains(PollFlags::IN) {
            // There is a count to read, and it is of no interest.
            let _ = rustix::io::read(&self.wake, &mut [0; 8]);
        }
        Ok(())
    }
}

/// By how much a world may run ahead: what the shortest line takes from a vantage point or a server to its router. Too
/// little is no gain.
fn ahead_of(plan: &Plan) -> Nanos {
    let enters = |node: &&crate::plan::Node| match node.kind {
        NodeKind::Router => false,
        NodeKind::Vp(_) => true,
        NodeKind::Host(_) => !node.manners.ports.service_tcp.is_empty(),
    };
    let lines = plan.nodes.iter().filter(enters).filter_map(|node| node.leaving.first());
    let shortest = lines.map(|way| plan.ways[*way].delay).min().unwrap_or(Nanos::ZERO);
    if shortest < SPIN { Nanos::ZERO } else { shortest.min(MOST_AHEAD) }
}

fn link_to(port: Port) -> u32 {
    match port {
        Port::Vp(vp) => link_of(u32::try_from(vp.index()).unwrap_or(u32::MAX)),
        Port::Service(_) => SERVERS_LINK,
    }
}

/// Whether an error is about the first packet alone: too long, its link down, no room.
fn is_of_one_packet(error: &io::Error) -> bool {
    let known = [
        Errno::MSGSIZE,
        Errno::NETDOWN,
        Errno::NXIO,
        Errno::NODEV,
        Errno::NOBUFS,
        Errno::AGAIN,
        Errno::INVAL,
    ];
    known.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}
