//! The socket by which a world hears and speaks: packets of all links of a namespace, from their IP headers on, many in
//! a call (`packet(7)`).
#![expect(unsafe_code, reason = "packet sockets and many messages in one call have no safe interface")]

use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

use mmn_probe::time::Utc;

/// The most packets of one call.
pub(crate) const MOST: usize = 64;

/// A packet socket that hears what comes in by any link of its network namespace.
#[derive(Debug)]
pub(crate) struct PacketSocket {
    socket: OwnedFd,
}

/// A packet that came in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrived<'r> {
    /// The number of its link.
    pub(crate) link: u32,
    /// When it came, by the kernel.
    pub(crate) stamp: Option<Utc>,
    /// From its IP header on.
    pub(crate) bytes: &'r [u8],
    /// Whether it was longer than there was room.
    pub(crate) cut: bool,
}

/// A packet to send.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Leaving<'p> {
    /// The number of its link.
    pub(crate) link: u32,
    /// From its IP header on.
    pub(crate) bytes: &'p [u8],
}

impl PacketSocket {
    /// Opens one in the network namespace of the calling thread, with as much room for what waits as the system gives.
    pub(crate) fn open() -> io::Result<Self> {
        // SAFETY: the call takes no pointer.
        let raw = unsafe {
            libc::socket(libc::AF_PACKET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK, 0)
        };
        if raw < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new, and nobody else's.
        let socket = unsafe { OwnedFd::from_raw_fd(raw) };
        set(socket.as_fd(), libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1)?;
        set(socket.as_fd(), libc::SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)?;
        set(socket.as_fd(), libc::SOL_PACKET, PACKET_QDISC_BYPASS, 1)?;
        for (forced, asked) in
            [(libc::SO_RCVBUFFORCE, libc::SO_RCVBUF), (libc::SO_SNDBUFFORCE, libc::SO_SNDBUF)]
        {
            // The first takes a privilege of the machine's, which an ordinary user lacks.
            if set(socket.as_fd(), libc::SOL_SOCKET, forced, BUFFER_BYTES).is_err() {
                set(socket.as_fd(), libc::SOL_SOCKET, asked, BUFFER_BYTES)?;
            }
        }
        let name = name_of(0, libc::ETH_P_ALL);
        // SAFETY: the name lives through the call, with its true length.
        let bound = unsafe { libc::bind(socket.as_raw_fd(), ptr::from_ref(&name).cast(), NAME_BYTES) };
        if bound == 0 { Ok(Self { socket }) } else { Err(io::Error::last_os_error()) }
    }

