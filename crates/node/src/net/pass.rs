//! Descriptors from process to process: a short message and the sockets and files that go with it, over a
//! stream socket pair (`SCM_RIGHTS`, `unix(7)`).
//!
//! The node keeps one end; the module's process has the other as its standard input. A message is four octets
//! of length (big-endian), then the bytes; the descriptors travel with the first octet. Messages arrive in
//! order. The receiver must trust the sender: a descriptor can be anything.
//!
//! Both ends may be blocking or not: [`send`] and [`receive`] wait in the call, [`receive_async`] waits in the
//! runtime.

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
    net::{
        RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
        SendFlags, recv, recvmsg, send as send_bytes, sendmsg,
    },
};

/// The longest message, in octets.
pub const MAX_BYTES: usize = 64 * 1024;
/// The most descriptors of one message (the kernel's own limit is 253).
pub const MAX_DESCRIPTORS: usize = 64;

/// Why a message did not pass.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PassError {
    /// The message is longer than [`MAX_BYTES`].
    #[error("a message of {0} octets, more than {MAX_BYTES}")]
    TooLong(usize),
    /// More descriptors than [`MAX_DESCRIPTORS`].
    #[error("{0} descriptors, more than {MAX_DESCRIPTORS}")]
    TooMany(usize),
    /// The other end closed in the middle of a message.
    #[error("the other end closed within a message")]
    Cut,
    /// The system refused.
    #[error("cannot pass descriptors")]
    System(#[source] io::Error),
}

/// A message with its descriptors.
#[derive(Debug)]
pub struct Parcel {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// What came with them, in the order of sending; closed on drop, and not inherited by children.
    pub descriptors: Vec<OwnedFd>,
}

/// Sends a message. Waits where the other end does not read.
pub fn send(socket: impl AsFd, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<(), PassError> {
    let socket = socket.as_fd();
    let length = match u32::try_from(bytes.len()) {
        Ok(length) if bytes.len() <= MAX_BYTES => length.to_be_bytes(),
        _ => return Err(PassError::TooLong(bytes.len())),
    };
    if descriptors.len() > MAX_DESCRIPTORS {
        return Err(PassError::TooMany(descriptors.len()));
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(PassError::TooMany(descriptors.len()));
    }
    let parts = [IoSlice::new(&length), IoSlice::new(bytes)];
    let sent = wait(socket, PollFlags::OUT, || sendmsg(socket, &parts, &mut control, SendFlags::NOSIGNAL))?;
    let whole: Vec<u8> = length.iter().chain(bytes).copied().collect();
    let mut rest = whole.get(sent..).unwrap_or_default();
    while !rest.is_empty() {
        let sent = wait(socket, PollFlags::OUT, || send_bytes(socket, rest, SendFlags::NOSIGNAL))?;
        rest = rest.get(sent..).unwrap_or_default();
    }
    Ok(())
}

/// Receives a message, or nothing once the other end has closed. Waits for it.
pub fn receive(socket: impl AsFd) -> Result<Option<Parcel>, PassError> {
    let socket = socket.as_fd();
    let Some((first, descriptors)) = wait(socket, PollFlags::IN, || receive_first(socket))? else {
        return Ok(None);
    };
    let mut length = [first, 0, 0, 0];
    let (_, rest) = length.split_at_mut(1);
    fill(socket, rest)?;
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > MAX_BYTES {
        return Err(PassError::TooLong(length));
    }
    let mut bytes = vec![0; length];
    fill(socket, &mut bytes)?;
    Ok(Some(Parcel { bytes, descriptors }))
}

/// Receives a message like [`receive`], if one is there already.
pub fn receive_if_there(socket: impl AsFd) -> Result<Option<Parcel>, PassError> {
    let socket = socket.as_fd();
    let mut peeked = [0];
    match recv(socket, &mut peeked, RecvFlags::PEEK | RecvFlags::DONTWAIT) {
        Ok((1.., _)) => receive(socket),
        // The end of the stream is told to whoever waits for the next message.
        Ok(_) | Err(Errno::AGAIN) => Ok(None),
        Err(errno) => Err(PassError::System(errno.into())),
    }
}

/// Receives a message like [`receive`], without blocking the thread until its first octet is there. The rest
/// of a message follows its first octet at once.
pub async fn receive_async(socket: &tokio::net::UnixStream) -> Result<Option<Parcel>, PassError> {
    socket.readable().await.map_err(PassError::System)?;
    loop {
        let mut peeked = [0];
        let peek = socket.try_io(tokio::io::Interest::READABLE, || {
            recv(socket, &mut peeked, RecvFlags::PEEK | RecvFlags::DONTWAIT).map_err(io::Error::from)
        });
        match peek {
            Ok(_) => return receive(socket),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                socket.readable().await.map_err(PassError::System)?;
            }
            Err(error) => return Err(PassError::System(error)),
        }
    }
}

