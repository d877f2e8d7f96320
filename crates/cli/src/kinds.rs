//! The kinds that this build knows, and those that only the network knows.

use std::collections::BTreeMap;

use clap::{ArgMatches, Args as _, Command};
use mmn_schema::announce::{KindInfo, SummaryField};
use mmn_schema::body::Body;
use serde_json::Value;

use crate::args::{ApiArgs, MeasureArgs};
use crate::failure::Failure;
use crate::params::{self, Param};

/// The kinds that this build was made with, by name.
pub(crate) fn built_in() -> Vec<KindInfo> {
    mmn_modules::CATALOGUE.iter().map(|kind| (kind.info)()).collect()
}

/// The numbers of a kind that this build was made with.
pub(crate) fn summary(name: &str) -> Vec<SummaryField> {
    let known = mmn_modules::CATALOGUE.iter().find(|kind| kind.name == name);
    known.map(|kind| (kind.info)().summary).unwrap_or_default()
}

/// The subcommand of a kind: its parameters as flags, and what all measurements have.
pub(crate) fn command(kind: &KindInfo) -> Command {
    let common = |command| ApiArgs::augment_args(MeasureArgs::augment_args(command));
    let bare = common(Command::new("bare"));
    let taken = bare.get_arguments().filter_map(|arg| arg.get_long().map(str::to_owned));
    let taken: Vec<String> = taken.chain(["help", "version", "data"].map(str::to_owned)).collect();
    let params = params::of_schema(kind.params.as_value());
    let flags = params.iter().map(|param| param.arg(&taken, short(kind.name.as_str(), &param.flag())));
    let command = common(Command::new(kind.name.to_string()).args(flags))
        .about(kind.description.trim_end_matches('.').to_owned())
        .long_about(None)
        .after_help(EXIT_HELP);
    // Kinds that have no time-out of their own take the word for the deadline of the task.
    let has_timeout = params.iter().any(|param| param.flag() == "timeout");
    if has_timeout { command } else { command.mut_arg("deadline", |arg| arg.visible_alias("timeout")) }
}

/// The parameters that a kind's subcommand was given.
pub(crate) fn params_of(kind: &KindInfo, matches: &ArgMatches) -> Result<BTreeMap<String, Value>, Failure> {
    let mut object = BTreeMap::new();
    for param in params::of_schema(kind.params.as_value()) {
        if let Some(value) = param.given_in(matches).map_err(Failure::misused)? {
            params::place(&mut object, &param.path, value);
        }
    }
    Ok(object)
}

/// Checks parameters as the kind itself does, so that a mistake is told before anything is asked for.
pub(crate) fn check(kind: &KindInfo, params: &BTreeMap<String, Value>) -> Result<(), Failure> {
    let Some(known) = mmn_modules::KINDS.iter().find(|known| known.name() == kind.name.as_str()) else {
        return Ok(());
    };
    let body = Body::of(params).map_err(Failure::misused)?;
    match known.prepare(&body) {
        Ok(_) => Ok(()),
        Err(failure) => {
            let why = failure.reason.detail.unwrap_or_else(|| failure.reason.code.into_owned());
            Err(Failure::misused(why).hint(format!("`mmn {} --help` describes the parameters", kind.name)))
        }
    }
}

/// The parameters that `--set NAME=VALUE` gives, by the schema that the kind has in the network.
pub(crate) fn params_set(kind: &KindInfo, settings: &[String]) -> Result<BTreeMap<String, Value>, Failure> {
    let known = params::of_schema(kind.params.as_value());
    let mut object = BTreeMap::new();
    for setting in settings {
        let (name, text) = setting
            .split_once('=')
            .ok_or_else(|| Failure::misused(format!("--set {setting}: it is NAME=VALUE")))?;
        let Some(param) = known.iter().find(|param| param.is_named(name)) else {
            let names: Vec<_> = known.iter().map(Param::name).collect();
            return Err(Failure::misused(format!("--set {setting}: {} has no parameter {name}", kind.name))
                .hint(format!("it has {}", names.join(", "))));
        };
        let value = param.parse(text).map_err(|error| Failure::misused(format!("--set {error}")))?;
        params::place(&mut object, &param.path, value);
    }
    for param in known.iter().filter(|param| param.is_required() && param.path.len() == 1) {
        if !object.contains_key(&param.name()) {
            return Err(Failure::misused(format!("{} wants --set {}=…", kind.name, param.name())));
        }
    }
    Ok(object)
}

const EXIT_HELP: &str = "\
Exit status: 0 when every task is ok and something answered, 1 when not, 2 when misused.";

/// The letters that people of the field expect.
fn short(kind: &str, flag: &str) -> Option<char> {
    match (kind, flag) {
        ("ping" | "udp", "count") => Some('c'),
        ("ping", "interval") => Some('i'),
        ("ping", "size") => Some('s'),
        ("ping", "ttl") | ("dns", "type" | "qtype") => Some('t'),
        ("ping", "timeout") => Some('W'),
        ("ping", "pattern") | ("udp" | "tcp" | "trace" | "multipath", "port") => Some('p'),
        ("ping", "tos") => Some('Q'),
        ("trace" | "multipath", "max-ttl") => Some('m'),
        ("trace" | "multipath", "attempts") => Some('q'),
        ("trace" | "multipath", "timeout") => Some('w'),
        ("http", "method") => Some('X'),
        _ => None,
    }
}
