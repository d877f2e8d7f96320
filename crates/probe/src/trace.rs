//! The trace: probes with growing TTLs, and who answers each.
//!
//! Every probe ends in exactly one [`Fate`]. Hops are asked in the order of their TTLs. The next one is not waited for:
//! it is asked as soon as the one before has answered, or after a fraction of a round trip, as long as no more than
//! [`Spec::parallel`] probes are under way. So a path whose routers answer costs as many probes as it has hops, a silent
//! router holds nobody up, and nothing is sent beyond the destination once it has answered. The measurement is over
//! as soon as each hop before its end has answered or been asked often enough.
//!
//! A probe that was under way while the receiver was overrun, and is never answered, costs its hop no attempt.
//!
//! Begin with [`Spec`], then [`Trace`]; the records are in [`Sample`]. [`shape`] says how probes look and how answers are
//! judged, [`mtu`] how the path's MTU is found, [`census`] how sure it is to have seen all of a hop, [`doubletree`] how it
//! stops where others have been.

mod account;
pub mod census;
pub mod doubletree;
pub mod mtu;
mod record;
pub mod shape;
mod spec;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use crate::cookie::Key;
use crate::machine::{Input, Machine, Output};
use crate::packet::{Departure, Flow, Packet, ProbeId, SendFailure, Ttl};
use crate::time::{Instant, Nanos, Stamp};

use account::{Entry, Errand, Hop};
use census::Census;
use doubletree::Backward;
use mtu::Search;
pub(crate) use record::Meaning;
use shape::{Checksum, Look, Method, SentAs, Verdict};

pub use record::{Fate, Quoted, Reply, Said, Sample, Stop, Unasked};
pub use spec::{MAX_ATTEMPTS, MAX_PARALLEL, MAX_PAYLOAD_BYTES, Pmtud, Spec, SpecError};

/// The next hop is asked after so long at least, unless the one before has answered.
const LEAST_STEP: Nanos = Nanos::from_millis(20);
/// The next hop is asked after so long at most.
const LONGEST_STEP: Nanos = Nanos::from_millis(250);

/// A trace under way; see the module's head.
#[derive(Debug)]
pub struct Trace {
    spec: Arc<Spec>,
    target: IpAddr,
    key: Key,
    entries: Vec<Entry>,
    replies: Vec<Reply>,
    /// One for each TTL that was asked, from the first on.
    hops: Vec<Hop>,
    source: Option<IpAddr>,
    /// The probe that the driver was given and has not yet reported on.
    handed_out: Option<ProbeId>,
    /// Every entry before this one is settled.
    settled: usize,
    /// Probes that are not settled.
    open: u16,
    last_left: Option<Instant>,
    /// The time from a hop's probe to the next hop's, while the first is not answered.
    step: Nanos,
    /// The lowest TTL at which the destination answered.
    reached: Option<Ttl>,
    /// The lowest TTL at which something else ended the path, and what.
    barred: Option<(Ttl, Stop)>,
    /// The highest TTL at which anything answered.
    highest: u8,
    loops_seen: u8,
    failure: Option<SendFailure>,
    cancelled: bool,
    unasked: Unasked,
    search: Option<Box<Search>>,
    rare: Option<Box<Rare>>,
    stop: Option<Stop>,
}

/// What few traces have.
#[derive(Debug, Default)]
struct Rare {
    /// One for each of the hops, where certainty is asked for.
    censuses: Vec<Census>,
    backward: Option<Backward>,
    global_stop: Option<(Ttl, IpAddr)>,
    local_stop: Option<(Ttl, IpAddr)>,
}

/// What to do next.
enum Step {
    Ask(Ttl),
    NotBefore(Instant),
    /// Nothing before an answer or a timeout.
    Blocked,
}

impl Trace {
    /// A trace that begins at its first poll. The key must be random and secret.
    pub fn new(spec: Spec, key: Key) -> Result<Self, SpecError> {
        let target = spec.target;
        Self::of_many(Arc::new(spec), target, key)
    }

