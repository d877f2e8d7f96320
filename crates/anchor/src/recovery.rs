//! What an anchor finds when it becomes active: every acceptance without an end, less the records that are kept.
//!
//! LEDGER is read from its beginning by a plain pull consumer, which is asked again where a message is missing: an
//! ordered one was seen to stall under load. The end of RES is read in the same way, for measurements that were accepted
//! by their results. RES is read for the measurements that run, by direct gets.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use async_nats::jetstream::stream::Stream;
use bytes::Bytes;
use futures::StreamExt;
use mmn_schema::dispatch::Input;
use mmn_schema::encoding::Encoding;
use mmn_schema::id::{MeasurementId, Tenant};
use mmn_schema::outcome::{Reason, code};
use mmn_schema::problem::Problem;
use mmn_schema::subject::{Log, Subject};
use mmn_schema::time::Timestamp;

use crate::ledger::account::Offer;
use crate::measurement::Running;
use crate::problems;
use crate::store::fence::Fence;
use crate::store::gathered::{Found, Gathered};
use crate::store::record::{Accept, Chunk, Done, KeptBatch, Meta, Step};
use crate::store::{Store, group, kept_of};

/// What was found.
#[derive(Debug)]
pub(crate) struct Recovered {
    /// Measurements that run, without lines.
    pub(crate) running: Vec<Running>,
    /// The latest measurements that ended, in the order of their ends, with their sequences.
    pub(crate) ended: VecDeque<(u64, Arc<Done>)>,
    /// The sequence of the last one that ended before those.
    pub(crate) evicted: u64,
    /// Idempotency keys, in the order in which they came.
    pub(crate) keys: Vec<(Tenant, String, MeasurementId, u64, Timestamp)>,
    pub(crate) next_number: u64,
    /// The newest message of RES.
    pub(crate) results_last: u64,
    /// Of those that run the ones that were accepted in RES, by their messages there.
    pub(crate) brief: Vec<(u64, MeasurementId)>,
}

/// What LEDGER says of a measurement that has no end yet.
#[derive(Debug, Default)]
struct Partial {
    meta: Option<Arc<Meta>>,
    inputs: Gathered<Vec<Input>>,
    closed: bool,
    cancelled: bool,
}

/// How many messages are asked for at a time.
const BATCH: usize = 256;
/// For how long they are waited for.
const EXPIRES: Duration = Duration::from_secs(2);

