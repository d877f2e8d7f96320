//! Errors that nodes report (RFC 792, RFC 4443), with what they quote (RFC 4884) and their labels (RFC 4950).

use std::net::IpAddr;

use mmn_probe::wire::checksum;
use mmn_probe::wire::{PROTOCOL_ICMP, PROTOCOL_ICMPV6};

use super::head::{Head, settle};
use super::pool::Slot;
use super::state::State;
use super::write::{Envelope, packet};
use crate::ids::{NodeId, WayId};
use crate::plan::{Manners, Plan};
use crate::truth::{Fate, Origin, Told, Why};

/// What an error is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    Expired,
    NoRoute,
    NoProtocol,
    NoPort,
    Prohibited,
    /// With the MTU of the way that it did not fit.
    TooBig(u32),
}

/// The type of service of errors: *internetwork control* (RFC 1812, section 4.3.2.5).
const TOS: u8 = 0xc0;
/// The most octets of an error with its header: RFC 1812, section 4.3.2.3; RFC 4443, section 2.4.
const MOST: [usize; 2] = [576, 1_280];
/// The least octets of a quote before extensions (RFC 4884, section 4).
const LEAST_QUOTE: usize = 128;

impl State {
    /// The TTL of a packet ran out.
    pub(super) fn expire(&mut self, plan: &Plan, slot: Slot) {
        let (node, told) = self.report_by_router(plan, slot, Trouble::Expired);
        self.end(slot, Fate::Expired(node, told));
    }

    /// There is no way to a packet's destination.
    pub(super) fn lose_way(&mut self, plan: &Plan, slot: Slot) {
        let (node, told) = self.report_by_router(plan, slot, Trouble::NoRoute);
        self.end(slot, Fate::NoRoute(node, told));
    }

    fn report_by_router(&mut self, plan: &Plan, slot: Slot, trouble: Trouble) -> (NodeId, Told) {
        let packet = self.pool.of_mut(slot);
        let (node, via) = (packet.node, packet.via);
        settle(&mut packet.bytes, packet.ttl);
        let head = Head::read(&packet.bytes);
        let told = match (head, via) {
            (Some(head), Some(via)) => self.report(plan, slot, &head, via, trouble),
            _ => Told::No(Why::NoAnswerDue),
        };
        (node, told)
    }

    /// Reports trouble with a settled packet that came by a way, from the interface at which it came.
    pub(super) fn report(
        &mut self,
        plan: &Plan,
        slot: Slot,
        head: &Head,
        via: WayId,
        trouble: Trouble,
    ) -> Told {
        match plan.entrance(via, head.source) {
            Some(source) => self.report_from(plan, slot, head, source, Some(via), trouble),
            None => Told::No(Why::Silent),
        }
    }

    /// The same, from an address of the node; `interface` numbers it.
    pub(super) fn report_from(
        &mut self,
        plan: &Plan,
        slot: Slot,
        head: &Head,
        source: IpAddr,
        interface: Option<WayId>,
        trouble: Trouble,
    ) -> Told {
        let cause = self.pool.of(slot);
        let (node, now, cause_id) = (cause.node, cause.due, cause.id);
        let manners = &plan.nodes[node].manners;
        if head.is_icmp_error(&cause.bytes) || head.offset != 0 || is_of_many(head) {
            return Told::No(Why::NoAnswerDue);
        }
        if let Err(why) = self.may_speak(manners, node, now) {
            return Told::No(why);
        }
        let id = if head.is_v4() { self.ip_id(plan, node, interface, now) } else { 0 };
        let envelope = Envelope { source, destination: head.source, tos: TOS, ttl: manners.ttl, id };
        let mut message = std::mem::take(&mut self.scratch);
        write(manners, head, self.pool.bytes(slot), trouble, &mut message);
        let reply = self.pool.take();
        let mut bytes = self.pool.lend(reply);
        let protocol = if head.is_v4() { PROTOCOL_ICMP } else { PROTOCOL_ICMPV6 };
        let written = packet(&envelope, protocol, &message, Some(2), &mut bytes);
        self.pool.put_back(reply, bytes);
        self.scratch = message;
        let Some(made) = written.and_then(|()| Head::read(self.pool.bytes(reply))) else {
            self.pool.free(reply);
            return Told::No(Why::NoAnswerDue);
        };
        self.enter(plan, reply, &made, node, now, Origin::Error(node), Some(cause_id));
        self.leave_after(plan, reply, manners.icmp_delay);
        Told::Yes
    }

    /// Whether a node makes an ICMP message now.
    pub(super) fn may_speak(
        &mut self,
        manners: &Manners,
        node: NodeId,
        now: mmn_probe::time::Instant,
    ) -> Result<(), Why> {
        if manners.silent {
            return Err(Why::Silent);
        }
        match &manners.icmp_limit {
            Some(limit) if !self.nodes[node].bucket.take(limit, now) => Err(Why::RateLimited),
            _ => Ok(()),
        }
    }

