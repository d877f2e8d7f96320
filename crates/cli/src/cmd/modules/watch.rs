//! `mmn modules --watch`: the table drawn again whenever something happens, and once a second.

use std::collections::HashMap;
use std::time::Duration;

use mmn_client::{Client, Happened};
use mmn_schema::api::Health;
use mmn_schema::id::{BootId, InstanceId};

use super::Seen;
use crate::failure::{Exit, Failure};
use crate::printer::Printer;
use crate::session::Interrupts;
use crate::style::Tone;
use crate::table;

/// How often it is looked at when nothing happens: loads change without events.
const LOOK: Duration = Duration::from_secs(1);
/// For how long further events are waited for: they come in bursts.
const BURST: Duration = Duration::from_millis(50);

pub(super) async fn run(
    printer: &mut Printer,
    client: &Client,
    vp: Option<&str>,
    json: bool,
) -> Result<Exit, Failure> {
    if !json && printer.width().is_none() {
        return Err(Failure::misused("--watch draws on a terminal, and stdout is none")
            .hint("`mmn modules --watch --json` or `mmn watch` prints what happens"));
    }
    let mut interrupts = Interrupts::listen()?;
    let mut events = client.events();
    let mut latest = None;
    let mut known = Known::default();
    loop {
        let seen = tokio::select! {
            seen = Seen::ask(client, vp) => seen?,
            () = interrupts.next() => return Ok(Exit::Good),
        };
        if json {
            for module in seen
                .modules
                .iter()
                .filter(|module| known.changed(&module.instance, module.boot, module.health))
            {
                printer.json(module)?;
            }
            printer.flush()?;
        } else {
            draw(printer, &seen, latest.as_deref())?;
        }
        tokio::select! {
            happened = events.next() => {
                if let Happened::Event(event, _) = happened? {
                    let at: String = event.at.to_string().chars().skip(11).take(12).collect();
                    latest = Some(format!("{at}  {}  {}", event.kind, event.text));
                }
                tokio::time::sleep(BURST).await;
            }
            () = tokio::time::sleep(LOOK) => {}
            () = interrupts.next() => return Ok(Exit::Good),
        }
    }
}

/// What was printed of whom.
#[derive(Debug, Default)]
struct Known(HashMap<InstanceId, (BootId, Health)>);

impl Known {
    /// Whether an instance is new, began a new life, or is not as it was.
    fn changed(&mut self, instance: &InstanceId, boot: BootId, health: Health) -> bool {
        self.0.insert(instance.clone(), (boot, health)) != Some((boot, health))
    }
}

fn draw(printer: &mut Printer, seen: &Seen, latest: Option<&str>) -> Result<(), Failure> {
    let (width, style) = (printer.width(), printer.style());
    let mut lines = seen.lines(width, style);
    // The last two lines say what there is and what happened; the cursor has one of its own.
    let room = printer.height().unwrap_or(24).saturating_sub(3);
    let hidden = lines.len().saturating_sub(room);
    lines.truncate(room);
    let hidden = if hidden > 0 { format!(", {hidden} lines not shown") } else { String::new() };
    for text in [format!("{}{hidden}", seen.summary()), table::one_line(latest.unwrap_or("Ctrl-C ends it"))] {
        lines.push(style.paint(&table::cut(&text, width.unwrap_or(usize::MAX)), Tone::Faint));
    }
    printer.redraw(&lines)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::seen;
    use super::*;
    use crate::printer::testing::printer;

    #[test]
    fn it_fits_the_screen_and_says_what_it_leaves_out() {
        let (mut printer, out, _) = printer(Some((80, 8)));
        draw(&mut printer, &seen(), Some("12:00:00.000  module-lost  x\u{1b}")).unwrap();
        let text = out.text();
        assert_eq!(text.lines().count(), 7, "{text}");
        assert!(text.contains("3 instances: 1 healthy, 1 lost, 1 suspect, 7 lines not shown"), "{text}");
        assert!(text.ends_with("module-lost  x\u{fffd}\n"), "{text}");
    }

    #[test]
    fn a_line_is_printed_for_each_change() {
        let mut known = Known::default();
        let id: InstanceId = "ping-abc".parse().unwrap();
        let mut changed = |boot, health| known.changed(&id, BootId(boot), health);
        assert!(changed(1, Health::Healthy));
        assert!(!changed(1, Health::Healthy));
        assert!(changed(1, Health::Lost));
        assert!(changed(2, Health::Lost));
    }
}
