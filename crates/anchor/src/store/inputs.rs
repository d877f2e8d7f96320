//! The inputs of a measurement that ended, read a page at a time from where its acceptance is kept: in LEDGER, or in RES where it was
//! accepted by its results.
//!
//! Of each message it is read first which inputs it has, without them, since what was written does not say alone what was
//! answered (`gathered`); then those that the page is of are read. A page takes memory for itself alone.

use async_nats::jetstream::stream::DirectGetErrorKind;
use bytes::Bytes;
use mmn_schema::api::Measurement;
use mmn_schema::dispatch::Input;
use mmn_schema::id::{Epoch, MeasurementId};
use mmn_schema::problem::Problem;
use mmn_schema::rest::InputsPage;
use mmn_schema::subject::{Log, Subject};
use mmn_schema::time::{Timestamp, compact};
use serde::de::{Deserialize, Deserializer, IgnoredAny, SeqAccess, Visitor};

use super::gathered::{Found, Gathered};
use super::record::{Accept, Chunk, Step};
use super::{Store, next_of, parts, read};
use crate::problems;

/// An [`Accept`] without its inputs.
#[derive(serde::Deserialize)]
struct Outline {
    epoch: Epoch,
    #[serde(with = "compact")]
    at: Timestamp,
    step: OutlineOfStep,
}

#[derive(serde::Deserialize)]
enum OutlineOfStep {
    Inputs(OutlineOfChunk),
    Close,
    Cancel,
}

#[derive(serde::Deserialize)]
struct OutlineOfChunk {
    group: u64,
    total: u64,
    first: u64,
    inputs: Count,
}

/// How long a list is.
struct Count(u64);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Counter;
        impl<'de> Visitor<'de> for Counter {
            type Value = Count;
            fn expecting(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                to.write_str("a list")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Count, A::Error> {
                let mut count = 0;
                while items.next_element::<IgnoredAny>()?.is_some() {
                    count += 1;
                }
                Ok(Count(count))
            }
        }
        deserializer.deserialize_seq(Counter)
    }
}

impl Store {
    /// The inputs of a measurement that ended, from position `from` on.
    pub(crate) async fn inputs(
        &self,
        ended: &Measurement,
        from: u64,
        limit: usize,
    ) -> Result<InputsPage, Problem> {
        let id = ended.id;
        let own = Subject::Log(Log::Accept, id).on(&self.prefix);
        let shared = Subject::Logs(Log::Accept, id.unix_s()).on(&self.prefix);
        let mut gathered = Gathered::default();
        for subject in [&shared, &own] {
            let mut next = 1;
            while let Some((seq, message)) = next_of(&self.ledger, subject, next).await? {
                next = seq + 1;
                let Some(part) = part_of(id, subject == &own, message)? else { continue };
                let Outline { epoch, at, step } = read(&part)?;
                if let OutlineOfStep::Inputs(OutlineOfChunk { group, total, first, inputs: Count(len) }) =
                    step
                {
                    gathered.enter(Found { epoch, at, group, total, first, len }, (seq, subject == &own));
                }
            }
        }
        let groups = gathered.answered();
        if groups.is_empty() {
            return self.brief_inputs(id, from, limit).await;
        }
        let total = groups.iter().map(|group| group.total).sum();
        let until = from.saturating_add(limit as u64);
        let mut items = Vec::new();
        for (first, (len, (seq, own))) in groups.into_iter().flat_map(|group| group.chunks) {
            if first < until && first + len > from {
                let inputs = self.chunk_at(id, seq, own).await?;
                items.extend(slice(inputs, first, from, until));
            }
        }
        Ok(page(items, from, total))
    }

    /// The same of one that was accepted by its results.
    async fn brief_inputs(&self, id: MeasurementId, from: u64, limit: usize) -> Result<InputsPage, Problem> {
        let first = self.next_kept(id, 1).await?;
        let Some(Step::Inputs(Chunk { inputs, total, .. })) =
            first.and_then(|kept| kept.batch.accept).map(|accept| accept.step)
        else {
            return Err(problems::expired("the inputs of this measurement"));
        };
        let until = from.saturating_add(limit as u64);
        Ok(page(slice(inputs, 0, from, until).collect(), from, total))
    }

    async fn chunk_at(&self, id: MeasurementId, seq: u64, own: bool) -> Result<Vec<Input>, Problem> {
        let message = match self.ledger.direct_get(seq).await {
            Ok(message) => message.payload,
            Err(error) if error.kind() == DirectGetErrorKind::NotFound => {
                return Err(problems::expired("some of the inputs of this measurement"));
            }
            Err(error) => return Err(problems::storage_away(error)),
        };
        let Some(part) = part_of(id, own, message)? else { return Ok(Vec::new()) };
        match read::<Accept>(&part)?.step {
            Step::Inputs(chunk) => Ok(chunk.inputs),
            Step::Close | Step::Cancel => Ok(Vec::new()),
        }
    }
}

/// A page that begins at position `from`.
pub(crate) fn page(items: Vec<Input>, from: u64, total: u64) -> InputsPage {
    let end = from.saturating_add(items.len() as u64);
    let next = (!items.is_empty() && end < total).then(|| end.to_string());
    InputsPage { items, next, total }
}

/// A measurement's part of a message.
fn part_of(id: MeasurementId, own: bool, message: Bytes) -> Result<Option<Bytes>, Problem> {
    if own {
        return Ok(Some(message));
    }
    Ok(parts(&message)?.into_iter().find(|(other, _)| *other == id).map(|(_, part)| part))
}

/// Those of `inputs`, the first of which is at position `first`, that are within `from` and `until`.
fn slice(inputs: Vec<Input>, first: u64, from: u64, until: u64) -> impl Iterator<Item = Input> {
    let skipped = usize::try_from(from.saturating_sub(first)).unwrap_or(usize::MAX);
    let end = usize::try_from(until.saturating_sub(first)).unwrap_or(usize::MAX);
    inputs.into_iter().take(end).skip(skipped)
}
