//! DNS (RFC 1034, RFC 1035): authoritative servers whose zones may be behind, sites that say who they are (RFC 4892,
//! RFC 5001), and resolvers that keep what they learn.

mod cache;
mod lookup;
mod wire;

use mmn_probe::time::{Instant, Nanos};

pub(super) use self::cache::Caches;
use self::wire::{Answer, Class, OutData, OutRecord, Question, Rcode, TYPE_ANY, TYPE_TXT, Write};
use super::Response;
use crate::ids::HostId;
use crate::plan::{DnsServer, Plan, RecordData, RecordType};

/// Answers a query; see [`super::Services::dns`].
pub(super) fn answer(
    plan: &Plan,
    caches: &mut Caches,
    times: [Instant; 2],
    host: HostId,
    query: &[u8],
    most: usize,
) -> Option<Response> {
    let [start, now] = times;
    let (number, server) = plan.dns.iter().enumerate().find(|(_, server)| server.host == host)?;
    let question = Question::read(query)?;
    let mut after = Nanos::ZERO;
    let mut answer = match question.class {
        _ if question.opcode != 0 => Answer::error(Rcode::NotImplemented),
        Class::Chaos => chaos(server, &question),
        Class::Internet => {
            let since = Nanos(now.saturating_since(start).0);
            let own = server.zones.iter().map(|zone| &plan.zones[*zone]);
            match lookup::in_zones(own, since, server.lag, &question) {
                Some(found) => authoritative(found, server),
                None if server.recursive && question.recursion_desired => {
                    let (answer, missed) = caches.resolve(plan, number, start, now, &question);
                    after = if missed { server.miss } else { Nanos::ZERO };
                    answer
                }
                // Without recursion it tells what it keeps, and that it keeps nothing.
                None if server.recursive => caches.kept(number, now, &question),
                None => Answer::error(Rcode::Refused),
            }
        }
        Class::Other => Answer::error(Rcode::Refused),
    };
    answer.identity = server.identity.clone();
    Some(Response { after, bytes: Write::response(&question, &answer, most) })
}

fn authoritative(found: lookup::Found, server: &DnsServer) -> Answer {
    let is_own = !matches!(found, lookup::Found::Elsewhere(..));
    Answer { authoritative: is_own, recursion_available: server.recursive, ..found.into_answer() }
}

/// Who this is (RFC 4892).
fn chaos(server: &DnsServer, question: &Question) -> Answer {
    let asks = matches!(&*question.name, "hostname.bind" | "id.server");
    if !asks || ![TYPE_TXT, TYPE_ANY].contains(&question.record_type) {
        return Answer::error(Rcode::Refused);
    }
    let record = OutRecord {
        name: question.name.clone(),
        record_type: TYPE_TXT,
        ttl_s: 0,
        data: OutData::Plain(RecordData::Txt(server.identity.clone())),
    };
    Answer { authoritative: true, answers: vec![record], ..Answer::error(Rcode::NoError) }
}

/// Stands in no zone's lines, and is asked for.
const TYPE_SOA: RecordType = RecordType(6);

#[cfg(test)]
mod tests;
