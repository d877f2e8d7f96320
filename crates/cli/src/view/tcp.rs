//! `tcp`: the port's state and the time to connect.

use mmn_modules::tcp::{Attempt, Body, State};
use mmn_schema::api::ResultRecord;

use super::View;
use crate::style::Tone;
use crate::table::{Cell, Column};
use crate::units;

#[derive(Debug)]
pub(super) struct Tcp;

impl View for Tcp {
    fn columns(&self) -> Vec<Column> {
        vec![
            Column::right("PORT"),
            Column::left("STATE"),
            Column::right("CONNECT"),
            Column::right("RTT").optional(),
            Column::right("TTL").optional(),
            Column::left("NOTE").shrinks_to(4).optional(),
        ]
    }

    fn cells(&self, record: &ResultRecord) -> Vec<Cell> {
        let Ok(body) = record.body.decode::<Body>() else {
            return vec![Cell::new("-"); 6];
        };
        let time = |ns: Option<u64>| Cell::new(ns.map_or_else(|| "-".into(), units::nanos_u64));
        let (state, tone) = match body.state {
            State::Open => ("open", Tone::Good),
            State::Closed => ("closed", Tone::Warn),
            State::Unreachable => ("unreachable", Tone::Bad),
            State::TimedOut => ("timed out", Tone::Bad),
            State::Overrun => ("overrun", Tone::Warn),
            State::NotSent => ("not sent", Tone::Bad),
            State::Cancelled => ("cancelled", Tone::Warn),
        };
        let answered = body.attempts.iter().find(|attempt| attempt.rtt_ns.is_some());
        let ttl = answered.and_then(|attempt| attempt.ttl).map_or_else(|| "-".into(), |ttl| ttl.to_string());
        vec![
            body.port.to_string().into(),
            Cell::new(state).tone(tone),
            time(body.connect_ns),
            time(body.rtt_ns),
            ttl.into(),
            Cell::new(note(&body, answered)).tone(Tone::Faint),
        ]
    }
}

/// What answered instead, what the target offers, and how many attempts it took.
fn note(body: &Body, answered: Option<&Attempt>) -> String {
    let mut notes = Vec::new();
    if let Some(error) = body.attempts.iter().find_map(|attempt| attempt.error.as_ref()) {
        notes.push(error.name.replace('_', " "));
    }
    if let Some(from) = answered.and_then(|attempt| attempt.from) {
        notes.push(format!("from {from}"));
    }
    if let Some(mss) = answered.and_then(|attempt| attempt.offer).and_then(|offer| offer.mss) {
        notes.push(format!("mss {mss}"));
    }
    if body.attempts.len() > 1 {
        notes.push(format!("{} attempts", body.attempts.len()));
    }
    notes.join(", ")
}
