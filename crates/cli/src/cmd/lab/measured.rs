//! What a result says of each probe, of any kind: wherever something in its body has a status, or a state, and
//! was sent.

use std::net::IpAddr;

use mmn_schema::time::Timestamp;
use serde::Serialize;
use serde_json::Value;

/// What a result says of a task's probes.
#[derive(Debug, Default)]
pub(super) struct Measured {
    /// Where they went.
    pub(super) target: Option<IpAddr>,
    /// Within how much round trips are right, by the result's own word.
    pub(super) rtt_error_ns: u64,
    /// After what time nothing was awaited any more, where it says so.
    pub(super) timeout_ns: Option<u64>,
    /// In the order of sending.
    pub(super) probes: Vec<Probe>,
}

/// What became of a probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Probe {
    /// When it left.
    pub(super) sent_at: Timestamp,
    /// How it ended, in the kind's word.
    pub(super) status: String,
    /// The time to the first that came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rtt_ns: Option<u64>,
    /// Who sent that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) from: Option<IpAddr>,
    /// What came besides.
    pub(super) duplicates: u64,
    /// The identification in the IPv4 header of what came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ip_id: Option<u16>,
    /// The TTL with which it left, of hops.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ttl: Option<u8>,
    /// ICMP identifier or source port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) selector: Option<u16>,
    /// The identification in its IPv4 header.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) request_ip_id: Option<u16>,
}

impl Measured {
    /// Reads a body.
    pub(super) fn of(body: &Value) -> Self {
        let target = address(body.get("address"));
        let conditions = body.get("conditions").unwrap_or(&Value::Null);
        let mut measured = Self {
            target,
            rtt_error_ns: number(conditions.get("rtt_error_ns")).unwrap_or_default(),
            timeout_ns: number(body.get("timeout_ns")),
            probes: Vec::new(),
        };
        let around = Around { target, ttl: None, selector: selector(body) };
        gather(body, around, &mut measured.probes);
        measured.probes.sort_by_key(|probe| probe.sent_at);
        measured
    }
}

/// What holds for the probes in a part of a body.
#[derive(Debug, Clone, Copy)]
struct Around {
    target: Option<IpAddr>,
    ttl: Option<u8>,
    selector: Option<u16>,
}

fn gather(value: &Value, around: Around, probes: &mut Vec<Probe>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| gather(item, around, probes)),
        Value::Object(fields) => {
            if let Some(probe) = probe(value, around) {
                probes.push(probe);
                return;
            }
            let around = Around { ttl: small(fields.get("ttl")).or(around.ttl), ..around };
            fields.values().for_each(|field| gather(field, around, probes));
        }
        _ => {}
    }
}

fn probe(value: &Value, around: Around) -> Option<Probe> {
    // A TCP connection's attempts have a state.
    let status = value.get("status").or(value.get("state"))?.as_str()?.to_owned();
    let sent_at = value.get("sent_at")?.as_str()?.parse().ok()?;
    let first = value.get("replies").and_then(|replies| replies.get(0));
    let reply = value.get("reply").or(first);
    // Of kinds that tell of the reply in place, nobody but the target is named where it was the target.
    let came = reply.unwrap_or(value);
    let rtt_ns = number(came.get("rtt_ns"));
    let from = address(came.get("from")).or(around.target.filter(|_| rtt_ns.is_some()));
    let further = value.get("replies").and_then(Value::as_array).map_or(0, |all| all.len().saturating_sub(1));
    let is_hop = value.get("reply").is_some() || around.ttl.is_some() || value.get("flow").is_some();
    Some(Probe {
        sent_at,
        status,
        rtt_ns,
        from,
        duplicates: number(value.get("duplicates")).unwrap_or_default()
            + u64::try_from(further).unwrap_or_default(),
        // A probe that tells nothing of its own as such means itself.
        ip_id: small(came.get("ip_id")).filter(|_| reply.is_some() || value.get("request_ip_id").is_some()),
        // Elsewhere it is the TTL of what came.
        ttl: around.ttl.or_else(|| small(value.get("ttl"))).filter(|_| is_hop),
        selector: selector(value).or(around.selector),
        request_ip_id: small(value.get("request_ip_id")),
    })
}

fn selector(value: &Value) -> Option<u16> {
    small(value.get("icmp_id")).or_else(|| small(value.get("source_port")))
}

fn number(value: Option<&Value>) -> Option<u64> {
    value?.as_u64()
}

fn small<T: TryFrom<u64>>(value: Option<&Value>) -> Option<T> {
    number(value)?.try_into().ok()
}

fn address(value: Option<&Value>) -> Option<IpAddr> {
    value?.as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn probes_of_a_ping_are_found() {
        let measured = Measured::of(&json!({
            "address": "198.18.16.1", "icmp_id": 7, "timeout_ns": 2_000_000_000_u64,
            "conditions": { "rtt_error_ns": 3 },
            "replies": [
                { "seq": 0, "status": "replied", "sent_at": "2026-01-01T00:00:00.000000001Z", "rtt_ns": 5,
                  "ttl": 60, "ip_id": 9, "request_ip_id": 1, "duplicates": 1 },
                { "seq": 1, "status": "timed_out", "sent_at": "2026-01-01T00:00:01.000000000Z" },
                { "seq": 2, "status": "not_sent" },
            ],
        }));
        assert_eq!((measured.rtt_error_ns, measured.timeout_ns), (3, Some(2_000_000_000)));
        let [first, second] = measured.probes.try_into().unwrap();
        assert_eq!((first.rtt_ns, first.from, first.ttl), (Some(5), measured.target, None));
        assert_eq!(
            (first.selector, first.request_ip_id, first.ip_id, first.duplicates),
            (Some(7), Some(1), Some(9), 1)
        );
        assert_eq!((second.rtt_ns, second.from, &*second.status), (None, None, "timed_out"));
    }

    #[test]
    fn probes_of_hops_are_found() {
        let probe = json!({ "attempt": 0, "status": "replied", "sent_at": "2026-01-01T00:00:00.000000000Z",
            "request_ip_id": 5, "reply": { "from": "198.19.0.1", "rtt_ns": 8, "ttl": 250 } });
        let measured = Measured::of(&json!({
            "address": "198.18.16.1", "source_port": 33000, "hops": [{ "ttl": 3, "probes": [probe] }],
        }));
        let [probe] = measured.probes.try_into().unwrap();
        assert_eq!((probe.ttl, probe.rtt_ns, probe.selector), (Some(3), Some(8), Some(33000)));
        assert_eq!(probe.from, Some("198.19.0.1".parse().unwrap()));
    }

    proptest! {
        #[test]
        fn garbage_never_panics(text in "[\\[\\]{},:\"a-z0-9]{0,80}") {
            if let Ok(value) = serde_json::from_str::<Value>(&text) {
                let _ = Measured::of(&value);
            }
        }
    }
}
