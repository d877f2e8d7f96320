//! Whether what came for a probe is an answer to it.
//!
//! A payload proves itself by the probe's cookie. A TCP segment proves itself by the numbers that it gives back, an
//! ICMP timestamp by the time at which the request was made, and a UDP datagram that does not repeat the payload by its
//! ports alone, which its driver has compared. An ICMP error quotes more or less of the probe; what it quotes must agree.

use super::{Answer, COOKIE_BYTES, Entry, IcmpReport, Method, Ping};
use crate::{
    packet::{Message, Packet, ProbeId, Report, Segment, shown, tcp_flags},
    time::Stamp,
    wire::{icmp::IcmpErrorKind, tcp::Offer},
};

/// The judgement on a packet.
pub(super) enum Verdict {
    Reply(Answer),
    Error(IcmpReport),
    /// Not ours.
    Foreign,
}

/// How far the time in a timestamp request may be from the stamp of its sending, in milliseconds.
const MAX_ORIGINATE_MS: u32 = 1_000;
const MS_PER_DAY: u32 = 86_400_000;

impl Ping {
    /// The probe that a packet is for, if it has left.
    pub(super) fn owner(&self, packet: &Packet<'_>) -> Option<usize> {
        let index = usize::try_from(packet.probe.0).ok()?;
        let left = |index: usize| self.probes.get(index).is_some_and(|entry| entry.sent().is_some());
        // Datagrams between the same ports are told apart by the cookie that an echo repeats.
        if let (Method::Udp, Message::Udp { payload, .. }) = (self.spec.method, packet.message)
            && self.cookie_length() > 0
            && !self.echoes_cookie(packet.probe, payload)
        {
            let repeated = |index: &usize| self.echoes_cookie(ProbeId(super::number(*index)), payload);
            if let Some(found) = (self.settled..self.probes.len()).find(repeated) {
                return Some(found).filter(|found| left(*found));
            }
        }
        left(index).then_some(index)
    }

    /// Whether nothing but its ports says which of the probes that share them a datagram answers.
    pub(super) fn is_anonymous(&self, index: usize, packet: &Packet<'_>) -> bool {
        match (self.spec.method, packet.message) {
            (Method::Udp, Message::Udp { payload, .. }) => {
                !self.echoes_cookie(ProbeId(super::number(index)), payload)
            }
            _ => false,
        }
    }

    pub(super) fn judge(&self, index: usize, packet: &Packet<'_>) -> Verdict {
        let Some(entry) = self.probes.get(index) else { return Verdict::Foreign };
        let probe = ProbeId(super::number(index));
        let method = self.spec.method;
        let answer = match packet.message {
            Message::EchoReply { payload } if method == Method::Icmp => {
                self.echoes(probe, payload).then_some(Answer::Echo)
            }
            Message::TimestampReply { originate, receive, transmit } if method == Method::IcmpTimestamp => {
                let ours = entry.clock_stepped || entry.sent().is_some_and(|sent| made_at(originate, sent));
                ours.then_some(Answer::Timestamp { originate, receive, transmit })
            }
            Message::Udp { source_port, .. } if method.is_udp() => {
                (self.destination_port(probe) == Some(source_port)).then_some(Answer::Udp)
            }
            Message::Tcp(segment) if method.tcp_flags().is_some() => self.segment(entry, &segment),
            Message::Error(report) => return self.report(probe, packet, &report),
            _ => None,
        };
        answer.map_or(Verdict::Foreign, Verdict::Reply)
    }

    fn report(&self, probe: ProbeId, packet: &Packet<'_>, report: &Report<'_>) -> Verdict {
        let Some(verified) = self.quotes(probe, report.quote.payload) else { return Verdict::Foreign };
        let &Report { kind, icmp_type, code, .. } = report;
        if self.spec.method.is_udp() && self.unreachable_answers && kind == IcmpErrorKind::PortUnreachable {
            return Verdict::Reply(Answer::PortUnreachable { icmp_type, code, verified });
        }
        Verdict::Error(IcmpReport { arrival: packet.into(), kind, icmp_type, code, verified })
    }

