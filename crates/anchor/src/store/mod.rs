//! What is kept in JetStream: the streams LEDGER and RES, read by whoever needs it and written by the actor alone.
//!
//! Reading is stateless: direct gets by subject and sequence, so that a reader costs the server nothing between two
//! of its questions.

pub(crate) mod fence;
pub(crate) mod record;
pub(crate) mod room;
pub(crate) mod write;

use std::sync::Arc;

use async_nats::jetstream::stream::{DirectGetErrorKind, Stream};
use mmn_schema::api::{Measurement, Rollup};
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
        let subject = Subject::Log(Log::Res, id).on(&self.prefix);
        let Some((seq, batch)) = next(&self.results, &subject, seq).await? else {
            return Ok(None);
        };
        Ok(Some(Kept { measurement: id, seq, batch }))
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
        let subject = Subject::Log(Log::Done, id).on(&self.prefix);
        Ok(next(&self.ledger, &subject, 1).await?.map(|(_, done)| done))
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

    /// The rollups of a measurement that are written.
    pub(crate) async fn rollups(&self, id: MeasurementId) -> Result<Vec<Rollup>, Problem> {
        let subject = Subject::Log(Log::Roll, id).on(&self.prefix);
        let (mut all, mut from) = (Vec::new(), 1);
        while let Some((seq, roll)) = next::<Roll>(&self.ledger, &subject, from).await? {
            all.extend(roll.rollups);
            from = seq + 1;
        }
        if let Some(done) = self.done(id).await? {
            all.extend(done.rollups);
        }
        Ok(all)
    }

    /// From where on RES may hold acceptances without an end, as its message with this sequence says; nothing when there
    /// is no such message or it can't be read.
    pub(crate) async fn accepts_from(&self, seq: u64) -> Result<Option<u64>, Problem> {
        match self.results.direct_get(seq).await {
            Ok(message) if Fence::is_mark(&message.subject) => Ok(None),
            Ok(message) => match Encoding::Cbor.decode::<KeptBatch>(&message.payload) {
                Ok(batch) => Ok(Some(batch.accepts_from)),
                Err(error) => {
                    tracing::error!(%error, seq, "RES holds a message that can't be read");
                    Ok(None)
                }
            },
            Err(error) if error.kind() == DirectGetErrorKind::NotFound => Ok(None),
            Err(error) => Err(problems::storage_away(error)),
        }
    }

    /// The message of LEDGER with this sequence, when it says that a measurement ended.
    pub(crate) async fn done_at(&self, seq: u64) -> Result<Option<Arc<Done>>, Problem> {
        let done = Log::Done.all(&self.prefix);
        match self.ledger.direct_get(seq).await {
            Ok(message) if message.subject.starts_with(done.trim_end_matches('*')) => Encoding::Cbor
                .decode(&message.payload)
                .map(|done| Some(Arc::new(done)))
                .map_err(problems::storage_away),
            Ok(_) => Ok(None),
            Err(error) if error.kind() == DirectGetErrorKind::NotFound => Ok(None),
            Err(error) => Err(problems::storage_away(error)),
        }
    }
}

async fn next<T: DeserializeOwned>(
    stream: &Stream,
    subject: &str,
    seq: u64,
) -> Result<Option<(u64, T)>, Problem> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        match stream.direct_get_next_for_subject(subject, Some(seq.max(1))).await {
            Ok(message) => {
                let value = Encoding::Cbor.decode(&message.payload).map_err(problems::storage_away)?;
                return Ok(Some((message.sequence, value)));
            }
            Err(error) if error.kind() == DirectGetErrorKind::NotFound => return Ok(None),
            Err(error) if attempt == ATTEMPTS => return Err(problems::storage_away(error)),
            Err(error) => tracing::debug!(%error, subject, "a read from JetStream is tried again"),
        }
    }
}
