//! What zones say to a question (RFC 1034, section 4.3.2), without wildcards.

use mmn_probe::time::Nanos;

use super::TYPE_SOA;
use super::wire::{Answer, OutData, OutRecord, Question, Rcode, TYPE_ANY};
use crate::plan::{Record, RecordData, RecordType, Zone};

/// What was found.
#[derive(Clone, Debug)]
pub(super) enum Found {
    /// Records of the name, aliases first.
    Records(Vec<OutRecord>),
    /// The name is there, but has no such records; or it is not there. With the zone's SOA.
    Nothing(Rcode, Vec<OutRecord>, OutRecord),
    /// Another server knows: its names and addresses.
    Elsewhere(Vec<OutRecord>, Vec<OutRecord>),
}

impl Found {
    pub(super) fn into_answer(self) -> Answer {
        match self {
            Self::Records(answers) => Answer { answers, ..Answer::error(Rcode::NoError) },
            Self::Nothing(rcode, answers, soa) => {
                Answer { answers, authority: vec![soa], ..Answer::error(rcode) }
            }
            Self::Elsewhere(authority, additional) => {
                Answer { authority, additional, ..Answer::error(Rcode::NoError) }
            }
        }
    }
}

/// Aliases that are followed.
const MOST_ALIASES: usize = 8;
const TYPE_CNAME: RecordType = RecordType(5);

/// Looks in the zone with the longest name that covers the question; nothing where none does. Its copy is behind by `lag`.
pub(super) fn in_zones<'z>(
    zones: impl Iterator<Item = &'z Zone> + Clone,
    since: Nanos,
    lag: Nanos,
    question: &Question,
) -> Option<Found> {
    let zone = covering(zones, &question.name)?;
    let then = Nanos(since.0.saturating_sub(lag.0));
    Some(in_zone(zone, then, &question.name, question.record_type))
}

/// The zone with the longest name that covers a name.
pub(super) fn covering<'z>(zones: impl Iterator<Item = &'z Zone>, name: &str) -> Option<&'z Zone> {
    zones.filter(|zone| zone.covers(name)).max_by_key(|zone| zone.name.len())
}

/// Looks up a name in a zone as it was at a time.
pub(super) fn in_zone(zone: &Zone, then: Nanos, name: &str, record_type: RecordType) -> Found {
    let mut name: Box<str> = name.into();
    let mut answers = Vec::new();
    for _ in 0..MOST_ALIASES {
        if let Some(found) = delegated(zone, &name).filter(|_| answers.is_empty()) {
            return found;
        }
        if name == zone.name && [TYPE_SOA, TYPE_ANY].contains(&record_type) {
            answers.push(soa(zone, then));
        }
        let of_name = || zone.records.iter().filter(|record| record.name == name);
        let before = answers.len();
        answers.extend(
            of_name()
                .filter(|record| record_type == TYPE_ANY || record.data.record_type() == record_type)
                .map(out),
        );
        if answers.len() > before || answers.iter().any(|record| record.record_type == TYPE_SOA) {
            return Found::Records(answers);
        }
        let alias = of_name().find_map(|record| match &record.data {
            RecordData::Cname(to) if record_type != TYPE_CNAME => Some((record, to)),
            _ => None,
        });
        let Some((record, to)) = alias else {
            let exists =
                name == zone.name || zone.records.iter().any(|record| is_at_or_below(&record.name, &name));
            let rcode = if exists { Rcode::NoError } else { Rcode::NameError };
            return Found::Nothing(rcode, answers, soa(zone, then));
        };
        answers.push(out(record));
        if !zone.covers(to) {
            return Found::Records(answers);
        }
        name = to.clone();
    }
    Found::Records(answers)
}

/// The start of authority of a zone at a time.
pub(super) fn soa(zone: &Zone, then: Nanos) -> OutRecord {
    let primary = zone.records.iter().find_map(|record| match &record.data {
        RecordData::Ns(name) if record.name == zone.name => Some(name.clone()),
        _ => None,
    });
    let data = OutData::Soa {
        primary: primary.unwrap_or_else(|| zone.name.clone()),
        zone: zone.name.clone(),
        serial: zone.serial_at(then),
        minimum_s: zone.ttl_s,
    };
    OutRecord { name: zone.name.clone(), record_type: TYPE_SOA, ttl_s: zone.ttl_s, data }
}

/// Who else knows of a name, where a part of the zone is another's.
fn delegated(zone: &Zone, name: &str) -> Option<Found> {
    let is_cut = |record: &&Record| {
        matches!(record.data, RecordData::Ns(_))
            && record.name != zone.name
            && is_at_or_below(name, &record.name)
    };
    let servers: Vec<_> = zone.records.iter().filter(is_cut).collect();
    if servers.is_empty() {
        return None;
    }
    let is_glue = |record: &&Record| {
        matches!(record.data, RecordData::A(_) | RecordData::Aaaa(_))
            && servers
                .iter()
                .any(|server| matches!(&server.data, RecordData::Ns(name) if *name == record.name))
    };
    let glue = zone.records.iter().filter(is_glue).map(out).collect();
    Some(Found::Elsewhere(servers.into_iter().map(out).collect(), glue))
}

fn is_at_or_below(name: &str, above: &str) -> bool {
    name.strip_suffix(above).is_some_and(|head| head.is_empty() || head.ends_with('.'))
}

fn out(record: &Record) -> OutRecord {
    OutRecord {
        name: record.name.clone(),
        record_type: record.data.record_type(),
        ttl_s: record.ttl_s,
        data: OutData::Plain(record.data.clone()),
    }
}
