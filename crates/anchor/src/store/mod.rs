//! What is kept in JetStream: the streams LEDGER and RES, read by whoever needs it and written by the actor alone.
//!
//! Reading is stateless: direct gets by subject and sequence, so that a reader costs the server nothing between two
//! of its questions.

pub(crate) mod fence;
pub(crate) mod gathered;
pub(crate) mod group;
pub(crate) mod inputs;
pub(crate) mod parcel;
pub(crate) mod record;
pub(crate) mod room;
pub(crate) mod write;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_nats::jetstream::stream::{DirectGetErrorKind, Stream};
use bytes::Bytes;
use mmn_schema::api::Measurement;
use mmn_schema::encoding::Encoding;
use mmn_schema::id::MeasurementId;
use mmn_schema::problem::Problem;
use mmn_schema::subject::{Log, Prefix, Subject};
use serde::de::DeserializeOwned;

use crate::handle::Viewer;
use crate::problems;
use fence::Fence;
use record::{Done, Kept, KeptBatch, Roll};

/// The reading side. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    pub(crate) prefix: Prefix,
    pub(crate) ledger: Arc<Stream>,
    pub(crate) results: Arc<Stream>,
    /// Of LEDGER.
    pub(crate) ledger_fence: Arc<Fence>,
    /// Of RES.
    pub(crate) results_fence: Arc<Fence>,
}

/// How often a read is tried while the server is away.
const ATTEMPTS: u32 = 3;

impl Store {
    /// The first kept message of a measurement with a sequence of at least `seq`.
    pub(crate) async fn next_kept(&self, id: MeasurementId, seq: u64) -> Result<Option<Kept>, Problem> {
        let found = self.next(&self.results, Log::Res, id, seq).await?;
        found.map(|(seq, batch)| Ok(Kept { measurement: id, seq, batch: read(&batch)? })).transpose()
    }

    /// The last kept message that is of a measurement alone; nothing where it shares all of its messages, as short ones do.
    pub(crate) async fn last_kept(&self, id: MeasurementId) -> Result<Option<Kept>, Problem> {
        let own = Subject::Log(Log::Res, id).on(&self.prefix);
        match self.results.direct_get_last_for_subject(own).await {
            Ok(message) => {
                Ok(Some(Kept { measurement: id, seq: message.sequence, batch: read(&message.payload)? }))
            }
            Err(error) if error.kind() == DirectGetErrorKind::NotFound => Ok(None),
            Err(error) => Err(problems::storage_away(error)),
        }
    }

    /// A measurement that is no longer in memory, if the viewer may see it.
    pub(crate) async fn closed_measurement(
        &self,
        viewer: &Viewer,
        id: MeasurementId,
    ) -> Result<Measurement, Problem> {
        let measurement = match self.done(id).await? {
            Some(done) if viewer.may_see(&done.meta.tenant, done.meta.visibility) => done.view(),
            _ => return Err(problems::not_found("measurement", &id.to_string())),
        };
        self.with_expiry(measurement).await
    }

    /// The last word on a measurement.
    pub(crate) async fn done(&self, id: MeasurementId) -> Result<Option<Done>, Problem> {
        let found = self.next(&self.ledger, Log::Done, id, 1).await?;
        found.map(|(_, done)| read(&done)).transpose()
    }

    /// The same measurement with the count of results that have expired. They expire from the first on.
    pub(crate) async fn with_expiry(&self, mut measurement: Measurement) -> Result<Measurement, Problem> {
        let ended = measurement.ledger.accepted - measurement.ledger.pending;
        if measurement.done_at.is_some() && ended > 0 {
            let first = self.next_kept(measurement.id, 1).await?;
            measurement.ledger.expired = first.map_or(ended, |kept| kept.batch.before);
        }
        Ok(measurement)
    }

    /// The history of a measurement that ended, as it is written down; absent where there is none any more.
    pub(crate) async fn history(&self, id: MeasurementId) -> Result<Option<Bytes>, Problem> {
        let Some(done) = self.done(id).await? else { return Ok(None) };
        if let Some(history) = done.own_history() {
            return Ok(Some(history.clone()));
        }
        let subject = Subject::Log(Log::Roll, id).on(&self.prefix);
        let (mut parts, mut from) = (BTreeMap::new(), 1);
        while let Some((seq, roll)) = next_of(&self.ledger, &subject, from).await? {
            let Roll { of, part, parts: all, bytes } = read(&roll)?;
            if of == done.done_at.unix_ns() {
                parts.insert(part, bytes);
                if parts.len() == all {
                    let bytes: Vec<&[u8]> = parts.values().map(|part| &**part.cbor()).collect();
                    return Ok(Some(bytes.concat().into()));
                }
            }
            from = seq + 1;
        }
        Ok(None)
    }

