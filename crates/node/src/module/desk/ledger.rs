//! What is owed to each anchor: records that wait to be packed, and messages that wait to be acknowledged.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use mmn_probe::time::{Instant, Nanos};
use mmn_schema::body::Body;
use mmn_schema::dispatch::{Held, Record, ResultBatch, Sync, Synced};
use mmn_schema::encoding::Encoding;
use mmn_schema::id::{AnchorId, Epoch, KindName, MeasurementId};
use mmn_schema::outcome::{Outcome, Reason, Summary, code};
use mmn_schema::subject::Subject;

use super::{Identity, Origin};

/// A message to be sent.
#[derive(Debug, Clone)]
pub(crate) struct Outgoing {
    pub(crate) subject: Subject,
    pub(crate) encoding: Encoding,
    pub(crate) payload: Bytes,
}

/// The most that one result message holds: a mebibyte is the server's limit for a module.
pub(super) const MAX_MESSAGE_BYTES: usize = 900_000;
/// The most records in one message.
const MAX_RECORDS: usize = 4096;
/// The envelope of a message without its records.
const ENVELOPE_BYTES: usize = 512;
/// An anchor that was silent for so long may be forgotten when memory is short.
const SILENCE: Nanos = Nanos::from_secs(600);
/// Senders that are remembered; beyond it the one that was silent longest and is owed nothing makes room.
const MAX_ANCHORS: usize = 256;
/// Answers to syncs that wait for one anchor; an older one is worth less than a newer.
const MAX_ANSWERS: usize = 4;

/// All ledgers of an instance.
#[derive(Debug, Default)]
pub(super) struct Ledgers {
    of: BTreeMap<AnchorId, Ledger>,
    ready: BTreeMap<Key, Vec<(usize, Record)>>,
    ready_bytes: usize,
    kept_bytes: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    anchor: AnchorId,
    epoch: Epoch,
    measurement: MeasurementId,
    kind: KindName,
    json: bool,
}

#[derive(Debug, Default)]
struct Ledger {
    epoch: Epoch,
    heard: Instant,
    /// The number of the newest result message.
    high: u64,
    /// The number of the newest one that was handed out.
    sent: u64,
    kept: VecDeque<Kept>,
    answers: VecDeque<(Sync, Encoding)>,
}

#[derive(Debug)]
struct Kept {
    seq: u64,
    epoch: Epoch,
    measurement: MeasurementId,
    kind: KindName,
    encoding: Encoding,
    payload: Bytes,
}

impl Ledgers {
    /// Bytes of what anchors have not acknowledged.
    pub(super) const fn owed_bytes(&self) -> usize {
        self.ready_bytes + self.kept_bytes
    }

    /// Whether there is something to hand out.
    pub(super) fn has_out(&self) -> bool {
        !self.ready.is_empty() || self.of.values().any(Ledger::has_out)
    }

    /// Notes that an anchor lives, and its term.
    pub(super) fn heard(&mut self, anchor: &AnchorId, epoch: Epoch, now: Instant) {
        if self.of.len() >= MAX_ANCHORS && !self.of.contains_key(anchor) {
            let idle = self.of.iter().filter(|(_, ledger)| ledger.kept.is_empty() && !ledger.has_out());
            let idlest = idle.min_by_key(|(_, ledger)| ledger.heard).map(|(id, _)| id.clone());
            idlest.and_then(|id| self.of.remove(&id));
        }
        let ledger = self.ledger(anchor);
        ledger.heard = now;
        ledger.epoch = ledger.epoch.max(epoch);
    }

    /// The newest term that an anchor has named.
    pub(super) fn epoch_of(&self, anchor: &AnchorId) -> Epoch {
        self.of.get(anchor).map_or(Epoch::default(), |ledger| ledger.epoch)
    }

