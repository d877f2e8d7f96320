//! The least that a loop over the same sockets can do: a yardstick for the lane, and nothing else.

use std::{io, net::IpAddr, os::fd::AsFd};

use mmn_probe::{
    bulk::{MAX_PACKET_BYTES, Shape, Template},
    time::Nanos,
};

use super::{
    PacketSockets,
    ring::Ring,
    route::{Routes, Way},
    sys::Batch,
};
use crate::clock;

/// What the loop has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bare {
    /// Packets that left.
    pub sent: u64,
    /// Packets that came.
    pub received: u64,
    /// From the first to the last packet.
    pub took: Nanos,
}

/// Sends the same few echo requests over and over, `count` in all, as fast as it goes, and counts what comes. It knows
/// neither limits nor probes. The neighbour must be known already.
pub fn bare(sockets: PacketSockets, target: IpAddr, count: u64) -> io::Result<Bare> {
    let mut routes = Routes::new()?;
    let mut way = routes.way(clock::monotonic(), target);
    if way == Way::Elsewhere {
        // A neighbour that nobody has made sure of late is refused once.
        way = routes.way(clock::monotonic(), target);
    }
    let (Way::Out(exit), IpAddr::V4(v4)) = (way, target) else {
        return Err(io::Error::from(io::ErrorKind::HostUnreachable));
    };
    let shape = Shape { payload_bytes: 56, fill: Vec::new(), ttl: 64, tos: 0, dont_fragment: true };
    let template = Template::new(&shape, exit.source);
    let mut batch = Batch::new(super::BATCH, MAX_PACKET_BYTES);
    let first = sockets.ids.first();
    for number in 0..u16::try_from(super::BATCH).unwrap_or(1) {
        let Some(room) = batch.next() else { break };
        let to = v4.to_ipv6_mapped().octets();
        if let Some(length) = template.write(room, &to, first, number, [0; 8]) {
            batch.push(length, false, exit.link, exit.hardware);
        }
    }
    let protocol = u16::try_from(libc::ETH_P_IP).map_err(io::Error::other)?;
    let mut ring = Ring::new(sockets.receive_v4, protocol)?;
    let began = clock::monotonic();
    let (mut sent, mut received, mut last) = (0, 0, began);
    while sent < count {
        let left = batch.send(sockets.send.as_fd(), 0)?;
        sent += u64::try_from(left).unwrap_or(0);
        received += u64::try_from(ring.drain(|_| {})).unwrap_or(0);
        last = clock::monotonic();
    }
    while received < sent && clock::monotonic().saturating_since(last) < PATIENCE {
        let seen = ring.drain(|_| {});
        received += u64::try_from(seen).unwrap_or(0);
        if seen > 0 {
            last = clock::monotonic();
        }
        let _ = rustix::thread::nanosleep(&rustix::time::Timespec { tv_sec: 0, tv_nsec: 1_000_000 });
    }
    Ok(Bare { sent, received, took: last.saturating_since(began) })
}

/// How long after the last packet another one may come.
const PATIENCE: Nanos = Nanos::from_millis(200);
