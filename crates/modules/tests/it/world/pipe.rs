//! A connection in memory. The far end can reset it.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use futures::io::{AsyncRead, AsyncWrite};
use mmn_kit::ByteStream;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

const BUFFER: usize = 64 << 10;

/// Both ends: the measurement's and the server's.
pub(super) fn pair() -> (Near, End) {
    let (near, far) = tokio::io::duplex(BUFFER);
    let reset = Rc::new(Cell::new(false));
    (Near { stream: near.compat(), reset: Rc::clone(&reset) }, End { stream: far, reset })
}

/// The server's end.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) stream: DuplexStream,
    reset: Rc<Cell<bool>>,
}

impl End {
    /// Sends bytes; whether anybody takes them is not the server's matter.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).await;
    }

    /// Reads a request of HTTP/1 without body.
    pub(crate) async fn request(&mut self) -> String {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            match self.stream.read_u8().await {
                Ok(byte) => request.push(byte),
                Err(_) => break,
            }
        }
        String::from_utf8(request).unwrap()
    }

    /// Ends the connection with a reset.
    pub(crate) fn reset(self) {
        self.reset.set(true);
    }

    /// Keeps the connection open for ever.
    pub(crate) async fn hold(self) {
        std::future::pending::<()>().await;
    }
}

/// The measurement's end.
#[derive(Debug)]
pub(super) struct Near {
    stream: Compat<DuplexStream>,
    reset: Rc<Cell<bool>>,
}

impl Near {
    fn check<T>(&self, polled: Poll<io::Result<T>>, ended: impl Fn(&T) -> bool) -> Poll<io::Result<T>> {
        match polled {
            Poll::Ready(Ok(value)) if !(self.reset.get() && ended(&value)) => Poll::Ready(Ok(value)),
            Poll::Ready(_) if self.reset.get() => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            other => other,
        }
    }
}

impl AsyncRead for Near {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        self.check(polled, |read| *read == 0)
    }
}

impl AsyncWrite for Near {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.check(polled, |_| false)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }
    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}

impl ByteStream for Near {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(SocketAddr::from(([192, 0, 2, 200], 40_001)))
    }
}
