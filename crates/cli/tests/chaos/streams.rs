//! What JetStream holds, read directly and without knowing more of its form than must be: an end of a task is a map
//! under `record` with an `index` and an `outcome`. Its measurement is the subject's, or that of the pair of an id and
//! bytes that it stands in, for messages that several measurements share.

use std::collections::BTreeMap;
use std::time::Duration;

use cbor4ii::core::Value;
use cbor4ii::core::dec::Decode;
use cbor4ii::core::utils::SliceReader;
use mmn_bus::async_nats::jetstream;
use mmn_schema::id::MeasurementId;

/// One end of a task, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) outcome: String,
    pub(crate) reason: Option<String>,
    /// The message of RES.
    pub(crate) seq: u64,
}

/// All of it.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    /// The ends of each task.
    pub(crate) ends: BTreeMap<MeasurementId, BTreeMap<u64, Vec<End>>>,
    /// How often each measurement was said to be done.
    pub(crate) done: BTreeMap<MeasurementId, usize>,
}

const PATIENCE: Duration = Duration::from_secs(20);

/// How often the streams are read until all ends are there, 20 ms apart.
const READINGS: usize = 500;

/// Reads both streams. The ends of measurements are written behind: those of `over` are waited for.
pub(crate) async fn read(jetstream: &jetstream::Context, over: &[MeasurementId]) -> Result<Kept, String> {
    for _ in 1..READINGS {
        let kept = once(jetstream).await?;
        if over.iter().all(|id| kept.done.contains_key(id)) {
            return Ok(kept);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    once(jetstream).await
}

async fn once(jetstream: &jetstream::Context) -> Result<Kept, String> {
    let mut kept = Kept::default();
    each(jetstream, "RES", |seq, subject, value| {
        ends(value, of_subject(subject), seq, &mut kept.ends);
    })
    .await?;
    each(jetstream, "LEDGER", |_, subject, value| {
        if subject.contains(".log.done.") {
            let shared = pairs(value).map(|(id, _)| id);
            of_subject(subject)
                .into_iter()
                .chain(shared)
                .for_each(|id| *kept.done.entry(id).or_default() += 1);
        }
    })
    .await?;
    Ok(kept)
}

async fn each(
    jetstream: &jetstream::Context,
    name: &str,
    mut take: impl FnMut(u64, &str, &Value),
) -> Result<(), String> {
    let read = async {
        let mut stream = jetstream.get_stream(name).await.map_err(|error| error.to_string())?;
        let state = stream.info().await.map_err(|error| error.to_string())?.state.clone();
        let mut next = state.first_sequence.max(1);
        while next <= state.last_sequence {
            let message = stream.direct_get_first(next).await?;
            let Some((seq, subject, payload)) = message else { break };
            let value = Value::decode(&mut SliceReader::new(&payload))
                .map_err(|error| format!("message {seq} of {name} is no CBOR: {error}"))?;
            take(seq, &subject, &value);
            next = seq + 1;
        }
        Ok(())
    };
    tokio::time::timeout(PATIENCE, read).await.map_err(|_| format!("{name} can't be read in time"))?
}

/// The next message at or after a sequence.
trait First {
    async fn direct_get_first(&self, seq: u64) -> Result<Option<(u64, String, Vec<u8>)>, String>;
}

impl First for jetstream::stream::Stream {
    async fn direct_get_first(&self, seq: u64) -> Result<Option<(u64, String, Vec<u8>)>, String> {
        use jetstream::stream::DirectGetErrorKind;
        match self.direct_get_next_for_subject(">", Some(seq)).await {
            Ok(message) => {
                Ok(Some((message.sequence, message.subject.to_string(), message.payload.to_vec())))
            }
            Err(error) if error.kind() == DirectGetErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    }
}

fn of_subject(subject: &str) -> Option<MeasurementId> {
    subject.rsplit('.').next()?.parse().ok()
}

fn ends(
    value: &Value,
    id: Option<MeasurementId>,
    seq: u64,
    found: &mut BTreeMap<MeasurementId, BTreeMap<u64, Vec<End>>>,
) {
    match value {
        Value::Array(_) if pairs(value).next().is_some() => {
            for (id, part) in pairs(value) {
                ends(&part, Some(id), seq, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| ends(item, id, seq, found)),
        Value::Map(fields) => {
            if let Some(Value::Map(record)) = field(fields, "record")
                && let (Some(id), Some(Value::Integer(index)), Some(outcome)) =
                    (id, field(record, "index"), field(record, "outcome").and_then(text))
            {
                let reason = match field(record, "reason") {
                    Some(Value::Map(reason)) => field(reason, "code").and_then(text).map(str::to_owned),
                    _ => None,
                };
                let end = End { outcome: outcome.to_owned(), reason, seq };
                let index = u64::try_from(*index).unwrap();
                found.entry(id).or_default().entry(index).or_default().push(end);
                return;
            }
            for (_, value) in fields {
                ends(value, id, seq, found);
            }
        }
        _ => {}
    }
}

/// The parts of a message that several measurements share.
fn pairs(value: &Value) -> impl Iterator<Item = (MeasurementId, Value)> {
    let items = if let Value::Array(items) = value { items.as_slice() } else { &[] };
    items.iter().filter_map(|item| match item {
        Value::Array(pair) => match pair.as_slice() {
            [Value::Text(id), Value::Bytes(part)] => {
                Some((id.parse().ok()?, Value::decode(&mut SliceReader::new(part)).ok()?))
            }
            _ => None,
        },
        _ => None,
    })
}

fn field<'a>(fields: &'a [(Value, Value)], name: &str) -> Option<&'a Value> {
    fields.iter().find_map(|(key, value)| (text(key) == Some(name)).then_some(value))
}

fn text(value: &Value) -> Option<&str> {
    match value {
        Value::Text(text) => Some(text),
        _ => None,
    }
}
