//! What `mmn up` says once it is up: the URL, the vantage point, the kinds, and a line to try.

use std::path::Path;
use std::time::{Duration, Instant};

use mmn_client::{ApiFile, Client};
use mmn_schema::api::{UnavailableKind, VpView};

mod world;

use super::World;
use super::data_dir::DataDir;
use crate::clock;
use crate::cmd::open;
use crate::failure::Failure;
use crate::printer::Printer;
use crate::session::Session;
use crate::style::Tone;

/// Modules that have not said anything by then are told as not ready.
const WITHIN: Duration = Duration::from_millis(2500);
const POLL: Duration = Duration::from_millis(15);

/// What is up.
#[derive(Debug, Clone, Copy)]
pub(super) enum Of<'a> {
    /// A node with this vantage point.
    Node(&'a str),
    /// A simulated world.
    World(&'a World),
}

/// Waits until the API lists the vantage point with its kinds, and tells what can be measured.
pub(super) async fn tell(
    session: &mut Session,
    dir: &DataDir,
    api: &ApiFile,
    of: Of<'_>,
    begun: Instant,
) -> Result<(), Failure> {
    let client = Client::discover(dir.path())?;
    let vp = match of {
        Of::World(of) => return world::tell(session, dir, api, of, &client, begun).await,
        Of::Node(vp) => vp,
    };
    let expected: Vec<_> = crate::kinds::built_in().into_iter().map(|kind| kind.name).collect();
    let mut seen = None;
    loop {
        if let Ok(view) = client.vp(vp).await {
            let settled = expected.iter().all(|kind| {
                view.kinds.contains(kind) || view.unavailable.iter().any(|one| one.kind == *kind)
            });
            seen = Some(view);
            if settled {
                break;
            }
        }
        if clock::now().duration_since(begun) > WITHIN {
            break;
        }
        tokio::time::sleep(POLL).await;
    }
    let command = command_line(session, dir);
    let silent: Vec<_> = expected
        .iter()
        .map(ToString::to_string)
        .filter(|kind| !seen.as_ref().is_some_and(|vp| knows(vp, kind)))
        .collect();
    let waits_for = match seen {
        Some(_) => None,
        None => why_not_ready(&client).await,
    };
    let page = dashboard(&client).await;
    let told = Told { vp: seen.as_ref(), waits_for: waits_for.as_deref(), silent: &silent };
    print(&mut session.printer, api, page.as_deref(), &told, &command)
}

/// A link that signs a browser in; none where the anchor gives no code now.
async fn dashboard(client: &Client) -> Option<String> {
    open::link(client).await.ok()
}

/// What is known of a node's vantage point.
struct Told<'a> {
    vp: Option<&'a VpView>,
    waits_for: Option<&'a str>,
    silent: &'a [String],
}

/// What keeps the anchor from taking work, in its own words; nothing when it is ready.
async fn why_not_ready(client: &Client) -> Option<String> {
    let error = client.ready().await.err()?;
    let problem = error.problem().and_then(|problem| problem.detail.clone());
    Some(problem.unwrap_or_else(|| crate::failure::chain(&error)))
}

fn knows(vp: &VpView, kind: &str) -> bool {
    vp.kinds.iter().any(|known| known.as_str() == kind)
        || vp.unavailable.iter().any(|known| known.kind.as_str() == kind)
}

fn print(
    printer: &mut Printer,
    api: &ApiFile,
    page: Option<&str>,
    &Told { vp, waits_for, silent }: &Told<'_>,
    command: &Command,
) -> Result<(), Failure> {
    let style = printer.style();
    let mut field = |name: &str, value: &str, tone: Tone| {
        printer.line(&format!(
            "{}{}",
            style.paint(&format!("{name:<15} "), Tone::Faint),
            style.paint(value, tone)
        ))
    };
    field("API", &api.url, Tone::Plain)?;
    if let Some(page) = page {
        field("dashboard", page, Tone::Head)?;
    }
    if let Some(what) = waits_for {
        field("anchor waits", &crate::table::one_line(what), Tone::Bad)?;
    }
    let place = vp.map_or_else(
        || "not listed yet; `mmn doctor` looks for the cause".to_owned(),
        |vp| format!("{} ({})", crate::table::one_line(&vp.vantage_point.name), vp.vantage_point.id),
    );
    field("vantage point", &place, Tone::Plain)?;
    let ready: Vec<_> = vp.iter().flat_map(|vp| vp.kinds.iter().map(ToString::to_string)).collect();
    let shown = if ready.is_empty() { "none yet".to_owned() } else { ready.join(" ") };
    field("ready", &shown, if ready.is_empty() { Tone::Bad } else { Tone::Good })?;
    // What has one cause is told once.
    let mut causes: Vec<(&UnavailableKind, Vec<&str>)> = Vec::new();
    for kind in vp.iter().flat_map(|vp| &vp.unavailable) {
        let same = |one: &UnavailableKind| one.reason == kind.reason && one.mend == kind.mend;
        match causes.iter_mut().find(|(first, _)| same(first)) {
            Some((_, kinds)) => kinds.push(kind.kind.as_str()),
            None => causes.push((kind, vec![kind.kind.as_str()])),
        }
    }
    for (kind, kinds) in causes {
        let why = crate::table::one_line(&format!("{}: {}", kinds.join(" "), kind.reason));
        field("not ready", &why, Tone::Warn)?;
        if let Some(mend) = &kind.mend {
            field("  mend it with", mend, Tone::Head)?;
        }
    }
    for kind in silent {
        field("not ready", &format!("{kind}: its module has not answered yet"), Tone::Warn)?;
    }
    field("try", &command.to_try(&ready, &api.url), Tone::Head)?;
    printer.flush()?;
    printer.faint("Ctrl-C drains and stops it");
    Ok(())
}

