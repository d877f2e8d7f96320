//! Questions to a daemon: by whom they are asked, and what becomes of those that nobody waits for any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use mmn_kit::Failure;
use mmn_schema::outcome::code;
use mmn_warts::Record;
use tokio::sync::{mpsc, oneshot};

/// How many questions may wait to be read by the one that has the connection; beyond them whoever asks waits.
const WAITING: usize = 1024;

/// The number of a question: its user id (`-U`), by which a record says what it answers.
pub(crate) type Key = u32;

/// A question.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) key: Key,
    /// The command, with its user id.
    pub(crate) line: String,
    pub(crate) answer: oneshot::Sender<Result<Record, Failure>>,
}

/// By which questions are asked.
#[derive(Debug, Clone)]
pub(crate) struct Asks {
    asks: mpsc::Sender<Ask>,
    /// One for each question at most, so that it has no bound of its own.
    off: mpsc::UnboundedSender<Key>,
    next: Arc<AtomicU32>,
}

/// Where they are read.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) asks: mpsc::Receiver<Ask>,
    /// Questions that nobody waits for any more.
    pub(crate) off: mpsc::UnboundedReceiver<Key>,
}

/// Both ends.
pub(crate) fn channel() -> (Asks, Asked) {
    let (asks, asked) = mpsc::channel(WAITING);
    let (off, offs) = mpsc::unbounded_channel();
    (Asks { asks, off, next: Arc::default() }, Asked { asks: asked, off: offs })
}

impl Asks {
    /// Asks, by a command that is made with the question's number, and waits for the record. A question that is dropped is
    /// called off.
    pub(crate) async fn ask(&self, line: impl FnOnce(Key) -> String) -> Result<Record, Failure> {
        let key = self.next.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        let (answer, answered) = oneshot::channel();
        let gone = |_| Failure::failed(code::INTERNAL, "nobody has the daemon's connection");
        self.asks.send(Ask { key, line: line(key), answer }).await.map_err(|_| gone(()))?;
        let mut guard = Guard { asks: self, key: Some(key) };
        let result = answered.await;
        guard.key = None;
        result.map_err(|_| gone(()))?
    }
}

struct Guard<'a> {
    asks: &'a Asks,
    key: Option<Key>,
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            // Whoever is gone has nothing to call off.
            let _ = self.asks.off.send(key);
        }
    }
}
