//! UDP probes with a payload of one's own, and whatever comes back for them.
//!
//! Each probe leaves from a source port of its own, so that replies are told apart. A reply carries no cookie: it must
//! come from the target's address and port to a port that a probe left from, and that is all that is known of it. A
//! probe can have many replies; the first one settles it, and all are kept, with their payloads, as far as there is
//! room.
//!
//! The machine is a [`Ping`] that keeps payloads.

use std::net::IpAddr;

use crate::{
    cookie::Key,
    machine::{Input, Machine, Output},
    packet::{Message, Packet, Ttl},
    ping::{self, Method, Ping, Sample, SpecError, Unasked},
    schedule::Schedule,
    time::{Instant, Nanos, Stamp},
};

/// The most replies that are kept; further ones are counted.
pub const MAX_REPLIES: usize = 1_024;

/// The most octets of payload that are kept of all replies.
pub const MAX_KEPT_BYTES: usize = 512 * 1_024;

/// What to send, how often, and how long to wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// Where to.
    pub target: IpAddr,
    /// To which port; at least 1.
    pub port: u16,
    /// How many probes: 1 to [`ping::MAX_COUNT`].
    pub count: u32,
    /// The time from one probe to the next.
    pub interval: Nanos,
    /// How long after its probe a reply counts as received.
    pub timeout: Nanos,
    /// What they carry.
    pub payload: Box<[u8]>,
    /// The source port of the first, one more for each that follows; the driver's choice where absent.
    pub source_port: Option<u16>,
    /// Their source; the system's choice where absent.
    pub source: Option<IpAddr>,
    /// Their TTL; the system's own where absent. At least 1.
    pub ttl: Option<Ttl>,
    /// Their octet of DSCP and ECN.
    pub tos: u8,
    /// Be done as soon as so many probes have been answered in time. At least 1.
    pub stop_after: Option<u32>,
    /// Wait for further replies until the last probe's timeout, though every probe is answered.
    pub wait_replies: bool,
}

impl Spec {
    /// One empty datagram, with two seconds to answer.
    pub fn new(target: IpAddr, port: u16) -> Self {
        Self {
            target,
            port,
            count: 1,
            interval: Nanos::from_secs(1),
            timeout: Nanos::from_secs(2),
            payload: Box::default(),
            source_port: None,
            source: None,
            ttl: None,
            tos: 0,
            stop_after: None,
            wait_replies: false,
        }
    }
}

/// A reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The number of the probe that it replies to.
    pub seq: u32,
    /// Who sent it.
    pub from: IpAddr,
    /// When it came.
    pub received: Stamp,
    /// The TTL with which it arrived, where the system tells.
    pub ttl: Option<Ttl>,
    /// Its octet of DSCP and ECN, where the system tells.
    pub tos: Option<u8>,
    /// The identification of its IPv4 header, where the system tells.
    pub ip_id: Option<u16>,
    /// The length of its payload in octets.
    pub bytes: usize,
    /// As much of its payload as there was room for.
    pub payload: Box<[u8]>,
}

/// UDP probes under way; see the module's head.
#[derive(Debug)]
pub struct Udp {
    ping: Ping,
    replies: Vec<Reply>,
    room: usize,
    dropped: u64,
}

impl Udp {
    /// A measurement that begins at its first poll.
    pub fn new(spec: Spec, key: Key) -> Result<Self, SpecError> {
        let ping = ping::Spec {
            method: Method::UdpSport,
            count: spec.count,
            interval: spec.interval,
            schedule: Schedule::Periodic,
            timeout: spec.timeout,
            payload: Some(spec.payload),
            ttl: spec.ttl,
            tos: spec.tos,
            source: spec.source,
            selector: spec.source_port,
            port: spec.port,
            stop_after: spec.stop_after,
            wait_duplicates: spec.wait_replies,
            ..ping::Spec::new(spec.target)
        };
        let ping = Ping::new(ping, key)?.wants_datagrams();
        Ok(Self { ping, replies: Vec::new(), room: MAX_KEPT_BYTES, dropped: 0 })
    }

    /// Where its probes go.
    pub const fn target(&self) -> IpAddr {
        self.ping.target()
    }

    /// The record of each probe that was begun, in the order of sending.
    pub fn samples(&self) -> impl ExactSizeIterator<Item = Sample> + '_ {
        self.ping.samples()
    }

    /// The replies in the order of coming, at most [`MAX_REPLIES`].
    pub fn replies(&self) -> &[Reply] {
        &self.replies
    }

    /// How many replies came that were not kept.
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// How it ended; absent before.
    pub const fn end(&self) -> Option<ping::End> {
        self.ping.end()
    }

    /// The source address of the probes, where the driver told.
    pub const fn source(&self) -> Option<IpAddr> {
        self.ping.source()
    }

    /// What came that no probe had asked for.
    pub fn unasked(&self) -> Unasked {
        self.ping.unasked()
    }

    fn packet(&mut self, packet: &Packet<'_>) {
        let Some(seq) = self.ping.packet(packet) else { return };
        let Message::Udp { payload, .. } = packet.message else { return };
        if self.replies.len() >= MAX_REPLIES {
            self.dropped += 1;
            return;
        }
        let kept = payload.get(..payload.len().min(self.room)).unwrap_or_default();
        self.room -= kept.len();
        let &Packet { from, stamp: received, ttl, tos, ip_id, .. } = packet;
        let reply =
            Reply { seq, from, received, ttl, tos, ip_id, bytes: payload.len(), payload: kept.into() };
        self.replies.push(reply);
    }
}

