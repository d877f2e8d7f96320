//! What a node does with packets that are for it.

use mmn_probe::packet::tcp_flags::{ACK, FIN, RST, SYN};
use mmn_probe::time::{Instant, Nanos};
use mmn_probe::wire::{PROTOCOL_ICMP, PROTOCOL_ICMPV6, PROTOCOL_TCP, PROTOCOL_UDP, checksum, icmp, tcp, udp};

use super::Port;
use super::chance::{For, draw};
use super::error::Trouble;
use super::fragment::Pieces;
use super::head::{Head, settle};
use super::pool::Slot;
use super::state::State;
use super::write::{Envelope, datagram, packet, segment};
use crate::ids::{NodeId, WayId};
use crate::plan::{Manners, NodeKind, Owner, Plan, Ports};
use crate::truth::{Fate, Origin, Told, Why};

/// A packet at its destination.
#[derive(Clone, Copy)]
struct Guest<'p> {
    plan: &'p Plan,
    slot: Slot,
    node: NodeId,
    now: Instant,
    head: Head,
}

impl<'p> Guest<'p> {
    fn manners(&self) -> &'p Manners {
        &self.plan.nodes[self.node].manners
    }

    /// The interface that has the address that was asked.
    fn interface(&self) -> Option<WayId> {
        match self.plan.owner(self.head.destination) {
            Some(Owner::Node(_, via)) => via,
            _ => None,
        }
    }
}

/// What is behind a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Behind {
    Service,
    Open,
    Mute,
    Filter,
    Reject,
    Nothing,
}

impl State {
    /// A packet has come to the node whose its destination is.
    pub(super) fn local(&mut self, plan: &Plan, slot: Slot) {
        let packet = self.pool.of_mut(slot);
        let (node, now) = (packet.node, packet.due);
        settle(&mut packet.bytes, packet.ttl);
        let Some(head) = Head::read(&packet.bytes) else { return self.end(slot, Fate::Malformed) };
        let guest = Guest { plan, slot, node, now, head };
        match plan.nodes[node].kind {
            NodeKind::Vp(vp) => {
                if self.vps_answer && asks(&head, &packet.bytes) {
                    self.answer(&guest);
                } else {
                    self.deliver(slot, Port::Vp(vp));
                }
            }
            NodeKind::Router if plan.nodes[node].nat.is_some() && self.translate_in(plan, slot) => {}
            _ => self.answer(&guest),
        }
    }

    fn answer(&mut self, guest: &Guest<'_>) {
        if guest.head.is_fragment() {
            return self.assemble(guest);
        }
        let fate = self.fate(guest);
        match (fate, guest.plan.nodes[guest.node].kind) {
            (Fate::Delivered(port), _) => self.deliver(guest.slot, port),
            (fate, _) => self.end(guest.slot, fate),
        }
    }

    /// Keeps a fragment until the packet is whole, and then answers that.
    fn assemble(&mut self, guest: &Guest<'_>) {
        let id = self.pool.of(guest.slot).id;
        let bytes = self.pool.lend(guest.slot);
        let assembly = self.nodes[guest.node].assembly.get_or_insert_default();
        let pieces = assembly.take(guest.now, &bytes, id);
        self.pool.put_back(guest.slot, bytes);
        match pieces {
            Pieces::Whole(whole, others) => {
                for other in others {
                    self.truth.end(other, guest.now, Fate::Reassembled(guest.node));
                }
                let Some(head) = Head::read(&whole) else { return self.end(guest.slot, Fate::Malformed) };
                self.pool.put_back(guest.slot, whole);
                self.answer(&Guest { head, ..*guest });
            }
            _ => self.end(guest.slot, Fate::Kept(guest.node, Why::Incomplete)),
        }
    }

    /// Answers a whole packet, if there is anything to answer.
    fn fate(&mut self, guest: &Guest<'_>) -> Fate {
        let (node, head) = (guest.node, &guest.head);
        let bytes = self.pool.lend(guest.slot);
        let above = bytes.get(head.above..head.total).unwrap_or_default();
        let told = if guest.manners().silent {
            Err(Why::Silent)
        } else {
            match head.protocol {
                PROTOCOL_ICMP | PROTOCOL_ICMPV6 if head.is_icmp() => self.icmp(guest, above),
                PROTOCOL_UDP => self.udp(guest, above),
                PROTOCOL_TCP => self.tcp(guest, above),
                _ => Ok(Said::Trouble(Trouble::NoProtocol)),
            }
        };
        self.pool.put_back(guest.slot, bytes);
        match told {
            Ok(Said::Answer) => Fate::Answered(node),
            Ok(Said::Passed(port)) => Fate::Delivered(port),
            Err(why) => Fate::Kept(node, why),
            Ok(Said::Trouble(trouble)) => {
                let (source, interface) = (head.destination, guest.interface());
                match self.report_from(guest.plan, guest.slot, head, source, interface, trouble) {
                    Told::Yes => Fate::Answered(node),
                    Told::No(why) => Fate::Kept(node, why),
                }
            }
        }
    }

