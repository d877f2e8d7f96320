//! The arguments of the command line. The subcommands of the kinds are made from their schemas (`kinds.rs`).

use std::path::PathBuf;

use clap::builder::{PathBufValueParser, TypedValueParser};
use clap::{Args, Parser, Subcommand};
use mmn_schema::api::Cursor;
use mmn_schema::id::{KindName, TaskId};
use mmn_schema::select::Selection;
use mmn_schema::time::Span;

use crate::cmd;

/// The command line of mmn.
#[derive(Debug, Parser)]
#[command(
    name = "mmn",
    version,
    about = "A modular Internet measurement network: measure from here, or from everywhere",
    after_help = "`mmn up` starts a network on this machine; then, in another terminal, `mmn ping 127.0.0.1`.",
    arg_required_else_help = true,
    subcommand_required = true,
    disable_help_subcommand = true
)]
pub(crate) struct Cli {
    /// The data directory of `mmn up` [default: ~/.local/share/mmn]
    #[arg(long, global = true, value_name = "DIR", env = "MMN_DATA", hide_env = true, value_parser = absolute())]
    pub(crate) data: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start a network on this machine: nats-server, anchor and a node with all built-in modules
    Up(Box<cmd::up::Args>),
    /// Run an anchor: registry, dispatch, ledger and API
    Anchor(Box<cmd::anchor::Args>),
    /// Run a node: the modules of one vantage point
    Node(Box<cmd::node::Args>),
    /// Run modules, or manage those of a vantage point
    Module(cmd::module::Args),
    /// Measure a kind that the network offers, whether or not this program knows it
    Run(cmd::run::Args),
    /// Open the dashboard in a browser, signed in
    Open(cmd::open::Args),
    /// List the vantage points
    Vps(cmd::vps::Args),
    /// List the kinds of measurement
    Kinds(cmd::kinds::Args),
    /// List the instances of modules
    Modules(cmd::modules::Args),
    /// List measurements, or show one
    Measurements(cmd::measurements::Args),
    /// Show the results of a measurement
    Results(cmd::results::Args),
    /// Show the account of a measurement's tasks
    Ledger(cmd::ledger::Args),
    /// Show what happened to a task, or why a measurement ended as it did
    Why(cmd::why::Args),
    /// Watch results, or what happens in the network, as it happens
    Watch(cmd::watch::Args),
    /// Look at the network as it is: vantage points, modules, measurements, live in this terminal
    Top(cmd::top::Args),
    /// Call a measurement off
    Cancel(cmd::cancel::Args),
    /// Show which vantage points a selection matches
    Select(cmd::select::Args),
    /// Find what is missing, and the command that mends it
    Doctor(cmd::doctor::Args),
    /// Live in a simulated Internet: check it, draw it, run it, and programs in it
    Lab(cmd::lab::Args),
    /// Read and write files of scamper's: as JSON, as text, in numbers, as one
    Warts(cmd::warts::Args),
    /// Open sockets on which scamper's clients find the vantage points
    Mux(cmd::mux::Args),
    /// Listen for daemons of scamper: each is a vantage point
    Remote(Box<cmd::remote::Args>),
    /// Print a JSON Schema
    Schema(cmd::schema::Args),
    /// Make credentials and tokens
    Creds(cmd::creds::Args),
    /// Print a completion script for a shell
    Completions(cmd::completions::Args),
}

/// Where the API is. Without any of these: the `mmn up` of the data directory.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Where the API is")]
pub(crate) struct ApiArgs {
    /// The URL of an anchor's API
    #[arg(long, value_name = "URL", env = "MMN_API", hide_env = true)]
    pub(crate) api: Option<String>,
    /// The file with the bearer token
    #[arg(long, value_name = "FILE", env = "MMN_TOKEN_FILE", hide_env = true)]
    pub(crate) token_file: Option<PathBuf>,
    /// The PEM file with the authority of the API's certificate
    #[arg(long, value_name = "FILE", env = "MMN_API_CA", hide_env = true)]
    pub(crate) api_ca: Option<PathBuf>,
}

/// What all measurements have.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Measurement")]
#[expect(clippy::struct_excessive_bools, reason = "flags of a command line")]
pub(crate) struct MeasureArgs {
    /// What to measure: addresses, names, URLs
    #[arg(value_name = "TARGET", help_heading = "Arguments")]
    pub(crate) targets: Vec<String>,
    /// From which vantage points: `germany+eyeball`, `all`, `3 of (continent:AF)` [default: any one]
    #[arg(long, short, value_name = "SELECTION", value_parser = selection)]
    pub(crate) from: Option<Selection>,
    /// A list of targets, one a line; `-` reads standard input
    #[arg(long, short = 'F', value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// How long each task may take from its acceptance [default: 30s]
    #[arg(long, value_name = "DURATION")]
    pub(crate) deadline: Option<Span>,
    /// Only say what would be done, from where, and what it would cost
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Let everybody see the results
    #[arg(long)]
    pub(crate) public: bool,
    /// Print the measurement's id and do not wait for results
    #[arg(long, visible_alias = "detach")]
    pub(crate) no_wait: bool,
    /// A word of your own, kept with the measurement
    #[arg(long, value_name = "TEXT")]
    pub(crate) label: Option<String>,
    /// Refuse the measurement if it would send more packets
    #[arg(long, value_name = "N")]
    pub(crate) max_packets: Option<u64>,
    /// Print each result as the API gives it, one JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
}

/// A measurement by its id, or the newest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MsmArg {
    Id(mmn_schema::id::MeasurementId),
    Last,
}

impl std::str::FromStr for MsmArg {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if text == "last" {
            return Ok(Self::Last);
        }
        text.parse().map(Self::Id).map_err(|error| format!("{error}; `last` is the newest"))
    }
}

/// Reads a path and makes it absolute where it enters: children work in directories of their own.
pub(crate) fn absolute() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(std::path::absolute)
}

/// Reads a selection; what is wrong with it is shown below the character.
pub(crate) fn selection(text: &str) -> Result<Selection, String> {
    text.parse().map_err(|error: mmn_schema::select::SelectError| format!("{error:#}"))
}

/// Reads a task's id.
pub(crate) fn task(text: &str) -> Result<TaskId, String> {
    text.parse().map_err(|error: mmn_schema::id::IdError| error.to_string())
}

/// Reads a cursor.
pub(crate) fn cursor(text: &str) -> Result<Cursor, String> {
    text.parse()
}

/// Reads a kind's name.
pub(crate) fn kind(text: &str) -> Result<KindName, String> {
    text.parse().map_err(|error: mmn_schema::id::IdError| error.to_string())
}
