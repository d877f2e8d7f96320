//! The packet sockets of the bulk lane: opened by the node, described to the module that gets them.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use mmn_probe::wire::icmp::Family;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use serde::{Deserialize, Serialize};
use socket2::Socket;

use super::{filter, sys};
use crate::net::icmp::IdRange;

/// What a process must know about the sockets that it was passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
    /// The identifiers that are its own: first and count.
    pub ids: IdRange,
}

/// One socket that sends, and one for each family that receives what answers to identifiers of ours.
///
/// None of them receives anything before its new owner says so. What the receiving ones let pass can't be changed any
/// more.
#[derive(Debug)]
pub struct PacketSockets {
    pub(super) ids: IdRange,
    pub(super) send: OwnedFd,
    pub(super) receive_v4: OwnedFd,
    pub(super) receive_v6: OwnedFd,
}

/// Descriptors that go with a [`Description`].
pub const DESCRIPTORS: usize = 3;

impl PacketSockets {
    /// Opens them, which needs `CAP_NET_RAW`. Nobody else may have the identifiers.
    pub fn open(ids: IdRange) -> io::Result<Self> {
        Ok(Self {
            ids,
            send: packet_socket()?,
            receive_v4: receiving(Family::V4, ids)?,
            receive_v6: receiving(Family::V6, ids)?,
        })
    }

    /// Takes over what another process opened, in the order of [`PacketSockets::descriptors`].
    pub fn from_passed(descriptors: Vec<OwnedFd>, description: Description) -> io::Result<Self> {
        let passed: [OwnedFd; DESCRIPTORS] =
            descriptors.try_into().map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        let [send, receive_v4, receive_v6] = passed;
        Ok(Self { ids: description.ids, send, receive_v4, receive_v6 })
    }

    /// What [`PacketSockets::from_passed`] needs besides the descriptors.
    pub const fn describe(&self) -> Description {
        Description { ids: self.ids }
    }

    /// The descriptors to pass.
    pub fn descriptors(&self) -> [BorrowedFd<'_>; DESCRIPTORS] {
        [self.send.as_fd(), self.receive_v4.as_fd(), self.receive_v6.as_fd()]
    }
}

/// A datagram packet socket, for which the kernel writes link headers. With no protocol it receives nothing.
fn packet_socket() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::PACKET, SocketType::DGRAM, flags, None)?;
    sys::set(socket.as_fd(), libc::SOL_PACKET, libc::PACKET_QDISC_BYPASS, &1_i32)?;
    Ok(socket)
}

fn receiving(family: Family, ids: IdRange) -> io::Result<OwnedFd> {
    let socket = Socket::from(packet_socket()?);
    socket.attach_filter(&filter::program(family, ids))?;
    sys::set(socket.as_fd(), libc::SOL_SOCKET, libc::SO_LOCK_FILTER, &1_i32)?;
    Ok(socket.into())
}
