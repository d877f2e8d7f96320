//! Signs and words that are the same on every page: a shape and a word, the colour only beside them.

use std::collections::BTreeMap;

use mmn_schema::api::{Health, MeasurementState};
use mmn_schema::time::Timestamp;

use super::news::Link;
use crate::cmd::modules;
use crate::style::Tone;
use crate::table::Cell;
use crate::units;

/// From the best to the worst.
pub(super) const HEALTHS: [Health; 7] = [
    Health::Healthy,
    Health::Starting,
    Health::Draining,
    Health::Degraded,
    Health::Suspect,
    Health::Lost,
    Health::Stopped,
];

/// What stands where a figure is absent.
pub(super) const ABSENT: &str = "-";

pub(super) const fn shape(health: Health) -> char {
    match health {
        Health::Healthy => '●',
        Health::Starting => '○',
        Health::Draining => '▼',
        Health::Degraded => '▲',
        Health::Suspect => '◆',
        Health::Lost => '✕',
        Health::Stopped => '■',
    }
}

/// A health with its shape.
pub(super) fn health(health: Health) -> Cell {
    let word = modules::health(health);
    Cell::new(format!("{} {}", shape(health), word.text)).tone(word.tone)
}

/// How many there are of each health, those that there are.
pub(super) fn healths(counts: &BTreeMap<String, u64>) -> Vec<Vec<Cell>> {
    let mut groups = Vec::new();
    for health in HEALTHS {
        let word = modules::health(health);
        if let Some(count) = counts.get(&word.text).filter(|count| **count > 0) {
            let sign = Cell::new(format!("{} ", shape(health))).tone(word.tone);
            groups.push(vec![sign, Cell::new(format!("{} {}  ", grouped(*count), word.text))]);
        }
    }
    groups
}

/// How bad a health is, from 0. One that stopped of its own will is no worse than one that works.
pub(super) fn badness(health: Health) -> usize {
    let at = HEALTHS.iter().position(|one| *one == health).unwrap_or(0);
    if health == Health::Stopped { 0 } else { at }
}

/// What a measurement is doing.
pub(super) fn state(state: MeasurementState) -> Cell {
    let (word, tone) = match state {
        MeasurementState::Open => ("○ open", Tone::Warn),
        MeasurementState::Running => ("▶ running", Tone::Warn),
        MeasurementState::Done => ("● done", Tone::Good),
        MeasurementState::Cancelled => ("■ cancelled", Tone::Faint),
    };
    Cell::new(word).tone(tone)
}

/// How what is shown hears of news.
pub(super) fn link(link: &Link, behind: bool, complete: bool, now: Option<Timestamp>) -> Cell {
    match link {
        Link::Connecting => Cell::new("○ connecting").tone(Tone::Warn),
        Link::CutOff(since) => {
            let ago = now.map_or_else(String::new, |now| format!(" {}", ago(*since, now)));
            Cell::new(format!("✕ cut off{ago}")).tone(Tone::Bad)
        }
        Link::Live if complete => Cell::new("■ complete").tone(Tone::Good),
        Link::Live if behind => Cell::new("▲ behind").tone(Tone::Warn),
        Link::Live => Cell::new("● live").tone(Tone::Good),
    }
}

/// How long ago something was; by another machine's clock it may not have been yet.
pub(super) fn ago(at: Timestamp, now: Timestamp) -> String {
    units::ago(now.since_ns(at).unwrap_or_default() / 1_000_000_000)
}

/// The time of day, UTC, to the second.
pub(super) fn time_of_day(at: Timestamp) -> String {
    at.to_string().chars().skip(11).take(8).collect()
}

/// A count with its digits in groups of three.
pub(super) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count per second.
pub(super) fn per_second(rate: Option<f64>) -> String {
    match rate {
        None => ABSENT.to_owned(),
        Some(rate) if rate < 9.95 => format!("{rate:.1} /s"),
        Some(rate) => format!("{rate:.0} /s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_grouped() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([None, Some(0.0), Some(12.34)].map(per_second), ["-", "0.0 /s", "12 /s"]);
    }
}
