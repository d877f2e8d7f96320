//! Packet filters for raw sockets, so that no process wades through another's replies: only answers to a selector
//! (ICMP identifier, source port) of ours pass, and errors that quote a packet with one.
//!
//! Classic BPF (`linux/filter.h`). On a raw IPv4 socket the filter sees the packet from its IP header on, on a
//! raw IPv6 socket from the transport header on. The filter spares work; it is no judge: whoever reads the
//! socket checks again.

use std::collections::BTreeSet;

use mmn_probe::wire::{
    PROTOCOL_ICMP, PROTOCOL_ICMPV6, PROTOCOL_TCP, PROTOCOL_UDP, heard::Protocol, icmp::Family,
};
use socket2::SockFilter;

use super::icmp::IdRange;

/// Which selectors pass: a range, and single ones beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Selectors {
    /// The range; nothing but the single ones where there is none.
    pub(super) range: Option<IdRange>,
    /// The others; at most [`MOST_SINGLE`].
    pub(super) single: BTreeSet<u16>,
}

impl Selectors {
    pub(super) fn new(range: Option<IdRange>) -> Self {
        Self { range, single: BTreeSet::new() }
    }
}

/// The most selectors beside a range: a jump of classic BPF reaches 255 instructions.
pub(super) const MOST_SINGLE: usize = 32;

/// The filter for a socket that receives `protocol`: of ICMP, answers to identifiers within `ids`, and errors about
/// those and about UDP and TCP from `ports`; of UDP and TCP what goes to `ports`.
pub(super) fn program(
    family: Family,
    protocol: Protocol,
    ids: &Selectors,
    ports: &Selectors,
) -> Vec<SockFilter> {
    let mut program = Program::default();
    match (protocol, family) {
        (Protocol::Icmp, Family::V4) => icmp_v4(&mut program),
        (Protocol::Icmp, Family::V6) => icmp_v6(&mut program),
        (_, Family::V4) => {
            program.add(LOAD_HEADER_LENGTH, 0);
            program.add(LOAD_HALF_X, 2);
        }
        (_, Family::V6) => program.add(LOAD_HALF, 2),
    }
    if protocol == Protocol::Icmp {
        program.label(Label::Ids);
        program.judge(ids);
        program.label(Label::Ports);
    }
    program.judge(ports);
    program.label(Label::Drop);
    program.add(RETURN, 0);
    program.label(Label::Pass);
    program.add(RETURN, u32::MAX);
    program.finish()
}

/// The filter for a socket that receives IPv6 fragments: the first ones of echo replies to identifiers within `ids`.
pub(super) fn fragments(ids: &Selectors) -> Vec<SockFilter> {
    let mut program = Program::default();
    program.add(LOAD_BYTE, 0); // A = next header
    program.jump_unless(PROTOCOL_ICMPV6.into(), Label::Drop);
    program.add(LOAD_HALF, 2); // A = offset and flags (RFC 8200, section 4.5)
    program.add(AND, 0xfff8);
    program.jump_unless(0, Label::Drop);
    program.add(LOAD_BYTE, FRAGMENT_HEADER); // A = ICMP type
    program.jump_unless(129, Label::Drop); // echo reply
    program.add(LOAD_HALF, FRAGMENT_HEADER + 4); // A = identifier
    program.judge(ids);
    program.label(Label::Drop);
    program.add(RETURN, 0);
    program.label(Label::Pass);
    program.add(RETURN, FRAGMENT_HEADER + 8); // no more than is read
    program.finish()
}

/// Octets of a fragment header.
const FRAGMENT_HEADER: u32 = 8;

/// Lets nothing pass.
pub(super) fn nothing() -> Vec<SockFilter> {
    vec![SockFilter::new(RETURN, 0, 0, 0)]
}

/// Goes to the ports with one in A, or ends with an identifier in A.
fn icmp_v4(program: &mut Program) {
    program.add(LOAD_HEADER_LENGTH, 0); // X = length of the IP header
    program.add(LOAD_BYTE_X, 0); // A = ICMP type
    program.jump_if(&[0, 14], Label::AnswerId); // echo reply, timestamp reply
    program.jump_if(&[3, 11, 12], Label::Quote); // unreachable, time exceeded, parameter problem
    program.jump(Label::Drop);
    program.label(Label::Quote);
    program.add(LOAD_BYTE_X, 8 + 9); // A = quoted protocol
    program.add(STORE, 0);
    program.add(LOAD_BYTE_X, 8); // A = quoted version and header length
    program.add(AND, 0x0f);
    program.add(SHIFT_LEFT, 2); // A = length of the quoted IP header
    program.add(ADD_X, 0);
    program.add(ADD, 8);
    program.add(TO_X, 0); // X = offset of the quoted transport header
    program.add(LOAD, 0);
    program.jump_if(&[PROTOCOL_UDP.into(), PROTOCOL_TCP.into()], Label::QuotedPort);
    program.jump_unless(PROTOCOL_ICMP.into(), Label::Drop);
    program.add(LOAD_BYTE_X, 0); // A = quoted type
    program.jump_if(&[8, 13], Label::AnswerId); // echo request, timestamp request
    program.jump(Label::Drop);
    program.label(Label::QuotedPort);
    program.add(LOAD_HALF_X, 0);
    program.jump(Label::Ports);
    program.label(Label::AnswerId);
    program.add(LOAD_HALF_X, 4);
}

