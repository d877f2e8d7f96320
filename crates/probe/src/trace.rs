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
mod answers;
pub mod census;
pub mod doubletree;
mod fates;
pub mod mtu;
mod record;
pub mod shape;
mod spec;
mod steps;

use std::net::IpAddr;
use std::sync::Arc;

use crate::cookie::Key;
use crate::machine::{Input, Machine, Output};
use crate::packet::{Flow, ProbeId, SendFailure, Ttl};
use crate::time::{Instant, Nanos};

use account::{Entry, Errand, Hop};
use census::Census;
use doubletree::Backward;
use mtu::Search;
pub(crate) use record::Meaning;
use shape::{Checksum, Look, Method};
use steps::Step;

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
