//! The lab's process.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use mmn_probe::time::Instant;
use rustc_hash::FxHashMap;
use rustix::fs::{FlockOperation, flock};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::message::{About, VERSION};
use super::serve::{Desk, serve};
use crate::able::{Obstacle, Refused};
use crate::namespaces::certificates::Certificates;
use crate::namespaces::driver::{Driver, Order, Orders};
use crate::namespaces::inner::Inner;
use crate::namespaces::servers::Servers;
use crate::namespaces::{Namespaces, Spaces};
use crate::plan::Plan;
use crate::sys::children;
use crate::sys::spaces::enter_network;

/// The name of the socket in the lab's directory.
pub const SOCKET: &str = "lab.sock";
const AUTHORITY: &str = "authority.pem";
const NAMES: &str = "resolv.conf";

/// A lab that is to run.
#[derive(Clone, Debug)]
pub struct Lab {
    /// What it is a lab of.
    pub plan: Arc<Plan>,
    /// The file that says so.
    pub file: PathBuf,
    /// Where its socket will be. It is made where it is not there.
    pub dir: PathBuf,
    /// Whether it waits without sleeping: it takes a processor, and brings packets within some microseconds.
    pub busy: bool,
}

/// Runs a lab in this process until it is asked to end, by a client or by SIGINT, SIGTERM or SIGHUP. The process must
/// have one thread. `ready` is called once clients can connect.
///
/// Afterwards the process is still in the lab's namespaces: it is good for nothing but to end.
pub fn launch(lab: &Lab, ready: impl FnOnce(&About)) -> Result<(), LabError> {
    let held = Held::new(&lab.dir).map_err(|error| error.at(&lab.dir))?;
    raise_descriptor_limit();
    children::hold_signals(&children::ENDING).map_err(LabError::Process)?;
    let spaces =
        Namespaces::make(&lab.plan).map_err(|refused| LabError::Refused(Obstacle::from(&refused)))?;
    let (line, spaces) = spaces.split();
    let user_namespace = spaces.user.is_some();
    let inner = Arc::new(Inner::default());
    let (driver, orders) =
        Driver::new(&lab.plan, line, inner.clone(), lab.busy).map_err(LabError::Process)?;
    let authority = start_servers(lab, &spaces, driver.start(), inner)?;
    let names =
        held.name_servers(&lab.plan).map_err(|source| LabError::Socket { dir: lab.dir.clone(), source })?;
    let about = About {
        version: VERSION,
        file: lab.file.display().to_string(),
        pid: std::process::id(),
        driver: "namespaces".to_owned(),
        why: if user_namespace {
            "this user may make network namespaces in a user namespace".to_owned()
        } else {
            "root may make network namespaces".to_owned()
        },
        user_namespace,
        has_ipv6: spaces.has_v6,
        authority: authority.map(|path| path.display().to_string()),
        resolv_conf: names.then(|| lab.dir.join(NAMES).display().to_string()),
        vps: u32::try_from(lab.plan.vps.len()).unwrap_or(u32::MAX),
    };
    let listener = held.listen().map_err(|source| LabError::Socket { dir: lab.dir.clone(), source })?;
    let desk = Desk { plan: lab.plan.clone(), spaces, orders: orders.clone(), about: about.clone() };
    let desk = Arc::new(desk);
    in_background("signals", move || end_on_signal(&orders))?;
    in_background("clients", move || serve(&listener, &desk))?;
    ready(&about);
    driver.run().map_err(LabError::Driver)
}

/// Starts the servers of the plan's hosts. Answers where the certificate of their authority is, if they show any.
fn start_servers(
    lab: &Lab,
    spaces: &Spaces,
    start: Instant,
    inner: Arc<Inner>,
) -> Result<Option<PathBuf>, LabError> {
    let Some(network) = &spaces.servers else { return Ok(None) };
    let network = network.try_clone().map_err(LabError::Process)?;
    let certificates =
        Certificates::new(&lab.plan).map_err(|error| LabError::Servers(io::Error::other(error)))?;
    let (mut authority, mut certified) = (None, FxHashMap::default());
    if let Some(made) = certificates {
        let path = lab.dir.join(AUTHORITY);
        std::fs::write(&path, made.authority).map_err(LabError::Servers)?;
        (authority, certified) = (Some(path), made.of_hosts);
    }
    let servers = Servers { plan: lab.plan.clone(), start, inner, certified };
    let (sender, ready) = sync_channel(1);
    in_background("servers", move || match enter_network(network) {
        Ok(()) => servers.run(&sender),
        Err(error) => drop(sender.send(Err(error))),
    })?;
    ready.recv().map_err(io::Error::other).flatten().map_err(LabError::Servers)?;
    Ok(authority)
}

