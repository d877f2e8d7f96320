//! The table of figures.

use std::fmt::Write as _;
use std::time::Duration;

/// Figures in the order in which they were taken.
#[derive(Debug, Default)]
pub(crate) struct Report {
    text: String,
    short: bool,
}

impl Report {
    pub(crate) fn new() -> Self {
        let mut report = Self::default();
        let _ = writeln!(report.text, "{:<58} {:>14} {:>14}  ", "figure", "measured", "bound");
        report
    }

    /// A line that is no figure.
    pub(crate) fn note(&mut self, text: &str) {
        let _ = writeln!(self.text, "  {text}");
    }

    /// A figure that must not exceed its bound.
    pub(crate) fn at_most(&mut self, name: &str, unit: &str, measured: f64, bound: f64) {
        self.figure(name, unit, measured, &format!("≤ {}", bound_of(bound, unit)), measured <= bound);
    }

    /// A figure that must reach its bound.
    pub(crate) fn at_least(&mut self, name: &str, unit: &str, measured: f64, bound: f64) {
        self.figure(name, unit, measured, &format!("≥ {}", bound_of(bound, unit)), measured >= bound);
    }

    /// A figure that must be exactly this.
    pub(crate) fn exactly(&mut self, name: &str, unit: &str, measured: f64, bound: f64) {
        self.figure(
            name,
            unit,
            measured,
            &format!("= {}", bound_of(bound, unit)),
            (measured - bound).abs() < 1e-9,
        );
    }

    /// A part could not be measured to its end.
    pub(crate) fn broken(&mut self, name: &str, error: &anyhow::Error) {
        self.short = true;
        let _ = writeln!(self.text, "{name}: FALLS SHORT, not measured to its end: {error:#}");
    }

    /// A yardstick: measured, with no bound.
    pub(crate) fn yardstick(&mut self, name: &str, unit: &str, measured: f64) {
        let _ = writeln!(self.text, "{name:<58} {:>14} {:>14}  yardstick", number(measured, unit), "");
    }

    fn figure(&mut self, name: &str, unit: &str, measured: f64, bound: &str, holds: bool) {
        self.short |= !holds;
        let verdict = if holds { "holds" } else { "FALLS SHORT" };
        let _ = writeln!(self.text, "{name:<58} {:>14} {bound:>14}  {verdict}", number(measured, unit));
    }

    /// Prints what was taken since the last time.
    #[expect(clippy::print_stdout, reason = "the table is this program's output")]
    pub(crate) fn print(&mut self) {
        print!("{}", std::mem::take(&mut self.text));
    }

    pub(crate) fn falls_short(&self) -> bool {
        self.short
    }
}

fn number(measured: f64, unit: &str) -> String {
    // Of large numbers the fraction is noise.
    if measured.abs() >= 1e4 { format!("{measured:.0} {unit}") } else { format!("{measured:.2} {unit}") }
}

fn bound_of(bound: f64, unit: &str) -> String {
    // A bound that is itself a figure has a fraction that says nothing.
    let bound = (bound * 100.0).round() / 100.0;
    format!("{bound} {unit}")
}

/// The value below which a share of the samples lies, nearest rank. Sorts them.
pub(crate) fn quantile(samples: &mut [Duration], share: f64) -> Duration {
    samples.sort_unstable();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a rank within the samples"
    )]
    let rank = ((samples.len() as f64 * share).ceil() as usize).saturating_sub(1);
    samples.get(rank).or(samples.last()).copied().unwrap_or_default()
}

/// Milliseconds.
pub(crate) fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
