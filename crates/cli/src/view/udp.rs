//! `udp`: what was sent and answered, and the first reply's text.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use mmn_modules::udp::{Body, Status};
use mmn_schema::api::ResultRecord;

use super::View;
use crate::style::Tone;
use crate::table::{Cell, Column};
use crate::units;

/// The most of a reply that a row shows, in bytes.
const SHOWN: usize = 48;

#[derive(Debug)]
pub(super) struct Udp;

impl View for Udp {
    fn columns(&self) -> Vec<Column> {
        vec![
            Column::right("SENT"),
            Column::right("RECV"),
            Column::right("REPLIES").optional(),
            Column::right("LOSS"),
            Column::right("MIN"),
            Column::right("MEDIAN"),
            Column::left("FIRST REPLY").shrinks_to(8).optional(),
            Column::left("NOTE").shrinks_to(4).optional(),
        ]
    }

    fn cells(&self, record: &ResultRecord) -> Vec<Cell> {
        let Ok(body) = record.body.decode::<Body>() else {
            return vec![Cell::new("-"); 8];
        };
        let time = |ns: Option<u64>| Cell::new(ns.map_or_else(|| "-".into(), units::nanos_u64));
        let loss = Cell::new(units::percent(body.loss));
        let first = body.probes.iter().find_map(|probe| probe.replies.first());
        vec![
            body.sent.to_string().into(),
            body.received.to_string().into(),
            body.replies.to_string().into(),
            if body.loss > 0.0 { loss.tone(Tone::Bad) } else { loss },
            time(body.rtt.map(|rtt| rtt.min_ns)),
            time(body.rtt.and_then(|rtt| rtt.median_ns)),
            first.map_or_else(String::new, |reply| text(&reply.payload.0)).into(),
            Cell::new(note(&body)).tone(Tone::Warn),
        ]
    }
}

/// Bytes as text where they are printable, else in hexadecimal.
fn text(bytes: &[u8]) -> String {
    let shown = bytes.get(..bytes.len().min(SHOWN)).unwrap_or_default();
    let rest = if shown.len() < bytes.len() { "…" } else { "" };
    let printable = !shown.is_empty() && shown.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ');
    if printable {
        format!("{:?}{rest}", String::from_utf8_lossy(shown))
    } else {
        let mut digits = String::new();
        for byte in shown {
            let _ = write!(digits, "{byte:02x}");
        }
        digits + rest
    }
}

/// ICMP errors by name, and what was late or may have been missed.
fn note(body: &Body) -> String {
    let mut errors: BTreeMap<&str, u32> = BTreeMap::new();
    for error in body.probes.iter().filter_map(|probe| probe.error.as_ref()) {
        *errors.entry(&error.name).or_default() += 1;
    }
    let mut notes: Vec<_> =
        errors.iter().map(|(name, n)| format!("{n} {}", name.replace('_', " "))).collect();
    let late = body.probes.iter().filter(|probe| probe.status == Status::Late).count();
    for (count, what) in [(late, "late"), (usize::try_from(body.overrun).unwrap_or(0), "overrun")] {
        if count > 0 {
            notes.push(format!("{count} {what}"));
        }
    }
    notes.join(", ")
}