pub(super) fn in_background(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), LabError> {
    let thread = std::thread::Builder::new().name(name.to_owned()).stack_size(256 * 1024);
    // It ends with the process.
    thread.spawn(work).map(drop).map_err(LabError::Process)
}

fn end_on_signal(orders: &Orders) {
    // The second one finds the loop ended, or its channel full: then the first is enough.
    while children::wait_for_end().is_ok() && orders.send(Order::End).is_ok() {}
}

/// Each network is a descriptor.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    // Where it can't be raised, the first step that lacks one says so.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

/// A directory that this lab alone uses.
#[derive(Debug)]
pub(super) struct Held {
    dir: File,
    /// Locked as long as it is open.
    _lock: File,
}

pub(super) enum HoldError {
    Busy,
    System(io::Error),
}

impl From<io::Error> for HoldError {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

impl HoldError {
    pub(super) fn at(self, dir: &Path) -> LabError {
        match self {
            Self::Busy => LabError::Busy(dir.to_owned()),
            Self::System(source) => LabError::Socket { dir: dir.to_owned(), source },
        }
    }
}

impl Held {
    pub(super) fn new(path: &Path) -> Result<Self, HoldError> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path.join("lab.lock"))?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Err(HoldError::Busy);
        }
        Ok(Self { dir: File::open(path)?, _lock: lock })
    }

    /// Writes how names are resolved in the lab, by its own resolvers. Answers whether it has any.
    fn name_servers(&self, plan: &Plan) -> io::Result<bool> {
        let resolvers = plan.dns.iter().filter(|server| server.recursive);
        let addresses =
            resolvers.flat_map(|server| plan.nodes[plan.hosts[server.host].node].addresses.iter());
        let mut lines: Vec<_> = addresses.map(|address| format!("nameserver {address}\n")).collect();
        lines.dedup();
        // The C library reads no more.
        lines.truncate(3);
        std::fs::write(in_dir(&self.dir, NAMES), lines.concat())?;
        Ok(!lines.is_empty())
    }

    pub(super) fn listen(&self) -> io::Result<OwnedFd> {
        let path = through(&self.dir);
        // Of a lab that was killed.
        let _ = std::fs::remove_file(&path);
        let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        bind(&socket, &SocketAddrUnix::new(&path)?)?;
        std::fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        listen(&socket, 64)?;
        Ok(socket)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        for name in [SOCKET, NAMES, AUTHORITY] {
            let _ = std::fs::remove_file(in_dir(&self.dir, name));
        }
    }
}

/// The socket in an open directory, by a path that is short however deep that lies: a socket's name has 108 octets.
pub(super) fn through(dir: &File) -> PathBuf {
    in_dir(dir, SOCKET)
}

fn in_dir(dir: &File, name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}/{name}", dir.as_raw_fd()))
}

/// Why there is no lab.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LabError {
    /// The system lets its user have no network namespaces.
    #[error(transparent)]
    Refused(Obstacle),
    /// Another lab has the directory.
    #[error("a lab runs in {} already", .0.display())]
    Busy(PathBuf),
    /// The socket for clients could not be made.
    #[error("the lab's socket can not be made in {}", dir.display())]
    Socket {
        /// The directory.
        dir: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A thread or a signal could not be had.
    #[error("the lab's process can not start")]
    Process(#[source] io::Error),
    /// The servers of its hosts could not start.
    #[error("the lab's servers can not start")]
    Servers(#[source] io::Error),
    /// The driver failed.
    #[error("the lab's packet socket failed")]
    Driver(#[source] io::Error),
}

impl From<Refused> for LabError {
    fn from(refused: Refused) -> Self {
        Self::Refused(Obstacle::from(&refused))
    }
}