/// Reads what is kept. `closed_in_memory` measurements that ended are remembered, and keys for `keys_for`.
pub(crate) async fn recover(
    store: &Store,
    closed_in_memory: usize,
    keys_for: Duration,
    now: Instant,
    at: Timestamp,
) -> Result<Recovered, Problem> {
    let mut partials: BTreeMap<MeasurementId, Partial> = BTreeMap::new();
    let mut recovered = Recovered {
        running: Vec::new(),
        ended: VecDeque::new(),
        evicted: 0,
        keys: Vec::new(),
        next_number: 1,
        results_last: 0,
        brief: Vec::new(),
    };
    let mut keys = Keys { of: HashSet::new(), ended: HashSet::new(), most: keys_for, at };
    let mut brief = accepted_in_results(store, &mut recovered.results_last).await?;
    read_all(&store.ledger, 1, |seq, subject, payload| {
        if Fence::is_mark(subject) {
            return;
        }
        let parts = match Subject::parse(&store.prefix, subject) {
            Ok(Subject::Log(log, id)) => Some((log, vec![(id, payload.clone())])),
            Ok(Subject::Logs(log, _)) => group::read(payload).map(|parts| (log, parts)),
            _ => None,
        };
        let Some((log, parts)) = parts else {
            tracing::error!(subject, seq, "LEDGER holds a message that can't be read");
            return;
        };
        for (id, part) in parts {
            let result = match log {
                Log::Accept => Encoding::Cbor.decode(&part).map(|accept: Accept| {
                    if let Step::Inputs(Chunk { meta: Some(meta), .. }) = &accept.step {
                        keys.meet(&mut recovered, meta);
                    }
                    partials.entry(id).or_default().enter(accept);
                }),
                Log::Done => Encoding::Cbor.decode(&part).map(|done: Done| {
                    partials.remove(&id);
                    brief.remove(&id);
                    // Its acceptance may have expired, or may be in RES alone.
                    keys.meet(&mut recovered, &done.meta);
                    if done.meta.key.is_some() {
                        keys.ended.insert(id);
                    }
                    recovered.ended.push_back((seq, Arc::new(done)));
                    if recovered.ended.len() > closed_in_memory
                        && let Some((seq, _)) = recovered.ended.pop_front()
                    {
                        recovered.evicted = seq;
                    }
                }),
                // The history of one that runs is made anew of its results.
                Log::Roll | Log::Res => Ok(()),
            };
            if let Err(error) = result {
                tracing::error!(%error, subject, seq, "LEDGER holds a message that can't be read");
            }
        }
    })
    .await?;
    // Those of one message are remembered together, or not at all.
    while recovered.ended.front().is_some_and(|(seq, _)| *seq == recovered.evicted) {
        recovered.ended.pop_front();
    }
    for (id, (seq, accept)) in brief {
        let known = partials.get(&id).is_some_and(|partial| partial.meta.is_some());
        if !known && let Step::Inputs(Chunk { meta: Some(meta), .. }) = &accept.step {
            keys.meet(&mut recovered, meta);
            partials.entry(id).or_default().enter(accept);
            recovered.brief.push((seq, id));
        }
    }
    let mut small: BTreeMap<u64, HashMap<MeasurementId, Running>> = BTreeMap::new();
    for (id, partial) in partials {
        let Some(mut running) = partial.resume(now, at) else { continue };
        if running.is_small() {
            small.entry(id.unix_s()).or_default().insert(id, running);
            continue;
        }
        while let Some(kept) = store.next_kept(id, running.keep.last + 1).await? {
            replay(&mut running, kept.seq, &kept.batch);
        }
        recovered.running.push(running);
    }
    for (second, mut small) in small {
        for (seq, id, batch) in store.shared_in(second).await? {
            if let Some(running) = small.get_mut(&id) {
                replay(running, seq, &batch);
            }
        }
        recovered.running.extend(small.into_values());
    }
    // A key leads somewhere only when its measurement was accepted as a whole.
    let known: HashSet<_> = recovered.running.iter().map(|running| running.meta.id).collect();
    recovered.keys.retain(|(_, _, id, ..)| known.contains(id) || keys.ended.contains(id));
    Ok(recovered)
}

/// What is gathered on the way.
struct Keys {
    /// Measurements whose keys were taken.
    of: HashSet<MeasurementId>,
    /// Measurements that ended, of those with keys.
    ended: HashSet<MeasurementId>,
    /// How old a key may be.
    most: Duration,
    at: Timestamp,
}

impl Keys {
    /// A measurement is met, perhaps not for the first time.
    fn meet(&mut self, recovered: &mut Recovered, meta: &Meta) {
        recovered.next_number = recovered.next_number.max(meta.number + 1);
        let age = self.at.since_ns(meta.accepted_at).unwrap_or_default();
        if let Some((key, hash)) = &meta.key
            && u128::from(age) <= self.most.as_nanos()
            && self.of.insert(meta.id)
        {
            recovered.keys.push((meta.tenant.clone(), key.clone(), meta.id, *hash, meta.accepted_at));
        }
    }
}

/// The acceptances that RES holds, from where on its newest message says that there may be some without an end.
async fn accepted_in_results(
    store: &Store,
    last: &mut u64,
) -> Result<BTreeMap<MeasurementId, (u64, Accept)>, Problem> {
    let state = store.results.get_info().await.map_err(problems::storage_away)?.state;
    *last = state.last_sequence;
    let mut found = BTreeMap::new();
    // One that can't be read says nothing: the one before it looks back at least as far.
    let mut from = None;
    for seq in (state.first_sequence.max(1)..=state.last_sequence).rev() {
        from = store.accepts_from(seq).await?;
        if from.is_some() {
            break;
        }
    }
    let Some(from) = from.filter(|&from| from > 0) else { return Ok(found) };
    read_all(&store.results, from, |seq, subject, payload| {
        if Fence::is_mark(subject) {
            return;
        }
        let Some(parts) = kept_of(&store.prefix, subject, payload) else {
            tracing::error!(subject, seq, "RES holds a message that can't be read");
            return;
        };
        for (id, part) in parts {
            match Encoding::Cbor.decode::<KeptBatch>(&part) {
                Ok(batch) => found.extend(batch.accept.map(|accept| (id, (seq, *accept)))),
                Err(error) => tracing::error!(%error, subject, seq, "RES holds a message that can't be read"),
            }
        }
    })
    .await?;
    Ok(found)
}

