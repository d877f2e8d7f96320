//! `mmn doctor`: what is missing on this machine, and the command that mends it.

mod checks;

use clap::Args as ClapArgs;
use serde::Serialize;

use crate::args::ApiArgs;
use crate::failure::{Exit, Failure};
use crate::session::Session;
use crate::style::{Style, Tone};
use crate::table;

/// `mmn doctor`
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Print each finding as one JSON object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    api: ApiArgs,
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Finding {
    /// What was looked at.
    check: &'static str,
    state: State,
    /// What was found, in words.
    text: String,
    /// A command that mends it, or what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    mend: Option<String>,
}

/// How well something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    /// As it should be.
    Good,
    /// It works, less well than it could.
    Odd,
    /// Something does not work because of it.
    Bad,
}

impl Finding {
    fn good(check: &'static str, text: impl Into<String>) -> Self {
        Self { check, state: State::Good, text: text.into(), mend: None }
    }

    fn odd(check: &'static str, text: impl Into<String>) -> Self {
        Self { state: State::Odd, ..Self::good(check, text) }
    }

    fn bad(check: &'static str, text: impl Into<String>) -> Self {
        Self { state: State::Bad, ..Self::good(check, text) }
    }

    fn mend(mut self, mend: impl Into<String>) -> Self {
        self.mend = Some(mend.into());
        self
    }
}

pub(crate) fn run(session: &mut Session, args: &Args) -> Result<Exit, Failure> {
    // It is tried before there is a thread.
    let lab = checks::lab();
    super::in_runtime(tell(session, args, lab))
}

async fn tell(session: &mut Session, args: &Args, lab: Finding) -> Result<Exit, Failure> {
    let findings = checks::all(session, &args.api, lab).await?;
    let printer = &mut session.printer;
    for finding in &findings {
        if args.json {
            printer.json(finding)?;
        } else {
            printer.lines(&lines(finding, printer.style()))?;
        }
    }
    Ok(Exit::of(findings.iter().all(|finding| finding.state != State::Bad)))
}

fn lines(finding: &Finding, style: Style) -> Vec<String> {
    let (word, tone) = match finding.state {
        State::Good => ("ok", Tone::Good),
        State::Odd => ("odd", Tone::Warn),
        State::Bad => ("bad", Tone::Bad),
    };
    let word = style.paint(&format!("{word:<4}"), tone);
    let mut lines = vec![format!("{word} {:<14} {}", finding.check, table::one_line(&finding.text))];
    if let Some(mend) = &finding.mend {
        lines.push(format!("     {:<14} {}", "mend it with", style.paint(mend, Tone::Head)));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_name_what_mends_them() {
        let findings = [
            Finding::good("nats-server", "2.12.8 at /usr/bin/nats-server"),
            Finding::odd("clock", "not synchronised").mend("sudo timedatectl set-ntp true"),
            Finding::bad("ping, IPv4", "closed").mend("sudo sysctl -w x"),
        ];
        let text: Vec<_> = findings.iter().flat_map(|finding| lines(finding, Style::plain())).collect();
        insta::assert_snapshot!(text.join("\n"));
    }
}
