//! A child and the thread that waits for it.

use std::io;
use std::os::fd::OwnedFd;
use std::process::{Command, ExitStatus};
use std::thread::JoinHandle;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::sync::watch;

/// A running child. Dropping it kills the child and waits until it is gone.
#[derive(Debug)]
pub struct Watched {
    pid: u32,
    handle: OwnedFd,
    exit: watch::Receiver<Option<ExitStatus>>,
    waiter: Option<JoinHandle<()>>,
}

impl Watched {
    /// Starts `command` from a thread that lives as long as the child.
    ///
    /// For the child's output give it the writing end of [`std::io::pipe`]; `Stdio::piped` would end up in the
    /// thread, where nobody reads it.
    ///
    /// The call blocks until the child is started (a millisecond).
    pub fn spawn(mut command: Command) -> io::Result<Self> {
        let (started, start) = std::sync::mpsc::sync_channel(1);
        let (ended, exit) = watch::channel(None);
        let waiter =
            std::thread::Builder::new().name("child".into()).stack_size(256 * 1024).spawn(move || {
                let mut child = match command.spawn() {
                    Ok(child) => child,
                    Err(error) => {
                        // Nobody listens only when the caller itself has gone.
                        let _ = started.send(Err(error));
                        return;
                    }
                };
                // Its ends of pipes are the child's now: a reader sees the end when the child has ended.
                drop(command);
                let pid = child.id();
                // The child can not be reaped before the `wait` below, so its id is its own here.
                let handle = i32::try_from(pid)
                    .ok()
                    .and_then(Pid::from_raw)
                    .ok_or(rustix::io::Errno::SRCH)
                    .and_then(|pid| pidfd_open(pid, PidfdFlags::empty()));
                match handle {
                    Ok(handle) => drop(started.send(Ok((pid, handle)))),
                    Err(errno) => {
                        let _ = child.kill();
                        let _ = child.wait();
                        let _ = started.send(Err(errno.into()));
                        return;
                    }
                }
                // It fails only for a child that is no child of ours.
                let status = child.wait().unwrap_or_default();
                let _ = ended.send(Some(status));
            })?;
        let (pid, handle) =
            start.recv().map_err(|_| io::Error::other("the thread that starts the child ended"))??;
        Ok(Self { pid, handle, exit, waiter: Some(waiter) })
    }

    /// The child's process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Its exit status, once it has one.
    pub fn status(&self) -> Option<ExitStatus> {
        *self.exit.borrow()
    }

    /// Waits until it has ended. It may be called by several at once, and cancelled.
    pub fn ended(&self) -> impl Future<Output = ExitStatus> + Send + use<> {
        let mut exit = self.exit.clone();
        async move {
            match exit.wait_for(Option::is_some).await {
                Ok(status) => status.unwrap_or_default(),
                // The waiting thread always reports before it ends.
                Err(_) => ExitStatus::default(),
            }
        }
    }

    /// Sends a signal to this very child, never to another that got its id.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        match pidfd_send_signal(&self.handle, signal) {
            // It has ended already.
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Asks it to end (SIGTERM), and kills it after `grace`.
    pub async fn stop(&self, grace: std::time::Duration) -> ExitStatus {
        let asked = self.signal(Signal::TERM);
        if asked.is_ok()
            && let Ok(status) = tokio::time::timeout(grace, self.ended()).await
        {
            return status;
        }
        tracing::warn!(pid = self.pid, "the child did not end when asked: killed");
        if let Err(error) = self.signal(Signal::KILL) {
            tracing::error!(pid = self.pid, %error, "the child can not be killed");
        }
        self.ended().await
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if self.status().is_none() {
            // There is nobody left to tell.
            let _ = self.signal(Signal::KILL);
        }
        if let Some(waiter) = self.waiter.take() {
            let _ = waiter.join();
        }
    }
}
