//! `dns`: the response code and the answers.

use mmn_modules::dns::Body;
use mmn_schema::api::ResultRecord;

use super::View;
use crate::style::Tone;
use crate::table::{Cell, Column};
use crate::units;

#[derive(Debug)]
pub(super) struct Dns;

impl View for Dns {
    fn columns(&self) -> Vec<Column> {
        vec![
            Column::left("RCODE"),
            Column::right("TIME"),
            Column::left("SERVER").shrinks_to(7).optional(),
            Column::left("ANSWERS").shrinks_to(16),
        ]
    }

    fn cells(&self, record: &ResultRecord) -> Vec<Cell> {
        let Ok(body) = record.body.decode::<Body>() else {
            return vec![Cell::new("-"); 4];
        };
        let time = body.rtt_ns.map_or_else(|| "-".into(), units::nanos_u64);
        let (rcode, answers) = match &body.response {
            Some(response) => (Cell::new(response.rcode.clone()).tone(tone(&response.rcode)), answers(&body)),
            None => (Cell::new("none").tone(Tone::Bad), attempts(&body)),
        };
        vec![rcode, time.into(), body.address.to_string().into(), answers.into()]
    }
}

fn tone(rcode: &str) -> Tone {
    match rcode {
        "NOERROR" => Tone::Good,
        "NXDOMAIN" => Tone::Warn,
        _ => Tone::Bad,
    }
}

/// The data of the answer's records; the type before those that are of another than was asked for.
fn answers(body: &Body) -> String {
    let Some(response) = &body.response else { return String::new() };
    let asked = response.question.first().map(|question| question.r#type.as_str());
    let mut parts: Vec<_> = response
        .answer
        .iter()
        .map(|record| {
            if Some(record.r#type.as_str()) == asked {
                record.rdata.clone()
            } else {
                format!("{} {}", record.r#type, record.rdata)
            }
        })
        .collect();
    if let Some(wrong) = &response.malformed {
        parts.push(format!("(malformed: {wrong})"));
    } else if parts.is_empty() {
        parts.push("(no records)".into());
    }
    parts.join(", ")
}

/// Why there was no answer.
fn attempts(body: &Body) -> String {
    let mut why: Vec<_> =
        body.attempts.iter().filter_map(|attempt| attempt.error.as_ref().map(ToString::to_string)).collect();
    why.dedup();
    why.join(", ")
}
