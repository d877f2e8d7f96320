//! The system calls that no safe interface offers: messages with control data, and socket options by number.
#![expect(unsafe_code, reason = "control messages of sockets have no safe interface")]

use std::{
    io, mem,
    net::{IpAddr, SocketAddr},
    os::fd::{AsRawFd, BorrowedFd, OwnedFd},
    ptr,
};

use socket2::{SockAddr, Socket};
use tokio::io::{Interest, unix::AsyncFd};

use super::icmp::EchoSocket;

/// What one `recvmsg` gave: lengths within the buffers that it was lent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lengths {
    /// Octets of data.
    pub(super) data: usize,
    /// Octets of control messages.
    pub(super) control: usize,
    /// The peer's address, where there is one.
    pub(super) from: Option<IpAddr>,
}

/// Receives one message with its control data.
pub(super) fn receive(
    socket: BorrowedFd<'_>,
    flags: libc::c_int,
    data: &mut [u8],
    control: &mut [u8],
) -> io::Result<Lengths> {
    let mut vector = libc::iovec { iov_base: data.as_mut_ptr().cast(), iov_len: data.len() };
    let mut name = socket2::SockAddrStorage::zeroed();
    // SAFETY: a `msghdr` is plain integers and pointers, for all of which zero is a value.
    let mut header: libc::msghdr = unsafe { mem::zeroed() };
    header.msg_name = ptr::from_mut(&mut name).cast();
    header.msg_namelen = name.size_of();
    header.msg_iov = &raw mut vector;
    header.msg_iovlen = 1;
    header.msg_control = control.as_mut_ptr().cast();
    header.msg_controllen = control.len() as _;
    // SAFETY: the header points to buffers that live through the call, with their true lengths; the name is
    // large enough for every address family.
    let received = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, flags) };
    let data = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
    let from = if header.msg_namelen == 0 {
        None
    } else {
        // SAFETY: the kernel wrote `msg_namelen` octets of a valid address there.
        let address = unsafe { SockAddr::new(name, header.msg_namelen) };
        address.as_socket().map(|address: SocketAddr| address.ip())
    };
    Ok(Lengths { data, control: header.msg_controllen, from })
}

/// Sends one message with control data, on a connected socket without an address.
pub(super) fn send(
    socket: BorrowedFd<'_>,
    data: &[u8],
    to: Option<&SockAddr>,
    control: &[u8],
) -> io::Result<()> {
    let mut vector = libc::iovec { iov_base: data.as_ptr().cast_mut().cast(), iov_len: data.len() };
    // SAFETY: a `msghdr` is plain integers and pointers, for all of which zero is a value.
    let mut header: libc::msghdr = unsafe { mem::zeroed() };
    if let Some(to) = to {
        header.msg_name = to.as_ptr().cast_mut().cast();
        header.msg_namelen = to.len();
    }
    header.msg_iov = &raw mut vector;
    header.msg_iovlen = 1;
    if !control.is_empty() {
        header.msg_control = control.as_ptr().cast_mut().cast();
        header.msg_controllen = control.len() as _;
    }
    // SAFETY: the kernel only reads through the header's pointers, which live through the call.
    let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const header, libc::MSG_NOSIGNAL) };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// A descriptor that is its owner's alone: open, and the same, for as long as the owner lives.
pub(super) trait Owned: AsRawFd {}

impl Owned for OwnedFd {}
impl Owned for EchoSocket {}
impl Owned for Socket {}

/// Has the runtime watch a descriptor. Must be called within a runtime.
pub(super) fn watch<T: Owned>(owner: T, interest: Interest) -> io::Result<AsyncFd<T>> {
    // SAFETY: the owner moves into the registration and keeps its descriptor open and unchanged.
    unsafe { AsyncFd::register_with_interest(owner, interest) }.map_err(|error| error.into_parts().1)
}

/// Sets an option whose value is a C `int`.
pub(super) fn set_option(
    socket: BorrowedFd<'_>,
    level: libc::c_int,
    name: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    set(socket, level, name, &value)
}

/// Sets the types of `ICMPv6` messages that a raw socket lets pass (RFC 3542, section 3.2).
pub(super) fn set_icmp6_filter(socket: BorrowedFd<'_>, pass: &[u8]) -> io::Result<()> {
    let mut blocked = [u32::MAX; 8];
    for icmp_type in pass {
        if let Some(word) = blocked.get_mut(usize::from(icmp_type >> 5)) {
            *word &= !(1 << (icmp_type & 31));
        }
    }
    set(socket, libc::SOL_ICMPV6, ICMP6_FILTER, &blocked)
}

/// From `linux/icmpv6.h`.
const ICMP6_FILTER: libc::c_int = 1;

fn set<T: Copy>(socket: BorrowedFd<'_>, level: libc::c_int, name: libc::c_int, value: &T) -> io::Result<()> {
    let length = libc::socklen_t::try_from(mem::size_of::<T>()).map_err(io::Error::other)?;
    // SAFETY: the kernel reads `length` octets from a value of just that size.
    let status =
        unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, ptr::from_ref(value).cast(), length) };
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
