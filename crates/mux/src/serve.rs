//! The sockets, and a task for each client.

use std::collections::HashMap;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::FutureExt;
use mmn_client::{Client, ClientError, Conversation};
use mmn_scamper::mux;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixSocket, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::desk::{Desk, Face};
use crate::roster::{self, Numbers, Roster};

/// The most clients at a time; further ones are turned away.
const MAX_CLIENTS: usize = 512;
/// How many clients may wait to be taken on.
const BACKLOG: u32 = 1_024;
/// How much is read from a client at once.
const CHUNK: usize = 64 << 10;
/// How many answers of the anchor are taken before a client is written to.
const AT_ONCE: usize = 256;
/// How long what a client leaves behind is called off.
const FAREWELL: Duration = Duration::from_secs(2);

/// Where clients are served.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The mux socket.
    pub socket: Option<PathBuf>,
    /// A folder with a socket for each vantage point, attached from the beginning.
    pub control: Option<PathBuf>,
    /// A folder with a socket for each vantage point, which begins as that of a daemon does: with `attach`.
    pub unix: Option<PathBuf>,
}

/// Why there are no sockets.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// A socket, or its folder, can't be made.
    #[error("{}", .path.display())]
    Socket {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another program listens there.
    #[error("{} is another program's socket", .0.display())]
    InUse(PathBuf),
    /// The anchor can't be asked.
    #[error(transparent)]
    Client(#[from] ClientError),
}

/// Serves clients until `stop`; `ready` is called once the sockets are there.
pub async fn serve(
    client: Client,
    options: Options,
    stop: CancellationToken,
    ready: impl FnOnce(),
) -> Result<(), ServeError> {
    let mut numbers = Numbers::default();
    let first = numbers.roster(&roster::list(&client).await?);
    let (sender, roster) = watch::channel(first);
    let clients = Clients { client: client.clone(), roster: roster.clone(), stop: stop.clone() };
    let mut sockets = Vec::new();
    if let Some(path) = &options.socket {
        sockets.push(clients.listen(path, Kind::Mux)?);
    }
    let mut folders = Vec::new();
    for (folder, attached) in [(options.control, true), (options.unix, false)] {
        if let Some(folder) = folder {
            private_dir(&folder)?;
            folders.push(Folder { path: folder, attached, sockets: HashMap::new() });
        }
    }
    let keeping = tokio::spawn(roster::keep(client, numbers, sender));
    let mut changes = roster;
    changes.mark_changed();
    let mut ready = Some(ready);
    loop {
        tokio::select! {
            told = changes.changed() => if told.is_err() { break },
            () = stop.cancelled() => break,
        }
        let now = changes.borrow_and_update().clone();
        for folder in &mut folders {
            folder.follow(&clients, &now);
        }
        if let Some(ready) = ready.take() {
            ready();
        }
    }
    keeping.abort();
    drop((sockets, folders));
    Ok(())
}

/// A folder with a socket for each vantage point.
#[derive(Debug)]
struct Folder {
    path: PathBuf,
    attached: bool,
    sockets: HashMap<String, Socket>,
}

impl Folder {
    /// Has a socket for each vantage point that is there, and no other.
    fn follow(&mut self, clients: &Clients, roster: &Roster) {
        self.sockets.retain(|name, _| roster.values().any(|place| place.name == *name));
        for place in roster.values() {
            // What is no name of a file is none of a socket.
            if self.sockets.contains_key(&place.name)
                || place.name.contains('/')
                || place.name.starts_with('.')
            {
                continue;
            }
            let kind = Kind::Plain { name: place.name.clone(), attached: self.attached };
            match clients.listen(&self.path.join(&place.name), kind) {
                Ok(socket) => drop(self.sockets.insert(place.name.clone(), socket)),
                Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "a socket"),
            }
        }
    }
}

/// What a socket is for.
#[derive(Debug, Clone)]
enum Kind {
    Mux,
    Plain { name: String, attached: bool },
}

/// A socket that is listened on; it is gone when this is dropped.
#[derive(Debug)]
struct Socket {
    path: PathBuf,
    task: JoinHandle<()>,
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.task.abort();
        let _ = std::fs::remove_file(&self.path);
    }
}

/// What is needed for a client.
#[derive(Debug, Clone)]
struct Clients {
    client: Client,
    roster: watch::Receiver<Roster>,
    stop: CancellationToken,
}

impl Clients {
    fn listen(&self, path: &Path, kind: Kind) -> Result<Socket, ServeError> {
        let listener = listen(path)?;
        let task = tokio::spawn(self.clone().accept(listener, kind));
        Ok(Socket { path: path.to_owned(), task })
    }

