//! Figures as shapes: the account of tasks, and a line of values. A shape never says by its colour alone.

use mmn_schema::api::Ledger;
use mmn_schema::outcome::Outcome;

use super::marks::grouped;
use crate::style::Tone;
use crate::table::Cell;
use crate::view;

/// The parts of an account in the order in which they stand, and the sign of each.
const SIGNS: [(&str, char); 6] =
    [("ok", '█'), ("failed", '▓'), ("refused", '▒'), ("lost", '╳'), ("cancelled", '■'), ("pending", '·')];

/// The account of tasks, in parts that sum to what was accepted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) accepted: u64,
    /// As in [`SIGNS`].
    parts: [u64; 6],
}

impl Account {
    /// The account of what ended and what is pending.
    pub(super) fn of(ended: impl Fn(Outcome) -> u64, pending: u64, accepted: Option<u64>) -> Self {
        let [ok, failed, refused, lost, cancelled] =
            [Outcome::Ok, Outcome::Failed, Outcome::Refused, Outcome::Lost, Outcome::Cancelled].map(ended);
        let parts = [ok, failed, refused, lost, cancelled, pending];
        let sum = parts.iter().fold(0, |sum: u64, part| sum.saturating_add(*part));
        Self { accepted: accepted.unwrap_or(sum), parts }
    }

    pub(super) fn ended(&self) -> u64 {
        let [ended @ .., _] = self.parts;
        ended.iter().fold(0, |sum, part| sum.saturating_add(*part))
    }

    /// Whether the sum closes.
    fn closes(&self) -> bool {
        self.parts.iter().fold(0, |sum: u64, part| sum.saturating_add(*part)) == self.accepted
    }

    fn parts(&self) -> impl Iterator<Item = (&'static str, char, Tone, u64)> {
        let tones = [Outcome::Ok, Outcome::Failed, Outcome::Refused, Outcome::Lost, Outcome::Cancelled];
        let tones = tones.into_iter().map(view::tone).chain([Tone::Faint]);
        let parts = SIGNS.into_iter().zip(tones).zip(self.parts);
        parts.filter(|(_, count)| *count > 0).map(|(((name, sign), tone), count)| (name, sign, tone, count))
    }

    /// A bar of exactly this width, in which each part that is not empty shows as long as there is room for all.
    pub(super) fn bar(&self, width: usize) -> Vec<Cell> {
        let total: u128 = self.parts().map(|part| u128::from(part.3)).sum();
        if total == 0 {
            return vec![Cell::new("─".repeat(width)).tone(Tone::Faint)];
        }
        let parts: Vec<_> = self.parts().collect();
        let mut left = width;
        let mut rest = total;
        let mut bar = Vec::new();
        for (at, (_, sign, tone, count)) in parts.iter().enumerate() {
            let behind = parts.len() - at - 1;
            let count = u128::from(*count);
            // Of what is left, rounded, at least one, and one for each that is still to come.
            let share = (2 * count * left as u128 + rest) / (2 * rest).max(1);
            let share = usize::try_from(share).unwrap_or(left).max(1).min(left.saturating_sub(behind));
            bar.push(Cell { text: sign.to_string().repeat(share), tone: *tone });
            left -= share;
            rest -= count;
        }
        bar
    }

    /// The sum in words and signs, as pieces to be wrapped: `12 accepted = █ 10 ok + · 2 pending`.
    pub(super) fn words(&self) -> Vec<Vec<Cell>> {
        let sign = if self.closes() { Cell::new("= ") } else { Cell::new("≠ ").tone(Tone::Bad) };
        let mut words =
            vec![vec![Cell::new(grouped(self.accepted)).tone(Tone::Head), Cell::new(" accepted "), sign]];
        for (at, (name, sign, tone, count)) in self.parts().enumerate() {
            let plus = if at == 0 { "" } else { "+ " };
            let sign = Cell::new(sign.to_string()).tone(tone);
            words.push(vec![Cell::new(plus), sign, Cell::new(format!(" {} {name} ", grouped(count)))]);
        }
        if words.len() == 1 {
            words.push(vec![Cell::new("0")]);
        }
        words
    }
}

