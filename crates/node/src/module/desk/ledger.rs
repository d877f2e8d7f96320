//! What is owed to each anchor: records that wait to be packed, and messages that wait to be acknowledged.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use mmn_probe::time::{Instant, Nanos};
use mmn_schema::body::Body;
use mmn_schema::dispatch::{Record, ResultBatch, Sync};
use mmn_schema::encoding::Encoding;
use mmn_schema::id::{AnchorId, BootId, Epoch, InstanceId, KindName, MeasurementId};
use mmn_schema::outcome::{Outcome, Reason, Summary, code};
use mmn_schema::subject::Subject;
use serde::Serialize;

use super::held::AllHeld;
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
/// What records take of it at most: the rest is for the envelope.
const MAX_RECORDS_BYTES: usize = MAX_MESSAGE_BYTES - 512;
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
    ready: Ready,
    kept_bytes: usize,
}

/// Records that wait to be packed, written already.
#[derive(Debug, Default)]
struct Ready {
    parcels: Vec<Parcel>,
    /// Where the open parcel of each key is.
    open: BTreeMap<Key, usize>,
    /// Counts the packings.
    round: u64,
    bytes: usize,
    /// How large the last parcel was: the next will be much the same.
    usual_bytes: usize,
}

/// The records of one message.
#[derive(Debug)]
struct Parcel {
    key: Key,
    records: Vec<u8>,
    count: usize,
    closed: bool,
}

/// Where records of an origin went last, and in which round: it saves a search.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    round: u64,
    parcel: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    measurement: MeasurementId,
    epoch: Epoch,
    anchor: AnchorId,
    kind: KindName,
    json: bool,
}