    /// The anchor has kept all messages up to `ack`.
    pub(super) fn acknowledge(&mut self, anchor: &AnchorId, ack: u64) {
        let mut freed = 0;
        let ledger = self.ledger(anchor);
        let kept = ledger.kept.partition_point(|kept| kept.seq <= ack);
        for kept in ledger.kept.drain(..kept) {
            freed += kept.payload.len();
        }
        self.kept_bytes -= freed;
    }

    /// Writes a record for an anchor; it leaves with the next message.
    pub(super) fn record<M>(&mut self, origin: &Origin<M>, to: &AnchorId, mut record: Record) {
        let json = origin.encoding == Encoding::Json;
        let weight = match weight(&record, json) {
            Some(weight) if weight <= MAX_MESSAGE_BYTES - ENVELOPE_BYTES => weight,
            too_much => {
                let size = record.body.cbor().len();
                record.outcome = Outcome::Failed;
                record.reason = Some(match too_much {
                    Some(_) => {
                        Reason::with(code::INTERNAL, format_args!("a result of {size} bytes is too large"))
                    }
                    None => Reason::with(code::INTERNAL, "the result has no JSON form"),
                });
                record.body = Body::null();
                record.summary = Summary::new();
                EMPTY_RECORD_BYTES
            }
        };
        self.ready_bytes += weight;
        let key = Key {
            anchor: to.clone(),
            epoch: origin.epoch,
            measurement: origin.measurement,
            kind: origin.kind.clone(),
            json,
        };
        self.ready.entry(key).or_default().push((weight, record));
    }

    /// Turns all records into messages.
    pub(super) fn pack(&mut self, identity: &Identity, free: u32) {
        if self.ready.is_empty() {
            return;
        }
        self.ready_bytes = 0;
        for (key, records) in std::mem::take(&mut self.ready) {
            let mut batch = Vec::new();
            let mut bytes = ENVELOPE_BYTES;
            for (weight, record) in records {
                if !batch.is_empty() && (bytes + weight > MAX_MESSAGE_BYTES || batch.len() >= MAX_RECORDS) {
                    self.keep(identity, free, &key, std::mem::take(&mut batch));
                    bytes = ENVELOPE_BYTES;
                }
                bytes += weight;
                batch.push(record);
            }
            self.keep(identity, free, &key, batch);
        }
    }

    /// Queues the answer to a sync, and what it wants to see again before it.
    pub(super) fn answer(&mut self, sync: &Sync, encoding: Encoding) {
        let ledger = self.ledger(&sync.anchor);
        if sync.resend {
            ledger.sent = ledger.sent.min(sync.ack);
        }
        if ledger.answers.len() >= MAX_ANSWERS {
            ledger.answers.pop_front();
        }
        ledger.answers.push_back((sync.clone(), encoding));
    }

    /// A new term has begun under `anchor`: what others of former terms have not kept is its business now.
    pub(super) fn adopt(&mut self, anchor: &AnchorId, epoch: Epoch) {
        // Their numbers go on should they come back: only what is kept moves.
        let orphans: Vec<Kept> = self
            .of
            .iter_mut()
            .filter(|(id, ledger)| *id != anchor && ledger.epoch < epoch)
            .flat_map(|(_, ledger)| std::mem::take(&mut ledger.kept))
            .collect();
        for kept in orphans {
            self.kept_bytes -= kept.payload.len();
            match kept.encoding.decode::<ResultBatch>(&kept.payload) {
                Ok(batch) => self.readdress(anchor, &kept, batch),
                // It was written by this very process.
                Err(error) => tracing::error!(%error, "a kept result can't be read"),
            }
        }
    }

    /// Drops what is owed to anchors that nobody has heard of for long.
    pub(super) fn forget_silent(&mut self, now: Instant) {
        for (anchor, ledger) in &mut self.of {
            if now.saturating_since(ledger.heard) >= SILENCE && !ledger.kept.is_empty() {
                tracing::warn!(%anchor, messages = ledger.kept.len(), "results for a silent anchor dropped");
                self.kept_bytes -= ledger.kept.drain(..).map(|kept| kept.payload.len()).sum::<usize>();
            }
        }
    }