impl From<&Ledger> for Account {
    fn from(ledger: &Ledger) -> Self {
        Self::of(|outcome| ledger.count(outcome), ledger.pending, Some(ledger.accepted))
    }
}

/// A value of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Point {
    /// So many nanoseconds, or of whatever it is.
    Value(u64),
    /// Nothing answered.
    Silent,
    /// It is not known.
    Absent,
}

/// The newest values as a line of at most this width, from the least that is shown to the greatest. `×` stands where nothing
/// answered, `-` where nothing is known.
pub(super) fn spark(points: impl DoubleEndedIterator<Item = Point>, width: usize, from_zero: bool) -> String {
    const STEPS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let mut points: Vec<_> = points.rev().take(width).collect();
    points.reverse();
    let values = || points.iter().filter_map(|point| value(*point));
    let least = if from_zero { 0 } else { values().min().unwrap_or(0) };
    let most = values().max().unwrap_or(0);
    let step = |value: u64| {
        let (over, span) = (u128::from(value.saturating_sub(least)), u128::from(most.saturating_sub(least)));
        let at = usize::try_from((over * 7 + span / 2).checked_div(span).unwrap_or(0)).unwrap_or(0);
        STEPS.get(at).copied().unwrap_or('█')
    };
    points
        .iter()
        .map(|point| match point {
            Point::Value(value) => step(*value),
            Point::Silent => '×',
            Point::Absent => '-',
        })
        .collect()
}

/// The least, the median and the greatest of the values that are known.
pub(super) fn spread(points: impl Iterator<Item = Point>) -> Option<[u64; 3]> {
    let mut values: Vec<u64> = points.filter_map(value).collect();
    values.sort_unstable();
    Some([*values.first()?, *values.get(values.len() / 2)?, *values.last()?])
}

const fn value(point: Point) -> Option<u64> {
    match point {
        Point::Value(value) => Some(value),
        Point::Silent | Point::Absent => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn account(parts: [u64; 6]) -> Account {
        let at = |outcome| match outcome {
            Outcome::Ok => parts[0],
            Outcome::Failed => parts[1],
            Outcome::Refused => parts[2],
            Outcome::Lost => parts[3],
            Outcome::Cancelled => parts[4],
        };
        Account::of(at, parts[5], None)
    }

    fn text(pieces: &[Cell]) -> String {
        pieces.iter().map(|piece| piece.text.as_str()).collect()
    }

    #[test]
    fn a_bar_closes() {
        assert_eq!(text(&account([5, 0, 2, 1, 0, 2]).bar(10)), "█████▒▒╳··");
        assert_eq!(text(&account([100_000, 1, 0, 0, 0, 1]).bar(10)), "████████▓·");
        assert_eq!(text(&account([0; 6]).bar(4)), "────");
        let words = account([5, 0, 0, 0, 0, 2]).words().concat();
        assert_eq!(text(&words), "7 accepted = █ 5 ok + · 2 pending ");
        let open = Account { accepted: 8, ..account([5, 0, 0, 0, 0, 2]) };
        assert!(text(&open.words().concat()).contains('≠'));
    }

    #[test]
    fn a_line_shows_what_is_silent_and_what_is_absent() {
        let points = [Point::Value(10), Point::Silent, Point::Value(20), Point::Absent, Point::Value(15)];
        assert_eq!(spark(points.into_iter(), 10, false), "▁×█-▅");
        assert_eq!(spark(points.into_iter(), 2, true), "-█");
        assert_eq!(spread(points.into_iter()), Some([10, 15, 20]));
        assert_eq!(spread([Point::Silent].into_iter()), None);
    }

    proptest! {
        #[test]
        fn a_bar_has_its_width_and_shows_every_part(parts: [u64; 6], width in 0_usize..80) {
            let parts = parts.map(|part| part >> (part % 64));
            let bar = text(&account(parts).bar(width));
            prop_assert_eq!(bar.chars().count(), width);
            let shown = parts.iter().filter(|part| **part > 0).count();
            if width >= shown {
                for ((_, sign), part) in SIGNS.into_iter().zip(parts) {
                    prop_assert_eq!(bar.contains(sign), part > 0, "{}", bar);
                }
            }
        }
    }
}
