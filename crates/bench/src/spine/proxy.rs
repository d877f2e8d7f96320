//! A proxy in front of nats-server that passes what it gets, or delays it, or passes nothing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::clock;

/// The longest delay of a piece.
const JITTER_MS: u64 = 500;
/// Of so many writes one is stalled.
const STALLED: u64 = 10;
const STALL: Duration = Duration::from_secs(1);
/// How many pieces are on their way in one direction.
const PIECES: usize = 64;
/// How often it looks whether the network is cut still.
const LOOK: Duration = Duration::from_millis(5);

/// What it does with what it gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Mode {
    /// It passes on.
    Through,
    /// Nothing passes, either way; connections stay, and new ones are taken.
    Cut,
    /// Each piece is delayed by up to half a second, and a tenth of the writes stall for a second besides.
    Jitter,
}

/// A proxy, until the program ends.
#[derive(Debug)]
pub(super) struct Proxy {
    pub(super) address: SocketAddr,
    mode: Arc<AtomicU8>,
}

impl Proxy {
    /// Listens, and leads to `host:port`.
    pub(super) fn start(to: &str) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
        let address = listener.local_addr()?;
        let mode = Arc::new(AtomicU8::new(Mode::Through as u8));
        let (shared, to) = (Arc::clone(&mode), to.to_owned());
        std::thread::spawn(move || {
            runtime.block_on(async move {
                let chance = Arc::new(AtomicU64::new(0x9e37_79b9_7f4a_7c15));
                while let Ok((near, _)) = listener.accept().await {
                    let (mode, chance, to) = (Arc::clone(&shared), Arc::clone(&chance), to.clone());
                    tokio::spawn(async move {
                        let Ok(far) = TcpStream::connect(&to).await else { return };
                        if near.set_nodelay(true).and_then(|()| far.set_nodelay(true)).is_err() {
                            return;
                        }
                        let (near, far) = (near.into_split(), far.into_split());
                        let up = pass(near.0, far.1, Arc::clone(&mode), Arc::clone(&chance));
                        let down = pass(far.0, near.1, mode, chance);
                        // When one end has closed, so does the other.
                        tokio::select! {
                            () = up => {}
                            () = down => {}
                        }
                    });
                }
            });
        });
        Ok(Self { address, mode })
    }

    pub(super) fn set(&self, mode: Mode) {
        self.mode.store(mode as u8, Ordering::Relaxed);
    }
}

/// Passes one direction on, in its order.
async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mode: Arc<AtomicU8>, chance: Arc<AtomicU64>) {
    let (pieces, mut due) = mpsc::channel::<(Instant, Vec<u8>)>(PIECES);
    let is = |which: Mode| mode.load(Ordering::Relaxed) == which as u8;
    let read = async {
        let mut room = vec![0; 64 << 10];
        while let Ok(read @ 1..) = from.read(&mut room).await {
            let delay = if is(Mode::Jitter) { draw(&chance, JITTER_MS) } else { 0 };
            let piece = room.get(..read).unwrap_or_default().to_vec();
            if pieces.send((clock::now() + Duration::from_millis(delay), piece)).await.is_err() {
                break;
            }
        }
        // What is on its way arrives.
        drop(pieces);
        std::future::pending::<()>().await;
    };
    let write = async {
        while let Some((at, piece)) = due.recv().await {
            tokio::time::sleep_until(at.into()).await;
            if is(Mode::Jitter) && draw(&chance, STALLED) == 0 {
                tokio::time::sleep(STALL).await;
            }
            while is(Mode::Cut) {
                tokio::time::sleep(LOOK).await;
            }
            if to.write_all(&piece).await.is_err() {
                break;
            }
        }
    };
    tokio::select! {
        () = read => {}
        () = write => {}
    }
}

/// Below `bound`, by a generator whose seed is fixed (Marsaglia's xorshift64).
fn draw(chance: &AtomicU64, bound: u64) -> u64 {
    let mut x = chance.load(Ordering::Relaxed);
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    chance.store(x, Ordering::Relaxed);
    x % bound
}