    fn segment(&self, entry: &Entry, segment: &Segment<'_>) -> Option<Answer> {
        use tcp_flags::{ACK, RST, SYN};
        let &Segment { source_port, flags, seq, ack, window, .. } = segment;
        let port = source_port == self.spec.port;
        let sent = self.spec.method.tcp_flags().unwrap_or(0);
        // Our number as they give it back: the whole of it where it was asked for, else the tag in its upper half.
        let tag = u32::from(entry.identity.tag);
        let syn = u32::from(sent & SYN != 0);
        let length = u32::try_from(self.spec.payload_length()).unwrap_or(u32::MAX);
        let fixed = self.spec.tcp();
        let acknowledged = || match (ack, fixed.seq) {
            (None, _) => true,
            (Some(ack), Some(ours)) => (syn..=syn.saturating_add(length)).contains(&ack.wrapping_sub(ours)),
            (Some(ack), None) => ack.wrapping_sub(syn) >> 16 == tag,
        };
        let followed = || match (seq, fixed.ack) {
            (None, _) => true,
            (Some(seq), Some(ours)) => seq == ours,
            (Some(seq), None) => seq >> 16 == tag,
        };
        let ours = match sent {
            SYN => flags & ACK != 0 && flags & (SYN | RST) != 0 && acknowledged(),
            RST => acknowledged() || followed(),
            _ => flags & RST != 0 && (followed() || flags & ACK != 0 && acknowledged()),
        };
        let mss = || Offer::of(segment.options).mss;
        (port && ours).then(|| Answer::Tcp { flags, window, mss: mss() })
    }

    /// Whether the payload of an echo is the probe's, as far as it is left unchanged on the way out.
    fn echoes(&self, probe: ProbeId, echoed: &[u8]) -> bool {
        match &self.spec.payload {
            Some(payload) => {
                let length = self.unchanged(payload.len());
                echoed.len() == payload.len() && echoed.get(..length) == payload.get(..length)
            }
            None => self.echoes_cookie(probe, echoed) || self.cookie_length() == 0,
        }
    }

    fn echoes_cookie(&self, probe: ProbeId, echoed: &[u8]) -> bool {
        let length = self.cookie_length();
        length > 0 && self.key.cookie(u64::from(probe.0)).get(..length) == echoed.get(..length)
    }

    /// Whether a quoted payload is ours: yes and proven, yes as far as one can tell, or no (nothing).
    fn quotes(&self, probe: ProbeId, quoted: &[u8]) -> Option<bool> {
        if let Some(payload) = &self.spec.payload {
            let unchanged = payload.get(..self.unchanged(payload.len()))?;
            return shown(unchanged, quoted).map(|_| false);
        }
        let cookie = self.key.cookie(u64::from(probe.0));
        let full = self.cookie_length();
        let shown = shown(cookie.get(..full)?, quoted)?;
        Some(shown == full && full > 0)
    }

    /// How many octets of the cookie go out, and unchanged.
    fn cookie_length(&self) -> usize {
        match self.spec.payload {
            Some(_) => 0,
            None => self.unchanged(self.spec.payload_length()).min(COOKIE_BYTES),
        }
    }

    /// How many octets of a payload stand before the word that is changed on the way out.
    fn unchanged(&self, length: usize) -> usize {
        if self.spec.changes_payload() { (length / 2).saturating_sub(1) * 2 } else { length }
    }
}

/// Whether a time of a day is that of a stamp, more or less.
fn made_at(originate: u32, sent: Stamp) -> bool {
    let of_day = sent.utc.0.div_euclid(1_000_000).rem_euclid(i64::from(MS_PER_DAY));
    let Ok(of_day) = u32::try_from(of_day) else { return false };
    let apart = originate.abs_diff(of_day);
    apart.min(MS_PER_DAY.saturating_sub(apart)) <= MAX_ORIGINATE_MS
}
