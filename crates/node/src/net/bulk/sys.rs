//! The system calls of packet sockets that no safe interface offers.
#![expect(unsafe_code, reason = "packet sockets have no safe interface")]

use std::{
    io, mem,
    os::fd::{AsRawFd, BorrowedFd},
    ptr,
};

/// Sets an option.
pub(super) fn set<T: Copy>(
    socket: BorrowedFd<'_>,
    level: libc::c_int,
    name: libc::c_int,
    value: &T,
) -> io::Result<()> {
    let length = libc::socklen_t::try_from(size_of::<T>()).map_err(io::Error::other)?;
    // SAFETY: the kernel reads `length` octets from a value of just that size.
    let status =
        unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, ptr::from_ref(value).cast(), length) };
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// What `PACKET_STATISTICS` tells, which sets it to zero.
pub(super) fn statistics(socket: BorrowedFd<'_>) -> io::Result<libc::tpacket_stats_v3> {
    let mut value = libc::tpacket_stats_v3 { tp_packets: 0, tp_drops: 0, tp_freeze_q_cnt: 0 };
    let mut length = libc::socklen_t::try_from(size_of_val(&value)).map_err(io::Error::other)?;
    // SAFETY: the kernel writes at most `length` octets to a value of just that size, whose fields are plain integers.
    let status = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_STATISTICS,
            ptr::from_mut(&mut value).cast(),
            &raw mut length,
        )
    };
    if status == 0 { Ok(value) } else { Err(io::Error::last_os_error()) }
}

/// Starts to receive packets of a protocol (`ETH_P_*`) on all interfaces.
pub(super) fn bind(socket: BorrowedFd<'_>, protocol: u16) -> io::Result<()> {
    let address = link_address(protocol, 0, None);
    let length = libc::socklen_t::try_from(size_of_val(&address)).map_err(io::Error::other)?;
    // SAFETY: the address is a `sockaddr_ll` of just that length.
    let status = unsafe { libc::bind(socket.as_raw_fd(), ptr::from_ref(&address).cast(), length) };
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn link_address(protocol: u16, link: u32, hardware: Option<[u8; 6]>) -> libc::sockaddr_ll {
    // SAFETY: a `sockaddr_ll` is plain integers, for all of which zero is a value.
    let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
    address.sll_family = libc::sa_family_t::try_from(libc::AF_PACKET).unwrap_or_default();
    address.sll_protocol = protocol.to_be();
    address.sll_ifindex = i32::try_from(link).unwrap_or(0);
    if let Some(hardware) = hardware {
        address.sll_halen = 6;
        for (to, from) in address.sll_addr.iter_mut().zip(hardware) {
            *to = from;
        }
    }
    address
}

/// Packets that leave with one call. The arrays are made once; what they point to belongs to the batch.
pub(super) struct Batch {
    headers: Box<[libc::mmsghdr]>,
    vectors: Box<[libc::iovec]>,
    addresses: Box<[libc::sockaddr_ll]>,
    data: Box<[u8]>,
    room: usize,
    count: usize,
}

// SAFETY: the pointers in `headers` and `vectors` lead to the batch's own boxes, which move with it.
unsafe impl Send for Batch {}

impl Batch {
    /// Room for `most` packets of `room` octets.
    pub(super) fn new(most: usize, room: usize) -> Self {
        let vector = libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 };
        let mut batch = Self {
            // SAFETY: an `mmsghdr` is plain integers and pointers, for all of which zero is a value.
            headers: (0..most).map(|_| unsafe { mem::zeroed() }).collect(),
            vectors: vec![vector; most].into(),
            addresses: vec![link_address(0, 0, None); most].into(),
            data: vec![0; most * room].into(),
            room,
            count: 0,
        };
        let each = batch.headers.iter_mut().zip(&mut batch.vectors).zip(&mut batch.addresses);
        for (((header, vector), address), data) in each.zip(batch.data.chunks_exact_mut(room)) {
            vector.iov_base = data.as_mut_ptr().cast();
            header.msg_hdr.msg_iov = ptr::from_mut(vector);
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_name = ptr::from_mut(address).cast();
            header.msg_hdr.msg_namelen = libc::socklen_t::try_from(size_of_val(address)).unwrap_or(0);
        }
        batch
    }

    /// How many packets it holds.
    pub(super) const fn len(&self) -> usize {
        self.count
    }

    /// Room for the next packet; nothing when it is full.
    pub(super) fn next(&mut self) -> Option<&mut [u8]> {
        let start = self.count * self.room;
        self.data.get_mut(start..start + self.room)
    }

    /// What [`Self::next`] gave holds a packet of so many octets, for this neighbour.
    pub(super) fn push(&mut self, bytes: usize, v6: bool, link: u32, hardware: Option<[u8; 6]>) {
        let protocol = if v6 { libc::ETH_P_IPV6 } else { libc::ETH_P_IP };
        let protocol = u16::try_from(protocol).unwrap_or(0);
        if let (Some(vector), Some(address)) =
            (self.vectors.get_mut(self.count), self.addresses.get_mut(self.count))
        {
            vector.iov_len = bytes.min(self.room);
            *address = link_address(protocol, link, hardware);
            self.count += 1;
        }
    }

    /// Sends what it holds from the packet `from` on. Gives how many left; an error is that of the first of these.
    pub(super) fn send(&mut self, socket: BorrowedFd<'_>, from: usize) -> io::Result<usize> {
        let Some(headers) = self.headers.get_mut(from..self.count).filter(|headers| !headers.is_empty())
        else {
            return Ok(0);
        };
        let count = libc::c_uint::try_from(headers.len()).map_err(io::Error::other)?;
        // SAFETY: the headers point to the batch's own arrays, with their true lengths; the kernel writes to nothing but
        // the headers' own lengths.
        let sent = unsafe {
            libc::sendmmsg(socket.as_raw_fd(), headers.as_mut_ptr(), count, libc::MSG_DONTWAIT as _)
        };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }

    /// It holds nothing.
    pub(super) const fn clear(&mut self) {
        self.count = 0;
    }
}

impl std::fmt::Debug for Batch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batch").field("count", &self.count).finish_non_exhaustive()
    }
}