/// How this program is called in another terminal.
struct Command {
    program: String,
    data: Option<String>,
}

impl Command {
    /// A measurement that works now, as typed.
    fn to_try(&self, ready: &[String], url: &str) -> String {
        let has = |kind: &str| ready.iter().any(|ready| ready == kind);
        let what = match () {
            () if has("ping") || ready.is_empty() => "ping 127.0.0.1".to_owned(),
            () if has("http") => format!("http {url}/healthz"),
            () if has("dns") => "dns example.org".to_owned(),
            () => "kinds".to_owned(),
        };
        self.measure(&what)
    }

    /// A command as typed.
    fn measure(&self, what: &str) -> String {
        let data = self.data.as_ref().map_or_else(String::new, |dir| format!(" --data {dir}"));
        format!("{} {what}{data}", self.program)
    }
}

/// What one types to call this very program.
pub(crate) fn program() -> String {
    match std::env::current_exe() {
        Ok(path) if !is_on_path("mmn", &path) => quoted(&path.to_string_lossy()),
        _ => "mmn".to_owned(),
    }
}

fn command_line(session: &Session, dir: &DataDir) -> Command {
    let program = program();
    let data = (!session.data_dir_is_default()).then(|| quoted(&dir.path().to_string_lossy()));
    Command { program, data }
}

/// Whether a shell finds this very program by its name.
fn is_on_path(name: &str, program: &Path) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let first = std::env::split_paths(&path).map(|dir| dir.join(name)).find(|place| place.is_file());
    match (first.and_then(|place| place.canonicalize().ok()), program.canonicalize()) {
        (Some(found), Ok(program)) => found == program,
        _ => false,
    }
}

/// A word for a shell.
fn quoted(word: &str) -> String {
    let plain = |char: char| char.is_ascii_alphanumeric() || "/._-+:@%=,".contains(char);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::printer::testing::printer;

    fn vp() -> VpView {
        serde_json::from_value(json!({
            "vantage_point": { "id": "abcdefghij234567", "name": "laptop" },
            "health": "healthy", "kinds": ["dns", "http"], "modules": [],
            "unavailable": [{
                "kind": "ping",
                "reason": { "code": "unprivileged", "detail": "ping sockets are closed to this user" },
                "mend": "sudo sysctl -w net.ipv4.ping_group_range=\"0 2147483647\"",
            }],
            "last_seen_at": "2026-11-22T00:00:00Z",
        }))
        .unwrap()
    }

    fn told(vp: Option<&VpView>, waits_for: Option<&str>, silent: &[&str]) -> String {
        let (mut printer, out, _) = printer(None);
        let api = ApiFile { url: "http://127.0.0.1:8677".into(), pid: 1, tls_ca: None, nats: None };
        let command = Command { program: "/opt/mmn/bin/mmn".into(), data: Some(quoted("/tmp/a dir")) };
        let silent: Vec<_> = silent.iter().map(|&kind| kind.to_owned()).collect();
        let page = vp.map(|_| "http://127.0.0.1:8677/#code=mfrggzdfmztwq2lk");
        let told = Told { vp, waits_for, silent: &silent };
        print(&mut printer, &api, page, &told, &command).unwrap();
        out.text()
    }

    #[test]
    fn what_is_ready_and_what_mends_the_rest_is_told() {
        insta::assert_snapshot!(told(Some(&vp()), None, &[]));
    }

    #[test]
    fn what_has_not_come_yet_is_told() {
        insta::assert_snapshot!(told(None, None, &["dns", "ping"]));
    }

    #[test]
    fn what_the_anchor_waits_for_is_told() {
        let what = "no connection to NATS at nats://192.0.2.1:4222";
        let told = told(None, Some(what), &["dns"]);
        assert!(told.lines().any(|line| line.starts_with("anchor waits") && line.ends_with(what)), "{told}");
    }

    #[test]
    fn words_are_quoted_for_shells() {
        assert_eq!(quoted("/usr/bin/mmn"), "/usr/bin/mmn");
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }
}