    /// All results of measurements that share messages, of ids of one second, in order.
    pub(crate) async fn shared_in(
        &self,
        second: u64,
    ) -> Result<Vec<(u64, MeasurementId, KeptBatch)>, Problem> {
        let subject = Subject::Logs(Log::Res, second).on(&self.prefix);
        let (mut all, mut from) = (Vec::new(), 1);
        while let Some((seq, message)) = next_of(&self.results, &subject, from).await? {
            for (id, part) in parts(&message)? {
                all.push((seq, id, read(&part)?));
            }
            from = seq + 1;
        }
        Ok(all)
    }

    /// From where on RES may hold acceptances without an end, as its message with this sequence says; nothing when there
    /// is no such message or it can't be read.
    pub(crate) async fn accepts_from(&self, seq: u64) -> Result<Option<u64>, Problem> {
        let message = match self.results.direct_get(seq).await {
            Ok(message) => message,
            Err(error) if error.kind() == DirectGetErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(problems::storage_away(error)),
        };
        if Fence::is_mark(&message.subject) {
            return Ok(None);
        }
        // The first of several looks back farthest.
        let first = |(_, batch): &(MeasurementId, Bytes)| Encoding::Cbor.decode::<KeptBatch>(batch).ok();
        let batches = kept_of(&self.prefix, &message.subject, &message.payload);
        let from = batches.and_then(|all| all.iter().filter_map(first).map(|batch| batch.accepts_from).min());
        if from.is_none() {
            tracing::error!(seq, subject = %message.subject, "RES holds a message that can't be read");
        }
        Ok(from)
    }

    /// The measurements that ended as the message of LEDGER with this sequence says, in order.
    pub(crate) async fn dones_at(&self, seq: u64) -> Result<Vec<Done>, Problem> {
        let message = match self.ledger.direct_get(seq).await {
            Ok(message) => message,
            Err(error) if error.kind() == DirectGetErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(problems::storage_away(error)),
        };
        match Subject::parse(&self.prefix, &message.subject) {
            Ok(Subject::Logs(Log::Done, _)) => {
                parts(&message.payload)?.iter().map(|(_, done)| read(done)).collect()
            }
            _ => Ok(Vec::new()),
        }
    }

    /// The next message about a measurement: one of its own, or its part of one that it shares.
    async fn next(
        &self,
        stream: &Stream,
        log: Log,
        id: MeasurementId,
        seq: u64,
    ) -> Result<Option<(u64, Bytes)>, Problem> {
        let own = Subject::Log(log, id).on(&self.prefix);
        if let Some(found) = next_of(stream, &own, seq).await? {
            return Ok(Some(found));
        }
        let subject = Subject::Logs(log, id.unix_s()).on(&self.prefix);
        let mut from = seq;
        while let Some((seq, message)) = next_of(stream, &subject, from).await? {
            if let Some((_, part)) = parts(&message)?.into_iter().find(|(other, _)| *other == id) {
                return Ok(Some((seq, part)));
            }
            from = seq + 1;
        }
        Ok(None)
    }
}

/// The results in a message of RES, by measurement; `None` where it is no such message.
pub(crate) fn kept_of(
    prefix: &Prefix,
    subject: &str,
    payload: &Bytes,
) -> Option<Vec<(MeasurementId, Bytes)>> {
    match Subject::parse(prefix, subject).ok()? {
        Subject::Log(Log::Res, id) => Some(vec![(id, payload.clone())]),
        Subject::Logs(Log::Res, _) => group::read(payload),
        _ => None,
    }
}

fn parts(message: &Bytes) -> Result<Vec<(MeasurementId, Bytes)>, Problem> {
    group::read(message).ok_or_else(|| problems::storage_away("a message that can't be read"))
}

fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    Encoding::Cbor.decode(bytes).map_err(problems::storage_away)
}

async fn next_of(stream: &Stream, subject: &str, seq: u64) -> Result<Option<(u64, Bytes)>, Problem> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        match stream.direct_get_next_for_subject(subject, Some(seq.max(1))).await {
            Ok(message) => return Ok(Some((message.sequence, message.payload))),
            Err(error) if error.kind() == DirectGetErrorKind::NotFound => return Ok(None),
            Err(error) if attempt == ATTEMPTS => return Err(problems::storage_away(error)),
            Err(error) => tracing::debug!(%error, subject, "a read from JetStream is tried again"),
        }
    }
}
