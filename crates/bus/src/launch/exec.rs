//! The half that runs in the child: apply the options to this very process, become the command.

use std::convert::Infallible;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{Pid, Resource, Rlimit, Signal};
use rustix::thread::{CapabilitySet, CapabilitySets};

/// Applies the options in `args` to this process, then becomes the command after `--`.
///
/// The options: `--pdeathsig KILL|TERM`, `--parent PID` (ends when that is no longer the parent),
/// `--rlimit NAME=VALUE`, `--no-new-privs`, `--drop-caps`. It must be called before the process
/// has other threads: capabilities belong to a thread.
///
/// It returns only with an error: the process is the command otherwise.
pub fn exec(args: impl IntoIterator<Item = OsString>) -> Result<Infallible, LaunchError> {
    let mut args = args.into_iter();
    let mut plan = Plan::default();
    loop {
        let option = args.next().ok_or(LaunchError::NoCommand)?;
        match option.to_str() {
            Some("--") => break,
            Some("--pdeathsig") => plan.death_signal = Some(signal(&value(&mut args)?)?),
            Some("--parent") => plan.parent = Some(number(&value(&mut args)?)?),
            Some("--rlimit") => plan.rlimits.push(rlimit(&value(&mut args)?)?),
            Some("--no-new-privs") => plan.no_new_privs = true,
            Some("--drop-caps") => plan.drop_capabilities = true,
            _ => return Err(LaunchError::Option(option)),
        }
    }
    let program = args.next().ok_or(LaunchError::NoCommand)?;
    plan.apply()?;
    let source = Command::new(&program).args(args).exec();
    Err(LaunchError::Exec { program, source })
}

#[derive(Default)]
struct Plan {
    death_signal: Option<Signal>,
    parent: Option<u32>,
    rlimits: Vec<(Resource, u64)>,
    no_new_privs: bool,
    drop_capabilities: bool,
}

impl Plan {
    fn apply(&self) -> Result<(), LaunchError> {
        if let Some(signal) = self.death_signal {
            rustix::process::set_parent_process_death_signal(Some(signal))
                .map_err(|errno| refused("the death signal", errno))?;
        }
        // Asked after the signal is set: a parent that died before is noticed here, one that dies
        // later by the signal.
        if let Some(parent) = self.parent {
            let now = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get());
            if now.and_then(|pid| u32::try_from(pid).ok()) != Some(parent) {
                return Err(LaunchError::Orphan);
            }
        }
        for &(resource, limit) in &self.rlimits {
            lower(resource, limit)?;
        }
        if self.drop_capabilities {
            drop_capabilities().map_err(|errno| refused("dropping capabilities", errno))?;
        }
        if self.no_new_privs {
            rustix::thread::set_no_new_privs(true).map_err(|errno| refused("no_new_privs", errno))?;
        }
        Ok(())
    }
}

/// A limit may be lowered by anyone and raised by root alone: a hard limit that is lower already
/// stays.
fn lower(resource: Resource, limit: u64) -> Result<(), LaunchError> {
    let hard = rustix::process::getrlimit(resource).maximum;
    let limit = hard.map_or(limit, |hard| hard.min(limit));
    let limits = Rlimit { current: Some(limit), maximum: Some(limit) };
    rustix::process::setrlimit(resource, limits).map_err(|errno| refused("a limit", errno))
}

/// Ambient, bounding, then the three sets: without the bounding set a program with file
/// capabilities would bring them back.
fn drop_capabilities() -> Result<(), rustix::io::Errno> {
    use rustix::thread;

    thread::clear_ambient_capability_set()?;
    for bit in 0..u64::BITS {
        let Some(capability) = CapabilitySet::from_bits(1 << bit) else {
            continue;
        };
        match thread::capability_is_in_bounding_set(capability) {
            // The kernel knows no capability from here on.
            Err(_) => break,
            Ok(false) => {}
            // Without CAP_SETPCAP it stays; with the other sets empty and no_new_privs it is
            // never used.
            Ok(true) => match thread::remove_capability_from_bounding_set(capability) {
                Ok(()) | Err(rustix::io::Errno::PERM) => {}
                Err(errno) => return Err(errno),
            },
        }
    }
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    thread::set_capabilities(None::<Pid>, none)
}

fn value(args: &mut impl Iterator<Item = OsString>) -> Result<String, LaunchError> {
    let value = args.next().ok_or(LaunchError::NoCommand)?;
    value.into_string().map_err(LaunchError::Option)
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, LaunchError> {
    text.parse().map_err(|_| LaunchError::Option(text.into()))
}

fn signal(name: &str) -> Result<Signal, LaunchError> {
    match name {
        "KILL" => Ok(Signal::KILL),
        "TERM" => Ok(Signal::TERM),
        _ => Err(LaunchError::Option(name.into())),
    }
}

fn rlimit(text: &str) -> Result<(Resource, u64), LaunchError> {
    let unknown = || LaunchError::Option(text.into());
    let (name, limit) = text.split_once('=').ok_or_else(unknown)?;
    let resource = match name {
        "as" => Resource::As,
        "core" => Resource::Core,
        "cpu" => Resource::Cpu,
        "data" => Resource::Data,
        "fsize" => Resource::Fsize,
        "memlock" => Resource::Memlock,
        "nofile" => Resource::Nofile,
        "nproc" => Resource::Nproc,
        "stack" => Resource::Stack,
        _ => return Err(unknown()),
    };
    Ok((resource, number(limit)?))
}

fn refused(what: &'static str, errno: rustix::io::Errno) -> LaunchError {
    LaunchError::Refused { what, source: errno.into() }
}

/// Why the process did not become the command.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LaunchError {
    /// No `--`, or nothing after it, or an option without its value.
    #[error("no command to launch")]
    NoCommand,
    /// An option or a value that is not known.
    #[error("unknown option or value {0:?}")]
    Option(OsString),
    /// The parent died before the child could ask to die with it.
    #[error("the parent is gone")]
    Orphan,
    /// The kernel refused.
    #[error("the system refused {what}")]
    Refused {
        /// What was asked.
        what: &'static str,
        /// Its answer.
        source: io::Error,
    },
    /// The command can not be executed.
    #[error("{program:?} can not be executed")]
    Exec {
        /// The program.
        program: OsString,
        /// Why.
        source: io::Error,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refuse(args: &[&str]) -> LaunchError {
        exec(args.iter().map(OsString::from)).unwrap_err()
    }

    #[test]
    fn nothing_is_executed_when_an_option_is_wrong() {
        assert!(matches!(refuse(&[]), LaunchError::NoCommand));
        assert!(matches!(refuse(&["--"]), LaunchError::NoCommand));
        assert!(matches!(refuse(&["--pdeathsig"]), LaunchError::NoCommand));
        for args in [
            &["--pdeathsig", "HUP", "--", "true"][..],
            &["--rlimit", "files=3", "--", "true"],
            &["--rlimit", "nofile=many", "--", "true"],
            &["--rlimit", "nofile", "--", "true"],
            &["--parent", "me", "--", "true"],
            &["--verbose", "--", "true"],
            &["true"],
        ] {
            assert!(matches!(refuse(args), LaunchError::Option(_)), "{args:?}");
        }
        assert!(matches!(refuse(&["--parent", "999999999", "--", "true"]), LaunchError::Orphan));
    }
}
