//! `http`: status and phases of the last request, size, and what went on the way.

use mmn_modules::http::{Body, EchRejection, EchStatus, Hop};
use mmn_schema::api::ResultRecord;

use super::View;
use crate::style::Tone;
use crate::table::{Cell, Column};
use crate::units;

#[derive(Debug)]
pub(super) struct Http;

impl View for Http {
    fn columns(&self) -> Vec<Column> {
        vec![
            Column::right("STATUS"),
            Column::right("TOTAL"),
            Column::right("RESOLVE").optional(),
            Column::right("CONNECT").optional(),
            Column::right("TLS").optional(),
            Column::right("FIRST BYTE").optional(),
            Column::right("TRANSFER").optional(),
            Column::right("SIZE"),
            Column::left("NOTE").shrinks_to(8).optional(),
        ]
    }

    fn cells(&self, record: &ResultRecord) -> Vec<Cell> {
        let Ok(body) = record.body.decode::<Body>() else {
            return vec![Cell::new("-"); 8];
        };
        let time = |ns: Option<u64>| Cell::new(ns.map_or_else(|| "-".into(), units::nanos_u64));
        if let Some(rejected) = &body.ech_rejected {
            return vec![
                Cell::new("-"),
                units::nanos_u64(body.total_ns).into(),
                time(rejected.resolve_ns),
                time(Some(rejected.connect_ns)),
                time(Some(rejected.tls_ns)),
                time(None),
                time(None),
                Cell::new("-"),
                Cell::new(rejection(rejected)).tone(Tone::Warn),
            ];
        }
        let Some(last) = body.hops.last() else {
            return vec![Cell::new("-"), units::nanos_u64(body.total_ns).into()];
        };
        let phases = last.phases;
        #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
        let size = units::bytes(last.body.bytes as f64);
        vec![
            Cell::new(last.status.to_string()).tone(tone(last.status)),
            units::nanos_u64(body.total_ns).into(),
            time(phases.resolve_ns),
            time(Some(phases.connect_ns)),
            time(phases.tls_ns),
            time(Some(phases.first_byte_ns)),
            time(Some(phases.transfer_ns)),
            size.into(),
            Cell::new(note(&body, last)).tone(Tone::Faint),
        ]
    }
}

const fn tone(status: u16) -> Tone {
    match status {
        200..=299 => Tone::Good,
        100..=399 => Tone::Plain,
        400..=499 => Tone::Warn,
        _ => Tone::Bad,
    }
}

/// That no request was sent, and why.
fn rejection(rejected: &EchRejection) -> String {
    let mut notes = vec![format!("ECH rejected by {}", rejected.ech_outer_name)];
    if let Some(configs) = &rejected.ech_retry_configs {
        notes.push(format!("{} bytes of configurations to try again with", configs.0.len()));
    }
    if !rejected.verified {
        notes.push(rejected.error.clone().unwrap_or_else(|| "certificate not verified".into()));
    }
    notes.join(", ")
}

/// The version, redirects, ECH, and a certificate that does not hold.
fn note(body: &Body, last: &Hop) -> String {
    let mut notes = vec![format!("HTTP/{}", last.version)];
    if body.redirects > 0 {
        notes.push(format!("{} to {}", units::count(body.redirects.into(), "redirect"), last.url));
    }
    match last.tls.as_ref().and_then(|tls| tls.ech_status) {
        Some(EchStatus::Accepted) => notes.push("ECH accepted".into()),
        Some(EchStatus::Grease) => notes.push("ECH greased".into()),
        Some(EchStatus::Rejected) | None => {}
    }
    if let Some(tls) = &last.tls
        && !tls.verified
    {
        notes.push(tls.error.clone().unwrap_or_else(|| "certificate not verified".into()));
    }
    if last.body.truncated {
        notes.push("body cut".into());
    }
    notes.join(", ")
}
