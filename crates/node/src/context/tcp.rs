//! TCP connections that obey the site's limits: what is written waits until the limits let it go, and what is read is
//! paid for before more is read, so that the far end is slowed down by TCP itself.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use futures::io::{AsyncRead, AsyncWrite};
use mmn_kit::{ByteStream, Failure, code};
use mmn_probe::time::{Instant, Nanos};
use socket2::{Domain, Protocol, Type};
use tokio::io::ReadBuf;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::Sleep;

use super::{Held, Site, add, errors};
use crate::clock;

/// The data of one segment on an ordinary path.
const SEGMENT_BYTES: u64 = 1_400;
/// Headers of IPv6 and TCP with time stamps.
const HEADER_BYTES: u64 = 72;
/// The most that is written, or read, in one step.
const STEP_BYTES: usize = 16 * 1024;
/// SYN, the ACK that completes the handshake, and FIN.
const CONNECT_PACKETS: u64 = 3;

/// Opens a connection to an address that was checked. What the limits hold back is added to `held`.
pub(super) async fn connect(
    site: Rc<Site>,
    to: SocketAddr,
    deadline: Instant,
    held: Held,
) -> Result<Paced, Failure> {
    let began = clock::monotonic();
    let paced = site.pace(to.ip(), CONNECT_PACKETS, CONNECT_PACKETS * HEADER_BYTES, deadline).await;
    add(&held, began);
    paced?;
    let remaining = deadline.saturating_since(clock::monotonic());
    let stream = match tokio::time::timeout(remaining.into(), open(&site, to)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(errors::failure(&error, format_args!("connect to {to}"))),
        Err(_) => return Err(Failure::failed(code::TIMEOUT, format_args!("connect to {to}: no answer"))),
    };
    // Requests are whole when they are written; nothing is gained by waiting for more.
    stream.set_nodelay(true).map_err(|error| errors::failure(&error, format_args!("connect to {to}")))?;
    Ok(Paced { stream, site, peer: to.ip(), owed: 0, waiting: None, held })
}

async fn open(site: &Site, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = site.network().socket(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    TcpSocket::from_std_stream(socket.into()).connect(to).await
}

/// A connection whose bytes count.
#[derive(Debug)]
pub(super) struct Paced {
    stream: TcpStream,
    site: Rc<Site>,
    peer: IpAddr,
    /// Bytes read that were not paid for yet.
    owed: u64,
    /// Since when the limits hold it back, and until when.
    waiting: Option<(Instant, Pin<Box<Sleep>>)>,
    held: Held,
}

impl Paced {
    fn poll_take(&mut self, context: &mut Context<'_>, packets: u64, bytes: u64) -> Poll<io::Result<()>> {
        loop {
            if let Some((since, waiting)) = &mut self.waiting {
                ready!(waiting.as_mut().poll(context));
                add(&self.held, *since);
                self.waiting = None;
            }
            let now = clock::monotonic();
            match self.site.page.take(now, self.peer, packets, bytes) {
                Ok(()) => return Poll::Ready(Ok(())),
                Err(held) if held.wait == Nanos::MAX => {
                    return Poll::Ready(Err(io::Error::new(
                        io::ErrorKind::QuotaExceeded,
                        "the site's limits allow nothing",
                    )));
                }
                Err(held) => {
                    self.waiting = Some((now, Box::pin(tokio::time::sleep(held.wait.into()))));
                }
            }
        }
    }
}

impl AsyncRead for Paced {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let paced = self.get_mut();
        if paced.owed > 0 {
            // Acknowledgements are counted as bytes alone: how many there are is the system's affair.
            let owed = paced.owed + paced.owed.div_ceil(2 * SEGMENT_BYTES) * HEADER_BYTES;
            ready!(paced.poll_take(context, 0, owed))?;
            paced.owed = 0;
        }
        let room = buffer.len().min(STEP_BYTES);
        let mut into = ReadBuf::new(buffer.get_mut(..room).unwrap_or_default());
        ready!(tokio::io::AsyncRead::poll_read(Pin::new(&mut paced.stream), context, &mut into))?;
        let read = into.filled().len();
        paced.owed = u64::try_from(read).unwrap_or(u64::MAX);
        Poll::Ready(Ok(read))
    }
}

impl AsyncWrite for Paced {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let paced = self.get_mut();
        // Asked first, so that what was taken from the limits is also written.
        ready!(paced.stream.poll_write_ready(context))?;
        let bytes = bytes.get(..bytes.len().min(STEP_BYTES)).unwrap_or_default();
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let packets = length.div_ceil(SEGMENT_BYTES);
        ready!(paced.poll_take(context, packets, length + packets * HEADER_BYTES))?;
        tokio::io::AsyncWrite::poll_write(Pin::new(&mut paced.stream), context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        tokio::io::AsyncWrite::poll_flush(Pin::new(&mut self.get_mut().stream), context)
    }

    fn poll_close(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        tokio::io::AsyncWrite::poll_shutdown(Pin::new(&mut self.get_mut().stream), context)
    }
}

impl ByteStream for Paced {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.stream.local_addr()
    }
}
