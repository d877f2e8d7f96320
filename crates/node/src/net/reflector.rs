//! Answers echo requests of IPv4 after a given delay and knows how long each really stayed, by the kernel's stamps of its
//! coming and of its answer's leaving: the truth beside which the engine's round trips are held.
//!
//! For measuring the engine alone. The host's own answers must be off (`net.ipv4.icmp_echo_ignore_all`). It spins, so
//! that it needs a processor of its own.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;

use mmn_probe::time::{Instant, Nanos, Utc};
use mmn_probe::wire::icmp::{Echo, Family, Icmp, decode, echo_reply};
use mmn_probe::wire::ipv4;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::{control, stamps, sys};
use crate::clock;

/// How long a request stayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stay {
    /// The identifier of the request.
    pub id: u16,
    /// Its sequence number.
    pub seq: u16,
    /// From the kernel's stamp of its coming to that of its answer's leaving.
    pub stayed: Nanos,
}

/// A request that was read.
struct Held {
    due: Instant,
    came: Utc,
    from: IpAddr,
    id: u16,
    seq: u16,
    payload: Vec<u8>,
}

/// Answers until nothing has come for `patience`. It begins to count at the first request.
pub fn reflect(delay: Nanos, patience: Nanos) -> io::Result<Vec<Stay>> {
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4))?;
    socket.set_nonblocking(true)?;
    stamps::request(socket.as_fd(), true)?;
    let (mut data, mut beside) = (vec![0; 65_536], vec![0; 512]);
    let (mut held, mut left, mut stays) = (VecDeque::<Held>::new(), VecDeque::new(), Vec::new());
    let mut last: Option<Instant> = None;
    loop {
        let reading = clock::both();
        if last.is_some_and(|last| reading.at.saturating_since(last) > patience) {
            return Ok(stays);
        }
        if let Ok(lengths) = sys::receive(socket.as_fd(), 0, &mut data, &mut beside) {
            let told = control::decode(beside.get(..lengths.control).unwrap_or_default());
            let came = told.stamp.unwrap_or(reading.wall);
            if let Some(request) = request(data.get(..lengths.data).unwrap_or_default()) {
                let age = Nanos(u64::try_from(reading.wall.0.saturating_sub(came.0)).unwrap_or(0));
                let due = Instant((reading.at + delay).0.saturating_sub(age.0));
                held.push_back(Held { due, came, ..request });
                last = Some(reading.at);
            }
        }
        while held.front().is_some_and(|next| next.due <= clock::monotonic())
            && let Some(next) = held.pop_front()
        {
            let reply = echo_reply(Family::V4, &Echo { id: next.id, seq: next.seq, payload: &next.payload });
            let to = SockAddr::from(SocketAddr::new(next.from, 0));
            sys::send(socket.as_fd(), &reply, Some(&to), &[])?;
            left.push_back((next.came, next.id, next.seq));
        }
        // Stamps come in the order of sending, one for each answer.
        while let Ok(lengths) = sys::receive(socket.as_fd(), libc::MSG_ERRQUEUE, &mut data, &mut beside) {
            let told = control::decode(beside.get(..lengths.control).unwrap_or_default());
            if let (Some(gone), Some((came, id, seq))) = (told.stamp, left.pop_front()) {
                let stayed = Nanos(u64::try_from(gone.0.saturating_sub(came.0)).unwrap_or(0));
                stays.push(Stay { id, seq, stayed });
            }
        }
    }
}

fn request(packet: &[u8]) -> Option<Held> {
    let packet = ipv4::decode(packet).ok()?;
    let Icmp::EchoRequest(echo) = decode(Family::V4, packet.payload).ok()? else { return None };
    Some(Held {
        due: Instant(0),
        came: Utc(0),
        from: packet.header.source.into(),
        id: echo.id,
        seq: echo.seq,
        payload: echo.payload.to_vec(),
    })
}
