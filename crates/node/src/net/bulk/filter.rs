//! The filter of a receiving packet socket: echo replies with an identifier of ours, errors that quote a request with
//! one, and of those no more than their beginning.
//!
//! Classic BPF (`linux/filter.h`) over a packet from its IP header on, as a datagram packet socket gives it. The node
//! attaches and locks it: a module's process sees nothing else through the socket.

use mmn_probe::wire::{PROTOCOL_ICMP, PROTOCOL_ICMPV6, icmp::Family};
use socket2::SockFilter;

use crate::net::icmp::IdRange;

/// How much of a packet is kept: both IP headers of an error with all options, both ICMP headers, and the cookie.
const KEPT_BYTES: u32 = 160;

/// The filter for identifiers within `ids`.
pub(super) fn program(family: Family, ids: IdRange) -> Vec<SockFilter> {
    match family {
        Family::V4 => v4(ids),
        Family::V6 => v6(ids),
    }
}

fn v4(ids: IdRange) -> Vec<SockFilter> {
    // Positions are written out: a jump counts instructions after the next one.
    let (low, high) = (ids.first().into(), ids.last().into());
    vec![
        SockFilter::new(LOAD_BYTE, 0, 0, PACKET_TYPE),            // 0
        SockFilter::new(JUMP_EQUAL, 0, 23, 0),                    // 1: not for this host: 25
        SockFilter::new(LOAD_BYTE, 0, 0, 9),                      // 2: A = protocol
        SockFilter::new(JUMP_EQUAL, 0, 21, PROTOCOL_ICMP.into()), // 3: not ICMP: 25
        SockFilter::new(LOAD_HALF, 0, 0, 6),                      // 4: A = flags and fragment offset
        SockFilter::new(JUMP_SET, 19, 0, 0x1fff),                 // 5: a later fragment: 25
        SockFilter::new(LOAD_HEADER_LENGTH, 0, 0, 0),             // 6: X = length of the IP header
        SockFilter::new(LOAD_BYTE_X, 0, 0, 0),                    // 7: A = ICMP type
        SockFilter::new(JUMP_EQUAL, 13, 0, 0),                    // 8: echo reply: 22
        SockFilter::new(JUMP_EQUAL, 2, 0, 3),                     // 9: destination unreachable: 12
        SockFilter::new(JUMP_EQUAL, 1, 0, 11),                    // 10: time exceeded: 12
        SockFilter::new(JUMP_EQUAL, 0, 13, 12),                   // 11: no parameter problem: 25
        SockFilter::new(LOAD_BYTE_X, 0, 0, 8 + 9),                // 12: A = quoted protocol
        SockFilter::new(JUMP_EQUAL, 0, 11, PROTOCOL_ICMP.into()), // 13: not ICMP: 25
        SockFilter::new(LOAD_BYTE_X, 0, 0, 8),                    // 14: A = quoted version and header length
        SockFilter::new(AND, 0, 0, 0x0f),                         // 15
        SockFilter::new(SHIFT_LEFT, 0, 0, 2),                     // 16: A = length of the quoted IP header
        SockFilter::new(ADD_X, 0, 0, 0),                          // 17
        SockFilter::new(ADD, 0, 0, 8),                            // 18
        SockFilter::new(TO_X, 0, 0, 0),                           // 19: X = offset of the quoted ICMP header
        SockFilter::new(LOAD_BYTE_X, 0, 0, 0),                    // 20: A = quoted type
        SockFilter::new(JUMP_EQUAL, 0, 3, 8),                     // 21: no echo request: 25
        SockFilter::new(LOAD_HALF_X, 0, 0, 4),                    // 22: A = identifier
        SockFilter::new(JUMP_GREATER_EQUAL, 0, 1, low),           // 23: below: 25
        SockFilter::new(JUMP_GREATER, 0, 1, high),                // 24: within: 26
        SockFilter::new(RETURN, 0, 0, 0),                         // 25: drop
        SockFilter::new(RETURN, 0, 0, KEPT_BYTES),                // 26: pass
    ]
}

fn v6(ids: IdRange) -> Vec<SockFilter> {
    let (low, high) = (ids.first().into(), ids.last().into());
    vec![
        SockFilter::new(LOAD_BYTE, 0, 0, PACKET_TYPE),              // 0
        SockFilter::new(JUMP_EQUAL, 0, 15, 0),                      // 1: not for this host: 17
        SockFilter::new(LOAD_BYTE, 0, 0, 6),                        // 2: A = next header
        SockFilter::new(JUMP_EQUAL, 0, 13, PROTOCOL_ICMPV6.into()), // 3: not ICMPv6: 17
        SockFilter::new(LOAD_BYTE, 0, 0, 40),                       // 4: A = ICMPv6 type
        SockFilter::new(JUMP_EQUAL, 0, 2, 129),                     // 5: no echo reply: 8
        SockFilter::new(LOAD_HALF, 0, 0, 40 + 4),                   // 6: A = identifier
        SockFilter::new(JUMP_ALWAYS, 0, 0, 7),                      // 7: 15
        SockFilter::new(JUMP_GREATER, 8, 0, 4),                     // 8: no error of types 1 to 4: 17
        SockFilter::new(JUMP_EQUAL, 7, 0, 0),                       // 9: type 0: 17
        SockFilter::new(LOAD_BYTE, 0, 0, 48 + 6),                   // 10: A = quoted next header
        SockFilter::new(JUMP_EQUAL, 0, 5, PROTOCOL_ICMPV6.into()),  // 11: not ICMPv6: 17
        SockFilter::new(LOAD_BYTE, 0, 0, 48 + 40),                  // 12: A = quoted type
        SockFilter::new(JUMP_EQUAL, 0, 3, 128),                     // 13: no echo request: 17
        SockFilter::new(LOAD_HALF, 0, 0, 48 + 40 + 4),              // 14: A = quoted identifier
        SockFilter::new(JUMP_GREATER_EQUAL, 0, 1, low),             // 15: below: 17
        SockFilter::new(JUMP_GREATER, 0, 1, high),                  // 16: within: 18
        SockFilter::new(RETURN, 0, 0, 0),                           // 17: drop
        SockFilter::new(RETURN, 0, 0, KEPT_BYTES),                  // 18: pass
    ]
}

/// The packet's type (`PACKET_HOST` is 0), as an offset beyond the packet: `SKF_AD_OFF + SKF_AD_PKTTYPE`.
const PACKET_TYPE: u32 = 0xffff_f000 + 4;

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
const JUMP_SET: u16 = 0x45;
const RETURN: u16 = 0x06;