    /// The same, for one of many targets that are asked alike: of this specification, but to this target.
    pub fn of_many(spec: Arc<Spec>, target: IpAddr, key: Key) -> Result<Self, SpecError> {
        spec.check()?;
        Ok(Self {
            target,
            highest: spec.first_hop.0 - 1,
            spec,
            key,
            entries: Vec::new(),
            replies: Vec::new(),
            hops: Vec::new(),
            source: None,
            handed_out: None,
            settled: 0,
            open: 0,
            last_left: None,
            step: LEAST_STEP,
            reached: None,
            barred: None,
            loops_seen: 0,
            failure: None,
            cancelled: false,
            unasked: Unasked::default(),
            search: None,
            rare: None,
            stop: None,
        })
    }

    /// What was asked; of whom says [`Self::target`].
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// Where its probes go.
    pub const fn target(&self) -> IpAddr {
        self.target
    }

    /// Why it ended; absent as long as it is under way.
    pub const fn stop(&self) -> Option<Stop> {
        self.stop
    }

    /// The TTL at which the path ended: where the destination answered, or what stopped the trace. Absent where nothing
    /// of the kind happened.
    pub fn stop_ttl(&self) -> Option<Ttl> {
        self.reached.or(self.barred.map(|(ttl, _)| ttl))
    }

    /// Whether the destination answered.
    pub const fn is_reached(&self) -> bool {
        self.reached.is_some()
    }

    /// The router of the global stop set that ended it, and its TTL.
    pub fn global_stop(&self) -> Option<(Ttl, IpAddr)> {
        self.rare.as_ref().and_then(|rare| rare.global_stop)
    }

    /// The router of the local stop set that ended the way back, and its TTL.
    pub fn local_stop(&self) -> Option<(Ttl, IpAddr)> {
        self.rare.as_ref().and_then(|rare| rare.local_stop)
    }

    /// The source of the probes, where the driver told.
    pub const fn source(&self) -> Option<IpAddr> {
        self.source
    }

    /// What came that no probe had asked for.
    pub const fn unasked(&self) -> Unasked {
        self.unasked
    }

    /// What was found about the path's MTU; absent where it was not asked for, or there was nobody to ask.
    pub fn mtu(&self) -> Option<&Search> {
        self.search.as_deref()
    }

