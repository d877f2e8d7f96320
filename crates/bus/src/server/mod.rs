//! `nats-server` as a supervised child: found, checked, configured, started, restarted, ended.
//!
//! mmn never implements a broker. [`Server::start`] generates a configuration (operator mode, both
//! accounts preloaded, JetStream in files), has the server itself validate it, starts it on a free
//! port of the loopback and returns when it accepts connections. [`Server::run`] restarts it with
//! back-off on the same port and store until it is told to stop. Dropping it kills the child.
//!
//! One process at a time may own a data directory; whoever calls sees to that.

mod binary;
mod child;
mod config;
mod room;
mod store;

use std::num::NonZeroU32;
use std::path::PathBuf;

pub use binary::{Binary, BinaryError, MINIMUM, NotAVersion, Version};
pub use child::{Reloader, RunError, Server, StartError};
pub use room::disk_share;
pub use store::StoreError;

use crate::identity::ServerTrust;
use crate::launch::Launcher;

/// How to run a server.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// The program.
    pub binary: Binary,
    /// Holds the store, the configuration, the log and the stamp of the version that wrote it.
    pub data_dir: PathBuf,
    /// The operator and the accounts.
    pub trust: ServerTrust,
    /// How it is started, so that it dies with its parent.
    pub launcher: Launcher,
    /// The address it listens on; `127.0.0.1` by default.
    pub host: String,
    /// Its port; a free one by default, kept over restarts.
    pub port: Option<u16>,
    /// The most that JetStream may store in files, in bytes.
    pub max_file_bytes: u64,
    /// The most that JetStream may store in memory, in bytes.
    pub max_memory_bytes: u64,
    /// Each write reaches the disk before it is acknowledged.
    pub sync_always: bool,
    /// The most connections.
    pub max_connections: NonZeroU32,
    /// The largest message, in bytes.
    pub max_payload_bytes: u32,
    /// TLS for clients; none by default.
    pub tls: Option<ServerTls>,
    /// Serve the server's own monitoring page on a free port of the loopback.
    pub monitoring: bool,
}

/// The server's side of TLS, as PEM files.
#[derive(Debug, Clone)]
pub struct ServerTls {
    /// Its certificate chain.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Ask clients for a certificate of this authority.
    pub client_ca: Option<PathBuf>,
}

impl ServerOptions {
    /// A server on a free port of the loopback, with room for 1 GiB of files and 64 MiB of memory.
    pub fn new(binary: Binary, data_dir: PathBuf, trust: ServerTrust) -> Self {
        Self {
            binary,
            data_dir,
            trust,
            launcher: Launcher::direct(),
            host: "127.0.0.1".into(),
            port: None,
            max_file_bytes: 1 << 30,
            max_memory_bytes: 64 << 20,
            sync_always: false,
            max_connections: NonZeroU32::MIN.saturating_add(65_535),
            max_payload_bytes: 1024 * 1024,
            tls: None,
            monitoring: false,
        }
    }

    /// Where the server writes its process id.
    pub fn pid_file(&self) -> PathBuf {
        self.data_dir.join("nats-server.pid")
    }
}
