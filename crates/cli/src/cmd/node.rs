//! `mmn node`: the modules of a vantage point.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::Args as ClapArgs;
use mmn_bus::connect::Tls;
use mmn_modules::KINDS;
use mmn_node::policy::Policy;
use mmn_node::{Builtin, Config, DEFAULT_SILENCE, Place};
use mmn_schema::subject::Prefix;
use tokio::sync::oneshot;

use super::roles::{NatsArgs, RoleArgs, failed};
use crate::args::absolute;
use crate::failure::{Exit, Failure};
use crate::lab;
use crate::session::Session;
use crate::up::role::{self, ReadyLine};

/// `mmn node`
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Its directory: node.toml, policy.toml, modules.d/ [default: node/ in the data directory]
    #[arg(long, value_name = "DIR", value_parser = absolute())]
    dir: Option<PathBuf>,
    /// The name of the vantage point where no node.toml says it [default: the host's name]
    #[arg(long)]
    name: Option<String>,
    /// Allow this host's own addresses as targets where no policy.toml says otherwise
    #[arg(long)]
    allow_loopback: bool,
    /// Be the vantage points of a simulated world instead, that this TOML file describes; of --dir and --creds each has a
    /// directory with its name
    #[arg(long, value_name = "FILE", value_parser = absolute(), conflicts_with_all = ["name", "allow_loopback"])]
    lab: Option<PathBuf>,
    /// The directory of the lab that runs this file in network namespaces (`mmn lab run`); without it the world is in this
    /// process
    #[arg(long, value_name = "DIR", value_parser = absolute(), requires = "lab")]
    lab_dir: Option<PathBuf>,
    /// Why it is there
    #[arg(long, value_name = "WORDS", hide = true, requires = "lab")]
    lab_why: Option<String>,
    #[command(flatten)]
    role: RoleArgs,
    #[command(flatten)]
    nats: NatsArgs,
}

pub(crate) fn run(session: &mut Session, args: &Args) -> Result<Exit, Failure> {
    args.role.begin()?;
    let dir = match &args.dir {
        Some(dir) => dir.clone(),
        None => session.data_dir()?.join("node"),
    };
    let (urls, creds) = args.nats.required()?;
    if let Some(file) = &args.lab {
        let base = config(dir, urls, creds, args.nats.tls());
        return lab::serve(
            session,
            &args.role,
            &base,
            file,
            args.lab_dir.as_deref(),
            args.lab_why.as_deref(),
        );
    }
    let mut config = config(dir, urls, creds, args.nats.tls());
    config.policy.allow_loopback = args.allow_loopback;
    if let Some(name) = &args.name {
        name_place(&mut config, name)?;
    }
    serve(session, &args.role, config)
}

/// How this program's allocator is told, in a module's process, to give back what a measurement took when it is over: within a
/// second, by a thread of its own, since a module that only waits for the network asks nothing of it
/// ([why](../../../../docs/decisions/0014-an-allocator-of-its-own.md)).
const ALLOCATOR: [(&str, &str); 1] =
    [("_RJEM_MALLOC_CONF", "background_thread:true,dirty_decay_ms:1000,muzzy_decay_ms:0")];

/// A node with all modules of this program.
pub(crate) fn config(dir: PathBuf, urls: Vec<String>, creds: PathBuf, tls: Tls) -> Config {
    Config {
        dir,
        creds,
        urls,
        tls,
        prefix: Prefix::default(),
        launcher: role::launcher(),
        module_command: vec![OsString::from(role::SELF), "module".into()],
        module_env: ALLOCATOR.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        builtins: Builtin::all_of(KINDS),
        policy: Policy::default(),
        place: Place::default(),
        watch: true,
        silence: DEFAULT_SILENCE,
        elsewhere: None,
    }
}

/// Runs a node until it is told to end.
pub(crate) fn serve(session: &mut Session, role: &RoleArgs, config: Config) -> Result<Exit, Failure> {
    super::in_runtime(async {
        let shutdown = role.shutdown()?;
        let (ready, is_ready) = oneshot::channel();
        let mut running = Box::pin(super::as_task(mmn_node::run(config, ready, shutdown)));
        let ended = tokio::select! {
            ended = &mut running => ended,
            told = is_ready => {
                if let Ok(ready) = told {
                    let words = format!("the node of vantage point {} is up", ready.vp);
                    let line = ReadyLine { vp: Some(ready.vp.to_string()), ..ReadyLine::default() };
                    role.ready(&mut session.printer, &line, &words)?;
                }
                running.await
            }
        };
        ended.map(|()| Exit::Good).map_err(|error| failed(&error))
    })
}

/// A name that is given must not silently lose against the file's.
fn name_place(config: &mut Config, name: &str) -> Result<(), Failure> {
    let file = config.dir.join("node.toml");
    let place = Place::read(&file, &config.place).map_err(|error| failed(&error))?;
    if Path::exists(&file) && place.name != name {
        return Err(Failure::misused(format!("{} says that the name is {:?}", file.display(), place.name))
            .hint("change it there, or leave --name out"));
    }
    name.clone_into(&mut config.place.name);
    Ok(())
}
