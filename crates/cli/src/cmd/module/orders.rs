//! Orders to the node of a vantage point, through the API.

use std::path::{Path, PathBuf};

use clap::Args as ClapArgs;
use mmn_client::Client;
use mmn_schema::announce::ModuleStatus;
use mmn_schema::control::{NodeAnswer, NodeOrder};
use mmn_schema::id::InstanceId;

use super::{manifest, python};
use crate::args::ApiArgs;
use crate::cmd::modules;
use crate::failure::{Exit, Failure};
use crate::session::{self, Session};
use crate::table::{self, Cell, Column, Row};

/// At which vantage point.
#[derive(Debug, ClapArgs)]
pub(super) struct VpArgs {
    /// The vantage point, by name or id [default: the only one]
    #[arg(long, value_name = "VP")]
    vp: Option<String>,
    /// Print the node's answer as the API gives it
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    api: ApiArgs,
}

/// `mmn module list`
#[derive(Debug, ClapArgs)]
pub(super) struct ListArgs {
    #[command(flatten)]
    at: VpArgs,
}

/// `mmn module add`
#[derive(Debug, ClapArgs)]
pub(super) struct AddArgs {
    /// The module's name; or a file of Python that runs `mmn.module`, whose name without `.py` becomes the module's
    #[arg(value_name = "NAME|FILE.py")]
    name: String,
    /// Its manifest (TOML)
    #[arg(long, short, value_name = "FILE")]
    manifest: Option<PathBuf>,
    /// The Python that runs the file [default: that of the active virtual environment or beside this program, else
    /// `python3`]
    #[arg(long, value_name = "PROGRAM", conflicts_with_all = ["manifest", "command"])]
    python: Option<PathBuf>,
    /// Its command, instead of a manifest
    #[arg(last = true, value_name = "COMMAND", conflicts_with = "manifest")]
    command: Vec<String>,
    #[command(flatten)]
    at: VpArgs,
}

/// `mmn module remove`
#[derive(Debug, ClapArgs)]
pub(super) struct NameArgs {
    /// The module's name
    name: String,
    #[command(flatten)]
    at: VpArgs,
}

/// `mmn module drain`, `mmn module restart`
#[derive(Debug, ClapArgs)]
pub(super) struct InstanceArgs {
    /// The module's name
    name: String,
    /// Only this instance
    #[arg(long, value_name = "ID", value_parser = instance)]
    instance: Option<InstanceId>,
    #[command(flatten)]
    at: VpArgs,
}

pub(super) async fn list(session: &mut Session, args: &ListArgs) -> Result<Exit, Failure> {
    order(session, &args.at, NodeOrder::List).await
}

pub(super) async fn add(session: &mut Session, args: &AddArgs) -> Result<Exit, Failure> {
    let script = python::Script::named(&args.name);
    let (text, beside) = match &args.manifest {
        None if args.command.is_empty() => {
            let Some(script) = &script else {
                return Err(Failure::misused(format!(
                    "{}: no file of Python, and what runs is not said",
                    args.name
                ))
                .hint("--manifest FILE, or `-- COMMAND…`, says what runs"));
            };
            (script.manifest(args.python.as_deref())?, std::env::current_dir()?)
        }
        Some(path) => {
            let wrong = |error| Failure::misused(format!("{}: {error}", path.display()));
            let beside = std::path::absolute(path).map_err(wrong)?;
            let text = std::fs::read_to_string(path).map_err(wrong)?;
            (text, beside.parent().map(Path::to_owned).unwrap_or_default())
        }
        None => (manifest_of(&args.command), std::env::current_dir()?),
    };
    let (manifest, made) = manifest::anchored(&text, &beside);
    // Only this machine's own node is known to have the same files.
    if let Some(path) = made.first().filter(|_| args.at.vp.is_some() || args.at.api.api.is_some()) {
        return Err(Failure::misused(format!(
            "{} is here, and the node may be on another machine",
            path.display()
        ))
        .hint("name files by absolute paths, as the node's machine has them"));
    }
    for path in made {
        session.printer.faint(&format!("the module gets {}", path.display()));
    }
    let name = match script {
        Some(script) if args.manifest.is_none() && args.command.is_empty() => script.module,
        _ => args.name.clone(),
    };
    order(session, &args.at, NodeOrder::Add { name, manifest }).await
}

pub(super) async fn remove(session: &mut Session, args: &NameArgs) -> Result<Exit, Failure> {
    order(session, &args.at, NodeOrder::Remove { name: args.name.clone() }).await
}

pub(super) async fn drain(session: &mut Session, args: &InstanceArgs) -> Result<Exit, Failure> {
    let order_ = NodeOrder::Drain { name: args.name.clone(), instance: args.instance.clone() };
    order(session, &args.at, order_).await
}

pub(super) async fn restart(session: &mut Session, args: &InstanceArgs) -> Result<Exit, Failure> {
    let order_ = NodeOrder::Restart { name: args.name.clone(), instance: args.instance.clone() };
    order(session, &args.at, order_).await
}

async fn order(session: &mut Session, at: &VpArgs, order: NodeOrder) -> Result<Exit, Failure> {
    let client = session.client(&at.api)?;
    let vp = match &at.vp {
        Some(vp) => vp.clone(),
        None => only_vp(&client).await?,
    };
    let answer = client.order(&vp, &order).await?;
    if at.json {
        session.printer.json(&answer)?;
        return Ok(Exit::of(matches!(answer, NodeAnswer::Done { .. })));
    }
    match answer {
        NodeAnswer::Refused { reason } => Err(Failure::new(format!("the node declines: {reason}"))),
        NodeAnswer::Done { modules } => {
            let columns = vec![
                Column::left("MODULE"),
                Column::left("STATE"),
                Column::right("RESTARTS"),
                Column::left("INSTANCES").shrinks_to(12),
                Column::left("WHY").shrinks_to(12).optional(),
            ];
            let rows: Vec<_> = modules.iter().map(row).collect();
            let printer = &mut session.printer;
            printer.lines(&table::lines(columns, &rows, printer.width(), printer.style()))?;
            Ok(Exit::Good)
        }
    }
}

async fn only_vp(client: &Client) -> Result<String, Failure> {
    let vps = session::all(|after| async move { client.vps(after.as_deref()).await }).await?;
    match vps.as_slice() {
        [] => Err(Failure::new("there is no vantage point")),
        [only] => Ok(only.vantage_point.id.to_string()),
        many => Err(Failure::misused(format!("there are {} vantage points", many.len()))
            .hint("--vp VP says which; `mmn vps` lists them")),
    }
}

fn row(module: &ModuleStatus) -> Row {
    let instances: Vec<_> = module.instances.iter().map(ToString::to_string).collect();
    vec![
        Cell::new(module.module.clone()),
        modules::state(module.state),
        module.restarts.to_string().into(),
        instances.join(" ").into(),
        module.detail.clone().unwrap_or_default().into(),
    ]
    .into()
}

/// The manifest of a module that is nothing but a command.
fn manifest_of(command: &[String]) -> String {
    let mut table = toml::Table::new();
    table.insert("command".into(), command.to_vec().into());
    table.to_string()
}

fn instance(text: &str) -> Result<InstanceId, String> {
    text.parse().map_err(|error: mmn_schema::id::IdError| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_becomes_a_manifest() {
        let command = ["python3", "a \"b\".py", "--x"].map(str::to_owned);
        let manifest: toml::Table = manifest_of(&command).parse().unwrap();
        let words: Vec<_> =
            manifest["command"].as_array().unwrap().iter().filter_map(|w| w.as_str()).collect();
        assert_eq!(words, command);
    }
}