/// The first octet of a message and the descriptors that travel with it; nothing at the end of the stream.
fn receive_first(socket: BorrowedFd<'_>) -> Result<Option<(u8, Vec<OwnedFd>)>, Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut first = [0];
    let mut parts = [IoSliceMut::new(&mut first)];
    let received = recvmsg(socket, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(passed) = message {
            descriptors.extend(passed);
        }
    }
    let [first] = first;
    Ok((received.bytes > 0).then_some((first, descriptors)))
}

fn fill(socket: BorrowedFd<'_>, mut buffer: &mut [u8]) -> Result<(), PassError> {
    while !buffer.is_empty() {
        let (received, _) = wait(socket, PollFlags::IN, || recv(socket, &mut *buffer, RecvFlags::empty()))?;
        if received == 0 {
            return Err(PassError::Cut);
        }
        buffer = buffer.get_mut(received..).unwrap_or_default();
    }
    Ok(())
}

/// Repeats a call while it is interrupted, or would block.
fn wait<T>(
    socket: BorrowedFd<'_>,
    ready: PollFlags,
    mut call: impl FnMut() -> Result<T, Errno>,
) -> Result<T, PassError> {
    loop {
        match call() {
            Ok(value) => return Ok(value),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => match poll(&mut [PollFd::from_borrowed_fd(socket, ready)], None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(PassError::System(errno.into())),
            },
            Err(errno) => return Err(PassError::System(errno.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs::File,
        io::{Read, Seek, Write},
        os::unix::net::UnixStream,
    };

    use super::*;

    fn file_with(text: &str) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file.rewind().unwrap();
        file
    }

    #[test]
    fn messages_keep_their_descriptors_and_their_order() {
        let (here, there) = UnixStream::pair().unwrap();
        let files = [file_with("one"), file_with("two")];
        send(&here, b"{\"n\":1}", &[files[0].as_fd(), files[1].as_fd()]).unwrap();
        send(&here, b"", &[]).unwrap();
        send(&here, &vec![7; MAX_BYTES], &[files[1].as_fd()]).unwrap();
        drop(here);
        let first = receive(&there).unwrap().unwrap();
        assert_eq!((first.bytes.as_slice(), first.descriptors.len()), (b"{\"n\":1}".as_slice(), 2));
        let mut text = String::new();
        File::from(first.descriptors.into_iter().next().unwrap()).read_to_string(&mut text).unwrap();
        assert_eq!(text, "one");
        let second = receive(&there).unwrap().unwrap();
        assert_eq!((second.bytes.len(), second.descriptors.len()), (0, 0));
        let third = receive(&there).unwrap().unwrap();
        assert_eq!((third.bytes.len(), third.descriptors.len()), (MAX_BYTES, 1));
        assert!(receive(&there).unwrap().is_none());
        assert!(receive_if_there(&there).unwrap().is_none());
    }

    #[test]
    fn a_message_that_is_not_there_is_not_waited_for() {
        let (here, there) = UnixStream::pair().unwrap();
        assert!(receive_if_there(&there).unwrap().is_none());
        send(&here, b"now", &[here.as_fd()]).unwrap();
        let parcel = receive_if_there(&there).unwrap().unwrap();
        assert_eq!((parcel.bytes.as_slice(), parcel.descriptors.len()), (b"now".as_slice(), 1));
        assert!(receive_if_there(&there).unwrap().is_none());
    }

    #[test]
    fn what_is_too_much_is_refused_on_both_sides() {
        let (mut here, there) = UnixStream::pair().unwrap();
        assert!(matches!(send(&here, &vec![0; MAX_BYTES + 1], &[]), Err(PassError::TooLong(_))));
        let many = [there.as_fd(); MAX_DESCRIPTORS + 1];
        assert!(matches!(send(&here, b"", &many), Err(PassError::TooMany(_))));
        here.write_all(&[0xff; 4]).unwrap();
        assert!(matches!(receive(&there), Err(PassError::TooLong(_))));
    }

    #[test]
    fn a_cut_message_is_told() {
        let (mut here, there) = UnixStream::pair().unwrap();
        here.write_all(&[0, 0, 0, 9, 1]).unwrap();
        drop(here);
        assert!(matches!(receive(&there), Err(PassError::Cut)));
    }

    #[tokio::test]
    async fn waits_in_the_runtime() {
        let (here, there) = UnixStream::pair().unwrap();
        there.set_nonblocking(true).unwrap();
        let there = tokio::net::UnixStream::from_std(there).unwrap();
        let waiting = tokio::spawn(async move { receive_async(&there).await });
        tokio::task::yield_now().await;
        send(&here, b"late", &[here.as_fd()]).unwrap();
        let parcel = waiting.await.unwrap().unwrap().unwrap();
        assert_eq!((parcel.bytes.as_slice(), parcel.descriptors.len()), (b"late".as_slice(), 1));
    }
}
