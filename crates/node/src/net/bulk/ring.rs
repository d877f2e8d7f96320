//! A receive ring (`TPACKET_V3`, the kernel's `Documentation/networking/packet_mmap.rst`): memory that the kernel fills
//! block by block, with a stamp on each packet, and that is read without a system call.
#![expect(unsafe_code, reason = "memory shared with the kernel has no safe interface")]

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
    ptr::NonNull,
    sync::atomic::{AtomicU32, Ordering},
};

use mmn_probe::time::{Nanos, Utc};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use super::sys;

/// A block that is not full is handed over after so long.
pub(super) const RETIRES_AFTER: Nanos = Nanos::from_millis(RETIRE_MS as u64);
const RETIRE_MS: u32 = 4;
/// A block holds some 250 replies; the ring 64,000.
const BLOCK_BYTES: usize = 1 << 16;
const BLOCKS: usize = 256;
const RING_BYTES: usize = BLOCK_BYTES * BLOCKS;

/// A packet in the ring, from its IP header on.
#[derive(Clone, Copy, Debug)]
pub(in crate::net) struct Frame<'a> {
    /// As much of it as the filter keeps.
    pub(in crate::net) bytes: &'a [u8],
    /// When it came; zero where the kernel does not tell.
    pub(super) stamp: Utc,
}

/// What the kernel counted since it was last asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Statistics {
    /// Packets that passed the filter, dropped ones included.
    pub(super) packets: u32,
    /// Packets that found the ring full.
    pub(super) drops: u32,
}

/// A packet socket with its ring.
#[derive(Debug)]
pub(super) struct Ring {
    socket: OwnedFd,
    start: NonNull<u8>,
    /// The block that is filled next.
    next: usize,
}

// SAFETY: the mapping belongs to the value and moves with it.
unsafe impl Send for Ring {}

impl Ring {
    /// Gives the socket a ring and starts to receive packets of this protocol (`ETH_P_*`) on all interfaces.
    pub(super) fn new(socket: OwnedFd, protocol: u16) -> io::Result<Self> {
        let fd = socket.as_fd();
        let request = libc::tpacket_req3 {
            tp_block_size: u32::try_from(BLOCK_BYTES).map_err(io::Error::other)?,
            tp_block_nr: u32::try_from(BLOCKS).map_err(io::Error::other)?,
            tp_frame_size: FRAME_BYTES,
            tp_frame_nr: u32::try_from(RING_BYTES).map_err(io::Error::other)? / FRAME_BYTES,
            tp_retire_blk_tov: RETIRE_MS,
            tp_sizeof_priv: 0,
            tp_feature_req_word: 0,
        };
        let version = libc::tpacket_versions::TPACKET_V3 as libc::c_int;
        sys::set(fd, libc::SOL_PACKET, libc::PACKET_VERSION, &version)?;
        sys::set(fd, libc::SOL_PACKET, libc::PACKET_RX_RING, &request)?;
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: the kernel chooses an address where nothing of ours is, and keeps the ring while it is mapped.
        let start =
            unsafe { mmap(std::ptr::null_mut(), RING_BYTES, protection, MapFlags::SHARED, &socket, 0) }?;
        let start = NonNull::new(start.cast()).ok_or_else(|| io::Error::other("mapped at no address"))?;
        let ring = Self { socket, start, next: 0 };
        sys::bind(ring.as_fd(), protocol)?;
        Ok(ring)
    }

    /// Gives every packet that is there to `each`, and the memory back to the kernel. Gives how many there were.
    pub(super) fn drain(&mut self, mut each: impl FnMut(Frame<'_>)) -> usize {
        let mut seen = 0;
        // Once around at most: others want their turn.
        for _ in 0..BLOCKS {
            let status = self.status();
            if status.load(Ordering::Acquire) & libc::TP_STATUS_USER == 0 {
                break;
            }
            seen += frames(self.block(), &mut each);
            self.status().store(libc::TP_STATUS_KERNEL, Ordering::Release);
            self.next = (self.next + 1) % BLOCKS;
        }
        seen
    }

    /// Asks what was dropped; asking sets the counters to zero.
    pub(super) fn statistics(&self) -> io::Result<Statistics> {
        let counted = sys::statistics(self.as_fd())?;
        Ok(Statistics { packets: counted.tp_packets, drops: counted.tp_drops })
    }

    fn status(&self) -> &AtomicU32 {
        // SAFETY: the word lies within the mapping (`next` is below `BLOCKS`), is aligned (blocks are pages), lives as
        // long as `self`, and the kernel writes it as one word.
        unsafe { AtomicU32::from_ptr(self.start.as_ptr().add(self.next * BLOCK_BYTES + STATUS_AT).cast()) }
    }

    /// The present block. Its status must have said that it is ours.
    fn block(&self) -> &[u8] {
        // SAFETY: within the mapping; the kernel does not write to a block that is ours, but for the status, which is
        // not read through the slice.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr().add(self.next * BLOCK_BYTES), BLOCK_BYTES) }
    }
}

impl AsFd for Ring {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for Ring {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl crate::net::sys::Owned for Ring {}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: this unmaps what `new` mapped; no reference outlives `self`. A failure leaks the mapping.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), RING_BYTES) };
    }
}

/// Only a bound in this version: packets lie one after the other.
const FRAME_BYTES: u32 = 2_048;

// `struct tpacket_block_desc` and `struct tpacket3_hdr` (`linux/if_packet.h`).
const STATUS_AT: usize = 8;
const COUNT_AT: usize = 12;
const FIRST_AT: usize = 16;
const SECONDS: usize = 4;
const NANOSECONDS: usize = 8;
const KEPT: usize = 12;
const NETWORK: usize = 26;

/// Reads the packets of a block.
pub(in crate::net) fn frames(block: &[u8], each: &mut impl FnMut(Frame<'_>)) -> usize {
    let count = word(block, COUNT_AT);
    let mut at = word(block, FIRST_AT) as usize;
    let mut seen = 0;
    for _ in 0..count {
        let Some(frame) = block.get(at..) else { break };
        let network = frame
            .get(NETWORK..)
            .and_then(|rest| rest.first_chunk())
            .map_or(0, |two| u16::from_ne_bytes(*two));
        let stamp = i64::from(word(frame, SECONDS)) * 1_000_000_000 + i64::from(word(frame, NANOSECONDS));
        let start = usize::from(network);
        let Some(bytes) = frame.get(start..start + word(frame, KEPT) as usize) else { break };
        each(Frame { bytes, stamp: Utc(stamp) });
        seen += 1;
        let next = word(frame, 0) as usize;
        if next == 0 {
            break;
        }
        at += next;
    }
    seen
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |four| u32::from_ne_bytes(*four))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn survives_any_block(mut block in prop::collection::vec(any::<u8>(), 0..400), count in 0_u32..5, first in 0_u32..100) {
            for (at, value) in [(COUNT_AT, count), (FIRST_AT, first)] {
                if let Some(word) = block.get_mut(at..at + 4) {
                    word.copy_from_slice(&value.to_ne_bytes());
                }
            }
            frames(&block, &mut |frame| assert!(frame.bytes.len() <= 400));
        }
    }
}
