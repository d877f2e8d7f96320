//! `mmn lab exec VP -- PROGRAM`: any program, at a vantage point.
//!
//! The lab hands out the network; this process enters it and starts the program as its own child, so that terminal,
//! signals and exit status are what they are without a lab.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use clap::Args as ClapArgs;
use mmn_lab::host::{Client, first};

use super::started::Started;
use super::{DirArgs, read};
use crate::args::absolute;
use crate::failure::{Exit, Failure};
use crate::session::Session;
use crate::up::role::SELF;

/// `mmn lab exec`
#[derive(Debug, ClapArgs)]
#[command(
    after_help = "Examples:\n  mmn lab exec ams1 -- mtr --report 198.18.16.1\n  mmn lab exec --lab examples/lab/chain.toml vp -- ping -c 3 198.18.16.1"
)]
pub(super) struct Args {
    /// The name of the vantage point
    #[arg(value_name = "VP")]
    vp: String,
    /// The program and its arguments
    #[arg(last = true, required = true, value_name = "PROGRAM")]
    program: Vec<OsString>,
    /// Run a lab of this file for as long as the program runs
    #[arg(long, value_name = "FILE", conflicts_with = "dir", value_parser = absolute())]
    lab: Option<PathBuf>,
    #[command(flatten)]
    dir: DirArgs,
}

pub(super) fn run(session: &mut Session, args: &Args) -> Result<Exit, Failure> {
    let Some(file) = &args.lab else {
        return in_lab(&mut args.dir.client(session)?, args);
    };
    let plan = read(session, file)?;
    if plan.vp(&args.vp).is_none() {
        let names: Vec<_> = plan.vps.iter().take(8).map(|vp| plan.name(vp.node)).collect();
        return Err(Failure::misused(format!("{} has no vantage point {}", file.display(), args.vp))
            .hint(format!("it has {}", names.join(", "))));
    }
    drop(plan);
    let dir = tempfile::Builder::new().prefix("mmn-lab-").tempdir()?;
    let mut lab = Started::new(file, dir.path())?;
    let mut client = Client::connect(dir.path())?;
    let exit = in_lab(&mut client, args);
    // It may have ended by itself, which is told already.
    let _ = client.end();
    lab.child.wait()?;
    exit
}

fn in_lab(client: &mut Client, args: &Args) -> Result<Exit, Failure> {
    let (about, inside) = (client.about()?, client.network(&args.vp)?);
    let names = about.resolv_conf.as_ref().map(Path::new);
    inside
        .enter(names)
        .map_err(|error| Failure::new(format!("the vantage point's network can not be entered: {error}")))?;
    let mut command = Command::new(SELF);
    command.args(["lab", "first", "--"]).args(&args.program);
    if let Some(authority) = &about.authority {
        // By these OpenSSL's users and curl know whom to trust.
        for name in ["SSL_CERT_FILE", "CURL_CA_BUNDLE"] {
            command.env(name, authority);
        }
    }
    let mut child = inside
        .spawn(&mut command)
        .map_err(|error| Failure::new(format!("no process can be started in the lab: {error}")))?;
    match client.wait_for(&mut child)? {
        Some(status) => Ok(Exit::Program(code(status))),
        None => Err(Failure::new("the lab has ended, and with it the program")),
    }
}

/// `mmn lab first`: the first process of a program's namespace.
#[derive(Debug, ClapArgs)]
pub(super) struct FirstArgs {
    /// The program and its arguments
    #[arg(last = true, required = true, value_name = "PROGRAM")]
    program: Vec<OsString>,
}

pub(super) fn run_first(args: &FirstArgs) -> Result<Exit, Failure> {
    let Some((program, arguments)) = args.program.split_first() else {
        return Err(Failure::misused("no program to run"));
    };
    let status = first(Command::new(program).args(arguments)).map_err(|error| {
        let failure = Failure::new(format!("{} can not be run: {error}", Path::new(program).display()));
        if error.kind() == std::io::ErrorKind::NotFound { failure.hint("is it installed?") } else { failure }
    })?;
    Ok(Exit::Program(code(status)))
}

/// As shells tell it.
fn code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    u8::try_from(code).unwrap_or(1)
}
