//! The sockets that receive: from what is read to the machines, and what the system dropped.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
};

use mmn_probe::{
    packet::{Packet, Ttl},
    wire::{
        heard::{self, Checksums, Heard, Protocol},
        icmp::Family,
    },
};

use rustix::net::bind;
use socket2::SockRef;

use super::{fragments::Fragments, wide::Wide};
use crate::net::{
    carrier::{Sink, keys::Keys},
    control::{self, Beside},
    filter,
    sys::{self, Room},
};

/// In this order the receiving sockets stand everywhere.
pub(super) const PROTOCOLS: [Protocol; 3] = [Protocol::Icmp, Protocol::Udp, Protocol::Tcp];

/// A socket that receives answers of one protocol, and errors if that is ICMP.
#[derive(Debug)]
pub(super) struct Receiver {
    pub(super) socket: Arc<OwnedFd>,
    family: Family,
    protocol: Protocol,
    /// How many packets the system had dropped when it last told.
    dropped: u32,
    /// How many of those nobody was told of.
    missed: u64,
    /// Whether packets to every address of this host come by it.
    open: bool,
}

impl Receiver {
    pub(super) fn new(socket: OwnedFd, family: Family, protocol: Protocol) -> Self {
        let dropped = sys::dropped(socket.as_fd()).unwrap_or(0);
        close(socket.as_fd(), family);
        Self { socket: Arc::new(socket), family, protocol, dropped, missed: 0, open: false }
    }

    /// [`open`]s or [`close`]s it.
    pub(super) fn listen(&mut self, on: bool) {
        if self.open == on {
            return;
        }
        self.open = on;
        if on {
            open(self.socket.as_fd(), self.family);
        } else {
            close(self.socket.as_fd(), self.family);
        }
    }

    /// Whether an answer may come by this socket to what is under way.
    pub(super) const fn is_awaited(&self, keys: &Keys) -> bool {
        match self.protocol {
            Protocol::Icmp => {
                keys.under_way(Protocol::Icmp) + keys.under_way(Protocol::Udp) + keys.under_way(Protocol::Tcp)
                    > 0
            }
            other => keys.under_way(other) > 0,
        }
    }

    /// Reads what is there, up to a bound, and gives it to its owners. Returns whether there is no more.
    pub(super) fn drain(
        &mut self,
        room: &mut Room,
        keys: &Keys,
        mut fragments: Option<&mut Fragments>,
        sink: &mut dyn Sink,
    ) -> bool {
        let mut errors = 0;
        let mut total = 0;
        while total < MAX_AT_A_TIME {
            let count = match sys::receive_many(self.socket.as_fd(), 0, room) {
                Ok(0) => break,
                Ok(count) => count,
                // An error about an earlier packet; a socket that fails for ever must not keep the runtime busy.
                Err(_) if errors < MAX_ERRORS => {
                    errors += 1;
                    continue;
                }
                Err(_) => break,
            };
            total += count;
            if let Some(fragments) = &mut fragments {
                fragments.read();
            }
            let moment = sink.moment();
            for index in 0..count {
                let Some((data, control, from)) = room.message(index) else { continue };
                let beside = control::decode(control);
                if let Some(dropped) = beside.dropped {
                    self.count(dropped);
                }
                let heard = self.hear(data, from, &beside);
                let owner = heard.and_then(|heard| Some((keys.owner(&heard.clues, heard.from)?, heard)));
                let Some((owner, heard)) = owner else {
                    sink.unmatched();
                    continue;
                };
                let fragment_id = fragments.as_mut().and_then(|fragments| fragments.id_of(&heard));
                let ticket = owner.ticket();
                let stamp = moment.kernel(beside.stamp).unwrap_or(moment.user());
                let Heard { from, ttl, tos, ip_id, ip_options, bytes, message, .. } = heard;
                let probe = ticket.probe;
                let packet =
                    Packet { probe, from, stamp, ttl, tos, ip_id, fragment_id, ip_options, bytes, message };
                sink.packet(ticket.job, moment.reading.at, packet);
            }
            if count < sys::MOST_RECEIVED {
                break;
            }
        }
        if total >= sys::MOST_RECEIVED {
            // The buffer may have been full: what was dropped after its last packet no packet tells.
            self.look();
        }
        total < MAX_AT_A_TIME
    }

    /// Lets answers to these selectors pass.
    pub(super) fn attach(&self, wide: &Wide) -> io::Result<()> {
        let program = filter::program(self.family, self.protocol, &wide.ids(), &wide.ports(self.protocol));
        SockRef::from(&*self.socket).attach_filter(&program)
    }

    /// Reads the system's counter.
    pub(super) fn look(&mut self) {
        if let Ok(dropped) = sys::dropped(self.socket.as_fd()) {
            self.count(dropped);
        }
    }

    /// What was dropped and nobody was told of.
    pub(super) fn missed(&mut self) -> u64 {
        std::mem::take(&mut self.missed)
    }

    /// Counts run over; packets of one read may tell them in any order.
    fn count(&mut self, dropped: u32) {
        let more = dropped.wrapping_sub(self.dropped);
        if more <= u32::MAX / 2 {
            self.missed += u64::from(more);
            self.dropped = dropped;
        }
    }

    fn hear<'b>(&self, data: &'b [u8], from: Option<IpAddr>, beside: &Beside) -> Option<Heard<'b>> {
        let ttl = beside.ttl.map(Ttl);
        let heard = match (self.family, self.protocol, from) {
            (Family::V4, ..) => heard::packet(data, Checksums::Raw),
            (Family::V6, Protocol::Icmp, Some(IpAddr::V6(from))) => heard::icmp6(data, from, ttl, beside.tos),
            (Family::V6, protocol, Some(from)) => heard::transport(protocol, data, from, ttl, beside.tos),
            (Family::V6, _, None) => return None,
        };
        heard.ok()
    }
}

/// Binds a raw socket to an address that nobody uses: the kernel copies each packet of the protocol for every raw socket
/// that may want it before it asks the filter, and a host with much traffic would feel that all the time.
pub(super) fn close(socket: BorrowedFd<'_>, family: Family) {
    let nobodys: IpAddr = match family {
        Family::V4 => Ipv4Addr::new(127, 255, 255, 254).into(),
        Family::V6 => Ipv6Addr::LOCALHOST.into(),
    };
    let _ = bind(socket, &SocketAddr::new(nobodys, 0));
}

/// Lets a raw socket receive what comes to any address of this host.
pub(super) fn open(socket: BorrowedFd<'_>, family: Family) {
    let any: IpAddr = match family {
        Family::V4 => Ipv4Addr::UNSPECIFIED.into(),
        Family::V6 => Ipv6Addr::UNSPECIFIED.into(),
    };
    // Where it could not be closed it is open all the time.
    let _ = bind(socket, &SocketAddr::new(any, 0));
}

/// How many packets are read from a socket before others get their turn.
const MAX_AT_A_TIME: usize = 256;
const MAX_ERRORS: usize = 16;
