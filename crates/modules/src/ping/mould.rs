//! The result of one answered echo request, many times over: what results have in common is written once, and of each only
//! what is its own.
//!
//! A [`Mould`] is cut out of a result that was written in full ([`super::measured`]): the values that differ from one
//! target to the next are its holes. What it writes is to the octet what would have been written in full; where that can't
//! be, it is not used.

use std::net::IpAddr;

use mmn_kit::{Body, Conditions, Measured, Timestamp, summary};
use mmn_probe::bulk::{Answer, Fate, Sample};
use mmn_probe::packet::Departure;
use mmn_probe::time::{Stamp, StampSource};
use mmn_schema::cbor::{self, Items};

use crate::shared::text;

/// What results are written with.
#[derive(Debug)]
pub(super) struct Mould {
    common: Common,
    /// A result.
    bytes: Vec<u8>,
    /// What of it is filled anew, from the first to the last.
    holes: Vec<Hole>,
    second: Second,
    room: Vec<u8>,
}

/// What results of one mould have in common, besides their parameters.
#[derive(Debug, PartialEq, Eq)]
struct Common {
    conditions: Conditions,
    source: Option<IpAddr>,
    request_bytes: u32,
    v4: bool,
    has_request_ip_id: bool,
    has_ip_id: bool,
    stamps: (StampSource, StampSource),
}

#[derive(Debug)]
struct Hole {
    from: usize,
    to: usize,
    what: What,
}

#[derive(Debug, Clone, Copy)]
enum What {
    Target,
    IcmpId,
    Rtt,
    SentAt,
    RequestIpId,
    Ttl,
    Tos,
    IpId,
    Bytes,
    RttError,
}

/// Where in a result a field is.
#[derive(Clone, Copy)]
enum Within {
    Body,
    Rtt,
    Reply,
    Conditions,
}

/// A sample that fits a mould.
struct Own<'a> {
    target: IpAddr,
    sent: Stamp,
    departure: &'a Departure,
    answer: &'a Answer,
    rtt_ns: u64,
    conditions: &'a Conditions,
}

/// The text of a whole second, as far as the point: many in a row are in the same.
#[derive(Debug, Default)]
struct Second {
    number: i64,
    text: String,
}

/// The most octets that a hole takes.
const MOST_OF_HOLE: usize = 64;

impl Mould {
    /// The mould of a result that was written in full; nothing where none can be made of it.
    pub(super) fn of(sample: &Sample, conditions: &Conditions, written: &Measured<Body>) -> Option<Self> {
        let own = Own::of(sample, conditions)?;
        let bytes = written.body.cbor().to_vec();
        let mut holes = Vec::new();
        cut(&mut Items::new(&bytes), Within::Body, &mut holes)?;
        let mut mould =
            Self { common: own.common(), bytes, holes, second: Second::default(), room: Vec::new() };
        (mould.fill(sample, conditions)? == *written).then_some(mould)
    }

    /// The result of a sample; nothing where it has to be written in full.
    pub(super) fn fill(&mut self, sample: &Sample, conditions: &Conditions) -> Option<Measured<Body>> {
        let own = Own::of(sample, conditions).filter(|own| own.common() == self.common)?;
        let Self { bytes, holes, second, room, .. } = self;
        room.clear();
        room.reserve(bytes.len() + holes.len() * MOST_OF_HOLE);
        let target = text(own.target);
        let mut from = 0;
        for hole in &*holes {
            room.extend_from_slice(bytes.get(from..hole.from)?);
            own.put(hole.what, &target, second, room)?;
            from = hole.to;
        }
        room.extend_from_slice(bytes.get(from..)?);
        let rtt = Some(own.rtt_ns.into());
        Some(Measured {
            answered: Some(true),
            summary: summary([
                ("duplicates", Some(0_u32.into())),
                ("loss", Some(0.0.into())),
                ("received", Some(1_u32.into())),
                ("rtt_max_ns", rtt),
                ("rtt_mean_ns", rtt),
                ("rtt_median_ns", rtt),
                ("rtt_min_ns", rtt),
                ("sent", Some(1_u32.into())),
            ]),
            body: Body::from_cbor(room.as_slice().to_vec().into()),
        })
    }
}

impl<'a> Own<'a> {
    /// What is its own of a plain answer in time.
    fn of(sample: &'a Sample, conditions: &'a Conditions) -> Option<Self> {
        let (Fate::Replied(answer), Some(sent), Some(departure)) =
            (&sample.fate, sample.sent, &sample.departure)
        else {
            return None;
        };
        let plain = answer.from == sample.target && !sample.clock_stepped && sent.utc.0 >= 0;
        let rtt_ns = answer.rtt.filter(|_| plain)?.0;
        Some(Self { target: sample.target, sent, departure, answer, rtt_ns, conditions })
    }

