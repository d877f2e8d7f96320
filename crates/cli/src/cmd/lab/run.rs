//! `mmn lab run FILE`: a lab in the foreground.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args as ClapArgs;
use mmn_lab::host::{Lab, LabError, launch};
use rustix::process::{Signal, getpid, kill_process};

use super::{DirArgs, count, read, refused};
use crate::args::absolute;
use crate::cmd::roles::RoleArgs;
use crate::failure::{Exit, Failure, chain};
use crate::session::Session;
use crate::up::role::ReadyLine;

/// `mmn lab run`
#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    /// The lab's file
    #[arg(value_name = "FILE", value_parser = absolute())]
    file: PathBuf,
    /// Wait for packets without sleeping: it takes a whole processor, and is exact to some microseconds
    #[arg(long)]
    busy: bool,
    /// Remove the directory afterwards
    #[arg(long, hide = true, requires = "dir")]
    remove_dir: bool,
    #[command(flatten)]
    dir: DirArgs,
    #[command(flatten)]
    role: RoleArgs,
}

/// Ends this process in order when its supervisor does: nothing is ever written there.
fn end_with_stdin() -> Result<(), Failure> {
    let thread = std::thread::Builder::new().name("lifeline".to_owned()).stack_size(64 * 1024);
    let ended = || {
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        // The driver awaits it.
        let _ = kill_process(getpid(), Signal::TERM);
    };
    // It ends with the process.
    Ok(thread.spawn(ended).map(drop)?)
}

/// The last line of what `mmn lab run` says once it runs begins so.
pub(super) const READY: &str = "try ";

pub(super) fn run(session: &mut Session, args: &Args) -> Result<Exit, Failure> {
    if args.role.supervised || args.role.log.is_some() {
        args.role.begin()?;
    }
    let plan = Arc::new(read(session, &args.file)?);
    let first = plan.vps.iter().next().map(|vp| plan.name(vp.node).to_owned());
    let dir = args.dir.path(session)?;
    let lab = Lab { plan: plan.clone(), file: args.file.clone(), dir: dir.clone(), busy: args.busy };
    let is_default = args.dir.dir.is_none() && session.data_dir_is_default();
    let printer = &mut session.printer;
    let mut said = Ok(());
    let ended = launch(&lab, |about| {
        if args.role.supervised {
            said = end_with_stdin().and_then(|()| args.role.ready(printer, &ReadyLine::default(), ""));
            return;
        }
        let target = plan.hosts.iter().find_map(|host| plan.nodes[host.node].addresses.iter().next());
        let target = target.map_or_else(|| "198.18.0.1".to_owned(), |address| address.to_string());
        let vps = count(plan.vps.len(), "vantage point");
        let mut lines = vec![
            format!(
                "lab      {} with {vps}, {} and {}",
                about.file,
                count(plan.routers, "router"),
                count(plan.hosts.len(), "host")
            ),
            format!("driver   {}: {}", about.driver, about.why),
        ];
        if !about.has_ipv6 {
            lines.push("without  IPv6: this kernel has none".to_owned());
        }
        let place = if is_default { String::new() } else { format!(" --dir {}", dir.display()) };
        let vp = first.unwrap_or_else(|| "VP".to_owned());
        lines.push(format!("{READY}     mmn lab exec{place} {vp} -- ping -c 3 {target}"));
        said = printer.lines(&lines).map_err(Failure::from);
    });
    if args.remove_dir {
        // Who gave it may have done so already.
        let _ = std::fs::remove_dir_all(&dir);
    }
    said?;
    match ended {
        Ok(()) => Ok(Exit::Good),
        Err(LabError::Refused(obstacle)) => Err(refused(session, &obstacle)),
        Err(error @ LabError::Busy(_)) => {
            Err(Failure::new(chain(&error)).hint("use that one, or another directory with --dir DIR"))
        }
        Err(error) => Err(Failure::new(chain(&error))),
    }
}
