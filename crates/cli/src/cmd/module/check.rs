//! `mmn module check COMMAND…`: runs any executable through the module protocol and says what it gets wrong.
//!
//! The rules are those of `docs/reference/module-protocol.md`, by number. The executable gets a nats-server of its own
//! and the environment that a node gives; this program plays the anchor.

mod rules;
mod stage;

use clap::Args as ClapArgs;
use mmn_schema::id::KindName;
use serde::Serialize;

use crate::args;
use crate::failure::{Exit, Failure};
use crate::session::Session;
use crate::style::Tone;
use crate::table;

/// `mmn module check`
#[derive(Debug, ClapArgs)]
pub(super) struct CheckArgs {
    /// The command, as a manifest would have it
    #[arg(value_name = "COMMAND", required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
    /// The module's name, which it finds in `MMN_MODULE`
    #[arg(long, default_value = "check")]
    name: String,
    /// A parameter for the task that is given to it
    #[arg(long, value_name = "NAME=VALUE")]
    set: Vec<String>,
    /// The target of that task
    #[arg(long, default_value = "127.0.0.1")]
    target: String,
    /// Try only this kind [default: each that it announces]
    #[arg(long, value_name = "KIND", value_parser = args::kind)]
    kind: Option<KindName>,
    /// Print each verdict as one JSON object a line
    #[arg(long)]
    json: bool,
}

/// A rule: its number, and what of it is looked at.
#[derive(Debug, Clone, Copy)]
struct Rule(&'static str, &'static str);

/// What became of a rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Verdict {
    /// The rule's number.
    rule: &'static str,
    /// What of it was looked at.
    what: &'static str,
    /// Whether it is kept.
    kept: bool,
    /// What was seen.
    text: String,
}

/// The verdicts so far.
#[derive(Debug, Default)]
struct Verdicts(Vec<Verdict>);

impl Verdicts {
    /// Notes that a rule is kept, or what breaks it. Says whether it is kept.
    fn note(&mut self, rule: Rule, seen: Result<impl Into<String>, String>) -> bool {
        let (kept, text) = match seen {
            Ok(text) => (true, text.into()),
            Err(text) => (false, text),
        };
        self.0.push(Verdict { rule: rule.0, what: rule.1, kept, text });
        kept
    }
}

pub(super) async fn run(session: &mut Session, args: &CheckArgs) -> Result<Exit, Failure> {
    let mut stage = stage::Stage::set(&args.name, &args.command).await?;
    let verdicts = rules::play(&mut stage, args).await;
    let printer = &mut session.printer;
    for verdict in &verdicts.0 {
        if args.json {
            printer.json(verdict)?;
            continue;
        }
        let (word, tone) = if verdict.kept { ("ok", Tone::Good) } else { ("wrong", Tone::Bad) };
        let word = printer.style().paint(&format!("{word:<6}"), tone);
        let rule = format!("{:<4}{:<18}", verdict.rule, verdict.what);
        printer.line(&format!("{word} {rule} {}", table::one_line(&verdict.text)))?;
    }
    let broken = verdicts.0.iter().filter(|verdict| !verdict.kept).count();
    if broken > 0 {
        printer.note(&format!(
            "{broken} of {} rules broken; docs/reference/module-protocol.md describes them",
            verdicts.0.len()
        ));
        let words = stage.last_words();
        if !words.is_empty() {
            printer.faint("its last words on stderr:");
            for line in words {
                printer.faint(&format!("  {}", table::one_line(&line)));
            }
        }
    }
    Ok(Exit::of(broken == 0))
}
