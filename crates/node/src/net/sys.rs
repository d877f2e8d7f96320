//! The system calls that no safe interface offers: messages with control data, and socket options by number.
#![expect(unsafe_code, reason = "control messages of sockets have no safe interface")]

use std::{
    array, io, mem,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    ops::Range,
    os::fd::{AsRawFd, BorrowedFd, OwnedFd},
    ptr,
    sync::Arc,
};

use socket2::{SockAddr, Socket};
use tokio::io::{Interest, unix::AsyncFd};

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
    receive_peer(socket, flags, data, control).map(|(lengths, _)| lengths)
}

/// The same with the peer's port: of an entry of an error queue, the place where the packet went.
pub(super) fn receive_peer(
    socket: BorrowedFd<'_>,
    flags: libc::c_int,
    data: &mut [u8],
    control: &mut [u8],
) -> io::Result<(Lengths, Option<SocketAddr>)> {
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
        address.as_socket()
    };
    let lengths = Lengths { data, control: header.msg_controllen, from: from.map(|address| address.ip()) };
    Ok((lengths, from))
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

/// A packet to send: where it lies in a buffer that it shares with others, and where it goes.
#[derive(Clone, Debug)]
pub(super) struct Outgoing {
    /// Its octets.
    pub(super) at: Range<usize>,
    /// Its destination.
    pub(super) to: IpAddr,
}

/// The most packets that one call sends.
pub(super) const MOST_SENT: usize = 64;

/// Sends packets, up to [`MOST_SENT`] of them, by one call. Returns how many have left; an error is the first one's.
pub(super) fn send_many<'a>(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    packets: impl Iterator<Item = &'a Outgoing>,
) -> io::Result<usize> {
    let mut names = [Name::default(); MOST_SENT];
    let mut vectors = [libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 }; MOST_SENT];
    let mut count = 0;
    for ((packet, name), vector) in packets.zip(&mut names).zip(&mut vectors) {
        let data = bytes.get(packet.at.clone()).unwrap_or_default();
        *name = Name::of(packet.to);
        vector.iov_base = data.as_ptr().cast_mut().cast();
        vector.iov_len = data.len();
        count += 1;
    }
    // SAFETY: an `mmsghdr` is plain integers and pointers, for all of which zero is a value.
    let mut headers: [libc::mmsghdr; MOST_SENT] = unsafe { mem::zeroed() };
    for ((header, name), vector) in headers.iter_mut().zip(&mut names).zip(&mut vectors).take(count) {
        header.msg_hdr.msg_name = ptr::from_mut(&mut name.bytes).cast();
        header.msg_hdr.msg_namelen = name.length;
        header.msg_hdr.msg_iov = ptr::from_mut(vector);
        header.msg_hdr.msg_iovlen = 1;
    }
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    let most = libc::c_uint::try_from(count).map_err(io::Error::other)?;
    // SAFETY: the first `count` headers point to names, vectors and data that live through the call, with their true
    // lengths; the kernel writes to the headers alone.
    let sent = unsafe { libc::sendmmsg(socket.as_raw_fd(), headers.as_mut_ptr(), most, flags as _) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// Room for what one call receives. It takes memory as it is used.
#[derive(Debug)]
pub(super) struct Room {
    data: Box<[u8]>,
    control: Box<[u8]>,
    lengths: [Lengths; MOST_RECEIVED],
}

impl Default for Room {
    fn default() -> Self {
        Self {
            data: vec![0; MOST_RECEIVED * DATA_BYTES].into(),
            control: vec![0; MOST_RECEIVED * CONTROL_BYTES].into(),
            lengths: [Lengths { data: 0, control: 0, from: None }; MOST_RECEIVED],
        }
    }
}

impl Room {
    /// The message at this place of what was received last: data, control messages, and who sent it.
    pub(super) fn message(&self, index: usize) -> Option<(&[u8], &[u8], Option<IpAddr>)> {
        let lengths = self.lengths.get(index)?;
        let data = self.data.get(index * DATA_BYTES..)?.get(..lengths.data)?;
        let control = self.control.get(index * CONTROL_BYTES..)?.get(..lengths.control)?;
        Some((data, control, lengths.from))
    }
}

/// The most packets that one call receives, and the room for each: as long as a packet can be.
pub(super) const MOST_RECEIVED: usize = 32;
const DATA_BYTES: usize = 65_536;
const CONTROL_BYTES: usize = 256;

/// Receives what is there, up to [`MOST_RECEIVED`] packets, by one call, and without waiting. Returns how many; none where
/// there are none.
pub(super) fn receive_many(socket: BorrowedFd<'_>, flags: libc::c_int, room: &mut Room) -> io::Result<usize> {
    let mut names = [Name::default(); MOST_RECEIVED];
    let mut vectors = [libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 }; MOST_RECEIVED];
    // SAFETY: an `mmsghdr` is plain integers and pointers, for all of which zero is a value.
    let mut headers: [libc::mmsghdr; MOST_RECEIVED] = unsafe { mem::zeroed() };
    let buffers = room.data.chunks_exact_mut(DATA_BYTES).zip(room.control.chunks_exact_mut(CONTROL_BYTES));
    for (((header, name), vector), (data, control)) in
        headers.iter_mut().zip(&mut names).zip(&mut vectors).zip(buffers)
    {
        vector.iov_base = data.as_mut_ptr().cast();
        vector.iov_len = data.len();
        header.msg_hdr.msg_name = ptr::from_mut(&mut name.bytes).cast();
        header.msg_hdr.msg_namelen = NAME_LENGTH;
        header.msg_hdr.msg_iov = ptr::from_mut(vector);
        header.msg_hdr.msg_iovlen = 1;
        header.msg_hdr.msg_control = control.as_mut_ptr().cast();
        header.msg_hdr.msg_controllen = control.len() as _;
    }
    let flags = libc::MSG_DONTWAIT | flags;
    let most = libc::c_uint::try_from(MOST_RECEIVED).map_err(io::Error::other)?;
    // SAFETY: the headers point to names, vectors and buffers that live through the call, with their true lengths.
    let received = unsafe {
        libc::recvmmsg(socket.as_raw_fd(), headers.as_mut_ptr(), most, flags as _, ptr::null_mut())
    };
    let Ok(count) = usize::try_from(received) else {
        return match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            error => Err(error),
        };
    };
    for ((lengths, header), name) in room.lengths.iter_mut().zip(&headers).zip(&names).take(count) {
        *lengths = Lengths {
            data: usize::try_from(header.msg_len).unwrap_or(0),
            control: header.msg_hdr.msg_controllen as _,
            from: name.address(header.msg_hdr.msg_namelen),
        };
    }
    Ok(count)
}