impl Machine for Udp {
    fn handle(&mut self, now: Instant, input: Input<'_>) {
        match input {
            Input::Packet(packet) if !self.ping.is_done() => self.packet(&packet),
            other => self.ping.handle(now, other),
        }
    }

    fn poll(&mut self, now: Instant) -> Output {
        self.ping.poll(now)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;
    use crate::{
        packet::{Body, UdpTag},
        ping::{End, Fate},
        testing::{self, Coming, Quoted, Said, Weather},
        wire::icmp::IcmpErrorKind,
    };

    const TARGET: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

    fn udp(change: impl FnOnce(&mut Spec)) -> Udp {
        let mut spec = Spec::new(TARGET, 53);
        change(&mut spec);
        Udp::new(spec, Key::new([7; 16])).unwrap()
    }

    fn datagram(after_ms: u64, payload: &[u8]) -> Coming {
        Coming::answer(after_ms, TARGET, Said::Udp { source_port: 53, payload: payload.to_vec() })
    }

    #[test]
    fn the_payload_goes_out_and_replies_are_kept() {
        let mut machine = udp(|spec| (spec.count, spec.payload) = (2, b"who?".as_slice().into()));
        let run = testing::run(&mut machine, |_, probe| {
            let body = Body::Udp { port: 53, payload: b"who?".to_vec(), tag: UdpTag::Ports };
            assert_eq!((&probe.body, u32::from(probe.flow.number)), (&body, probe.id.0));
            Ok(vec![datagram(10, b"me"), datagram(20, b"me, too")])
        });
        let kept: Vec<_> = machine.replies().iter().map(|reply| (reply.seq, &reply.payload[..])).collect();
        assert_eq!(kept, [(0, &b"me"[..]), (0, b"me, too"), (1, b"me")]);
        assert_eq!(run.ended, Instant(2_010_000_000), "the second reply to the last was not waited for");
    }

    #[test]
    fn further_replies_are_waited_for_on_request() {
        let mut machine = udp(|spec| spec.wait_replies = true);
        let run = testing::run(&mut machine, |_, _| Ok(vec![datagram(10, b"1"), datagram(1_500, b"2")]));
        assert_eq!((machine.replies().len(), run.ended), (2, Instant(3_000_000_000)));
        let mut first = udp(|spec| (spec.count, spec.stop_after) = (9, Some(1)));
        testing::run(&mut first, |_, _| Ok(vec![datagram(10, b"1")]));
        assert_eq!((first.samples().len(), first.end()), (1, Some(End::Enough)));
    }

    #[test]
    fn an_unreachable_port_is_an_error_here() {
        let mut machine = udp(|_| {});
        testing::run(&mut machine, |_, _| {
            let (kind, quoted) = (IcmpErrorKind::PortUnreachable, Quoted::default());
            Ok(vec![Coming::answer(
                5,
                TARGET,
                Said::Error { kind, icmp_type: 3, code: 3, quoted, extensions: vec![] },
            )])
        });
        assert!(matches!(machine.samples().next().unwrap().fate, Fate::Error(_)));
    }

    #[test]
    fn what_comes_from_another_port_is_foreign_and_a_flood_is_bounded() {
        let mut machine = udp(|spec| spec.wait_replies = true);
        testing::run(&mut machine, |_, _| {
            let mut coming = vec![Coming::answer(1, TARGET, Said::Udp { source_port: 54, payload: vec![] })];
            coming.extend((0..2_000).map(|_| datagram(5, &[7; 1_000])));
            Ok(coming)
        });
        assert_eq!((machine.unasked().foreign, machine.replies().len()), (1, MAX_REPLIES));
        assert_eq!(machine.dropped(), 2_000 - 1_024);
        let kept: usize = machine.replies().iter().map(|reply| reply.payload.len()).sum();
        assert_eq!(kept, MAX_KEPT_BYTES);
    }

    proptest! {
        #[test]
        fn any_weather_is_survived(weather in prop::collection::vec(Weather::any(), 1..30), wait in any::<bool>()) {
            let mut machine = udp(|spec| {
                spec.count = u32::try_from(weather.len()).unwrap();
                (spec.interval, spec.wait_replies) = (Nanos::from_millis(50), wait);
            });
            let run = testing::run(&mut machine, |_, probe| {
                weather[probe.id.0 as usize].spoil(vec![datagram(30, b"x")])
            });
            let samples: Vec<_> = machine.samples().collect();
            prop_assert_eq!((run.probes.len(), samples.len()), (weather.len(), weather.len()));
            prop_assert!(samples.iter().all(|sample| sample.fate != Fate::Cancelled));
            for reply in machine.replies() {
                let fate = &samples[reply.seq as usize].fate;
                prop_assert!(matches!(fate, Fate::Replied(_) | Fate::Late(_)));
                prop_assert_ne!(reply.from, testing::FORGER);
            }
            let forged = weather.iter().filter(|weather| matches!(weather, Weather::Forged)).count();
            prop_assert!(machine.unasked().foreign >= u64::try_from(forged).unwrap());
        }
    }
}
