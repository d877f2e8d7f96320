//! The two options of IPv4 by which routers leave a trace in a packet: record route and timestamp (RFC 791,
//! section 3.1).
//!
//! An echo reply returns the option of its request, filled on both ways. Most routers pass packets with options over
//! or drop them; what comes is read as far as it makes sense.

use std::net::Ipv4Addr;

const END: u8 = 0;
const NO_OPERATION: u8 = 1;
const RECORD_ROUTE: u8 = 7;
const TIMESTAMP: u8 = 68;
/// The octets of options that an IPv4 header has room for.
const ROOM: usize = 40;
/// The most addresses that a timestamp option can ask for.
pub const MAX_ASKED: usize = 4;

/// What routers are asked to leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IpOption {
    /// The addresses of the first nine of them.
    RecordRoute,
    /// The times of the first nine.
    Timestamps,
    /// The addresses and times of the first four.
    AddressedTimestamps,
    /// The times of these, at most four: each stamps when the one before it has.
    TimestampsOf(Vec<Ipv4Addr>),
}

impl IpOption {
    /// The option as it stands in the header, empty, padded to a multiple of four octets.
    pub fn encode(&self) -> Vec<u8> {
        let (kind, pointer, flag, slots) = match self {
            Self::RecordRoute => (RECORD_ROUTE, 4, None, 4 * 9),
            Self::Timestamps => (TIMESTAMP, 5, Some(0), 4 * 9),
            Self::AddressedTimestamps => (TIMESTAMP, 5, Some(1), 8 * MAX_ASKED),
            Self::TimestampsOf(asked) => (TIMESTAMP, 5, Some(3), 8 * asked.len().min(MAX_ASKED)),
        };
        let head = 3 + flag.map_or(0, |_| 1);
        let length = u8::try_from(head + slots).unwrap_or(u8::MAX);
        let mut bytes = Vec::with_capacity(ROOM);
        bytes.extend([kind, length, pointer]);
        bytes.extend(flag);
        match self {
            Self::TimestampsOf(asked) => {
                for address in asked.iter().take(MAX_ASKED) {
                    bytes.extend(address.octets());
                    bytes.extend([0; 4]);
                }
            }
            _ => bytes.resize(head + slots, 0),
        }
        bytes.resize(bytes.len().next_multiple_of(4), END);
        bytes
    }
}

/// What routers left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// The recorded route, where the option is there.
    pub route: Option<Vec<Ipv4Addr>>,
    /// The timestamps, where the option is there.
    pub timestamps: Option<Timestamps>,
}

/// What a timestamp option holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Timestamps {
    /// Each stamp: whose, where that is known, and milliseconds since midnight UT, or anything else with the top bit
    /// set.
    pub stamps: Vec<(Option<Ipv4Addr>, u32)>,
    /// How many hosts found no room.
    pub overflow: u8,
}

/// Reads the options of a header. What makes no sense ends the reading.
pub fn read(mut options: &[u8]) -> Trace {
    let mut trace = Trace::default();
    while let Some((&kind, rest)) = options.split_first() {
        match kind {
            END => break,
            NO_OPERATION => {
                options = rest;
                continue;
            }
            _ => {}
        }
        let Some(length) = rest.first().map(|length| usize::from(*length)).filter(|length| *length >= 2)
        else {
            break;
        };
        let Some((option, after)) = options.split_at_checked(length) else { break };
        match kind {
            RECORD_ROUTE => trace.route = Some(addresses(filled(option, 3))),
            TIMESTAMP => trace.timestamps = Some(timestamps(option)),
            _ => {}
        }
        options = after;
    }
    trace
}

/// The part of an option that is filled: from its data up to where its pointer, which counts from 1, points.
fn filled(option: &[u8], data: usize) -> &[u8] {
    let end = option.get(2).map_or(0, |pointer| usize::from(*pointer).saturating_sub(1)).min(option.len());
    option.get(data..end).unwrap_or_default()
}

fn addresses(filled: &[u8]) -> Vec<Ipv4Addr> {
    filled.as_chunks::<4>().0.iter().map(|octets| Ipv4Addr::from(*octets)).collect()
}

fn timestamps(option: &[u8]) -> Timestamps {
    let Some(&flags) = option.get(3) else { return Timestamps::default() };
    let filled = filled(option, 4);
    let words = filled.as_chunks::<4>().0.iter().map(|octets| u32::from_be_bytes(*octets));
    let (overflow, flag) = (flags >> 4, flags % 16);
    let stamps = if flag == 0 {
        words.map(|stamp| (None, stamp)).collect()
    } else {
        let words: Vec<u32> = words.collect();
        words.as_chunks::<2>().0.iter().map(|[whose, stamp]| (Some(Ipv4Addr::from(*whose)), *stamp)).collect()
    };
    Timestamps { stamps, overflow }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const A: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
    const B: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

    #[test]
    fn options_stand_as_the_rfc_says() {
        let route = IpOption::RecordRoute.encode();
        assert_eq!((route.len(), &route[..4]), (40, &[7, 39, 4, 0][..]));
        assert_eq!(&IpOption::Timestamps.encode()[..4], [68, 40, 5, 0]);
        assert_eq!(&IpOption::AddressedTimestamps.encode()[..4], [68, 36, 5, 1]);
        let asked = IpOption::TimestampsOf(vec![A, B]).encode();
        assert_eq!(asked, [68, 20, 5, 3, 192, 0, 2, 1, 0, 0, 0, 0, 192, 0, 2, 2, 0, 0, 0, 0]);
        assert_eq!(read(&route), Trace { route: Some(vec![]), timestamps: None });
    }

    #[test]
    fn what_routers_left_is_read() {
        let mut route = IpOption::RecordRoute.encode();
        route[2] = 12;
        route[3..11].copy_from_slice(&[192, 0, 2, 1, 192, 0, 2, 2]);
        assert_eq!(read(&route).route, Some(vec![A, B]));
        // After a no-operation; one of two has stamped, and three found no room.
        let mut asked = vec![1];
        asked.extend(IpOption::TimestampsOf(vec![A, B]).encode());
        asked[3] = 13;
        asked[4] = 0x33;
        asked[9..13].copy_from_slice(&7_u32.to_be_bytes());
        let stamps = Timestamps { stamps: vec![(Some(A), 7)], overflow: 3 };
        assert_eq!(read(&asked).timestamps, Some(stamps));
        let bare = [68, 8, 9, 0, 0, 0, 1, 0];
        assert_eq!(read(&bare).timestamps.unwrap().stamps, [(None, 256)]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..48)) {
            let trace = read(&bytes);
            prop_assert!(trace.route.is_none_or(|route| route.len() <= 12));
        }

        #[test]
        fn every_option_fits(asked in prop::collection::vec(any::<u32>().prop_map(Ipv4Addr::from), 0..9)) {
            let bytes = IpOption::TimestampsOf(asked).encode();
            prop_assert!(bytes.len() <= ROOM && bytes.len().is_multiple_of(4));
            prop_assert_eq!(read(&bytes).timestamps.unwrap().stamps, []);
        }
    }
}