    /// Echo and timestamp requests.
    fn icmp(&mut self, guest: &Guest<'_>, message: &[u8]) -> Result<Said, Why> {
        let (manners, head) = (guest.manners(), &guest.head);
        let v4 = head.is_v4();
        if !checksum_ok(head, if v4 { PROTOCOL_ICMP } else { PROTOCOL_ICMPV6 }, message) {
            return Err(Why::Damaged);
        }
        let echo = if v4 { 8 } else { 128 };
        let mut reply = match message.first() {
            Some(&kind) if kind == echo && message.len() >= icmp::HEADER_BYTES => {
                if !manners.echo {
                    return Err(Why::Silent);
                }
                let mut reply = message.to_vec();
                if let Some(kind) = reply.first_mut() {
                    *kind = if v4 { 0 } else { 129 };
                }
                reply
            }
            Some(&icmp::TIMESTAMP_REQUEST) if v4 && message.len() >= icmp::TIMESTAMP_BYTES => {
                if !manners.timestamp {
                    return Err(Why::Silent);
                }
                self.timestamp_reply(guest, message)
            }
            _ => return Err(Why::NoAnswerDue),
        };
        self.may_speak(manners, guest.node, guest.now)?;
        if let Some(sum) = reply.get_mut(2..4) {
            sum.fill(0);
        }
        let protocol = head.protocol;
        self.reply(guest, manners.icmp_delay, |envelope, out| {
            packet(envelope, protocol, &reply, Some(2), out)
        })
    }

    /// The times of day at which the request came and the reply leaves, by the node's clock.
    fn timestamp_reply(&self, guest: &Guest<'_>, message: &[u8]) -> Vec<u8> {
        const DAY_MS: i64 = 86_400_000;
        let now = self.civil.0.saturating_add(i64::try_from(guest.now.0).unwrap_or(0));
        let ms = now.div_euclid(1_000_000);
        let ms = (ms + i64::from(guest.manners().clock_ahead_ms)).rem_euclid(DAY_MS);
        let time = u32::try_from(ms).unwrap_or(0).to_be_bytes();
        let mut reply = message.get(..12).unwrap_or_default().to_vec();
        if let Some(kind) = reply.first_mut() {
            *kind = icmp::TIMESTAMP_REPLY;
        }
        reply.extend_from_slice(&time);
        reply.extend_from_slice(&time);
        reply
    }

    fn udp(&mut self, guest: &Guest<'_>, bytes: &[u8]) -> Result<Said, Why> {
        let head = &guest.head;
        let Ok(asked) = udp::decode(bytes) else { return Err(Why::Damaged) };
        if !udp::checksum_ok(head.source, head.destination, &asked, bytes) {
            return Err(Why::Damaged);
        }
        let ports = &guest.manners().ports;
        match behind(ports, [&ports.service_udp, &ports.udp, &ports.udp_silent], asked.destination_port) {
            Behind::Service if self.services.udp => pass(guest),
            Behind::Service | Behind::Mute => Err(Why::Silent),
            Behind::Open => {
                let ports = [asked.destination_port, asked.source_port];
                self.reply(guest, Nanos::ZERO, |envelope, out| datagram(envelope, ports, asked.payload, out))
            }
            Behind::Filter => Err(Why::Filtered),
            Behind::Reject => Ok(Said::Trouble(Trouble::Prohibited)),
            Behind::Nothing => Ok(Said::Trouble(Trouble::NoPort)),
        }
    }

    fn tcp(&mut self, guest: &Guest<'_>, bytes: &[u8]) -> Result<Said, Why> {
        let head = &guest.head;
        let Ok(asked) = tcp::decode(bytes) else { return Err(Why::Damaged) };
        if !tcp::checksum_ok(head.source, head.destination, bytes) {
            return Err(Why::Damaged);
        }
        let ports = &guest.manners().ports;
        let is_open =
            match behind(ports, [&ports.service_tcp, &ports.tcp, &[]], asked.header.destination_port) {
                Behind::Service if self.services.tcp => return pass(guest),
                Behind::Service | Behind::Open => true,
                Behind::Filter | Behind::Mute => return Err(Why::Filtered),
                Behind::Reject => return Ok(Said::Trouble(Trouble::Prohibited)),
                Behind::Nothing => false,
            };
        let flow = self.pool.of(guest.slot).flow;
        let first = draw(guest.plan.seed, For::Sequence, flow, 0);
        let first = u32::try_from(first & u64::from(u32::MAX)).unwrap_or(0);
        let Some((header, options)) = tcp_answer(&asked, is_open, first, head.is_v4()) else {
            return Err(Why::NoAnswerDue);
        };
        self.reply(guest, Nanos::ZERO, |envelope, out| segment(envelope, &header, &options, out))
    }