    /// Takes what is there, without waiting. Answers how many packets: none where there are none.
    pub(crate) fn receive(&self, room: &mut Room) -> io::Result<usize> {
        let Room { data, each, control, names, headers, .. } = room;
        let mut vectors = [libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 }; MOST];
        let buffers = data.chunks_exact_mut(*each).zip(control.chunks_exact_mut(CONTROL_WORDS));
        for (((header, name), vector), (data, control)) in
            headers.iter_mut().zip(names.iter_mut()).zip(&mut vectors).zip(buffers)
        {
            vector.iov_base = data.as_mut_ptr().cast();
            vector.iov_len = data.len();
            header.msg_hdr.msg_name = ptr::from_mut(name).cast();
            header.msg_hdr.msg_namelen = NAME_BYTES;
            header.msg_hdr.msg_iov = ptr::from_mut(vector);
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_control = control.as_mut_ptr().cast();
            header.msg_hdr.msg_controllen = mem::size_of_val(control) as _;
        }
        let most = libc::c_uint::try_from(headers.len()).map_err(io::Error::other)?;
        // SAFETY: the headers point to names, vectors and buffers that live through the call, with their true lengths.
        let received = unsafe {
            libc::recvmmsg(
                self.socket.as_raw_fd(),
                headers.as_mut_ptr(),
                most,
                libc::MSG_DONTWAIT as _,
                ptr::null_mut(),
            )
        };
        usize::try_from(received).or_else(|_| match io::Error::last_os_error() {
            error if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(0),
            // A link went down: what comes next comes by another.
            error if error.raw_os_error() == Some(libc::ENETDOWN) => Ok(0),
            error => Err(error),
        })
    }

    /// Sends packets, up to [`MOST`] of them. Answers how many have left; an error is the first one's.
    pub(crate) fn send<'p>(&self, packets: impl Iterator<Item = Leaving<'p>>) -> io::Result<usize> {
        let mut names = [name_of(0, 0); MOST];
        let mut vectors = [libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 }; MOST];
        // SAFETY: an `mmsghdr` is plain integers and pointers, for all of which zero is a value.
        let mut headers: [libc::mmsghdr; MOST] = unsafe { mem::zeroed() };
        let mut count = 0;
        for (((packet, name), vector), header) in packets.zip(&mut names).zip(&mut vectors).zip(&mut headers)
        {
            let v6 = packet.bytes.first().is_some_and(|first| first >> 4 == 6);
            *name = name_of(packet.link, if v6 { libc::ETH_P_IPV6 } else { libc::ETH_P_IP });
            vector.iov_base = packet.bytes.as_ptr().cast_mut().cast();
            vector.iov_len = packet.bytes.len();
            header.msg_hdr.msg_name = ptr::from_mut(name).cast();
            header.msg_hdr.msg_namelen = NAME_BYTES;
            header.msg_hdr.msg_iov = ptr::from_mut(vector);
            header.msg_hdr.msg_iovlen = 1;
            count += 1;
        }
        // SAFETY: the first `count` headers point to names, vectors and data that live through the call, with their true
        // lengths; the kernel writes to the headers alone.
        let sent = unsafe {
            libc::sendmmsg(self.socket.as_raw_fd(), headers.as_mut_ptr(), count, libc::MSG_DONTWAIT as _)
        };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }

    /// How many packets came and found no room, since this was last asked.
    pub(crate) fn dropped(&self) -> io::Result<u32> {
        // `struct tpacket_stats`: packets, drops. Reading it sets both to 0.
        let mut counts = [0_u32; 2];
        let mut length = libc::socklen_t::try_from(mem::size_of_val(&counts)).map_err(io::Error::other)?;
        // SAFETY: the kernel writes at most `length` octets to values of just that size.
        let status = unsafe {
            libc::getsockopt(
                self.socket.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_STATISTICS,
                counts.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        let [_, drops] = counts;
        if status == 0 { Ok(drops) } else { Err(io::Error::last_os_error()) }
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The Ethernet address of the links that the socket sends to: what it sends is for them.
pub(crate) const NEAR_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

/// Room for what one call takes.
pub(crate) struct Room {
    data: Box<[u8]>,
    each: usize,
    /// Control messages are aligned like machine words.
    control: Box<[u64]>,
    names: Box<[libc::sockaddr_ll]>,
    headers: Box<[libc::mmsghdr]>,
}

impl std::fmt::Debug for Room {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Room").field("each", &self.each).finish_non_exhaustive()
    }
}

impl Room {
    /// Room for [`MOST`] packets of at most `each` octets.
    pub(crate) fn new(each: usize) -> Self {
        // SAFETY: an `mmsghdr` is plain integers and pointers, for all of which zero is a value.
        let header: libc::mmsghdr = unsafe { mem::zeroed() };
        Self {
            data: vec![0; MOST * each].into(),
            each,
            control: vec![0; MOST * CONTROL_WORDS].into(),
            names: vec![name_of(0, 0); MOST].into(),
            headers: vec![header; MOST].into(),
        }
    }

    /// The packet at this place of what was taken last.
    pub(crate) fn packet(&self, place: usize) -> Option<Arrived<'_>> {
        let header = self.headers.get(place)?;
        let length = usize::try_from(header.msg_len).ok()?;
        let bytes = self.data.get(place * self.each..)?.get(..length.min(self.each))?;
        let control = self.control.get(place * CONTROL_WORDS..)?;
        #[expect(clippy::useless_conversion, reason = "the type of the length differs among C libraries")]
        let words = usize::try_from(header.msg_hdr.msg_controllen).unwrap_or(0) / mem::size_of::<u64>();
        Some(Arrived {
            link: u32::try_from(self.names.get(place)?.sll_ifindex).ok()?,
            stamp: control.get(..words.min(CONTROL_WORDS)).and_then(stamp),
            bytes,
            cut: header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
        })
    }
}

/// The stamp among control messages: it is the only one that is asked for, a `cmsghdr` and a `timespec` (`cmsg(3)`).
fn stamp(control: &[u64]) -> Option<Utc> {
    let [_, kind, seconds, nanos, ..] = *control else { return None };
    let [level, name] = halves(kind);
    if level != libc::SOL_SOCKET || name != libc::SCM_TIMESTAMPNS {
        return None;
    }
    let seconds = i64::from_ne_bytes(seconds.to_ne_bytes());
    let nanos = i64::from_ne_bytes(nanos.to_ne_bytes());
    seconds.checked_mul(1_000_000_000)?.checked_add(nanos).map(Utc)
}

fn halves(word: u64) -> [i32; 2] {
    let bytes = word.to_ne_bytes();
    let (halves, _) = bytes.as_chunks::<4>();
    [halves.first(), halves.last()].map(|half| half.map_or(0, |half| i32::from_ne_bytes(*half)))
}

fn name_of(link: u32, protocol: libc::c_int) -> libc::sockaddr_ll {
    let mut sll_addr = [0; 8];
    for (place, octet) in sll_addr.iter_mut().zip(NEAR_MAC) {
        *place = octet;
    }
    libc::sockaddr_ll {
        sll_family: u16::try_from(libc::AF_PACKET).unwrap_or(0),
        sll_protocol: u16::try_from(protocol).unwrap_or(0).to_be(),
        sll_ifindex: i32::try_from(link).unwrap_or(0),
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 6,
        sll_addr,
    }
}

fn set(socket: BorrowedFd<'_>, level: libc::c_int, name: libc::c_int, value: libc::c_int) -> io::Result<()> {
    let length = libc::socklen_t::try_from(mem::size_of_val(&value)).map_err(io::Error::other)?;
    // SAFETY: the kernel reads `length` octets from a value of just that size.
    let status =
        unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, ptr::from_ref(&value).cast(), length) };
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

const NAME_BYTES: libc::socklen_t = 20;
const CONTROL_WORDS: usize = 8;
/// What waits while the world is busy: some ten thousand packets.
const BUFFER_BYTES: libc::c_int = 16 << 20;
// `linux/if_packet.h`.
const PACKET_QDISC_BYPASS: libc::c_int = 20;
const PACKET_IGNORE_OUTGOING: libc::c_int = 23;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn stamps_are_read() {
        let kind = u64::from_ne_bytes(
            [libc::SOL_SOCKET.to_ne_bytes(), libc::SCM_TIMESTAMPNS.to_ne_bytes()]
                .concat()
                .try_into()
                .unwrap(),
        );
        assert_eq!(stamp(&[32, kind, 5, 7]), Some(Utc(5_000_000_007)));
        assert_eq!(stamp(&[32, kind, 5]), None);
        assert_eq!(mem::size_of::<libc::sockaddr_ll>(), 20);
    }

    proptest! {
        #[test]
        fn any_control_is_survived(words in prop::collection::vec(any::<u64>(), 0..9)) {
            let _ = stamp(&words);
        }
    }
}
