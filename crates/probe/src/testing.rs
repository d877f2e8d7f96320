//! Drives a machine on a virtual clock, for tests: a network is a function from a probe to what comes of it.
//!
//! It keeps the contract of [`crate::machine`] and asserts the machine's side of it: it ends, it answers *done* for ever
//! after, and it never spins on an instant. [`Weather`] spoils what a network does: it drops, doubles, delays, reorders
//! and forges.

pub(crate) mod path;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::IpAddr;

use proptest::prelude::*;

use crate::machine::{Input, Machine, Output};
use crate::packet::{
    Departure, Identity, Message, Packet, Probe, ProbeId, Quote, Report, Segment, SendFailure, Ttl,
};
use crate::time::{Instant, Nanos, Stamp, StampSource, Utc};
use crate::wire::icmp::IcmpErrorKind;

/// What comes of a probe, so long after it was sent.
#[derive(Clone, Debug)]
pub(crate) struct Coming {
    pub(crate) after: Nanos,
    pub(crate) what: What,
}

#[derive(Clone, Debug)]
pub(crate) enum What {
    /// A packet for the probe that was sent, or for another one.
    Answer(Answer),
    /// A better stamp of its leaving, by so many nanoseconds later than the first.
    Stamped(u64),
    Overrun,
    ClockStepped,
    Cancel,
}

/// A packet as a network makes it.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// The probe that it is for; the one that was sent where absent.
    pub(crate) probe: Option<ProbeId>,
    pub(crate) from: IpAddr,
    pub(crate) ttl: Option<Ttl>,
    pub(crate) tos: Option<u8>,
    pub(crate) ip_id: Option<u16>,
    pub(crate) message: Said,
}

#[derive(Clone, Debug)]
pub(crate) enum Said {
    EchoReply(Vec<u8>),
    TimestampReply { originate: u32, receive: u32, transmit: u32 },
    Udp { source_port: u16, payload: Vec<u8> },
    Tcp { source_port: u16, flags: u8, seq: u32, ack: u32, window: u16 },
    Error { kind: IcmpErrorKind, icmp_type: u8, code: u8, quoted: Quoted, extensions: Vec<u8> },
}

/// What an error quotes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Quoted {
    pub(crate) ttl: Option<u8>,
    pub(crate) tos: Option<u8>,
    pub(crate) ip_bytes: Option<u32>,
    pub(crate) ip_id: Option<u16>,
    pub(crate) source: Option<IpAddr>,
    pub(crate) destination: Option<IpAddr>,
    pub(crate) source_port: Option<u16>,
    pub(crate) destination_port: Option<u16>,
    pub(crate) checksum: Option<u16>,
    pub(crate) payload: Vec<u8>,
}

impl Coming {
    /// An answer so many milliseconds after its probe.
    pub(crate) fn answer(after_ms: u64, from: IpAddr, message: Said) -> Self {
        let answer = Answer { probe: None, from, ttl: Some(Ttl(60)), tos: Some(0), ip_id: Some(7), message };
        Self { after: Nanos::from_millis(after_ms), what: What::Answer(answer) }
    }
}

/// How a run went.
#[derive(Debug)]
pub(crate) struct Run {
    /// When the machine was done.
    pub(crate) ended: Instant,
    /// What it sent, and when.
    pub(crate) probes: Vec<(Instant, Probe)>,
}

/// The identity that the driver gives a probe.
pub(crate) fn identity(probe: &Probe) -> Identity {
    let selector = probe.flow.selector.unwrap_or(0x8000 | probe.flow.number);
    Identity { selector, tag: u16::try_from(probe.id.0 % 0xffff).unwrap() + 1 }
}

/// The source address of everything.
pub(crate) const SOURCE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 200));

