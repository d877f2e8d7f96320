//! A stream as hyper wants it, that counts what passes and keeps the beginning of what comes.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use futures::io::{AsyncRead, AsyncWrite};
use hyper::rt::{Read, ReadBufCursor, Write};

/// How much is read at once.
const CHUNK: usize = 16 << 10;

/// What passed so far.
#[derive(Debug)]
pub(super) struct Record {
    read: Cell<u64>,
    written: Cell<u64>,
    head: RefCell<Vec<u8>>,
    head_room: usize,
}

impl Record {
    /// Nothing yet; up to `head_room` bytes of what comes are kept.
    pub(super) fn new(head_room: usize) -> Rc<Self> {
        Rc::new(Self { read: Cell::new(0), written: Cell::new(0), head: RefCell::default(), head_room })
    }

    /// Bytes that came.
    pub(super) fn read(&self) -> u64 {
        self.read.get()
    }

    /// Bytes that left.
    pub(super) fn written(&self) -> u64 {
        self.written.get()
    }

    /// The beginning of what came. It is not kept any longer.
    pub(super) fn take_head(&self) -> Vec<u8> {
        self.head.take()
    }

    fn came(&self, bytes: &[u8]) {
        let mut head = self.head.borrow_mut();
        // Once it has been taken, or filled, nothing is added: what is kept is always the very beginning.
        if u64::try_from(head.len()) == Ok(self.read.get()) {
            let room = self.head_room.saturating_sub(head.len());
            head.extend(bytes.iter().take(room));
        }
        self.read.set(self.read.get() + u64::try_from(bytes.len()).unwrap_or(0));
    }
}

/// The stream.
pub(super) struct Meter<S> {
    stream: S,
    record: Rc<Record>,
    scratch: Vec<u8>,
}

impl<S> Meter<S> {
    /// Counts on `record`.
    pub(super) fn new(stream: S, record: Rc<Record>) -> Self {
        Self { stream, record, scratch: vec![0; CHUNK] }
    }
}

impl<S: AsyncRead + Unpin> Read for Meter<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { stream, record, scratch } = &mut *self;
        let room = buffer.remaining().min(scratch.len());
        let scratch = scratch.get_mut(..room).unwrap_or_default();
        let read = ready!(Pin::new(stream).poll_read(cx, scratch))?;
        let bytes = scratch.get(..read).unwrap_or_default();
        record.came(bytes);
        buffer.put_slice(bytes);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> Write for Meter<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
        let record = &self.record;
        record.written.set(record.written.get() + u64::try_from(written).unwrap_or(0));
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}
