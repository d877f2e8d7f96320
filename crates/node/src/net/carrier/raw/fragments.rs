//! The identification of echo replies that come in IPv6 fragments (RFC 8200, section 4.5).
//!
//! Other sockets get such a reply once it is whole, and the identification is lost with the fragment headers. A raw socket
//! for the protocol that those are gets each fragment before the kernel puts it together with others: so what is read here
//! after a reply was read has its first fragment. Where connection tracking puts fragments together earlier, it gets none.
//!
//! It listens from a request on whose reply may need fragments, until nothing is under way any more.

use std::{
    collections::VecDeque,
    io,
    net::IpAddr,
    os::fd::{AsFd, OwnedFd},
};

use mmn_probe::{
    packet::{Body, Probe},
    wire::{
        PROTOCOL_ICMPV6,
        heard::{Heard, Protocol},
        icmp::{self, Echo, Family, Icmp},
        ipv6,
    },
};
use socket2::{SockFilter, SockRef, Socket};

use super::receive;
use crate::net::{
    filter::{self, Selectors},
    sys,
};

/// `IPPROTO_FRAGMENT`, as a protocol of raw sockets.
pub(super) const PROTOCOL: libc::c_int = libc::IPPROTO_FRAGMENT;

/// Makes a socket ready that was opened for [`PROTOCOL`]; it does not listen yet.
pub(super) fn configure(socket: &Socket, filter: &[SockFilter]) -> io::Result<()> {
    socket.attach_filter(filter)?;
    socket.set_nonblocking(true)?;
    receive::close(socket.as_fd(), Family::V6);
    Ok(())
}

/// A socket that sees fragments, and what it has seen.
#[derive(Debug)]
pub(super) struct Fragments {
    socket: OwnedFd,
    open: bool,
    seen: VecDeque<First>,
}

/// The first fragment of an echo reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct First {
    from: IpAddr,
    /// The ICMP identifier and sequence number.
    selector: u16,
    tag: u16,
    id: u32,
}

impl Fragments {
    pub(super) fn new(socket: OwnedFd) -> Self {
        receive::close(socket.as_fd(), Family::V6);
        Self { socket, open: false, seen: VecDeque::new() }
    }

    /// A request is about to leave: listens where its reply may come in fragments.
    pub(super) fn expect(&mut self, probe: &Probe) {
        let may = match &probe.body {
            Body::Echo { payload, .. } => payload.len() > MOST_WHOLE,
            Body::TooBig { .. } => true,
            _ => false,
        };
        if may && !self.open {
            receive::open(self.socket.as_fd(), Family::V6);
            self.open = true;
        }
    }

    /// Nothing is under way any more.
    pub(super) fn rest(&mut self) {
        if self.open {
            receive::close(self.socket.as_fd(), Family::V6);
            // What waits there is nobody's.
            self.read();
            self.open = false;
            self.seen.clear();
        }
    }

    /// Lets fragments of replies to these identifiers pass.
    pub(super) fn attach(&self, ids: &Selectors) -> io::Result<()> {
        SockRef::from(&self.socket).attach_filter(&filter::fragments(ids))
    }

    /// Reads what is there. What belongs to a reply is there before the reply is.
    pub(super) fn read(&mut self) {
        let mut data = [0; FIRST_BYTES];
        for _ in 0..if self.open { MOST_SEEN } else { 0 } {
            let lengths = match sys::receive(self.socket.as_fd(), libc::MSG_DONTWAIT, &mut data, &mut []) {
                Ok(lengths) => lengths,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => continue,
            };
            let first = lengths.from.and_then(|from| first(from, data.get(..lengths.data)?));
            if self.seen.len() == MOST_SEEN {
                self.seen.pop_front();
            }
            self.seen.extend(first);
        }
    }

    /// The identification of the fragments that a packet came in.
    pub(super) fn id_of(&mut self, heard: &Heard<'_>) -> Option<u32> {
        let (Protocol::Icmp, Some(tag)) = (heard.clues.protocol, heard.clues.tag) else { return None };
        let own = |first: &First| {
            (first.from, first.selector, first.tag) == (heard.from, heard.clues.selector, tag)
        };
        let place = self.seen.iter().position(own)?;
        self.seen.remove(place).map(|first| first.id)
    }
}

/// Reads a fragment from its header on; nothing where it is not the first of an echo reply.
fn first(from: IpAddr, data: &[u8]) -> Option<First> {
    let fragment = ipv6::fragment(data).ok()?;
    if (fragment.next_header, fragment.offset) != (PROTOCOL_ICMPV6, 0) {
        return None;
    }
    match icmp::decode(Family::V6, fragment.payload).ok()? {
        Icmp::EchoReply(Echo { id, seq, .. }) => {
            Some(First { from, selector: id, tag: seq, id: fragment.id })
        }
        _ => None,
    }
}

/// The largest payload of an echo reply that every link takes (RFC 8200, section 5), and that no host fragments.
const MOST_WHOLE: usize = 1_280 - 40 - 8;
/// What is read of a fragment: its header and that of ICMP.
const FIRST_BYTES: usize = 16;
/// How many are remembered, and read at a time.
const MOST_SEEN: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_fragments_of_echo_replies_are_read_and_no_others() {
        let from: IpAddr = "2001:db8::9".parse().unwrap();
        let bytes = [58, 0, 0, 1, 0xde, 0xad, 0xbe, 0xef, 129, 0, 1, 2, 0x12, 0x34, 0x56, 0x78];
        let whole = First { from, selector: 0x1234, tag: 0x5678, id: 0xdead_beef };
        assert_eq!(first(from, &bytes), Some(whole));
        for (at, octet) in [(0, 17), (2, 1), (3, 9), (8, 128)] {
            let mut other = bytes;
            other[at] = octet;
            assert_eq!(first(from, &other), None, "{at}");
        }
        assert!((0..bytes.len()).all(|length| first(from, &bytes[..length]).is_none()));
    }
}