#[derive(Debug, Default)]
struct Ledger {
    epoch: Epoch,
    /// Whether it acknowledges what it has kept; who asks over a pool's subject may not.
    acknowledges: bool,
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
        self.ready.bytes + self.kept_bytes
    }

    /// Whether there is something to hand out.
    pub(super) fn has_out(&self) -> bool {
        !self.ready.parcels.is_empty() || self.of.values().any(Ledger::has_out)
    }

    /// Whether every anchor that acknowledges has done so for all that is owed to it.
    pub(super) fn is_acknowledged(&self) -> bool {
        self.of.values().all(|ledger| !ledger.acknowledges || ledger.kept.is_empty())
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
        ledger.acknowledges = true;
        let kept = ledger.kept.partition_point(|kept| kept.seq <= ack);
        for kept in ledger.kept.drain(..kept) {
            freed += kept.payload.len();
        }
        self.kept_bytes -= freed;
    }

    /// Writes a record for an anchor; it leaves with the next message.
    pub(super) fn record<M>(&mut self, origin: &Origin<M>, to: &AnchorId, record: &Record) {
        let at = self.ready.parcel_of(origin, to);
        let encoding = origin.encoding;
        let size = record.body.cbor().len();
        let Err(too_much) = self.ready.write(at, encoding, record) else { return };
        let reason = match too_much {
            TooMuch::Bytes => format!("a result of {size} bytes is too large"),
            TooMuch::NoForm => "the result has no JSON form".to_owned(),
        };
        let record = Record {
            outcome: Outcome::Failed,
            reason: Some(Reason::with(code::INTERNAL, reason)),
            body: Body::null(),
            summary: Summary::new(),
            ..record.clone()
        };
        if self.ready.write(at, encoding, &record).is_err() {
            tracing::error!(measurement = %origin.measurement, "a record can't be written");
        }
    }

    /// Turns all records into messages.
    pub(super) fn pack(&mut self, identity: &Identity, free: u32) {
        if self.ready.parcels.is_empty() {
            return;
        }
        self.ready.round += 1;
        self.ready.bytes = 0;
        self.ready.open.clear();
        for parcel in std::mem::take(&mut self.ready.parcels) {
            self.ready.usual_bytes = parcel.records.len();
            self.keep(identity, free, parcel);
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
    pub(super) fn next_out<'a, M: 'a>(
        &mut self,
        identity: &Identity,
        free: u32,
        held: impl Fn(&AnchorId) -> AllHeld<'a, M>,
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
        let held = held(anchor);
        let bytes = ENVELOPE_BYTES + INDEX_BYTES * held.len();
        let synced = Synced {
            instance: &identity.instance,
            boot: identity.boot,
            anchor,
            seq: sync.seq,
            high: ledger.high,
            free,
            held,
        };
        let mut payload = Vec::with_capacity(bytes);
        if let Err(error) = encoding.append(&synced, &mut payload) {
            tracing::error!(%error, "an answer can't be written");
        }
        Some(Outgoing {
            subject: Subject::Synced(identity.vp.clone(), identity.instance.clone()),
            encoding,
            payload: payload.into(),
        })
    }

    fn ledger(&mut self, anchor: &AnchorId) -> &mut Ledger {
        self.of.entry(anchor.clone()).or_default()
    }

    fn keep(&mut self, identity: &Identity, free: u32, parcel: Parcel) {
        let Parcel { key, records, count, .. } = parcel;
        if count == 0 {
            return;
        }
        let encoding = encoding(key.json);
        let ledger = self.ledger(&key.anchor);
        let envelope = ResultBatch {
            instance: identity.instance.clone(),
            boot: identity.boot,
            anchor: key.anchor.clone(),
            epoch: key.epoch,
            seq: ledger.high + 1,
            free: Some(free),
            records: Vec::new(),
        };
        let payload = filled(encoding, &envelope, &records, count);
        self.push(&key.anchor, key.epoch, key.measurement, key.kind, encoding, payload);
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

/// The form of [`mmn_schema::dispatch::Synced`].
#[derive(Serialize)]
#[serde(bound = "")]
struct Synced<'a, M> {
    instance: &'a InstanceId,
    boot: BootId,
    anchor: &'a AnchorId,
    seq: u64,
    high: u64,
    free: u32,
    held: AllHeld<'a, M>,
}

/// What an answer to a sync takes with nothing held, more or less, and an index in it.
const ENVELOPE_BYTES: usize = 256;
const INDEX_BYTES: usize = 5;

impl Ledger {
    fn has_out(&self) -> bool {
        !self.answers.is_empty() || self.kept.back().is_some_and(|kept| kept.seq > self.sent)
    }
}

impl Ready {
    /// The parcel for records of `origin` to an anchor.
    fn parcel_of<M>(&mut self, origin: &Origin<M>, to: &AnchorId) -> usize {
        if let Some(place) = origin.place.get()
            && place.round == self.round
            && let Some(parcel) = self.parcels.get(place.parcel)
            && parcel.has_room()
            && parcel.key.anchor == *to
        {
            return place.parcel;
        }
        let key = Key {
            measurement: origin.measurement,
            epoch: origin.epoch,
            anchor: to.clone(),
            kind: origin.kind.clone(),
            json: origin.encoding == Encoding::Json,
        };
        let found = self.open.get(&key).copied();
        let at =
            found.filter(|&at| self.parcels.get(at).is_some_and(Parcel::has_room)).unwrap_or_else(|| {
                self.open.insert(key.clone(), self.parcels.len());
                let records = Vec::with_capacity(self.usual_bytes);
                self.parcels.push(Parcel { key, records, count: 0, closed: false });
                self.parcels.len() - 1
            });
        origin.place.set(Some(Place { round: self.round, parcel: at }));
        at
    }

    /// Writes a record into a parcel, or into a new one where it would be too much.
    fn write(&mut self, at: usize, encoding: Encoding, record: &Record) -> Result<(), TooMuch> {
        let Some(parcel) = self.parcels.get_mut(at) else { return Err(TooMuch::NoForm) };
        let before = parcel.records.len();
        if encoding == Encoding::Json && parcel.count > 0 {
            parcel.records.push(b',');
        }
        let from = parcel.records.len();
        if encoding.append(record, &mut parcel.records).is_err() {
            parcel.records.truncate(before);
            return Err(TooMuch::NoForm);
        }
        let size = parcel.records.len() - from;
        if size > MAX_RECORDS_BYTES {
            parcel.records.truncate(before);
            return Err(TooMuch::Bytes);
        }
        self.bytes += size;
        if parcel.records.len() <= MAX_RECORDS_BYTES {
            parcel.count += 1;
            return Ok(());
        }
        let records = parcel.records.split_off(from);
        parcel.records.truncate(before);
        // Other origins still know it.
        parcel.closed = true;
        let key = parcel.key.clone();
        self.open.insert(key.clone(), self.parcels.len());
        self.parcels.push(Parcel { key, records, count: 1, closed: false });
        Ok(())
    }
}

impl Parcel {
    const fn has_room(&self) -> bool {
        !self.closed && self.count < MAX_RECORDS
    }
}

/// Why a record can't be sent as it is.
enum TooMuch {
    Bytes,
    NoForm,
}

const fn encoding(json: bool) -> Encoding {
    if json { Encoding::Json } else { Encoding::Cbor }
}

/// A message of which the records are written already. They are its last field.
fn filled(encoding: Encoding, envelope: &ResultBatch, records: &[u8], count: usize) -> Bytes {
    let Ok(empty) = encoding.encode(envelope) else { return encode(encoding, envelope) };
    let mut message = Vec::with_capacity(empty.len() + records.len() + 3);
    match encoding {
        Encoding::Json => {
            let head = empty.strip_suffix(b"]}").unwrap_or(&empty);
            message.extend_from_slice(head);
            message.extend_from_slice(records);
            message.extend_from_slice(b"]}");
        }
        Encoding::Cbor => {
            let head = empty.strip_suffix(&[CBOR_ARRAY]).unwrap_or(&empty);
            message.extend_from_slice(head);
            // RFC 8949, section 3: an array's head holds its length in the low bits, in one octet, or in two.
            match (u8::try_from(count), u16::try_from(count)) {
                (Ok(count @ 0..24), _) => message.push(CBOR_ARRAY | count),
                (Ok(count), _) => message.extend_from_slice(&[CBOR_ARRAY | 0x18, count]),
                (_, Ok(count)) => {
                    message.push(CBOR_ARRAY | 0x19);
                    message.extend_from_slice(&count.to_be_bytes());
                }
                // No parcel has so many.
                _ => {}
            }
            message.extend_from_slice(records);
        }
    }
    message.into()
}

/// The head of an empty array in CBOR.
const CBOR_ARRAY: u8 = 0x80;

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
