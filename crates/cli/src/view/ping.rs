//! `ping`: a line as of ping's own summary.

use std::collections::BTreeMap;

use mmn_modules::ping::{Body, Protocol, Status};
use mmn_schema::api::ResultRecord;

use super::View;
use crate::style::Tone;
use crate::table::{Cell, Column};
use crate::units;

#[derive(Debug)]
pub(super) struct Ping;

impl View for Ping {
    fn columns(&self) -> Vec<Column> {
        vec![
            Column::right("SENT"),
            Column::right("RECV"),
            Column::right("LOSS"),
            Column::right("MIN"),
            Column::right("MEDIAN"),
            Column::right("MAX"),
            Column::left("NOTE").shrinks_to(4).optional(),
        ]
    }

    fn cells(&self, record: &ResultRecord) -> Vec<Cell> {
        let Ok(body) = record.body.decode::<Body>() else {
            return vec![Cell::new("-"); 6];
        };
        let time = |ns: Option<u64>| Cell::new(ns.map_or_else(|| "-".into(), units::nanos_u64));
        let loss = Cell::new(units::percent(body.loss));
        vec![
            body.sent.to_string().into(),
            body.received.to_string().into(),
            if body.loss > 0.0 { loss.tone(Tone::Bad) } else { loss },
            time(body.rtt.map(|rtt| rtt.min_ns)),
            time(body.rtt.and_then(|rtt| rtt.median_ns)),
            time(body.rtt.map(|rtt| rtt.max_ns)),
            Cell::new(note(&body)).tone(Tone::Warn),
        ]
    }
}

/// What went otherwise than ping expects: ICMP errors by name, replies late, doubled, out of order
/// or perhaps missed; and what answered UDP and TCP.
fn note(body: &Body) -> String {
    let mut errors: BTreeMap<&str, u32> = BTreeMap::new();
    for reply in &body.replies {
        if let Some(error) = &reply.error
            && matches!(reply.status, Status::Error | Status::NotSent)
        {
            *errors.entry(&error.name).or_default() += 1;
        }
    }
    let mut notes: Vec<_> =
        errors.iter().map(|(name, n)| format!("{n} {}", name.replace('_', " "))).collect();
    for (count, what) in [
        (body.late, "late"),
        (body.duplicates, "duplicate"),
        (body.overrun, "overrun"),
        (body.reordering.as_ref().map_or(0, |order| order.reordered), "reordered"),
    ] {
        if count > 0 {
            notes.push(format!("{count} {what}"));
        }
    }
    notes.extend(answers(body));
    notes.join(", ")
}

/// What answered UDP and TCP, as the flags of a segment or the protocol, where all answers are alike.
fn answers(body: &Body) -> Option<String> {
    let mut answers = body.replies.iter().filter_map(|reply| {
        Some(match reply.protocol? {
            Protocol::Tcp => format!("flags {}", reply.tcp_flags.as_deref().unwrap_or("-")),
            Protocol::Udp => "datagrams".to_owned(),
            Protocol::Icmp => "port unreachable".to_owned(),
        })
    });
    let first = answers.next()?;
    answers.all(|answer| answer == first).then_some(first)
}