/// Goes to the identifiers or to the ports with one in A.
fn icmp_v6(program: &mut Program) {
    program.add(LOAD_BYTE, 0); // A = ICMP type
    program.jump_if(&[129], Label::AnswerId); // echo reply
    program.jump_if(&[1, 2, 3, 4], Label::Quote); // unreachable, too big, time exceeded, parameter problem
    program.jump(Label::Drop);
    program.label(Label::AnswerId);
    program.add(LOAD_HALF, 4);
    program.jump(Label::Ids);
    program.label(Label::Quote);
    program.add(LOAD_BYTE, 8 + 6); // A = quoted next header
    program.jump_if(&[PROTOCOL_UDP.into(), PROTOCOL_TCP.into()], Label::QuotedPort);
    // Behind extension headers (hop-by-hop, routing, fragment, authentication, options) the reader looks itself.
    program.jump_if(&[0, 43, 44, 51, 60], Label::Pass);
    program.jump_unless(PROTOCOL_ICMPV6.into(), Label::Drop);
    program.add(LOAD_BYTE, 8 + 40); // A = quoted type
    program.jump_unless(128, Label::Drop); // echo request
    program.add(LOAD_HALF, 8 + 40 + 4);
    program.jump(Label::Ids);
    program.label(Label::QuotedPort);
    program.add(LOAD_HALF, 8 + 40);
    program.jump(Label::Ports);
}

/// Places in a program. Jumps lead forward alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Label {
    AnswerId,
    Quote,
    QuotedPort,
    Ids,
    Ports,
    Drop,
    Pass,
}

/// A program under construction.
#[derive(Debug, Default)]
struct Program {
    lines: Vec<Line>,
    labels: Vec<(Label, usize)>,
}

#[derive(Clone, Copy, Debug)]
struct Line {
    code: u16,
    value: u32,
    /// Where to go: if so, and if not; on to the next where there is none.
    goes: [Option<Label>; 2],
}

impl Program {
    fn add(&mut self, code: u16, value: u32) {
        self.lines.push(Line { code, value, goes: [None; 2] });
    }

    fn label(&mut self, label: Label) {
        self.labels.push((label, self.lines.len()));
    }

    fn jump(&mut self, to: Label) {
        self.lines.push(Line { code: JUMP_ALWAYS, value: 0, goes: [Some(to), None] });
    }

    fn jump_if(&mut self, values: &[u32], to: Label) {
        let lines =
            values.iter().map(|value| Line { code: JUMP_EQUAL, value: *value, goes: [Some(to), None] });
        self.lines.extend(lines);
    }

    fn jump_unless(&mut self, value: u32, to: Label) {
        self.lines.push(Line { code: JUMP_EQUAL, value, goes: [None, Some(to)] });
    }

    /// Passes what has one of the selectors in A, and drops the rest.
    fn judge(&mut self, selectors: &Selectors) {
        for value in selectors.single.iter().take(MOST_SINGLE) {
            self.jump_if(&[u32::from(*value)], Label::Pass);
        }
        if let Some(range) = selectors.range {
            let goes = [None, Some(Label::Drop)];
            self.lines.push(Line { code: JUMP_GREATER_EQUAL, value: range.first().into(), goes });
            let goes = [Some(Label::Drop), Some(Label::Pass)];
            self.lines.push(Line { code: JUMP_GREATER, value: range.last().into(), goes });
        } else {
            self.jump(Label::Drop);
        }
    }

    fn finish(self) -> Vec<SockFilter> {
        let place = |label: Label| self.labels.iter().find(|(named, _)| *named == label).map(|(_, at)| *at);
        let line = |(at, line): (usize, &Line)| {
            // A jump counts instructions after the next one.
            let distance = |to: Option<Label>| to.and_then(place).map_or(0, |to| to.saturating_sub(at + 1));
            let [yes, no] = line.goes.map(distance);
            if line.code == JUMP_ALWAYS {
                return SockFilter::new(line.code, 0, 0, u32::try_from(yes).unwrap_or(0));
            }
            let short = |distance| u8::try_from(distance).unwrap_or(0);
            SockFilter::new(line.code, short(yes), short(no), line.value)
        };
        self.lines.iter().enumerate().map(line).collect()
    }
}

// Opcodes: class, size or operation, and mode (`linux/bpf_common.h`).
const LOAD_BYTE: u16 = 0x30; // ldb [k]
const LOAD_HALF: u16 = 0x28; // ldh [k]
const LOAD_BYTE_X: u16 = 0x50; // ldb [x + k]
const LOAD_HALF_X: u16 = 0x48; // ldh [x + k]
const LOAD_HEADER_LENGTH: u16 = 0xb1; // ldx 4 * ([k] & 0xf)
const LOAD: u16 = 0x60; // ld M[k]
const STORE: u16 = 0x02; // st M[k]
const AND: u16 = 0x54;
const SHIFT_LEFT: u16 = 0x64;
const ADD: u16 = 0x04;
const ADD_X: u16 = 0x0c;
const TO_X: u16 = 0x07;
const JUMP_ALWAYS: u16 = 0x05;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_GREATER: u16 = 0x25;
const JUMP_GREATER_EQUAL: u16 = 0x35;
const RETURN: u16 = 0x06;