    fn common(&self) -> Common {
        // How far stamps may be off differs from one turn of the lane to the next.
        let rtt_error_ns = self.conditions.rtt_error_ns.map(|_| 0);
        Common {
            conditions: Conditions { rtt_error_ns, ..*self.conditions },
            source: self.departure.source,
            request_bytes: self.departure.bytes,
            v4: self.target.is_ipv4(),
            has_request_ip_id: self.departure.ip_id.is_some(),
            has_ip_id: self.answer.ip_id.is_some(),
            stamps: (self.sent.source, self.answer.received.source),
        }
    }

    fn put(&self, what: What, target: &str, second: &mut Second, to: &mut Vec<u8>) -> Option<()> {
        let number = match what {
            What::Target => {
                cbor::put_text(to, target);
                return Some(());
            }
            What::SentAt => {
                second.put(self.sent.utc.0, to);
                return Some(());
            }
            What::IcmpId => self.departure.identity.selector.into(),
            What::RequestIpId => self.departure.ip_id?.into(),
            What::IpId => self.answer.ip_id?.into(),
            What::Rtt => self.rtt_ns,
            What::Ttl => self.answer.ttl.into(),
            What::Tos => self.answer.tos.into(),
            What::Bytes => self.answer.bytes.into(),
            What::RttError => self.conditions.rtt_error_ns?,
        };
        cbor::put_unsigned(to, number);
        Some(())
    }
}

impl Second {
    /// Writes an instant that is not before 1970.
    fn put(&mut self, unix_ns: i64, to: &mut Vec<u8>) {
        let (number, fraction) = (unix_ns / SECOND_NS, unix_ns % SECOND_NS);
        if self.number != number || self.text.is_empty() {
            self.number = number;
            self.text = Timestamp::from_unix_ns(unix_ns - fraction).to_string();
            self.text.truncate(self.text.len().saturating_sub(FRACTION.len()));
        }
        let mut digits = *FRACTION;
        let mut rest = fraction;
        for digit in digits.iter_mut().take(9).rev() {
            *digit = b'0' + u8::try_from(rest % 10).unwrap_or(0);
            rest /= 10;
        }
        cbor::put_text_of(to, &[self.text.as_bytes(), &digits]);
    }
}

const SECOND_NS: i64 = 1_000_000_000;
/// How the text of a whole second ends.
const FRACTION: &[u8; 10] = b"000000000Z";