    /// The record of each probe that was begun, in the order of sending.
    pub fn samples(&self) -> impl ExactSizeIterator<Item = Sample<'_>> {
        self.entries.iter().enumerate().map(|(id, entry)| Sample {
            id: number(id),
            ttl: entry.ttl,
            attempt: entry.attempt,
            of_mtu_search: entry.errand == Errand::Mtu,
            of_last_ditch: entry.errand == Errand::LastDitch,
            sent: entry.sent(),
            identity: entry.identity(),
            port: self.port_of(ProbeId(number(id)), entry),
            ip_id: entry.ip_id,
            bytes: entry.bytes,
            fate: entry.fate.unwrap_or(Fate::Cancelled),
            reply: self.reply_of(entry),
            rtt: entry.rtt(self.reply_of(entry)),
            duplicates: entry.duplicates,
            clock_stepped: entry.clock_stepped,
        })
    }

    fn reply_of(&self, entry: &Entry) -> Option<&Reply> {
        self.replies.get(usize::from(entry.reply?.get()) - 1)
    }

    fn port_of(&self, id: ProbeId, entry: &Entry) -> u16 {
        let classic = !self.spec.paris && self.spec.shape.method == Method::Udp;
        if classic && entry.errand != Errand::Mtu { nth_port(self.spec.port, id.0) } else { self.spec.port }
    }

    fn look(&self, id: ProbeId, entry: &Entry) -> Look<'_> {
        let method = self.spec.shape.method;
        let number = match method {
            // What a classic trace over TCP varies is its source port.
            Method::Tcp | Method::TcpAck if !self.spec.paris => u16::try_from(id.0 % 0xffff).unwrap_or(0),
            _ => self.spec.flow,
        };
        let checksum = match method {
            Method::Icmp if self.spec.paris => Checksum::Fixed(
                self.spec.checksum.unwrap_or_else(|| flow_checksum(&self.key, self.spec.flow)),
            ),
            Method::Udp if self.spec.paris && !self.spec.constant_payload => Checksum::Tag,
            _ => Checksum::Free,
        };
        Look {
            id,
            ttl: entry.ttl,
            flow: Flow { number, selector: self.spec.selector },
            port: self.port_of(id, entry),
            payload_bytes: entry.payload_bytes,
            payload: self.spec.payload.as_deref(),
            cookie_of: if self.spec.constant_payload { 0 } else { id.0 },
            checksum,
        }
    }

    fn packet(&mut self, packet: &Packet<'_>) {
        let Some(index) = usize::try_from(packet.probe.0).ok().filter(|index| *index < self.entries.len())
        else {
            self.unasked.unknown = self.unasked.unknown.saturating_add(1);
            return;
        };
        let Some(entry) = self.entries.get(index) else { return };
        let (Some(sent), Some(identity)) = (entry.sent(), entry.identity()) else {
            self.unasked.unknown = self.unasked.unknown.saturating_add(1);
            return;
        };
        let sent_as = SentAs {
            look: self.look(packet.probe, entry),
            source: self.source,
            identity,
            ip_id: entry.ip_id,
            bytes: entry.bytes,
        };
        let Verdict::Ours { verified, altered } =
            self.spec.shape.judge(&self.key, self.target, &sent_as, packet)
        else {
            self.unasked.foreign = self.unasked.foreign.saturating_add(1);
            return;
        };
        let number = u16::try_from(self.replies.len() + 1).ok().and_then(std::num::NonZeroU16::new);
        let Some(entry) = self.entries.get_mut(index) else { return };
        if entry.reply.is_some() || number.is_none() {
            entry.duplicates = entry.duplicates.saturating_add(1);
            return;
        }
        let was_open = entry.fate.is_none();
        let took = packet.stamp.at.saturating_since(sent.at);
        entry.fate = Some(if took > self.spec.timeout { Fate::Late } else { Fate::Answered });
        entry.reply = number;
        let (ttl, errand) = (entry.ttl, entry.errand);
        let reply = Reply::new(packet, verified, altered);
        let (meaning, from) = (reply.means(self.target, self.spec.shape.method), reply.from);
        let said = reply.said;
        if self.replies.capacity() == self.replies.len() {
            self.replies.reserve_exact(4);
        }
        self.replies.push(reply);
        if was_open {
            self.open -= 1;
        }
        match errand {
            Errand::Path => {}
            Errand::Mtu => {
                if let Some(search) = &mut self.search {
                    search.answered(packet.probe, meaning, said, from);
                }
                return;
            }
            Errand::LastDitch => return,
            Errand::Backward => {
                self.answered_backward(ttl, was_open, meaning, from, packet.stamp.at);
                return;
            }
        }
        self.step = Nanos((took.0 / 4).clamp(LEAST_STEP.0, LONGEST_STEP.0));
        self.hop_answered(ttl, was_open, meaning, said, from);
        if meaning == Meaning::Hop {
            self.met(ttl, from, packet.stamp.at);
        }
    }

    fn hop_answered(&mut self, ttl: Ttl, was_open: bool, meaning: Meaning, said: Said, from: IpAddr) {
        let reply = u16::try_from(self.replies.len()).unwrap_or(0);
        let first = self.spec.first_hop.0;
        let Some(hop) = self.hops.get_mut(usize::from(ttl.0 - first)) else { return };
        hop.open -= u8::from(was_open);
        let is_first = hop.reply == 0;
        if is_first {
            hop.reply = reply;
        }
        self.highest = self.highest.max(ttl.0);
        if self.spec.certainty.is_some()
            && let Some(census) = self.rare().censuses.get_mut(usize::from(ttl.0 - first))
        {
            census.answered(from);
        }
        match (meaning, said) {
            (Meaning::Reached, _) => {
                self.reached = Some(self.reached.map_or(ttl, |reached| reached.min(ttl)));
            }
            (Meaning::Unreachable, Said::Error { kind, code, .. }) => {
                self.bar(ttl, Stop::Unreachable { kind, code });
            }
            (Meaning::Error | Meaning::TooBig, Said::Error { kind, code, .. }) => {
                self.bar(ttl, Stop::Icmp { kind, code });
            }
            _ if is_first => self.look_for_loop(ttl, from),
            _ => {}
        }
    }

    /// A router of the path has answered: one of a stop set ends the trace, or spares it the way back.
    fn met(&mut self, ttl: Ttl, from: IpAddr, at: Instant) {
        let spec = Arc::clone(&self.spec);
        let Some(tree) = &spec.doubletree else { return };
        if tree.stops_forward(from) {
            self.bar(ttl, Stop::GlobalStopSet);
            let global = &mut self.rare().global_stop;
            if global.is_none_or(|(before, _)| ttl < before) {
                *global = Some((ttl, from));
            }
        }
        if self.was_met_before(from, at) && ttl == spec.first_hop {
            self.rare().local_stop.get_or_insert((ttl, from));
        }
    }

    /// Notes a router in the local stop set. Whether other traces had met it.
    fn was_met_before(&self, from: IpAddr, at: Instant) -> bool {
        let Some(set) = self.spec.doubletree.as_ref().and_then(|tree| tree.local.as_ref()) else {
            return false;
        };
        let own = self.replies.iter().filter(|reply| reply.from == from).nth(1).is_some();
        let source = self.source.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        set.meet(source, from, at) && !own
    }

    fn answered_backward(&mut self, ttl: Ttl, was_open: bool, meaning: Meaning, from: IpAddr, at: Instant) {
        let reply = u16::try_from(self.replies.len()).unwrap_or(0);
        let known = meaning == Meaning::Hop && self.was_met_before(from, at);
        if meaning == Meaning::Reached {
            self.reached = Some(self.reached.map_or(ttl, |reached| reached.min(ttl)));
        }
        let rare = self.rare();
        if known {
            rare.local_stop.get_or_insert((ttl, from));
        }
        if let Some(back) = rare.backward.as_mut().and_then(|back| back.at(ttl)) {
            back.hop.open -= u8::from(was_open);
            back.hop.reply = back.hop.reply.max(reply);
            back.census.answered(from);
        }
    }

    fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    fn bar(&mut self, ttl: Ttl, stop: Stop) {
        if self.barred.is_none_or(|(barred, _)| ttl < barred) {
            self.barred = Some((ttl, stop));
        }
    }

    /// A router that is met again, with another one between, is a loop. The same one at neighbouring TTLs is none: some
    /// forward a packet whose TTL has run out.
    fn look_for_loop(&mut self, ttl: Ttl, from: IpAddr) {
        let here = usize::from(ttl.0 - self.spec.first_hop.0);
        let address =
            |hop: &Hop| self.replies.get(usize::from(hop.reply).wrapping_sub(1)).map(|reply| reply.from);
        let between = |low: usize, high: usize| {
            self.hops
                .get(low + 1..high)
                .is_some_and(|hops| hops.iter().filter_map(address).any(|other| other != from))
        };
        let same: Vec<usize> =
            (0..self.hops.len()).filter(|at| self.hops.get(*at).and_then(address) == Some(from)).collect();
        // Answers come in any order: the loop ends at the higher of the two.
        let end = same
            .iter()
            .filter(|at| **at != here)
            .filter(|at| between((**at).min(here), (**at).max(here)))
            .map(|at| (*at).max(here))
            .min();
        if let Some(end) = end
            && self.spec.loops > 0
        {
            self.loops_seen = self.loops_seen.saturating_add(1);
            if self.loops_seen >= self.spec.loops {
                let end =
                    Ttl(self.spec.first_hop.0 + u8::try_from(end).unwrap_or(u8::MAX - self.spec.first_hop.0));
                self.bar(end, Stop::Loop);
            }
        }
    }

    fn sent(&mut self, probe: ProbeId, stamp: Stamp, departure: Option<Departure>) {
        if self.handed_out == Some(probe) && departure.is_some() {
            self.handed_out = None;
            self.last_left = Some(stamp.at);
        }
        let Some(entry) = usize::try_from(probe.0).ok().and_then(|index| self.entries.get_mut(index)) else {
            return;
        };
        if departure.is_none() && entry.sent().is_none() {
            return;
        }
        entry.stamp(stamp);
        if let Some(Departure { source, identity, ip_id, bytes }) = departure {
            entry.departed(identity, ip_id, bytes);
            self.source = self.source.or(source);
        }
    }

    fn send_failed(&mut self, probe: ProbeId, reason: SendFailure) {
        if self.handed_out == Some(probe) {
            self.handed_out = None;
        }
        let first = self.spec.first_hop.0;
        let Some(entry) = usize::try_from(probe.0).ok().and_then(|index| self.entries.get_mut(index)) else {
            return;
        };
        if entry.fate.is_some() {
            return;
        }
        entry.fate = Some(Fate::NotSent(reason));
        self.open -= 1;
        match entry.errand {
            Errand::Path => {}
            Errand::Mtu => {
                if let Some(search) = &mut self.search {
                    search.not_sent(probe, reason);
                }
                return;
            }
            Errand::LastDitch => return,
            Errand::Backward => {
                let back = self.rare.as_mut().and_then(|rare| rare.backward.as_mut());
                if let Some(back) = back.filter(|back| back.ttl == entry.ttl.0) {
                    back.hop.open -= 1;
                    back.census.silent();
                    if reason != SendFailure::Overrun {
                        back.ttl = 0;
                    }
                }
                return;
            }
        }
        if self.spec.certainty.is_some()
            && let Some(census) =
                self.rare.as_mut().and_then(|rare| rare.censuses.get_mut(usize::from(entry.ttl.0 - first)))
        {
            census.silent();
        }
        if let Some(hop) = self.hops.get_mut(usize::from(entry.ttl.0 - first)) {
            hop.open -= 1;
        }
        if reason != SendFailure::Overrun {
            self.failure.get_or_insert(reason);
        }
    }

    /// Times out what is overdue; returns the earliest deadline that is still to come.
    fn expire(&mut self, now: Instant) -> Option<Instant> {
        let mut earliest: Option<Instant> = None;
        let (timeout, first) = (self.spec.timeout, self.spec.first_hop.0);
        for (index, entry) in self.entries.iter_mut().enumerate().skip(self.settled) {
            let (None, Some(sent)) = (entry.fate, entry.sent()) else { continue };
            let deadline = sent.at + timeout;
            if deadline > now {
                earliest = Some(earliest.map_or(deadline, |other| other.min(deadline)));
                continue;
            }
            let fate = if entry.overrun { Fate::Overrun } else { Fate::TimedOut };
            entry.fate = Some(fate);
            self.open -= 1;
            if entry.errand == Errand::Mtu {
                if let Some(search) = &mut self.search {
                    search.silent(ProbeId(number(index)), fate);
                }
                continue;
            }
            let rare = self.rare.as_deref_mut();
            let (hop, census) = match entry.errand {
                Errand::Path => {
                    let at = usize::from(entry.ttl.0 - first);
                    (self.hops.get_mut(at), rare.and_then(|rare| rare.censuses.get_mut(at)))
                }
                Errand::Backward => {
                    let back = rare.and_then(|rare| rare.backward.as_mut()?.at(entry.ttl));
                    back.map_or((None, None), |back| (Some(&mut back.hop), Some(&mut back.census)))
                }
                Errand::Mtu | Errand::LastDitch => (None, None),
            };
            let Some(hop) = hop else { continue };
            hop.open -= 1;
            // As often as a hop is asked at most, an overrun costs it nothing.
            if fate == Fate::Overrun && hop.forgiven < self.spec.attempts {
                hop.forgiven += 1;
            } else if let Some(census) = census {
                census.silent();
            }
        }
        let open = self.entries.iter().skip(self.settled).position(|entry| entry.fate.is_none());
        self.settled = open.map_or(self.entries.len(), |open| self.settled + open);
        earliest
    }

    /// The last TTL that is worth asking, as far as is known.
    fn bound(&self) -> u8 {
        let gap = match self.spec.gap_limit {
            0 => self.spec.max_ttl.0,
            limit => self.highest.saturating_add(limit).min(self.spec.max_ttl.0),
        };
        let reached = self.reached.map_or(gap, |ttl| ttl.0.min(gap));
        // On the way back the destination may have answered at a lower one.
        self.barred.map_or(reached, |(ttl, _)| ttl.0.min(reached)).max(self.spec.first_hop.0)
    }

    /// Whether the hop in this place need not be asked any more.
    fn is_resolved(&self, at: usize, hop: &Hop) -> bool {
        self.is_enough(hop, self.rare.as_ref().and_then(|rare| rare.censuses.get(at)))
    }

    fn is_enough(&self, hop: &Hop, census: Option<&Census>) -> bool {
        if let Some((certainty, census)) = self.spec.certainty.as_ref().zip(census) {
            let too_many = hop.tries >= census::MAX_ASKED || number(self.entries.len()) >= census::MAX_PROBES;
            return hop.open == 0 && (too_many || census.is_complete(certainty, self.spec.attempts));
        }
        let asked = hop.open == 0 && hop.tries >= self.spec.attempts.saturating_add(hop.forgiven);
        asked || (hop.reply != 0 && !self.spec.all_attempts)
    }

    /// Why the path is at its end, if it is: every hop up to the bound has answered or been asked often enough.
    fn path_ended(&self) -> Option<Stop> {
        let bound = self.bound();
        let wanted = usize::from(bound - self.spec.first_hop.0) + 1;
        let hops = self.hops.get(..wanted)?;
        if !hops.iter().enumerate().all(|(at, hop)| self.is_resolved(at, hop)) {
            return None;
        }
        // What answered as the destination outdoes what a router says about it.
        Some(match (self.reached, self.barred) {
            (Some(_), _) => Stop::Completed,
            (None, Some((_, stop))) => stop,
            (None, None) => {
                let gap = self.spec.gap_limit;
                if gap > 0 && bound - self.highest >= gap { Stop::GapLimit } else { Stop::HopLimit }
            }
        })
    }

    fn next_step(&self, now: Instant) -> Step {
        let blocked = self.spec.goes_one_by_one() && self.open > 0;
        if self.handed_out.is_some() || self.open >= self.spec.parallel || self.failure.is_some() || blocked {
            return Step::Blocked;
        }
        if let Some(earliest) = self.held_until(now) {
            return Step::NotBefore(earliest);
        }
        let (first, bound) = (self.spec.first_hop.0, self.bound());
        let again = (first..=bound)
            .zip(self.hops.iter().enumerate())
            .filter(|(_, (at, hop))| hop.open == 0 && !self.is_resolved(*at, hop))
            .map(|(ttl, _)| (self.hop_held_until(Ttl(ttl), now), Ttl(ttl)));
        // The first that may be asked now; else the one that may be asked first.
        let mut later: Option<Instant> = None;
        for (until, ttl) in again {
            let Some(until) = until else { return Step::Ask(ttl) };
            later = Some(later.map_or(until, |other| other.min(until)));
        }
        let later = later.map_or(Step::Blocked, Step::NotBefore);
        let next = usize::from(first) + self.hops.len();
        let Some(next) = u8::try_from(next).ok().filter(|next| *next <= bound) else { return later };
        let waits = self.hops.last().is_some_and(|hop| hop.open > 0 && hop.reply == 0);
        match (self.last_left.map(|left| left + self.step), later) {
            (Some(until), Step::NotBefore(other)) if waits && until > now => {
                Step::NotBefore(until.min(other))
            }
            (Some(until), _) if waits && until > now => Step::NotBefore(until),
            _ => Step::Ask(Ttl(next)),
        }
    }

    /// Until when no probe may leave; nothing where one may.
    fn held_until(&self, now: Instant) -> Option<Instant> {
        self.last_left.map(|left| left + self.spec.wait).filter(|until| *until > now)
    }

    /// The same of probes to one hop.
    fn hop_held_until(&self, ttl: Ttl, now: Instant) -> Option<Instant> {
        if self.spec.wait_hop == Nanos::ZERO {
            return None;
        }
        let mut of_hop = self.entries.iter().rev().filter(|entry| entry.ttl == ttl);
        let left = of_hop.find_map(Entry::sent)?.at;
        Some(left + self.spec.wait_hop).filter(|until| *until > now)
    }

    fn ask(&mut self, ttl: Ttl) -> Output {
        let at = usize::from(ttl.0 - self.spec.first_hop.0);
        if self.hops.len() <= at {
            if self.hops.capacity() == self.hops.len() {
                self.hops.reserve_exact(8);
            }
            self.hops.push(Hop::default());
            if self.spec.certainty.is_some() {
                self.rare().censuses.push(Census::default());
            }
        }
        let Some(hop) = self.hops.get_mut(at) else { return Output::Wait };
        let attempt = hop.tries;
        hop.tries += 1;
        hop.open += 1;
        self.send(Entry::new(ttl, attempt, self.spec.payload_bytes))
    }

    fn send(&mut self, entry: Entry) -> Output {
        let id = ProbeId(number(self.entries.len()));
        let mut shape = self.spec.shape;
        shape.dont_fragment |= entry.errand == Errand::Mtu;
        let probe = shape.probe(&self.key, self.target, &self.look(id, &entry));
        if self.entries.capacity() == self.entries.len() {
            // As many as it takes to find nobody: a vector that grows leaves holes behind.
            let silent = usize::from(self.spec.gap_limit) * usize::from(self.spec.attempts);
            let begun = self.entries.len();
            self.entries.reserve_exact(if begun == 0 {
                silent.clamp(4, 10)
            } else {
                (begun / 4).clamp(4, 64)
            });
        }
        self.entries.push(entry);
        self.open += 1;
        self.handed_out = Some(id);
        Output::Send(probe)
    }

    fn finish(&mut self, stop: Stop) -> Output {
        for entry in self.entries.iter_mut().skip(self.settled) {
            entry.fate.get_or_insert(Fate::Cancelled);
        }
        self.stop = Some(stop);
        Output::Done
    }

    /// Behind a gap the destination itself is asked, where that is wanted. Nothing when there is nothing more to ask.
    fn last_ditch(&mut self, now: Instant, deadline: Option<Instant>) -> Option<Output> {
        if !self.spec.last_ditch || self.search.is_some() {
            return None;
        }
        let asked = || self.entries.iter().filter(|entry| entry.errand == Errand::LastDitch);
        if asked().any(|entry| entry.reply.is_some()) {
            return None;
        }
        let waits = self.handed_out.is_some() || asked().any(|entry| entry.fate.is_none());
        if waits {
            return Some(deadline.map_or(Output::Wait, Output::WaitUntil));
        }
        let tries = u8::try_from(asked().count()).ok().filter(|tries| *tries < self.spec.attempts)?;
        if let Some(earliest) = self.held_until(now) {
            return Some(Output::WaitUntil(deadline.map_or(earliest, |deadline| deadline.min(earliest))));
        }
        let mut entry = Entry::new(Ttl(u8::MAX), tries, self.spec.payload_bytes);
        entry.errand = Errand::LastDitch;
        Some(self.send(entry))
    }

    /// The way back to the first TTL, hop by hop, where one is gone. Nothing when it is over.
    fn go_backward(&mut self, now: Instant, deadline: Option<Instant>) -> Option<Output> {
        let spec = Arc::clone(&self.spec);
        if spec.doubletree.as_ref().is_none_or(|tree| !tree.backward) || self.search.is_some() {
            return None;
        }
        let mut back = self.rare().backward.take().unwrap_or_else(|| Backward::from(spec.first_hop));
        while back.ttl > 0 && self.is_enough(&back.hop, Some(&back.census)) {
            back.next();
        }
        if self.local_stop().is_some() || self.failure.is_some() {
            back.ttl = 0;
        }
        let ttl = Ttl(back.ttl);
        let asks = back.ttl > 0 && back.hop.open == 0 && self.handed_out.is_none();
        let until = self.held_until(now).max(self.hop_held_until(ttl, now));
        let output = if back.ttl == 0 {
            None
        } else if let Some(until) = until.filter(|_| asks) {
            Some(Output::WaitUntil(deadline.map_or(until, |deadline| deadline.min(until))))
        } else if asks {
            let mut entry = Entry::new(ttl, back.hop.tries, spec.payload_bytes);
            entry.errand = Errand::Backward;
            back.hop.tries += 1;
            back.hop.open += 1;
            Some(self.send(entry))
        } else {
            Some(deadline.map_or(Output::Wait, Output::WaitUntil))
        };
        self.rare().backward = Some(back);
        output
    }

    /// The path is known: its MTU is next, where that was asked for and there is somebody to ask.
    fn path_is_known(&mut self, now: Instant, stop: Stop, deadline: Option<Instant>) -> Output {
        let Some(pmtud) = self.spec.pmtud.filter(|_| !matches!(stop, Stop::NotSent(_))) else {
            return self.finish(stop);
        };
        if self.search.is_none() {
            let first = self.spec.first_hop.0;
            let end = self.reached.map_or(self.highest, |ttl| ttl.0);
            let answering: Vec<Ttl> = (first..=end)
                .zip(&self.hops)
                .filter(|(_, hop)| hop.reply != 0)
                .map(|(ttl, _)| Ttl(ttl))
                .collect();
            let Some(search) = Search::new(self.target, pmtud, self.spec.attempts, answering) else {
                return self.finish(stop);
            };
            self.search = Some(Box::new(search));
        }
        if self.handed_out.is_some() || self.open >= self.spec.parallel {
            return deadline.map_or(Output::Wait, Output::WaitUntil);
        }
        if let Some(earliest) = self.held_until(now) {
            return Output::WaitUntil(deadline.map_or(earliest, |deadline| deadline.min(earliest)));
        }
        let id = ProbeId(number(self.entries.len()));
        let Some(search) = &mut self.search else { return self.finish(stop) };
        match search.next(id) {
            mtu::Next::Ask { ttl, size } => {
                let headers = header_bytes(self.target, self.spec.shape.method);
                let mut entry = Entry::new(ttl, 0, size.saturating_sub(headers));
                entry.errand = Errand::Mtu;
                self.send(entry)
            }
            mtu::Next::Wait => deadline.map_or(Output::Wait, Output::WaitUntil),
            mtu::Next::Done => self.finish(stop),
        }
    }
}

