//! One socket as the driver sees it: its keys, and the packets whose transmit stamps are still to come.

use std::{collections::VecDeque, io, sync::Arc};

use mmn_probe::{
    packet::{ProbeId, SendFailure},
    time::Instant,
    wire::icmp::Family,
};
use tokio::io::unix::AsyncFd;

use super::{job::JobKey, keys::Keys};
use crate::net::icmp::EchoSocket;

#[derive(Debug)]
pub(super) struct Link {
    pub(super) socket: Arc<AsyncFd<EchoSocket>>,
    pub(super) keys: Keys,
    /// The kernel's count of dropped packets when it last told.
    pub(super) dropped: u32,
    transmit_stamps: bool,
    /// Something left since it was read.
    pub(super) unread: bool,
    /// The number that the kernel will give the next packet.
    next_number: u32,
    awaited: VecDeque<Awaited>,
}

/// A packet whose transmit stamp is to come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Awaited {
    number: u32,
    pub(super) job: JobKey,
    pub(super) probe: ProbeId,
    /// When it was handed to the kernel.
    pub(super) handed: Instant,
}

/// Why a packet did not leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The system has no room at the moment.
    Busy,
    /// No key is free by which a reply could be told from others.
    NoKey,
    /// The system refuses it, unless the error was that of an earlier packet.
    Failed(SendFailure),
}

impl Link {
    pub(super) fn new(socket: Arc<AsyncFd<EchoSocket>>, transmit_stamps: bool) -> io::Result<Self> {
        socket.get_ref().set_stamps(transmit_stamps)?;
        Ok(Self {
            keys: Keys::new(socket.get_ref().ids()),
            socket,
            dropped: 0,
            transmit_stamps,
            unread: false,
            next_number: 0,
            awaited: VecDeque::new(),
        })
    }

    pub(super) fn family(&self) -> Family {
        self.socket.get_ref().family()
    }

    /// A packet has been handed to the kernel.
    pub(super) fn sent(&mut self, job: JobKey, probe: ProbeId, handed: Instant) {
        self.unread = true;
        if !self.transmit_stamps {
            return;
        }
        if self.awaited.len() == MAX_AWAITED {
            self.awaited.pop_front();
        }
        self.awaited.push_back(Awaited { number: self.next_number, job, probe, handed });
        self.next_number = self.next_number.wrapping_add(1);
    }

    /// The kernel refused a packet: it may have counted it or not, so counting starts anew.
    pub(super) fn refused(&mut self, error: &io::Error) -> Refusal {
        self.awaited.clear();
        self.next_number = 0;
        if self.transmit_stamps && self.socket.get_ref().set_stamps(true).is_err() {
            self.transmit_stamps = false;
        }
        match error.raw_os_error() {
            Some(libc::EAGAIN | libc::ENOBUFS) => Refusal::Busy,
            Some(libc::ENETUNREACH | libc::EHOSTUNREACH | libc::EADDRNOTAVAIL) => {
                Refusal::Failed(SendFailure::NoRoute)
            }
            Some(libc::EPERM | libc::EACCES) => Refusal::Failed(SendFailure::NotPermitted),
            Some(libc::EMSGSIZE) => Refusal::Failed(SendFailure::TooBig),
            errno => Refusal::Failed(SendFailure::System(errno.unwrap_or(0))),
        }
    }

    /// The packet with this number, if its stamp was awaited. Those before it will get none any more.
    pub(super) fn transmitted(&mut self, number: u32) -> Option<Awaited> {
        let at = self.awaited.iter().position(|awaited| awaited.number == number)?;
        self.awaited.drain(..=at).next_back()
    }
}

/// Stamps come at once or never; older ones than so many are given up.
const MAX_AWAITED: usize = 1024;
