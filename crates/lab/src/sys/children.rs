//! Processes and signals.
#![expect(
    unsafe_code,
    reason = "a death signal is asked for between fork and exec; signals are waited for by the C library"
)]

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::{mem, ptr};

use rustix::process::{Signal, set_parent_process_death_signal};
use rustix::thread::UnshareFlags;

/// Starts a command as the first process of a process namespace of its own: when it ends, or the calling thread does,
/// everything that it started is killed.
pub(crate) fn spawn_first(command: &mut Command) -> io::Result<Child> {
    // SAFETY: a process namespace is for children that are made from now on, and takes nothing from this process.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWPID) }?;
    let die_with_parent = || Ok(set_parent_process_death_signal(Some(Signal::KILL))?);
    // SAFETY: the closure makes a system call and allocates nothing.
    unsafe { command.pre_exec(die_with_parent) }.spawn()
}

/// Runs `work` in a child process, and answers what it answers: at most 4,096 octets. Only what may be done between
/// `fork` and `exec` may be done there, unless this process has one thread.
pub(crate) fn in_a_fork(work: impl FnOnce() -> Vec<u8>) -> io::Result<Vec<u8>> {
    let (mut reader, mut writer) = io::pipe()?;
    // SAFETY: the child makes system calls and uses memory; the C library's allocator and ours are made for that. It
    // never returns from here.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            drop(reader);
            let answer = work();
            let _ = io::Write::write_all(&mut writer, &answer);
            // SAFETY: ends the process at once: what the parent registered for its own end is not for the child.
            unsafe { libc::_exit(0) }
        }
        child => {
            drop(writer);
            let mut answer = Vec::new();
            let read = io::Read::read_to_end(&mut io::Read::take(&mut reader, 4_096), &mut answer);
            // SAFETY: it is our child, and nobody else waits for it; no status is asked for.
            unsafe { libc::waitpid(child, ptr::null_mut(), 0) };
            read.map(|_| answer)
        }
    }
}

/// Signals that ask a process to end.
pub(crate) const ENDING: [libc::c_int; 3] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP];
/// Signals that a terminal sends to all processes of a command at once.
pub(crate) const OF_A_TERMINAL: [libc::c_int; 2] = [libc::SIGINT, libc::SIGQUIT];

/// Keeps signals from the calling thread, and from those that it starts. Programs that it starts get them.
pub(crate) fn hold_signals(signals: &[libc::c_int]) -> io::Result<()> {
    let set = set_of(signals);
    // SAFETY: the set lives through the call; the old one is not asked for.
    let error = unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, ptr::null_mut()) };
    if error == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(error)) }
}

/// Waits for one of [`ENDING`], which are held.
pub(crate) fn wait_for_end() -> io::Result<()> {
    let set = set_of(&ENDING);
    let mut signal = 0;
    // SAFETY: both live through the call.
    let error = unsafe { libc::sigwait(&raw const set, &raw mut signal) };
    if error == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(error)) }
}

fn set_of(signals: &[libc::c_int]) -> libc::sigset_t {
    // SAFETY: a signal set is plain integers, and it is emptied before use; a signal that is none is left out.
    unsafe {
        let mut set = mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for signal in signals {
            libc::sigaddset(&raw mut set, *signal);
        }
        set
    }
}