impl Machine for Trace {
    fn handle(&mut self, _now: Instant, input: Input<'_>) {
        if self.stop.is_some() {
            return;
        }
        match input {
            Input::Sent { probe, stamp, departure } => self.sent(probe, stamp, Some(departure)),
            Input::Stamped { probe, stamp } => self.sent(probe, stamp, None),
            Input::SendFailed { probe, reason } => self.send_failed(probe, reason),
            Input::Packet(packet) => self.packet(&packet),
            Input::Overrun => self.mark_open(|entry| entry.overrun |= entry.sent().is_some()),
            Input::ClockStepped => self.mark_open(|entry| entry.clock_stepped = true),
            Input::Cancel => self.cancelled = true,
        }
    }

    fn poll(&mut self, now: Instant) -> Output {
        if self.stop.is_some() {
            return Output::Done;
        }
        let deadline = self.expire(now);
        if self.cancelled {
            return self.finish(Stop::Halted);
        }
        if let Some(stop) = self.path_ended() {
            if stop == Stop::GapLimit
                && let Some(output) = self.last_ditch(now, deadline)
            {
                return output;
            }
            if !matches!(stop, Stop::NotSent(_))
                && let Some(output) = self.go_backward(now, deadline)
            {
                return output;
            }
            return self.path_is_known(now, stop, deadline);
        }
        if let Some(reason) = self.failure
            && self.open == 0
        {
            return self.finish(Stop::NotSent(reason));
        }
        match self.next_step(now) {
            Step::Ask(ttl) => self.ask(ttl),
            Step::NotBefore(at) => Output::WaitUntil(deadline.map_or(at, |deadline| deadline.min(at))),
            Step::Blocked => deadline.map_or(Output::Wait, Output::WaitUntil),
        }
    }
}

