//! What an anchor counts: the answer to `GET /metrics`, in Prometheus' text format (version 0.0.4).

use std::collections::BTreeMap;

use crate::http::Call;
use crate::{Client, ClientError};

/// The counters and gauges of an anchor at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metrics(String);

/// A line of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Name and value of each label, in the order of the line.
    pub labels: Vec<(String, String)>,
    /// The number, in the unit that the metric's name ends with.
    pub value: f64,
}

impl Client {
    /// What the anchor counts, now.
    pub async fn metrics(&self) -> Result<Metrics, ClientError> {
        let body = self.exchange(Call::get("/metrics")).await?;
        Ok(Metrics::of(String::from_utf8_lossy(&body)))
    }
}

impl Metrics {
    /// The metrics of a page. Lines that are none are passed over when they are met.
    pub fn of(page: impl Into<String>) -> Self {
        Self(page.into())
    }

    /// The samples of a metric.
    pub fn samples<'m>(&'m self, name: &'m str) -> impl Iterator<Item = Sample> + 'm {
        self.0.lines().filter_map(move |line| {
            let rest = line.strip_prefix(name)?;
            rest.starts_with(['{', ' ', '\t']).then(|| sample(rest)).flatten()
        })
    }

    /// The sum over all labels; absent when the metric is not there.
    pub fn sum(&self, name: &str) -> Option<f64> {
        self.samples(name).map(|sample| sample.value).reduce(|sum, value| sum + value)
    }

    /// Sums by the value of one label.
    pub fn by(&self, name: &str, label: &str) -> BTreeMap<String, f64> {
        let mut sums = BTreeMap::new();
        for sample in self.samples(name) {
            let value = sample.labels.into_iter().find(|(name, _)| name == label).map(|(_, value)| value);
            *sums.entry(value.unwrap_or_default()).or_default() += sample.value;
        }
        sums
    }
}

/// What follows the name of a metric: labels, if any, and a number that is one.
fn sample(rest: &str) -> Option<Sample> {
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (Vec::new(), rest),
    };
    let value = rest.split_ascii_whitespace().next()?.parse::<f64>().ok()?;
    value.is_finite().then_some(Sample { labels, value })
}

/// Labels up to their closing brace, and what follows it.
fn labels(mut rest: &str) -> Option<(Vec<(String, String)>, &str)> {
    let mut labels = Vec::new();
    loop {
        rest = rest.trim_start_matches([',', ' ']);
        if let Some(rest) = rest.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (name, quoted) = rest.split_once("=\"")?;
        let (value, after) = unquoted(quoted)?;
        labels.push((name.to_owned(), value));
        rest = after;
    }
}

/// A value up to its closing quote, and what follows it. `\\`, `\"` and `\n` are written so.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.chars();
    loop {
        match chars.next()? {
            '"' => return Some((value, chars.as_str())),
            '\\' => value.push(match chars.next()? {
                'n' => '\n',
                other => other,
            }),
            other => value.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "\
# HELP mmn_tasks_ended_total Tasks that ended; ok has no reason.
# TYPE mmn_tasks_ended_total counter
mmn_tasks_ended_total{outcome=\"ok\",reason=\"\"} 12
mmn_tasks_ended_total{outcome=\"lost\",reason=\"deadline\"} 2
mmn_tasks_ended_total{outcome=\"lost\",reason=\"say \\\"so\\\\\\n\"} 1
mmn_tasks_pending 3
mmn_tasks_pending_more 4
mmn_broken{outcome=\"ok 12
mmn_broken NaN
";

    #[test]
    fn samples_are_summed_by_label() {
        let metrics = Metrics::of(PAGE);
        assert_eq!(metrics.sum("mmn_tasks_pending"), Some(3.0));
        assert_eq!(metrics.sum("mmn_tasks_ended_total"), Some(15.0));
        assert_eq!(metrics.sum("mmn_tasks"), None);
        assert_eq!(metrics.sum("mmn_broken"), None);
        let ended = metrics.by("mmn_tasks_ended_total", "outcome");
        assert_eq!(ended, BTreeMap::from([("lost".to_owned(), 3.0), ("ok".to_owned(), 12.0)]));
        let reasons = metrics.by("mmn_tasks_ended_total", "reason");
        assert!(reasons.contains_key("say \"so\\\n"), "{reasons:?}");
    }
}
