//! What a link leaves to its other end, switched off: checksums and the cutting of segments (`ethtool(8)`).
#![expect(unsafe_code, reason = "requests to a network device have no safe interface")]

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

/// Has a link of the calling thread's network namespace send packets as they would be on a wire: whole, with their
/// checksums, one by one.
pub(crate) fn send_as_on_a_wire(link: &str) -> io::Result<()> {
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    for feature in [ETHTOOL_SGRO, ETHTOOL_SGSO, ETHTOOL_STSO, ETHTOOL_SSG, ETHTOOL_STXCSUM] {
        switch_off(&socket, link, feature)?;
    }
    Ok(())
}

/// A `struct ethtool_value`.
#[repr(C)]
struct Value {
    command: u32,
    data: u32,
}

/// A `struct ifreq` with a pointer.
#[repr(C)]
struct Request {
    name: [u8; libc::IFNAMSIZ],
    data: *mut Value,
    rest: [u8; 16],
}

fn switch_off(socket: impl AsFd, link: &str, command: u32) -> io::Result<()> {
    let mut value = Value { command, data: 0 };
    let mut request = Request { name: [0; libc::IFNAMSIZ], data: &raw mut value, rest: [0; 16] };
    // The last octet stays 0.
    for (place, octet) in request.name.iter_mut().take(libc::IFNAMSIZ - 1).zip(link.bytes()) {
        *place = octet;
    }
    // SAFETY: the request is an `ifreq` (it is no shorter) whose pointer leads to an `ethtool_value`; both live through
    // the call.
    let done = unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), SIOCETHTOOL, &raw mut request) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

// `linux/sockios.h`, `linux/ethtool.h`.
const SIOCETHTOOL: libc::Ioctl = 0x8946;
const ETHTOOL_STXCSUM: u32 = 0x17;
const ETHTOOL_SSG: u32 = 0x19;
const ETHTOOL_STSO: u32 = 0x1f;
const ETHTOOL_SGSO: u32 = 0x24;
const ETHTOOL_SGRO: u32 = 0x2c;
