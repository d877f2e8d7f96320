//! Stamps: asking the kernel for them, and putting them on both clocks.

use std::{io, os::fd::BorrowedFd};

use mmn_probe::time::{Instant, Stamp, StampSource, Utc};

use super::sys;
use crate::clock::Reading;

/// Asks for the kernel's software stamps: of reception always, of transmission when `transmit` is set. To ask
/// anew starts the numbers of transmit stamps from 0.
pub(super) fn request(socket: BorrowedFd<'_>, transmit: bool) -> io::Result<()> {
    let receive = libc::SOF_TIMESTAMPING_RX_SOFTWARE | libc::SOF_TIMESTAMPING_SOFTWARE;
    let send = libc::SOF_TIMESTAMPING_TX_SOFTWARE
        | libc::SOF_TIMESTAMPING_OPT_ID
        | libc::SOF_TIMESTAMPING_OPT_TSONLY;
    let option = |flags: u32| {
        let flags = libc::c_int::try_from(flags).map_err(io::Error::other)?;
        sys::set_option(socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPING, flags)
    };
    option(receive)?;
    if transmit { option(receive | send) } else { Ok(()) }
}

/// A stamp that this process took.
pub(super) fn user_stamp(now: Reading) -> Stamp {
    Stamp { at: now.at, utc: now.wall, source: StampSource::User }
}

/// A kernel's stamp in civil time, on both clocks. Nothing when it is too far away to be believed.
pub(super) fn kernel_stamp(now: Reading, utc: Utc) -> Option<Stamp> {
    let age = now.wall.0.checked_sub(utc.0)?;
    if !(-STAMP_FUTURE_NS..=STAMP_PAST_NS).contains(&age) {
        return None;
    }
    let at = Instant(now.at.0.checked_add_signed(-age)?);
    Some(Stamp { at, utc, source: StampSource::Kernel })
}

/// How far a kernel's stamp may lie in the future (it may be taken while the clocks are read) and in the past.
const STAMP_FUTURE_NS: i64 = 1_000_000;
const STAMP_PAST_NS: i64 = 10_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Reading = Reading { at: Instant(5_000_000_000), wall: Utc(1_700_000_000_000_000_000) };

    #[test]
    fn a_kernel_stamp_is_put_on_both_clocks() {
        let utc = Utc(NOW.wall.0 - 1_500);
        let stamp = kernel_stamp(NOW, utc).unwrap();
        assert_eq!((stamp.at, stamp.utc), (Instant(NOW.at.0 - 1_500), utc));
    }

    #[test]
    fn a_stamp_from_another_age_is_not_believed() {
        for away in [-2_000_000, 11_000_000_000, NOW.wall.0] {
            assert_eq!(kernel_stamp(NOW, Utc(NOW.wall.0 - away)), None);
        }
    }
}
