//! What resolvers have learned, each site for itself.

use mmn_probe::time::{Instant, Nanos};
use rustc_hash::FxHashMap;

use super::lookup::{Found, covering, in_zone};
use super::wire::{Answer, OutRecord, Question, Rcode};
use crate::plan::{Plan, RecordType};

/// The caches of all resolvers, by their places among the plan's servers.
#[derive(Debug)]
pub(crate) struct Caches(Vec<Cache>);

type Cache = FxHashMap<(Box<str>, RecordType), Kept>;

#[derive(Clone, Debug)]
struct Kept {
    since: Instant,
    until: Instant,
    answer: Answer,
}

/// The most answers that a resolver keeps. When there are more, those that are over go; when there are none, nothing is
/// added.
const MOST: usize = 10_000;
/// How long it is kept that nobody knows a name for which there is no zone, in seconds.
const UNKNOWN_S: u32 = 60;
const MOST_ALIASES: usize = 8;

impl Caches {
    pub(crate) fn new(plan: &Plan) -> Self {
        Self(plan.dns.iter().map(|_| Cache::default()).collect())
    }

    /// Answers a question as a resolver does. Answers, too, whether it had to ask others.
    pub(super) fn resolve(
        &mut self,
        plan: &Plan,
        server: usize,
        start: Instant,
        now: Instant,
        question: &Question,
    ) -> (Answer, bool) {
        let key = (question.name.clone(), question.record_type);
        let Some(cache) = self.0.get_mut(server) else { return (Answer::error(Rcode::Refused), false) };
        if let Some(kept) = cache.get(&key).filter(|kept| now < kept.until) {
            return (aged(kept, now), false);
        }
        let since = Nanos(now.saturating_since(start).0);
        let answer = ask(plan, since, question);
        let ttl = records(&answer).map(|record| record.ttl_s).min().unwrap_or(UNKNOWN_S);
        if cache.len() >= MOST {
            cache.retain(|_, kept| now < kept.until);
        }
        if ttl > 0 && cache.len() < MOST {
            let until = now + Nanos::from_secs(u64::from(ttl));
            cache.insert(key, Kept { since: now, until, answer: answer.clone() });
        }
        (answer, true)
    }

    /// Answers a question that asks for no recursion (RFC 1034, section 4.3.1): what is kept, and without records where
    /// nothing is. It is kept no longer for that.
    pub(super) fn kept(&self, server: usize, now: Instant, question: &Question) -> Answer {
        let key = (question.name.clone(), question.record_type);
        let kept = self.0.get(server).and_then(|cache| cache.get(&key)).filter(|kept| now < kept.until);
        let nothing = || Answer { recursion_available: true, ..Answer::error(Rcode::NoError) };
        kept.map_or_else(nothing, |kept| aged(kept, now))
    }
}

/// What was kept, with what is left of its TTLs.
fn aged(kept: &Kept, now: Instant) -> Answer {
    let age = u32::try_from(now.saturating_since(kept.since).0 / 1_000_000_000).unwrap_or(u32::MAX);
    let mut answer = kept.answer.clone();
    for record in answer.answers.iter_mut().chain(&mut answer.authority) {
        record.ttl_s = record.ttl_s.saturating_sub(age);
    }
    answer
}

/// Asks the first server of each zone that is met, as far as aliases lead.
fn ask(plan: &Plan, since: Nanos, question: &Question) -> Answer {
    let mut answer = Answer { recursion_available: true, ..Answer::error(Rcode::NameError) };
    let mut name = question.name.clone();
    for _ in 0..MOST_ALIASES {
        let Some(zone) = covering(plan.zones.iter(), &name) else { return answer };
        let server = plan
            .dns
            .iter()
            .find(|server| server.zones.iter().any(|id| std::ptr::eq(&raw const plan.zones[*id], zone)));
        let lag = server.map_or(Nanos::ZERO, |server| server.lag);
        let then = Nanos(since.0.saturating_sub(lag.0));
        match in_zone(zone, then, &name, question.record_type) {
            Found::Records(records) => {
                answer.rcode = Rcode::NoError;
                let alias = records.last().and_then(|last| match &last.data {
                    super::wire::OutData::Plain(crate::plan::RecordData::Cname(to))
                        if last.record_type != question.record_type =>
                    {
                        Some(to.clone())
                    }
                    _ => None,
                });
                answer.answers.extend(records);
                match alias {
                    Some(alias) => {
                        name = alias;
                        answer.rcode = Rcode::NameError;
                    }
                    None => return answer,
                }
            }
            Found::Nothing(rcode, records, soa) => {
                answer.rcode = rcode;
                answer.answers.extend(records);
                answer.authority = vec![soa];
                return answer;
            }
            // A part for which there is no zone.
            Found::Elsewhere(..) => return answer,
        }
    }
    answer
}

fn records(answer: &Answer) -> impl Iterator<Item = &OutRecord> {
    answer.answers.iter().chain(&answer.authority)
}