    /// A packet that was made leaves its node after a while.
    pub(super) fn leave_after(&mut self, plan: &Plan, slot: Slot, delay: mmn_probe::time::Nanos) {
        let packet = self.pool.of_mut(slot);
        if delay.0 == 0 && packet.target != Some(packet.node) {
            return self.depart(plan, slot);
        }
        packet.due = packet.due + delay;
        let due = packet.due;
        self.wheel.add(slot, due);
    }
}

/// Whether nobody is told of a packet, for it goes to many or comes from nobody in particular (RFC 1812, section 4.3.2.7;
/// RFC 4443, section 2.4). Link-local addresses mean nobody beyond a line.
fn is_of_many(head: &Head) -> bool {
    let link_local = |address: IpAddr| match address {
        IpAddr::V4(address) => address.is_link_local() || address.is_broadcast(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    let many = |address: IpAddr| address.is_multicast() || address.is_unspecified() || link_local(address);
    many(head.source) || many(head.destination)
}

/// Writes the message of an error about a packet, its checksum 0.
fn write(manners: &Manners, head: &Head, bytes: &[u8], trouble: Trouble, out: &mut Vec<u8>) {
    let v4 = head.is_v4();
    let [icmp_type, code] = numbers(v4, trouble);
    let has_labels = trouble == Trouble::Expired && !manners.mpls.is_empty();
    let extension = if has_labels { 8 + 4 * manners.mpls.len() } else { 0 };
    let [most, own, unit] = if v4 { [MOST[0], 28, 4] } else { [MOST[1], 48, 8] };
    let wanted = manners.quote.map_or(usize::MAX, |quote| head.above.saturating_add(usize::from(quote)));
    let room = (most - own - extension) / unit * unit;
    let quoted = bytes.get(..head.total.min(wanted).min(room)).unwrap_or_default();
    // What fills up a quote before extensions, to 128 octets and to whole words.
    let padding =
        if has_labels { quoted.len().max(LEAST_QUOTE).next_multiple_of(unit) - quoted.len() } else { 0 };
    let words = if has_labels { u8::try_from((quoted.len() + padding) / unit).unwrap_or(0) } else { 0 };
    let rest = match trouble {
        Trouble::TooBig(mtu) if v4 => (mtu & 0xffff).to_be_bytes(),
        Trouble::TooBig(mtu) => mtu.to_be_bytes(),
        _ if v4 => [0, words, 0, 0],
        _ => [words, 0, 0, 0],
    };
    out.clear();
    out.extend_from_slice(&[icmp_type, code, 0, 0]);
    out.extend_from_slice(&rest);
    out.extend_from_slice(quoted);
    out.resize(out.len() + padding, 0);
    if has_labels {
        write_labels(&manners.mpls, out);
    }
}

/// An extension structure with one object, a label stack.
fn write_labels(labels: &[u32], out: &mut Vec<u8>) {
    const VERSION: u8 = 2 << 4;
    const MPLS: [u8; 2] = [1, 1];
    let start = out.len();
    let length = u16::try_from(4 + 4 * labels.len()).unwrap_or(4).to_be_bytes();
    out.extend_from_slice(&[VERSION, 0, 0, 0]);
    out.extend_from_slice(&length);
    out.extend_from_slice(&MPLS);
    for (number, label) in labels.iter().enumerate() {
        let bottom = u32::from(number + 1 == labels.len());
        // With a TTL of 1 it came, as the packet did.
        out.extend_from_slice(&(label << 12 | bottom << 8 | 1).to_be_bytes());
    }
    let sum = checksum::of(out.get(start..).unwrap_or_default());
    if let Some(field) = out.get_mut(start + 2..start + 4) {
        field.copy_from_slice(&sum.to_be_bytes());
    }
}

/// Type and code.
const fn numbers(v4: bool, trouble: Trouble) -> [u8; 2] {
    if v4 {
        match trouble {
            Trouble::Expired => [11, 0],
            Trouble::NoRoute => [3, 0],
            Trouble::NoProtocol => [3, 2],
            Trouble::NoPort => [3, 3],
            Trouble::TooBig(_) => [3, 4],
            Trouble::Prohibited => [3, 13],
        }
    } else {
        match trouble {
            Trouble::Expired => [3, 0],
            Trouble::NoRoute => [1, 0],
            Trouble::Prohibited => [1, 1],
            Trouble::NoPort => [1, 4],
            Trouble::NoProtocol => [4, 1],
            Trouble::TooBig(_) => [2, 0],
        }
    }
}