impl Partial {
    fn enter(&mut self, accept: Accept) {
        match accept.step {
            Step::Close => self.closed = true,
            Step::Cancel => self.cancelled = true,
            Step::Inputs(Chunk { meta, group, total, first, inputs }) => {
                if meta.is_some() {
                    self.meta = meta;
                }
                let len = inputs.len() as u64;
                let found = Found { epoch: accept.epoch, at: accept.at, group, total, first, len };
                self.inputs.enter(found, inputs);
            }
        }
    }

    /// The measurement, unless its acceptance is incomplete: then nobody was told of it.
    fn resume(self, now: Instant, at: Timestamp) -> Option<Running> {
        let meta = self.meta?;
        let deadline = meta.deadline_ns;
        let mut running = Running::new(meta, Vec::new());
        for group in self.inputs.answered() {
            let age = at.since_ns(group.at).unwrap_or_default();
            let until = now + Duration::from_nanos(deadline.saturating_sub(age));
            let inputs: Vec<Input> = group.chunks.into_values().flat_map(|(_, inputs)| inputs).collect();
            running.append(&inputs, until, 0);
            running.durable = true;
        }
        if !running.durable {
            return None;
        }
        running.accepted = running.inputs.len();
        running.open = running.open && !self.closed && !self.cancelled;
        if self.cancelled {
            running.cancelled = Some(Reason::new(code::BY_CLIENT));
        }
        Some(running)
    }
}

/// Closes the tasks whose records a message keeps.
fn replay(running: &mut Running, seq: u64, batch: &KeptBatch) {
    running.keep.last = seq;
    for section in &batch.sections {
        for entry in &section.entries {
            let record = &entry.record;
            if running.account.offer(record.index) == Offer::First {
                let (outcome, reason) = (record.outcome, record.reason.as_ref());
                running.account.close(record.index, outcome, reason, record.answered);
                running.history.add_record(section, record);
            }
        }
    }
}

/// Reads a stream from this message up to where it ends now.
async fn read_all(
    stream: &Stream,
    from: u64,
    mut take: impl FnMut(u64, &str, &Bytes),
) -> Result<(), Problem> {
    let mut stream = stream.clone();
    let state = stream.info().await.map_err(problems::storage_away)?.state.clone();
    let (mut next, last) = (state.first_sequence.max(from).max(1), state.last_sequence);
    while next <= last {
        let config = pull::Config {
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: next },
            ack_policy: AckPolicy::None,
            inactive_threshold: Duration::from_secs(30),
            ..pull::Config::default()
        };
        let consumer = stream.create_consumer(config).await.map_err(problems::storage_away)?;
        let (mut delivered, before) = (0, next);
        'consumer: while next <= last {
            let batch = consumer.fetch().max_messages(BATCH).expires(EXPIRES).messages().await;
            let mut batch = batch.map_err(problems::storage_away)?;
            let mut count = 0;
            while let Some(message) = batch.next().await {
                let Ok(message) = message else { break 'consumer };
                let (seq, number, pending) = match message.info() {
                    Ok(info) => (info.stream_sequence, info.consumer_sequence, info.pending),
                    Err(_) => break 'consumer,
                };
                delivered += 1;
                count += 1;
                if number != delivered {
                    tracing::warn!(seq, "a message of a stream was missing and is read again");
                    break 'consumer;
                }
                take(seq, message.subject.as_str(), &message.payload);
                next = seq + 1;
                if pending == 0 {
                    return Ok(());
                }
            }
            if count == 0 {
                break;
            }
        }
        if next == before {
            // Nothing came: what was left has been removed meanwhile, or the server is away for a moment.
            let state = stream.info().await.map_err(problems::storage_away)?.state.clone();
            next = next.max(state.first_sequence);
        }
    }
    Ok(())
}