    /// The next message.
    pub(super) fn next_out(
        &mut self,
        identity: &Identity,
        free: u32,
        held: impl Fn(&AnchorId) -> Vec<Held>,
    ) -> Option<Outgoing> {
        let (anchor, ledger) = self.of.iter_mut().find(|(_, ledger)| ledger.has_out())?;
        let first = ledger.kept.partition_point(|kept| kept.seq <= ledger.sent);
        if let Some(kept) = ledger.kept.get(first) {
            ledger.sent = kept.seq;
            return Some(Outgoing {
                subject: Subject::Res(identity.vp.clone(), kept.kind.clone(), kept.measurement),
                encoding: kept.encoding,
                payload: kept.payload.clone(),
            });
        }
        let (sync, encoding) = ledger.answers.pop_front()?;
        let synced = Synced {
            instance: identity.instance.clone(),
            boot: identity.boot,
            anchor: anchor.clone(),
            seq: sync.seq,
            high: ledger.high,
            free,
            held: held(anchor),
        };
        Some(Outgoing {
            subject: Subject::Synced(identity.vp.clone(), identity.instance.clone()),
            encoding,
            payload: encode(encoding, &synced),
        })
    }

    fn ledger(&mut self, anchor: &AnchorId) -> &mut Ledger {
        self.of.entry(anchor.clone()).or_default()
    }

    fn keep(&mut self, identity: &Identity, free: u32, key: &Key, records: Vec<Record>) {
        let encoding = if key.json { Encoding::Json } else { Encoding::Cbor };
        let ledger = self.ledger(&key.anchor);
        let batch = ResultBatch {
            instance: identity.instance.clone(),
            boot: identity.boot,
            anchor: key.anchor.clone(),
            epoch: key.epoch,
            seq: ledger.high + 1,
            free: Some(free),
            records,
        };
        let payload = encode(encoding, &batch);
        self.push(&key.anchor, key.epoch, key.measurement, key.kind.clone(), encoding, payload);
    }

    fn readdress(&mut self, anchor: &AnchorId, kept: &Kept, mut batch: ResultBatch) {
        batch.anchor = anchor.clone();
        batch.seq = self.ledger(anchor).high + 1;
        let payload = encode(kept.encoding, &batch);
        self.push(anchor, kept.epoch, kept.measurement, kept.kind.clone(), kept.encoding, payload);
    }

    fn push(
        &mut self,
        anchor: &AnchorId,
        epoch: Epoch,
        measurement: MeasurementId,
        kind: KindName,
        encoding: Encoding,
        payload: Bytes,
    ) {
        self.kept_bytes += payload.len();
        let ledger = self.ledger(anchor);
        ledger.high += 1;
        ledger.kept.push_back(Kept { seq: ledger.high, epoch, measurement, kind, encoding, payload });
    }
}

impl Ledger {
    fn has_out(&self) -> bool {
        !self.answers.is_empty() || self.kept.back().is_some_and(|kept| kept.seq > self.sent)
    }
}

/// What a record takes in a message at most; absent where it has no JSON form.
fn weight(record: &Record, json: bool) -> Option<usize> {
    if json {
        return Encoding::Json.encode(record).ok().map(|bytes| bytes.len() + 1);
    }
    let detail = record.reason.as_ref().and_then(|reason| reason.detail.as_ref()).map_or(0, String::len);
    let summary: usize = record.summary.keys().map(|name| name.len() + 24).sum();
    Some(EMPTY_RECORD_BYTES + detail + summary + record.body.cbor().len())
}

/// A record without body and summary.
const EMPTY_RECORD_BYTES: usize = 320;

fn encode<T: serde::Serialize>(encoding: Encoding, message: &T) -> Bytes {
    match encoding.encode(message) {
        Ok(bytes) => bytes.into(),
        Err(error) => {
            // Bodies were seen to have the form already; the rest is plain.
            tracing::error!(%error, "a message can't be written");
            Bytes::new()
        }
    }
}
