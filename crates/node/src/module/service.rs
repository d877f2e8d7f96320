//! A module as a NATS service (ADR-32), so that `nats micro ls` shows it and its endpoints.

use std::collections::BTreeMap;

use mmn_bus::identity::permissions::POOL_QUEUE;
use mmn_schema::announce::KindInfo;
use mmn_schema::id::{InstanceId, VpId};
use mmn_schema::subject::{Prefix, Subject};
use mmn_schema::time::Timestamp;
use serde::Serialize;

/// The subjects of the service protocol that an instance subscribes to.
pub(super) const SUBJECTS: [&str; 6] =
    ["$SRV.PING", "$SRV.PING.>", "$SRV.INFO", "$SRV.INFO.>", "$SRV.STATS", "$SRV.STATS.>"];

/// A service with its endpoints: one for each kind at this vantage point.
#[derive(Debug)]
pub(super) struct Service {
    name: String,
    id: String,
    version: String,
    description: String,
    started: Timestamp,
    metadata: BTreeMap<&'static str, String>,
    endpoints: Vec<Endpoint>,
}

#[derive(Debug, Clone, Serialize)]
struct Endpoint {
    name: String,
    subject: String,
    queue_group: &'static str,
    metadata: BTreeMap<&'static str, String>,
}

/// What an endpoint has done.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Stats {
    pub(super) requests: u64,
    pub(super) errors: u64,
}

#[derive(Serialize)]
struct Reply<'a, E: Serialize> {
    #[serde(rename = "type")]
    kind: &'static str,
    name: &'a str,
    id: &'a str,
    version: &'a str,
    metadata: &'a BTreeMap<&'static str, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    started: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoints: Option<Vec<E>>,
}

#[derive(Serialize)]
struct EndpointStats<'a> {
    name: &'a str,
    subject: &'a str,
    queue_group: &'static str,
    num_requests: u64,
    num_errors: u64,
    last_error: &'static str,
    processing_time: u64,
    average_processing_time: u64,
}

impl Service {
    pub(super) fn new(
        prefix: &Prefix,
        module: &str,
        vp: &VpId,
        instance: &InstanceId,
        kinds: &[KindInfo],
        started: Timestamp,
    ) -> Self {
        let names: Vec<&str> = kinds.iter().map(|kind| kind.name.as_str()).collect();
        let metadata = BTreeMap::from([
            ("instance", instance.to_string()),
            ("kinds", names.join(",")),
            ("vp", vp.to_string()),
        ]);
        let endpoints = kinds
            .iter()
            .map(|kind| Endpoint {
                name: kind.name.to_string(),
                subject: Subject::Pool(vp.clone(), kind.name.clone()).on(prefix),
                queue_group: POOL_QUEUE,
                metadata: BTreeMap::from([("version", kind.version.to_string())]),
            })
            .collect();
        Self {
            name: format!("{prefix}-{module}"),
            id: instance.to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            description: format!("measurements at {vp}: {}", names.join(", ")),
            started,
            metadata,
            endpoints,
        }
    }

    /// The answer to a request on `subject`; none when it is meant for others, or is no such request.
    pub(super) fn answer(&self, subject: &str, stats: &BTreeMap<String, Stats>) -> Option<Vec<u8>> {
        let mut tokens = subject.strip_prefix("$SRV.")?.split('.');
        let verb = tokens.next()?;
        let meant = tokens.next().is_none_or(|name| name.eq_ignore_ascii_case(&self.name))
            && tokens.next().is_none_or(|id| id == self.id)
            && tokens.next().is_none();
        if !meant {
            return None;
        }
        match verb {
            "PING" => self.reply::<()>("io.nats.micro.v1.ping_response", false, None),
            "INFO" => self.reply("io.nats.micro.v1.info_response", false, Some(self.endpoints.clone())),
            "STATS" => self.reply("io.nats.micro.v1.stats_response", true, Some(self.stats(stats))),
            _ => None,
        }
    }

    fn stats(&self, stats: &BTreeMap<String, Stats>) -> Vec<EndpointStats<'_>> {
        self.endpoints
            .iter()
            .map(|endpoint| {
                let counted = stats.get(&endpoint.name).copied().unwrap_or_default();
                EndpointStats {
                    name: &endpoint.name,
                    subject: &endpoint.subject,
                    queue_group: endpoint.queue_group,
                    num_requests: counted.requests,
                    num_errors: counted.errors,
                    last_error: "",
                    processing_time: 0,
                    average_processing_time: 0,
                }
            })
            .collect()
    }

    fn reply<E: Serialize>(
        &self,
        kind: &'static str,
        stats: bool,
        endpoints: Option<Vec<E>>,
    ) -> Option<Vec<u8>> {
        let reply = Reply {
            kind,
            name: &self.name,
            id: &self.id,
            version: &self.version,
            metadata: &self.metadata,
            description: (endpoints.is_some() && !stats).then_some(self.description.as_str()),
            started: stats.then_some(self.started),
            endpoints,
        };
        serde_json::to_vec(&reply).ok()
    }
}