    async fn accept(self, listener: UnixListener, kind: Kind) {
        let there = std::sync::Arc::new(tokio::sync::Semaphore::new(MAX_CLIENTS));
        loop {
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // It has no descriptor left, for one.
                    tracing::warn!(%error, "a client");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let Ok(place) = there.clone().try_acquire_owned() else {
                tracing::warn!("{MAX_CLIENTS} clients are there: another is turned away");
                continue;
            };
            let (clients, kind) = (self.clone(), kind.clone());
            tokio::spawn(async move {
                if let Err(error) = clients.converse(stream, kind).await {
                    tracing::info!(error = &*error, "a client");
                }
                drop(place);
            });
        }
    }

    /// Serves a client to its end.
    async fn converse(
        mut self,
        mut stream: UnixStream,
        kind: Kind,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let face = match kind {
            Kind::Mux => Face::Mux(mux::Server::default()),
            Kind::Plain { name, attached } => Face::Plain { name, attached },
        };
        let roster = self.roster.borrow_and_update().clone();
        let mut desk = Desk::new(face, roster, clock::wall_s());
        let mut anchor = self.client.converse().await?;
        let mut chunk = vec![0; CHUNK];
        let (mut input, mut output) = stream.split();
        let ended = loop {
            for question in desk.questions() {
                anchor.say(&question)?;
            }
            // It leaves before the client is told that its commands are taken: that is no news to wait for.
            if let Some(Err(error)) = anchor.flush().now_or_never() {
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "the anchor, which is heard of next"
                );
            }
            if desk.has_ended() && desk.out().is_empty() {
                break Ok(());
            }
            let (room, waits) = (desk.has_room() && !desk.has_ended(), !desk.out().is_empty());
            tokio::select! {
                read = input.read(&mut chunk), if room => match read {
                    Ok(0) => break Ok(()),
                    Ok(count) => {
                        let octets = chunk.get(..count).unwrap_or_default();
                        if let Err(error) = desk.receive(clock::wall_s(), octets) {
                            break Err(error.into());
                        }
                    }
                    Err(error) => break Err(error.into()),
                },
                written = output.write(desk.out()), if waits => match written {
                    Ok(count) => drop(desk.out().drain(..count)),
                    Err(error) => break Err(error.into()),
                },
                heard = anchor.hear() => match heard {
                    Ok(said) => {
                        let now = clock::wall_s();
                        desk.heard(now, said);
                        // What else is there is taken before the client is written to.
                        for _ in 0..AT_ONCE {
                            let Some(Ok(said)) = anchor.hear().now_or_never() else { break };
                            desk.heard(now, said);
                        }
                    }
                    Err(error) => {
                        tracing::warn!(error = &error as &dyn std::error::Error, "the anchor");
                        desk.broken(clock::wall_s());
                        anchor = again(&self.client).await?;
                    }
                },
                changed = self.roster.changed() => {
                    if changed.is_err() {
                        break Ok(());
                    }
                    let roster = self.roster.borrow_and_update().clone();
                    desk.roster(roster);
                }
                () = self.stop.cancelled() => break Ok(()),
            }
        };
        let _ = tokio::time::timeout(FAREWELL, farewell(&mut desk, &mut anchor)).await;
        ended
    }
}

/// Calls off what a client left behind.
async fn farewell(desk: &mut Desk, anchor: &mut Conversation) -> Result<(), ClientError> {
    desk.abandon();
    loop {
        for question in desk.questions() {
            anchor.say(&question)?;
        }
        if !desk.is_unsettled() {
            return anchor.flush().await;
        }
        let said = anchor.hear().await?;
        desk.heard(clock::wall_s(), said);
    }
}

/// A connection to an anchor that comes back, within half a minute.
async fn again(client: &Client) -> Result<Conversation, ClientError> {
    let mut pause = Duration::from_millis(50);
    for _ in 0..20 {
        tokio::time::sleep(pause).await;
        if let Ok(anchor) = client.converse().await {
            return Ok(anchor);
        }
        pause = (pause * 2).min(Duration::from_secs(2));
    }
    client.converse().await
}

/// Listens at a path, for this user alone. What a program that is gone left there is removed.
fn listen(path: &Path) -> Result<UnixListener, ServeError> {
    let failed = |source| ServeError::Socket { path: path.to_owned(), source };
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        private_dir(folder)?;
    }
    if let Ok(there) = std::fs::symlink_metadata(path) {
        let dead = there.file_type().is_socket() && std::os::unix::net::UnixStream::connect(path).is_err();
        if !dead {
            return Err(ServeError::InUse(path.to_owned()));
        }
        std::fs::remove_file(path).map_err(failed)?;
    }
    let socket =
        UnixSocket::new_stream().and_then(|socket| socket.bind(path).map(|()| socket)).map_err(failed)?;
    // Until it listens nobody can connect, whatever mode it was made with.
    let listening = std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
        .and_then(|()| socket.listen(BACKLOG));
    listening.map_err(|source| {
        let _ = std::fs::remove_file(path);
        failed(source)
    })
}

/// A folder for this user alone, made where it is not there.
fn private_dir(folder: &Path) -> Result<(), ServeError> {
    if folder.is_dir() {
        return Ok(());
    }
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|source| ServeError::Socket { path: folder.to_owned(), source })
}
