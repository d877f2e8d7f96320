//! Packet filters for raw sockets, so that no process wades through another's replies: only echo replies with
//! an identifier of ours pass, and errors that quote a request with one.
//!
//! Classic BPF (`linux/filter.h`). On a raw IPv4 socket the filter sees the packet from its IP header on, on a
//! raw IPv6 socket from the `ICMPv6` header on. The filter spares work; it is no judge: whoever reads the
//! socket checks again.

use mmn_probe::wire::{PROTOCOL_ICMP, PROTOCOL_ICMPV6, icmp::Family};
use socket2::SockFilter;

use super::icmp::IdRange;

/// The filter for identifiers within `ids`.
pub(super) fn program(family: Family, ids: IdRange) -> Vec<SockFilter> {
    match family {
        Family::V4 => v4(ids),
        Family::V6 => v6(ids),
    }
}

fn v4(ids: IdRange) -> Vec<SockFilter> {
    // Positions are written out: a jump counts instructions after the next one.
    let (low, high) = bounds(ids);
    vec![
        SockFilter::new(LOAD_HEADER_LENGTH, 0, 0, 0), // 0: X = length of the IP header
        SockFilter::new(LOAD_BYTE_X, 0, 0, 0),        // 1: A = ICMP type
        SockFilter::new(JUMP_EQUAL, 13, 0, 0),        // 2: echo reply: 16
        SockFilter::new(JUMP_EQUAL, 2, 0, 3),         // 3: destination unreachable: 6
        SockFilter::new(JUMP_EQUAL, 1, 0, 11),        // 4: time exceeded: 6
        SockFilter::new(JUMP_EQUAL, 0, 13, 12),       // 5: parameter problem: 6, else 19
        SockFilter::new(LOAD_BYTE_X, 0, 0, 8 + 9),    // 6: A = quoted protocol
        SockFilter::new(JUMP_EQUAL, 0, 11, PROTOCOL_ICMP.into()), // 7: not ICMP: 19
        SockFilter::new(LOAD_BYTE_X, 0, 0, 8),        // 8: A = quoted version and header length
        SockFilter::new(AND, 0, 0, 0x0f),             // 9
        SockFilter::new(SHIFT_LEFT, 0, 0, 2),         // 10: A = length of the quoted IP header
        SockFilter::new(ADD_X, 0, 0, 0),              // 11
        SockFilter::new(ADD, 0, 0, 8),                // 12
        SockFilter::new(TO_X, 0, 0, 0),               // 13: X = offset of the quoted ICMP header
        SockFilter::new(LOAD_BYTE_X, 0, 0, 0),        // 14: A = quoted type
        SockFilter::new(JUMP_EQUAL, 0, 3, 8),         // 15: no echo request: 19
        SockFilter::new(LOAD_HALF_X, 0, 0, 4),        // 16: A = identifier
        SockFilter::new(JUMP_GREATER_EQUAL, 0, 1, low), // 17: below: 19
        SockFilter::new(JUMP_GREATER, 0, 1, high),    // 18: within: 20
        SockFilter::new(RETURN, 0, 0, 0),             // 19: drop
        SockFilter::new(RETURN, 0, 0, u32::MAX),      // 20: pass
    ]
}

fn v6(ids: IdRange) -> Vec<SockFilter> {
    let (low, high) = bounds(ids);
    vec![
        SockFilter::new(LOAD_BYTE, 0, 0, 0),     // 0: A = ICMPv6 type
        SockFilter::new(JUMP_EQUAL, 0, 2, 129),  // 1: no echo reply: 4
        SockFilter::new(LOAD_HALF, 0, 0, 4),     // 2: A = identifier
        SockFilter::new(JUMP_ALWAYS, 0, 0, 7),   // 3: 11
        SockFilter::new(JUMP_GREATER, 8, 0, 4),  // 4: no error of types 1 to 4: 13
        SockFilter::new(JUMP_EQUAL, 7, 0, 0),    // 5: type 0: 13
        SockFilter::new(LOAD_BYTE, 0, 0, 8 + 6), // 6: A = quoted next header
        SockFilter::new(JUMP_EQUAL, 0, 5, PROTOCOL_ICMPV6.into()), // 7: not ICMPv6: 13
        SockFilter::new(LOAD_BYTE, 0, 0, 8 + 40), // 8: A = quoted type
        SockFilter::new(JUMP_EQUAL, 0, 3, 128),  // 9: no echo request: 13
        SockFilter::new(LOAD_HALF, 0, 0, 8 + 40 + 4), // 10: A = quoted identifier
        SockFilter::new(JUMP_GREATER_EQUAL, 0, 1, low), // 11: below: 13
        SockFilter::new(JUMP_GREATER, 0, 1, high), // 12: within: 14
        SockFilter::new(RETURN, 0, 0, 0),        // 13: drop
        SockFilter::new(RETURN, 0, 0, u32::MAX), // 14: pass
    ]
}

fn bounds(ids: IdRange) -> (u32, u32) {
    (ids.first().into(), ids.last().into())
}

// Opcodes: class, size or operation, and mode (`linux/bpf_common.h`).
const LOAD_BYTE: u16 = 0x30; // ldb [k]
const LOAD_HALF: u16 = 0x28; // ldh [k]
const LOAD_BYTE_X: u16 = 0x50; // ldb [x + k]
const LOAD_HALF_X: u16 = 0x48; // ldh [x + k]
const LOAD_HEADER_LENGTH: u16 = 0xb1; // ldx 4 * ([k] & 0xf)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_end_in_a_verdict() {
        let ids = IdRange::new(0x1000, 16).unwrap();
        assert_eq!(program(Family::V4, ids).len(), 21);
        assert_eq!(program(Family::V6, ids).len(), 15);
    }
}
