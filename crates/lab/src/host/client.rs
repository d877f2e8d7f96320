//! A client of a lab's process. Calls block, for some microseconds each; a query of the truth for some milliseconds.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use rustix::process::{Pid, PidfdFlags, WaitOptions, pidfd_open, wait};

use super::message::{About, Ask, Refusal, Reply, Request, SocketAsk, Told, VERSION};
use super::process::through;
use super::wire;
use crate::namespaces::TruthQuery;
use crate::namespaces::driver::Status;
use crate::sys::{children, spaces};

/// A connection to a lab's process.
#[derive(Debug)]
pub struct Client {
    socket: OwnedFd,
    room: Vec<u8>,
}

impl Client {
    /// Connects to the lab that runs in a directory.
    pub fn connect(dir: &Path) -> Result<Self, ClientError> {
        let nobody = |source: io::Error| ClientError::NotRunning { dir: dir.to_owned(), source };
        let open = File::open(dir).map_err(nobody)?;
        let flags = SocketFlags::CLOEXEC;
        let socket =
            socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).map_err(io::Error::from)?;
        let address = SocketAddrUnix::new(through(&open)).map_err(io::Error::from)?;
        connect(&socket, &address).map_err(|errno| nobody(errno.into()))?;
        Ok(Self { socket, room: vec![0; wire::MOST_BYTES] })
    }

    /// The connection itself, for who waits until the lab ends: nothing comes by it that was not asked for.
    pub fn into_socket(self) -> OwnedFd {
        self.socket
    }

    /// What the lab is.
    pub fn about(&mut self) -> Result<About, ClientError> {
        match self.ask(Ask::About)? {
            (Reply::About(about), _) => Ok(about),
            _ => Err(ClientError::Confused),
        }
    }

    /// How it is doing.
    pub fn status(&mut self) -> Result<Status, ClientError> {
        match self.ask(Ask::Status)? {
            (Reply::Status(status), _) => Ok(status),
            _ => Err(ClientError::Confused),
        }
    }

    /// What happened to packets.
    pub fn truth(&mut self, query: &TruthQuery) -> Result<Told, ClientError> {
        match self.ask(Ask::Truth(query.clone()))? {
            (Reply::Truth(told), _) => Ok(told),
            _ => Err(ClientError::Confused),
        }
    }

    /// A socket in the network of a vantage point. It blocks, and closes on `exec`.
    pub fn socket(&mut self, ask: &SocketAsk) -> Result<OwnedFd, ClientError> {
        match self.ask(Ask::Socket(ask.clone()))? {
            (Reply::Here, mut descriptors) => descriptors.pop().ok_or(ClientError::Confused),
            _ => Err(ClientError::Confused),
        }
    }

    /// The network of a vantage point.
    pub fn network(&mut self, vp: &str) -> Result<Inside, ClientError> {
        let (reply, descriptors) = self.ask(Ask::Network { vp: vp.to_owned() })?;
        let mut descriptors = descriptors.into_iter();
        match (reply, descriptors.next()) {
            (Reply::Here, Some(network)) => Ok(Inside { network, user: descriptors.next() }),
            _ => Err(ClientError::Confused),
        }
    }

    /// Has the lab end.
    pub fn end(&mut self) -> Result<(), ClientError> {
        self.ask(Ask::End).map(drop)
    }

    /// Waits until a program has ended that was started in the lab. If the lab ends before it, the program is killed, and
    /// nothing is answered.
    pub fn wait_for(&self, child: &mut Child) -> io::Result<Option<ExitStatus>> {
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or(Errno::SRCH)?;
        let handle = pidfd_open(pid, PidfdFlags::empty())?;
        loop {
            let mut ready = [
                PollFd::from_borrowed_fd(handle.as_fd(), PollFlags::IN),
                PollFd::from_borrowed_fd(self.socket.as_fd(), PollFlags::IN),
            ];
            match poll(&mut ready, None) {
                Ok(_) => {}
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(errno.into()),
            }
            let [ended, lab] = &ready;
            if !ended.revents().is_empty() {
                return child.wait().map(Some);
            }
            // Nothing comes that was not asked for: it is the end.
            if !lab.revents().is_empty() {
                child.kill()?;
                return child.wait().map(|_| None);
            }
        }
    }

    fn ask(&mut self, ask: Ask) -> Result<(Reply, Vec<OwnedFd>), ClientError> {
        let bytes =
            serde_json::to_vec(&Request { version: VERSION, ask }).map_err(|_| ClientError::Confused)?;
        wire::send(self.socket.as_fd(), &bytes, &[])?;
        let received = wire::receive(self.socket.as_fd(), &mut self.room)?;
        let (length, descriptors) = received.ok_or(ClientError::Ended)?;
        let reply = serde_json::from_slice(self.room.get(..length).unwrap_or_default());
        match reply.map_err(|_| ClientError::Confused)? {
            Reply::Refused(refusal) => Err(ClientError::Refused(refusal)),
            reply => Ok((reply, descriptors)),
        }
    }
}

/// The network of a vantage point, to start a program in.
#[derive(Debug)]
pub struct Inside {
    network: OwnedFd,
    user: Option<OwnedFd>,
}

impl Inside {
    /// Moves this process into the network, for good, and lets programs that it starts use it like root. They resolve
    /// names as the file `names` says ([`About::resolv_conf`]). The process must have one thread.
    pub fn enter(&self, names: Option<&Path>) -> io::Result<()> {
        if let Some(user) = &self.user {
            spaces::enter_user(user)?;
        }
        spaces::enter_network(&self.network)?;
        spaces::unshare_mounts()?;
        if let Some(names) = names {
            // Programs whose names are resolved elsewhere still have the network.
            let _ = spaces::resolve_by(names);
        }
        if self.user.is_some() { spaces::keep_network_capabilities() } else { Ok(()) }
    }

    /// Starts a command there, which calls [`first`]: this process must have entered. The command, and all that it starts,
    /// is killed when the calling thread ends, and alone gets what a terminal sends on Ctrl-C.
    pub fn spawn(&self, command: &mut Command) -> io::Result<Child> {
        children::hold_signals(&children::OF_A_TERMINAL)?;
        children::spawn_first(command)
    }
}

/// What the command of [`Inside::spawn`] does: it runs a program, waits for that and for whatever is left to it, and
/// answers how the program ended. What the program left is killed when this process ends.
///
/// It is the first process of its namespace, and as such signals that nobody awaits don't end it.
pub fn first(program: &mut Command) -> io::Result<ExitStatus> {
    // Without, `ps` shows the processes outside; nothing else depends on it.
    let _ = spaces::show_processes();
    let child = program.spawn()?;
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if u32::try_from(pid.as_raw_nonzero().get()) == Ok(child.id()) => {
                return Ok(ExitStatus::from_raw(status.as_raw()));
            }
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Why a lab did not do as asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// No lab listens there.
    #[error("no lab runs in {}", dir.display())]
    NotRunning {
        /// The directory.
        dir: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// It will not.
    #[error("the lab refused: {0}")]
    Refused(Refusal),
    /// It has ended.
    #[error("the lab has ended")]
    Ended,
    /// It says what was not asked.
    #[error("the lab's answer makes no sense: is it of another version?")]
    Confused,
    /// The connection failed.
    #[error("the connection to the lab failed")]
    System(#[from] io::Error),
}