/// The most octets of a `sockaddr_in` or `sockaddr_in6`.
const NAME_BYTES: usize = 28;
const NAME_LENGTH: libc::socklen_t = 28;

/// A `sockaddr_in` or `sockaddr_in6` as its octets: family, port, then flow information (IPv6), address, scope (IPv6).
#[derive(Clone, Copy, Default)]
#[repr(C, align(4))]
struct Name {
    bytes: [u8; NAME_BYTES],
    length: libc::socklen_t,
}

impl Name {
    fn of(address: IpAddr) -> Self {
        let (family, gap, length) = match address {
            IpAddr::V4(_) => (libc::AF_INET, 0, 16),
            IpAddr::V6(_) => (libc::AF_INET6, 4, NAME_LENGTH),
        };
        let mut name = Self { length, ..Self::default() };
        let family = u16::try_from(family).unwrap_or(0).to_ne_bytes();
        let octets = match &address {
            IpAddr::V4(address) => &address.octets()[..],
            IpAddr::V6(address) => &address.octets()[..],
        };
        let fields = family.iter().chain(&[0; 2]).chain([0; 4].iter().take(gap)).chain(octets);
        for (byte, field) in name.bytes.iter_mut().zip(fields) {
            *byte = *field;
        }
        name
    }

    fn address(&self, length: libc::socklen_t) -> Option<IpAddr> {
        let bytes = self.bytes.get(..usize::try_from(length).ok()?)?;
        let family = libc::c_int::from(u16::from_ne_bytes(*bytes.first_chunk()?));
        match family {
            libc::AF_INET => bytes.get(4..)?.first_chunk::<4>().map(|octets| Ipv4Addr::from(*octets).into()),
            libc::AF_INET6 => {
                bytes.get(8..)?.first_chunk::<16>().map(|octets| Ipv6Addr::from(*octets).into())
            }
            _ => None,
        }
    }
}

/// How many packets the system has dropped so far because the socket's buffer was full, or for other reasons of the
/// socket's own (`SO_MEMINFO`).
pub(super) fn dropped(socket: BorrowedFd<'_>) -> io::Result<u32> {
    let mut values: [u32; MEMINFO_VALUES] = array::from_fn(|_| 0);
    let mut length = libc::socklen_t::try_from(mem::size_of_val(&values)).map_err(io::Error::other)?;
    // SAFETY: the kernel writes at most `length` octets to values of just that size.
    let status = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            values.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if status != 0 {
        return Err(io::Error::last_os_error());
    }
    let [.., drops] = values;
    Ok(drops)
}

/// `SK_MEMINFO_VARS` (`linux/sock_diag.h`); the last of them is `SK_MEMINFO_DROPS`.
const MEMINFO_VALUES: usize = 9;

/// A descriptor that is its owner's alone: open, and the same, for as long as the owner lives.
pub(super) trait Owned: AsRawFd {}

impl Owned for OwnedFd {}
impl Owned for Socket {}
// What it counts is its owner in the end.
impl Owned for Arc<OwnedFd> {}

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
