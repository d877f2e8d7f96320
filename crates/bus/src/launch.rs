//! Starts a child so that it dies with its parent and holds no privilege.
//!
//! Two halves. In the parent, a [`Launcher`] builds the command line: the path of a program whose
//! hidden subcommand calls [`exec`], this module's options, `--`, the child's own command. In the
//! child, [`exec`] applies the options to itself and becomes the command. No code runs between
//! `fork` and `exec`, so nothing here is `unsafe`.
//!
//! [`Watched`] is a child with a thread of its own that waits for it. Linux sends the death signal
//! when the *thread* that started the child ends, so a child started from a pool of threads would
//! die with its worker; here the thread lives exactly as long as the child.

mod exec;
mod watched;

use std::ffi::{OsStr, OsString};
use std::process::Command;

pub use exec::{LaunchError, exec};
pub use watched::Watched;

/// How a child is started: through a program that calls [`exec`], or directly.
#[derive(Debug, Clone, Default)]
pub struct Launcher {
    argv_prefix: Vec<OsString>,
    understands_options: bool,
}

/// What a child is confined to.
#[derive(Debug, Clone, Default)]
pub struct Confinement {
    /// The signal it gets when its parent dies.
    pub death_signal: Option<DeathSignal>,
    /// Limits, soft and hard at once, by the names of `ulimit`'s resources: `nofile`, `as`,
    /// `core`, `nproc`, `fsize`, `data`, `stack`, `cpu`, `memlock`.
    pub rlimits: Vec<(String, u64)>,
    /// It can never gain privileges by executing a file.
    pub no_new_privs: bool,
    /// It has no capability, and none can come back.
    pub drop_capabilities: bool,
}

/// What a child is told when its parent dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeathSignal {
    /// It ends at once.
    Kill,
    /// It may end in order.
    Term,
}

impl Launcher {
    /// Starts children through a program that calls [`exec`] with the arguments after
    /// `argv_prefix`, which is the program and its first arguments (`mmn`, say, and the name of
    /// its hidden subcommand).
    pub fn new<I>(argv_prefix: I) -> Self
    where
        I: IntoIterator<Item: Into<OsString>>,
    {
        Self { argv_prefix: argv_prefix.into_iter().map(Into::into).collect(), understands_options: true }
    }

    /// Starts children directly, without any of [`Confinement`].
    pub fn direct() -> Self {
        Self::default()
    }

    /// Starts children through a program that takes only `--` and the command (`setpriv`), without
    /// any of [`Confinement`].
    #[cfg(feature = "testing")]
    pub(crate) fn wrapping<'a>(argv: impl IntoIterator<Item = &'a OsStr>) -> Self {
        Self { argv_prefix: argv.into_iter().map(OsStr::to_owned).collect(), understands_options: false }
    }

    /// The command that starts `program`; arguments are appended by the caller.
    pub fn command(&self, program: &OsStr, confinement: &Confinement) -> Command {
        let Some((launcher, first)) = self.argv_prefix.split_first() else {
            return Command::new(program);
        };
        let mut command = Command::new(launcher);
        command.args(first);
        if !self.understands_options {
            command.arg("--").arg(program);
            return command;
        }
        if let Some(signal) = confinement.death_signal {
            let name = match signal {
                DeathSignal::Kill => "KILL",
                DeathSignal::Term => "TERM",
            };
            command.args(["--pdeathsig", name, "--parent"]);
            command.arg(std::process::id().to_string());
        }
        for (resource, limit) in &confinement.rlimits {
            command.arg("--rlimit").arg(format!("{resource}={limit}"));
        }
        if confinement.no_new_privs {
            command.arg("--no-new-privs");
        }
        if confinement.drop_capabilities {
            command.arg("--drop-caps");
        }
        command.arg("--").arg(program);
        command
    }
}
