//! A lab for the time of a command.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Stdio};

use mmn_bus::launch::{Confinement, DeathSignal, Launcher};

use crate::failure::Failure;
use crate::up::role::SELF;

/// A lab as a child. It ends with the calling thread at the latest, and removes its directory.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) child: Child,
}

impl Started {
    /// Starts one, and waits until clients can connect. What stands in the way it says on stderr.
    pub(crate) fn new(file: &Path, dir: &Path) -> Result<Self, Failure> {
        let confined = Confinement { death_signal: Some(DeathSignal::Term), ..Confinement::default() };
        let mut command = Launcher::new([SELF, crate::LAUNCH]).command(SELF.as_ref(), &confined);
        command.args(["lab", "run"]).arg(file).arg("--remove-dir").arg("--dir").arg(dir);
        // What the terminal sends is for the program.
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let ready = child.stdout.take().is_some_and(|stdout| {
            BufReader::new(stdout)
                .lines()
                .map_while(Result::ok)
                .any(|line| line.starts_with(super::run::READY))
        });
        if ready {
            return Ok(Self { child });
        }
        child.wait()?;
        Err(Failure::new("there is no lab to run the program in"))
    }
}