/// Drives a machine to its end. `network` says what comes of a probe that leaves at an instant.
pub(crate) fn run(
    machine: &mut dyn Machine,
    mut network: impl FnMut(Instant, &Probe) -> Result<Vec<Coming>, SendFailure>,
) -> Run {
    let mut now = Instant(1_000_000_000);
    let mut coming: Vec<Option<(ProbeId, What)>> = Vec::new();
    let mut due: BinaryHeap<Reverse<(Instant, usize)>> = BinaryHeap::new();
    let mut probes = Vec::new();
    let mut idle_polls = 0;
    loop {
        while let Some(&Reverse((at, index))) = due.peek()
            && at <= now
        {
            due.pop();
            let (probe, what) = coming[index].take().unwrap();
            deliver(machine, at, now, probe, &what);
        }
        let wake = match machine.poll(now) {
            Output::Send(probe) => {
                idle_polls = 0;
                assert!(probes.len() < 200_000, "it never ends");
                match network(now, &probe) {
                    Ok(all) => {
                        let departure = Departure {
                            source: Some(SOURCE),
                            identity: identity(&probe),
                            ip_id: Some(identity(&probe).tag),
                            bytes: 60,
                        };
                        let stamp = stamp(now, StampSource::User);
                        machine.handle(now, Input::Sent { probe: probe.id, stamp, departure });
                        for Coming { after, what } in all {
                            due.push(Reverse((now + after, coming.len())));
                            coming.push(Some((probe.id, what)));
                        }
                    }
                    Err(reason) => machine.handle(now, Input::SendFailed { probe: probe.id, reason }),
                }
                probes.push((now, probe));
                continue;
            }
            Output::Done => {
                machine.handle(now, Input::Overrun);
                assert_eq!(machine.poll(now), Output::Done, "done is for ever");
                return Run { ended: now, probes };
            }
            Output::WaitUntil(at) => Some(at),
            Output::Wait => None,
        };
        idle_polls += 1;
        assert!(idle_polls < 200_000, "it spins");
        let next = wake.into_iter().chain(due.peek().map(|Reverse((at, _))| *at)).min();
        let Some(next) = next else { panic!("it waits for ever") };
        assert!(next > now || due.peek().is_some(), "it wants to be asked again at once: {next:?}");
        now = now.max(next);
    }
}

fn stamp(at: Instant, source: StampSource) -> Stamp {
    Stamp { at, utc: Utc(1_700_000_000_000_000_000 + i64::try_from(at.0).unwrap()), source }
}

fn deliver(machine: &mut dyn Machine, at: Instant, now: Instant, sent: ProbeId, what: &What) {
    let answer = match what {
        What::Answer(answer) => answer,
        What::Stamped(later) => {
            let stamp = stamp(Instant(at.0 + later), StampSource::Kernel);
            return machine.handle(now, Input::Stamped { probe: sent, stamp });
        }
        What::Overrun => return machine.handle(now, Input::Overrun),
        What::ClockStepped => return machine.handle(now, Input::ClockStepped),
        What::Cancel => return machine.handle(now, Input::Cancel),
    };
    let (bytes, message) = match &answer.message {
        Said::EchoReply(payload) => (8 + payload.len(), Message::EchoReply { payload }),
        &Said::TimestampReply { originate, receive, transmit } => {
            (20, Message::TimestampReply { originate, receive, transmit })
        }
        Said::Udp { source_port, payload } => {
            (8 + payload.len(), Message::Udp { source_port: *source_port, payload })
        }
        &Said::Tcp { source_port, flags, seq, ack, window } => {
            let (seq, ack, window) = (Some(seq), Some(ack), Some(window));
            (20, Message::Tcp(Segment { source_port, flags, seq, ack, window, options: &[], payload: &[] }))
        }
        Said::Error { kind, icmp_type, code, quoted, extensions } => {
            let quote = Quote {
                ttl: quoted.ttl.map(Ttl),
                tos: quoted.tos,
                ip_bytes: quoted.ip_bytes,
                ip_id: quoted.ip_id,
                source: quoted.source,
                destination: quoted.destination,
                source_port: quoted.source_port,
                destination_port: quoted.destination_port,
                checksum: quoted.checksum,
                payload: &quoted.payload,
            };
            (
                36,
                Message::Error(Report { kind: *kind, icmp_type: *icmp_type, code: *code, quote, extensions }),
            )
        }
    };
    let Answer { probe, from, ttl, tos, ip_id, .. } = *answer;
    let packet = Packet {
        probe: probe.unwrap_or(sent),
        from,
        stamp: stamp(at, StampSource::Kernel),
        ttl,
        tos,
        ip_id,
        fragment_id: None,
        ip_options: &[],
        bytes,
        message,
    };
    machine.handle(now, Input::Packet(packet));
}

