//! The subcommands, a file each.

pub(crate) mod anchor;
pub(crate) mod cancel;
pub(crate) mod completions;
pub(crate) mod creds;
pub(crate) mod doctor;
pub(crate) mod kind;
pub(crate) mod kinds;
pub(crate) mod lab;
pub(crate) mod ledger;
pub(crate) mod measurements;
pub(crate) mod module;
pub(crate) mod modules;
pub(crate) mod mux;
pub(crate) mod node;
pub(crate) mod open;
pub(crate) mod remote;
pub(crate) mod results;
pub(crate) mod roles;
pub(crate) mod run;
pub(crate) mod schema;
pub(crate) mod select;
pub(crate) mod top;
pub(crate) mod up;
pub(crate) mod vps;
pub(crate) mod warts;
pub(crate) mod watch;
pub(crate) mod why;

use tokio::runtime::LocalOptions;

use crate::args::Command;
use crate::failure::{Exit, Failure};
use crate::session::Session;

/// Does what the command line says.
pub(crate) fn run_command(session: &mut Session, command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Up(args) => up::run(session, &args),
        Command::Anchor(args) => anchor::run(session, &args),
        Command::Node(args) => node::run(session, &args),
        Command::Module(args) => module::run(session, args),
        Command::Run(args) => in_runtime(run::run(session, &args)),
        Command::Open(args) => in_runtime(open::run(session, &args)),
        Command::Vps(args) => in_runtime(vps::run(session, &args)),
        Command::Kinds(args) => in_runtime(kinds::run(session, &args)),
        Command::Modules(args) => in_runtime(modules::run(session, &args)),
        Command::Measurements(args) => in_runtime(measurements::run(session, &args)),
        Command::Results(args) => in_runtime(results::run(session, &args)),
        Command::Ledger(args) => in_runtime(ledger::run(session, &args)),
        Command::Why(args) => in_runtime(why::run(session, &args)),
        Command::Watch(args) => in_runtime(watch::run(session, &args)),
        Command::Top(args) => in_runtime(top::run(session, &args)),
        Command::Cancel(args) => in_runtime(cancel::run(session, &args)),
        Command::Select(args) => in_runtime(select::run(session, &args)),
        Command::Doctor(args) => doctor::run(session, &args),
        Command::Lab(args) => lab::run(session, args),
        Command::Warts(args) => warts::run(session, args),
        Command::Mux(args) => mux::run(session, &args),
        Command::Remote(args) => remote::run(session, &args),
        Command::Schema(args) => in_runtime(schema::run(session, &args)),
        Command::Creds(args) => creds::run(session, args),
        Command::Completions(args) => completions::run(session, &args),
    }
}

/// Runs a command on a runtime of one thread.
pub(crate) fn in_runtime<F>(command: F) -> Result<Exit, Failure>
where
    F: Future<Output = Result<Exit, Failure>>,
{
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build_local(LocalOptions::default())?.block_on(command)
}

/// What a role does, as a task: the future that the runtime itself waits for asks the system for news at each wake.
pub(crate) async fn as_task<T: 'static>(role: impl Future<Output = T> + 'static) -> T {
    match tokio::task::spawn_local(role).await {
        Ok(ended) => ended,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