    /// Makes a packet from the address that was asked to who asked.
    fn reply(
        &mut self,
        guest: &Guest<'_>,
        delay: Nanos,
        write: impl FnOnce(&Envelope, &mut Vec<u8>) -> Option<()>,
    ) -> Result<Said, Why> {
        let Guest { plan, node, now, ref head, .. } = *guest;
        let id = if head.is_v4() { self.ip_id(plan, node, guest.interface(), now) } else { 0 };
        let envelope = Envelope {
            source: head.destination,
            destination: head.source,
            tos: head.tos,
            ttl: guest.manners().ttl,
            id,
        };
        let cause = self.pool.of(guest.slot).id;
        let slot = self.pool.take();
        let mut bytes = self.pool.lend(slot);
        let written = write(&envelope, &mut bytes);
        self.pool.put_back(slot, bytes);
        let Some(made) = written.and_then(|()| Head::read(self.pool.bytes(slot))) else {
            self.pool.free(slot);
            return Err(Why::NoAnswerDue);
        };
        self.enter(plan, slot, &made, node, now, Origin::Answer(node), Some(cause));
        self.leave_after(plan, slot, delay);
        Ok(Said::Answer)
    }
}

/// What came of a packet that was understood.
enum Said {
    /// An answer is on its way.
    Answer,
    /// It is for whoever plays this.
    Passed(Port),
    /// An error is due.
    Trouble(Trouble),
}

fn pass(guest: &Guest<'_>) -> Result<Said, Why> {
    match guest.plan.nodes[guest.node].kind {
        NodeKind::Host(host) => Ok(Said::Passed(Port::Service(host))),
        _ => Err(Why::Silent),
    }
}

/// Whether a packet asks something that every host answers: echo and timestamp requests.
fn asks(head: &Head, bytes: &[u8]) -> bool {
    let kind = bytes.get(head.above);
    head.is_icmp()
        && !head.is_fragment()
        && match kind {
            Some(8 | &icmp::TIMESTAMP_REQUEST) => head.is_v4(),
            Some(128) => !head.is_v4(),
            _ => false,
        }
}

/// `own` are the ports of services, those that answer, and those that take everything without a word.
fn behind(ports: &Ports, own: [&[u16]; 3], port: u16) -> Behind {
    let has = |list: &[u16]| list.binary_search(&port).is_ok();
    let [service, open, mute] = own.map(has);
    match () {
        () if service => Behind::Service,
        () if open => Behind::Open,
        () if mute => Behind::Mute,
        () if ports.filtered_all || has(&ports.filtered) => Behind::Filter,
        () if has(&ports.rejected) => Behind::Reject,
        () => Behind::Nothing,
    }
}

fn checksum_ok(head: &Head, protocol: u8, message: &[u8]) -> bool {
    if head.is_v4() {
        return checksum::of(message) == 0;
    }
    let sum =
        checksum::Sum::default().plus_pseudo_header(head.source, head.destination, message.len(), protocol);
    sum.is_some_and(|sum| sum.plus(message).finish() == 0)
}

/// What a host without a connection says to a segment (RFC 9293, section 3.10.7).
fn tcp_answer(
    asked: &tcp::Segment<'_>,
    is_open: bool,
    first: u32,
    v4: bool,
) -> Option<(tcp::Header, Vec<u8>)> {
    let tcp::Header { source_port, destination_port, seq, ack, flags, .. } = asked.header;
    let octets = u32::try_from(asked.payload.len()).unwrap_or(0);
    let counted = u32::from(flags & SYN != 0) + u32::from(flags & FIN != 0);
    let next = seq.wrapping_add(octets).wrapping_add(counted);
    let answer = tcp::Header {
        source_port: destination_port,
        destination_port: source_port,
        seq: 0,
        ack: 0,
        flags: RST,
        window: 0,
        urgent: 0,
    };
    if flags & RST != 0 {
        return None;
    }
    if flags & ACK != 0 {
        return Some((tcp::Header { seq: ack, ..answer }, Vec::new()));
    }
    if flags & SYN != 0 && is_open {
        let header = tcp::Header {
            seq: first,
            ack: seq.wrapping_add(1),
            flags: SYN | ACK,
            window: u16::MAX,
            ..answer
        };
        return Some((header, counter_offer(&tcp::Offer::of(asked.options), first, v4)));
    }
    // What is neither is dropped by who listens.
    let refused = !is_open || flags & SYN != 0;
    refused.then(|| (tcp::Header { ack: next, flags: RST | ACK, ..answer }, Vec::new()))
}

/// The options of a SYN that answers one: no more than was offered.
fn counter_offer(offer: &tcp::Offer, clock: u32, v4: bool) -> Vec<u8> {
    let mut options = tcp::mss_option(if v4 { 1_460 } else { 1_440 }).to_vec();
    if offer.sack_permitted {
        options.extend_from_slice(&[1, 1, 4, 2]);
    }
    if let Some(echo) = offer.timestamp {
        options.extend_from_slice(&[1, 1, 8, 10]);
        options.extend_from_slice(&clock.to_be_bytes());
        options.extend_from_slice(&echo.to_be_bytes());
    }
    if offer.window_scale.is_some() {
        options.extend_from_slice(&[1, 3, 3, 7]);
    }
    options
}