/// Finds the holes of a result. Nothing where it is not written as expected.
fn cut(items: &mut Items<'_>, within: Within, holes: &mut Vec<Hole>) -> Option<()> {
    for _ in 0..items.map()? {
        let name = items.text()?;
        let from = items.position();
        let what = match (within, name) {
            (Within::Body, "rtt") => {
                cut(items, Within::Rtt, holes)?;
                continue;
            }
            (Within::Body, "replies") => {
                for _ in 0..items.array()? {
                    cut(items, Within::Reply, holes)?;
                }
                continue;
            }
            (Within::Body, "conditions") => {
                cut(items, Within::Conditions, holes)?;
                continue;
            }
            (Within::Body, "target" | "address") => Some(What::Target),
            (Within::Body, "icmp_id") => Some(What::IcmpId),
            (Within::Rtt, "min_ns" | "q1_ns" | "median_ns" | "q3_ns" | "mean_ns" | "max_ns")
            | (Within::Reply, "rtt_ns") => Some(What::Rtt),
            (Within::Reply, "sent_at") => Some(What::SentAt),
            (Within::Reply, "request_ip_id") => Some(What::RequestIpId),
            (Within::Reply, "ttl") => Some(What::Ttl),
            (Within::Reply, "tos") => Some(What::Tos),
            (Within::Reply, "ip_id") => Some(What::IpId),
            (Within::Reply, "bytes") => Some(What::Bytes),
            (Within::Conditions, "rtt_error_ns") => Some(What::RttError),
            _ => None,
        };
        items.skip()?;
        holes.extend(what.map(|what| Hole { from, to: items.position(), what }));
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use mmn_probe::conditions::{Clock, Lane};
    use mmn_probe::packet::Identity;
    use mmn_probe::time::{Instant, Nanos, Utc};
    use proptest::prelude::*;

    use super::super::Params;
    use super::super::bulk::{in_full, written};
    use super::*;

    fn stamp(utc: i64, source: StampSource) -> Stamp {
        Stamp { at: Instant(utc.unsigned_abs()), utc: Utc(utc), source }
    }

    prop_compose! {
        fn sample()(
            (target, v6, elsewhere) in (any::<u128>(), any::<bool>(), prop::bool::weighted(0.1)),
            (utc, stepped) in (-2_000_000_000_i64..4_000_000_000_000_000_000, prop::bool::weighted(0.1)),
            rtt in prop::option::weighted(0.9, prop_oneof![0_u64..30, any::<u32>().prop_map(u64::from), any::<u64>()]),
            (selector, tag, request_bytes, source) in (any::<u16>(), any::<u16>(), 28_u32..40, any::<Option<u8>>()),
            (ttl, tos, ip_id, bytes, verified) in any::<(u8, u8, u16, u32, bool)>(),
            (late, kernel) in (prop::bool::weighted(0.1), any::<bool>()),
        ) -> Sample {
            let address = |bits: u128| {
                if v6 {
                    IpAddr::from(Ipv6Addr::from_bits(bits))
                } else {
                    Ipv4Addr::from_bits(u32::try_from(bits >> 96).unwrap()).into()
                }
            };
            let target = address(target);
            let answer = Answer {
                from: if elsewhere { address(7) } else { target },
                received: stamp(utc, if kernel { StampSource::Kernel } else { StampSource::User }),
                rtt: rtt.map(Nanos),
                ttl,
                tos,
                ip_id: (!v6).then_some(ip_id),
                bytes,
                verified,
            };
            let departure = Departure {
                source: source.map(|source| address(source.into())),
                identity: Identity { selector, tag },
                ip_id: (!v6).then_some(tag),
                bytes: request_bytes,
            };
            Sample {
                target,
                sent: Some(stamp(utc, StampSource::User)),
                departure: Some(departure),
                fate: if late { Fate::Late(answer) } else { Fate::Replied(answer) },
                clock_stepped: stepped,
            }
        }
    }

    fn conditions(error: Option<u64>) -> Conditions {
        Conditions {
            lane: Lane::Bulk,
            sent_by: StampSource::User,
            received_by: StampSource::Kernel,
            rtt_error_ns: error,
            clock: error.map(|_| Clock { synchronised: true, offset_ns: -5, max_error_ns: 70_000 }),
            interface: None,
        }
    }

    proptest! {
        #[test]
        fn what_is_moulded_is_what_is_written_in_full(
            samples in prop::collection::vec((sample(), prop::option::of(prop_oneof![0_u64..3, any::<u64>()])), 1..8), ttl: Option<u8>,
        ) {
            let params = Params { count: 1, ttl: ttl.map(|ttl| ttl.max(1)), ..Params::default() };
            let mut mould = None;
            for (sample, error) in &samples {
                let conditions = conditions(*error);
                let expected = in_full(&params, sample, &conditions);
                prop_assert_eq!(written(&params, &mut mould, sample, &conditions), expected);
            }
        }

        #[test]
        fn an_instant_is_written_as_others_do(instants in prop::collection::vec(0_i64..i64::MAX, 1..5)) {
            let mut second = Second::default();
            for instant in instants.iter().flat_map(|instant| [*instant, instant.saturating_add(1_000)]) {
                let mut own = Vec::new();
                second.put(instant, &mut own);
                prop_assert_eq!(own, Body::of(&Timestamp::from_unix_ns(instant)).unwrap().cbor().to_vec());
            }
        }
    }

    #[test]
    fn a_plain_answer_makes_a_mould() {
        let answer = Answer {
            from: Ipv4Addr::new(192, 0, 2, 1).into(),
            received: stamp(1_700_000_000_001_000_000, StampSource::Kernel),
            rtt: Some(Nanos(1_000_000)),
            ttl: 64,
            tos: 0,
            ip_id: Some(7),
            bytes: 64,
            verified: true,
        };
        let departure = Departure {
            source: Some(Ipv4Addr::new(192, 0, 2, 77).into()),
            identity: Identity { selector: 5, tag: 1 },
            ip_id: Some(1),
            bytes: 84,
        };
        let sample = Sample {
            target: answer.from,
            sent: Some(stamp(1_700_000_000_000_000_000, StampSource::User)),
            departure: Some(departure),
            fate: Fate::Replied(answer),
            clock_stepped: false,
        };
        let mut mould = None;
        let params = Params { count: 1, ..Params::default() };
        written(&params, &mut mould, &sample, &conditions(Some(3))).unwrap();
        let holes = mould.unwrap().holes;
        assert_eq!(holes.len(), 17, "{holes:?}");
    }
}