/// What befalls the answers to a probe.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Weather {
    Fair,
    /// All are dropped.
    Dropped,
    /// The receiver was overrun, and they are dropped.
    Missed,
    /// All come so much later.
    Delayed(Nanos),
    /// All come twice, the second time so much later.
    Doubled(Nanos),
    /// They are attributed to another probe.
    Astray(u32),
    /// Somebody who has not seen the probe answers before them.
    Forged,
    /// The probe can't be sent.
    Refused,
}

impl Weather {
    pub(crate) fn any() -> impl Strategy<Value = Self> {
        let delay = (0_u64..8_000).prop_map(Nanos::from_millis);
        prop_oneof![
            4 => Just(Self::Fair),
            2 => Just(Self::Dropped),
            1 => Just(Self::Missed),
            2 => delay.clone().prop_map(Self::Delayed),
            2 => delay.prop_map(Self::Doubled),
            1 => (0_u32..40).prop_map(Self::Astray),
            2 => Just(Self::Forged),
            1 => Just(Self::Refused),
        ]
    }

    pub(crate) fn spoil(self, coming: Vec<Coming>) -> Result<Vec<Coming>, SendFailure> {
        let later = |one: &Coming, by: Nanos| Coming { after: Nanos(one.after.0 + by.0), ..one.clone() };
        Ok(match self {
            Self::Fair => coming,
            Self::Dropped => Vec::new(),
            Self::Missed => vec![Coming { after: Nanos::from_millis(1), what: What::Overrun }],
            Self::Delayed(by) => coming.iter().map(|one| later(one, by)).collect(),
            Self::Doubled(by) => coming.iter().flat_map(|one| [one.clone(), later(one, by)]).collect(),
            Self::Astray(to) => coming
                .into_iter()
                .map(|mut one| {
                    if let What::Answer(answer) = &mut one.what {
                        answer.probe = Some(ProbeId(to));
                    }
                    one
                })
                .collect(),
            Self::Forged => coming.iter().flat_map(|one| [forged(one), one.clone()]).collect(),
            Self::Refused => return Err(SendFailure::NoRoute),
        })
    }
}

/// Who forges.
pub(crate) const FORGER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 66));

/// The same, half as late, of somebody who has not seen the probe: whatever only it can tell is otherwise.
fn forged(real: &Coming) -> Coming {
    let mut forged = real.clone();
    forged.after.0 /= 2;
    if let What::Answer(answer) = &mut forged.what {
        answer.from = FORGER;
        answer.message.forge();
    }
    forged
}

impl Said {
    fn forge(&mut self) {
        let spoil = |payload: &mut Vec<u8>| payload.iter_mut().for_each(|byte| *byte ^= 0x55);
        match self {
            Self::EchoReply(payload) => spoil(payload),
            Self::TimestampReply { originate, .. } => *originate = (*originate + 43_200_000) % 86_400_000,
            Self::Udp { source_port, .. } => *source_port ^= 1,
            Self::Tcp { seq, ack, .. } => (*seq, *ack) = (*seq ^ 0x5555_0000, *ack ^ 0x5555_0000),
            Self::Error { quoted, .. } => {
                spoil(&mut quoted.payload);
                quoted.checksum = quoted.checksum.map(|sum| sum ^ 0x55);
                quoted.ip_id = quoted.ip_id.map(|id| id ^ 0x55);
            }
        }
    }
}