impl Trace {
    fn mark_open(&mut self, mark: impl Fn(&mut Entry)) {
        self.entries.iter_mut().skip(self.settled).filter(|entry| entry.fate.is_none()).for_each(mark);
    }
}

const _: () = assert!(size_of::<Trace>() <= 256, "a trace must not grow");

/// The number of the probe in this place.
pub(crate) fn number(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

/// The destination port of a classic trace's probe: they count up, and never to 0.
fn nth_port(first: u16, n: u32) -> u16 {
    let port = (u32::from(first) - 1 + n % 0xffff) % 0xffff + 1;
    u16::try_from(port).unwrap_or(1)
}

/// The ICMP checksum of a flow: different for different flows, and never one that has two forms.
pub(crate) fn flow_checksum(key: &Key, flow: u16) -> u16 {
    let base = key.hash(b"flow") % 0xfffe;
    u16::try_from((base + u64::from(flow)) % 0xfffe + 1).unwrap_or(1)
}

/// The octets before a probe's payload.
pub(crate) fn header_bytes(target: IpAddr, method: Method) -> u16 {
    let ip = if target.is_ipv4() { 20 } else { 40 };
    ip + match method {
        Method::Icmp | Method::Udp => 8,
        Method::Tcp | Method::TcpAck => 20,
    }
}

#[cfg(test)]
mod tests;
