//! A message of results, read as far as an account needs: which tasks it ends and how, and where each record stands.
//!
//! Whoever keeps results and passes them on need not build them first: a record's summary and body stay bytes. A
//! message that is JSON, or CBOR in another form than mmn's own parts write, is read in full and written again, so
//! that what comes out is the same in every case. What is given out reads as a [`Record`]: that is checked on the way.
//!
//! Begin with [`Skimmed::read`].

use std::ops::Range;

use bytes::Bytes;

use crate::cbor::Items;
use crate::dispatch::{Record, ResultBatch};
use crate::encoding::{DecodeError, Encoding};
use crate::id::{AnchorId, BootId, Epoch, InstanceId};
use crate::outcome::{Outcome, Reason};

/// A [`ResultBatch`] whose records are still written.
#[derive(Debug, Clone)]
pub struct Skimmed {
    /// Who performed them.
    pub instance: InstanceId,
    /// In which life.
    pub boot: BootId,
    /// For which anchor.
    pub anchor: AnchorId,
    /// The epoch under which they were dispatched.
    pub epoch: Epoch,
    /// The number of the message.
    pub seq: u64,
    /// How many more tasks the instance could hold.
    pub free: Option<u32>,
    /// The bytes in which the records stand, as CBOR.
    pub payload: Bytes,
    /// The records.
    pub records: Vec<Skim>,
}

/// What an account needs of a [`Record`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skim {
    /// The task's position in its measurement.
    pub index: u64,
    /// Which attempt.
    pub attempt: u32,
    /// Whether it ends the task.
    pub last: bool,
    /// How it ended.
    pub outcome: Outcome,
    /// Why, unless it is *ok*.
    pub reason: Option<Box<Reason>>,
    /// Whether the network answered.
    pub answered: Option<bool>,
    /// How long it took, in nanoseconds.
    pub duration_ns: u64,
    /// Where the record stands in the payload.
    pub record: Range<u32>,
    /// Where its numbers stand in the payload: a map of names and numbers. Empty: it has none.
    pub summary: Range<u32>,
}

impl Skimmed {
    /// Reads a message.
    pub fn read(content_type: Option<&str>, payload: &Bytes) -> Result<Self, DecodeError> {
        let encoding = Encoding::of(content_type, payload)?;
        if encoding == Encoding::Cbor
            && let Some(skimmed) = skim(payload)
        {
            return Ok(skimmed);
        }
        encoding.decode::<ResultBatch>(payload).and_then(Self::of)
    }

    /// Writes the records of a message that was read in full.
    pub fn of(batch: ResultBatch) -> Result<Self, DecodeError> {
        let mut payload = Vec::new();
        let records = batch.records.iter().map(|record| Skim::write(record, &mut payload));
        let records = records.collect::<Result<_, _>>()?;
        let ResultBatch { instance, boot, anchor, epoch, seq, free, .. } = batch;
        Ok(Self { instance, boot, anchor, epoch, seq, free, payload: payload.into(), records })
    }
}

impl Skim {
    /// Writes a record behind what `payload` holds.
    pub fn write(record: &Record, payload: &mut Vec<u8>) -> Result<Self, DecodeError> {
        let start = payload.len();
        let bytes = Encoding::Cbor.encode(record).map_err(|error| DecodeError::Cbor(error.to_string()))?;
        payload.extend_from_slice(&bytes);
        let mut items = Items::new(payload);
        items.advance(start);
        one(&mut items, payload)
            .ok_or_else(|| DecodeError::Cbor("a record that was written can't be read".to_owned()))
    }

    /// The record itself.
    pub fn decode(&self, payload: &[u8]) -> Result<Record, DecodeError> {
        Encoding::Cbor.decode(self.bytes(payload))
    }

    /// The record as it is written.
    pub fn bytes<'a>(&self, payload: &'a [u8]) -> &'a [u8] {
        slice(payload, &self.record)
    }

    /// The names and numbers of its summary.
    pub fn numbers<'a>(&self, payload: &'a [u8]) -> impl Iterator<Item = (&'a str, f64)> + use<'a> {
        let mut items = Items::new(slice(payload, &self.summary));
        let count = items.map().unwrap_or_default();
        (0..count).map_while(move |_| Some((items.text()?, items.number()?)))
    }
}

fn slice<'a>(payload: &'a [u8], range: &Range<u32>) -> &'a [u8] {
    payload.get(range.start as usize..range.end as usize).unwrap_or_default()
}

fn skim(payload: &Bytes) -> Option<Skimmed> {
    let mut items = Items::new(payload);
    let (mut instance, mut boot, mut anchor, mut epoch, mut seq) = (None, None, None, None, None);
    let (mut free, mut records) = (None, None);
    let mut seen = Seen::default();
    for _ in 0..items.map()? {
        let name = items.text()?;
        seen.once(name)?;
        match name {
            "instance" => instance = Some(items.text()?.parse().ok()?),
            "boot" => boot = Some(BootId(items.unsigned()?)),
            "anchor" => anchor = Some(items.text()?.parse().ok()?),
            "epoch" => epoch = Some(Epoch(items.unsigned()?)),
            "seq" => seq = Some(items.unsigned()?),
            "free" => free = Some(u32::try_from(items.unsigned()?).ok()?),
            "records" => {
                let count = items.array()?;
                // What a message claims to hold is not believed before it is read.
                let mut all = Vec::with_capacity(usize::try_from(count).ok()?.min(payload.len() / 24));
                for _ in 0..count {
                    all.push(one(&mut items, payload)?);
                }
                records = Some(all);
            }
            _ => items.skip()?,
        }
    }
    items.is_at_end().then_some(())?;
    Some(Skimmed {
        instance: instance?,
        boot: boot?,
        anchor: anchor?,
        epoch: epoch?,
        seq: seq?,
        free,
        payload: payload.clone(),
        records: records?,
    })
}

/// Reads one record.
fn one(items: &mut Items<'_>, payload: &[u8]) -> Option<Skim> {
    let at = |items: &Items<'_>| u32::try_from(items.position()).ok();
    let start = at(items)?;
    let (mut index, mut outcome, mut started, mut took) = (None, None, false, None);
    let (mut attempt, mut last, mut reason, mut answered, mut summary) = (0, true, None, None, 0..0);
    let mut seen = Seen::default();
    for _ in 0..items.map()? {
        let name = items.text()?;
        seen.once(name)?;
        match name {
            "index" => index = Some(items.unsigned()?),
            "attempt" => attempt = u32::try_from(items.unsigned()?).ok()?,
            "part" => drop(u32::try_from(items.unsigned()?).ok()?),
            "final" => last = items.boolean()?,
            "outcome" => {
                let word = items.text()?;
                outcome = Some(Outcome::ALL.into_iter().find(|outcome| outcome.as_str() == word)?);
            }
            "reason" => {
                let from = items.position();
                items.skip()?;
                let bytes = payload.get(from..items.position())?;
                reason = Some(Box::new(Encoding::Cbor.decode(bytes).ok()?));
            }
            "answered" => answered = Some(items.boolean()?),
            "started_at" => started = items.integer().map(|_| true)?,
            "duration_ns" => took = Some(items.unsigned()?),
            "queued_ns" => drop(items.unsigned()?),
            "summary" => {
                let from = at(items)?;
                let mut names = Seen::default();
                for _ in 0..items.map()? {
                    names.once(items.text()?)?;
                    items.number()?;
                }
                summary = from..at(items)?;
            }
            "body" => drop(items.bytes()?),
            _ => items.skip()?,
        }
    }
    started.then_some(())?;
    let (index, outcome, duration_ns) = (index?, outcome?, took?);
    let record = start..at(items)?;
    Some(Skim { index, attempt, last, outcome, reason, answered, duration_ns, record, summary })
}

/// The names of a map so far: one that comes twice makes it nobody's business but the full decoder's.
#[derive(Default)]
struct Seen<'a> {
    names: [&'a str; 16],
    count: usize,
}

impl<'a> Seen<'a> {
    fn once(&mut self, name: &'a str) -> Option<()> {
        let known = self.names.get(..self.count)?;
        if known.iter().any(|known| known.len() == name.len() && *known == name) {
            return None;
        }
        *self.names.get_mut(self.count)? = name;
        self.count += 1;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::Body;
    use crate::outcome::Number;
    use crate::time::Timestamp;
    use proptest::prelude::*;

    fn any_record() -> impl Strategy<Value = Record> {
        let reason = ("[a-z-]{1,9}", proptest::option::of("\\PC{0,20}"))
            .prop_map(|(code, detail)| Reason { code: code.into(), detail });
        let number =
            prop_oneof![any::<i64>().prop_map(Number::Integer), (-1e300..1e300f64).prop_map(Number::Real)];
        let summary = prop::collection::btree_map("[a-z_]{1,12}".prop_map(Into::into), number, 0..5);
        let head = (any::<u64>(), 0..3u32, any::<bool>(), 0..5usize, any::<i64>(), any::<u64>());
        let rest =
            (proptest::option::of(reason), proptest::option::of(any::<bool>()), summary, any::<Vec<u8>>());
        (head, rest).prop_map(|(head, (reason, answered, summary, body))| Record {
            index: head.0,
            attempt: head.1,
            part: 0,
            last: head.2,
            outcome: Outcome::ALL[head.3],
            reason,
            answered,
            started_at: Timestamp::from_unix_ns(head.4),
            duration_ns: head.5,
            queued_ns: head.5 / 3,
            summary: summary.into_iter().collect(),
            body: Body::from_cbor(body.into()),
        })
    }

    fn any_batch() -> impl Strategy<Value = ResultBatch> {
        (prop::collection::vec(any_record(), 0..6), proptest::option::of(0..99u32)).prop_map(
            |(records, free)| ResultBatch {
                instance: "packet-a".parse().unwrap(),
                boot: BootId(7),
                anchor: "anchor-1".parse().unwrap(),
                epoch: Epoch(3),
                seq: 9,
                free,
                records,
            },
        )
    }

    fn check(skimmed: &Skimmed, batch: &ResultBatch) {
        assert_eq!(skimmed.records.len(), batch.records.len());
        assert_eq!((skimmed.seq, skimmed.free, &skimmed.instance), (batch.seq, batch.free, &batch.instance));
        for (skim, record) in skimmed.records.iter().zip(&batch.records) {
            assert_eq!(&skim.decode(&skimmed.payload).unwrap(), record);
            assert_eq!((skim.index, skim.attempt, skim.last), (record.index, record.attempt, record.last));
            assert_eq!((skim.outcome, skim.reason.as_deref()), (record.outcome, record.reason.as_ref()));
            assert_eq!(skim.answered, record.answered);
            // In whatever order they were sent; read in full they are sorted.
            let mut numbers: Vec<_> = skim.numbers(&skimmed.payload).collect();
            numbers.sort_unstable_by_key(|(name, _)| *name);
            let theirs: Vec<_> = record.summary.iter().map(|(name, n)| (&**name, n.as_f64())).collect();
            assert_eq!(numbers, theirs);
        }
    }

    proptest! {
        #[test]
        fn what_is_skimmed_is_what_is_read_in_full(batch in any_batch()) {
            for encoding in [Encoding::Cbor, Encoding::Json] {
                // Bodies that are no CBOR have no JSON form.
                let Ok(bytes) = encoding.encode(&batch) else { continue };
                let Ok(read) = encoding.decode::<ResultBatch>(&bytes) else { continue };
                check(&Skimmed::read(Some(encoding.content_type()), &bytes.into()).unwrap(), &read);
            }
        }

        #[test]
        fn whatever_is_skimmed_can_be_read_in_full(batch in any_batch(), hits in prop::collection::vec((any::<u16>(), any::<u8>()), 0..4)) {
            let mut bytes = Encoding::Cbor.encode(&batch).unwrap();
            let length = bytes.len();
            for (at, byte) in hits {
                bytes[usize::from(at) % length] = byte;
            }
            let bytes = Bytes::from(bytes);
            let full = Encoding::Cbor.decode::<ResultBatch>(&bytes);
            match (skim(&bytes), full) {
                (Some(skimmed), Ok(full)) => check(&skimmed, &full),
                (Some(skimmed), Err(error)) => prop_assert!(false, "skimmed {skimmed:?}, and: {error}"),
                (None, _) => {}
            }
        }
    }

    #[test]
    fn newer_fields_pass_through() {
        use cbor4ii::core::Value;
        let text = |text: &str| Value::Text(text.to_owned());
        let record =
            [("index", 5.into_value()), ("outcome", text("ok")), ("new", Value::Array(vec![Value::Null]))];
        let times = [("started_at", 1.into_value()), ("duration_ns", 2.into_value())];
        let record = record.into_iter().chain(times).map(|(name, value)| (text(name), value)).collect();
        let batch = [("instance", text("a")), ("boot", 1.into_value()), ("anchor", text("b"))];
        let more = [("epoch", 1.into_value()), ("seq", 1.into_value()), ("newer", Value::Bool(true))];
        let records = [("records", Value::Array(vec![Value::Map(record)]))];
        let batch = batch.into_iter().chain(more).chain(records).map(|(name, value)| (text(name), value));
        let bytes = Bytes::from(cbor4ii::serde::to_vec(Vec::new(), &Value::Map(batch.collect())).unwrap());
        let skimmed = skim(&bytes).unwrap();
        assert_eq!(skimmed.records[0].index, 5);
        assert!(skimmed.records[0].bytes(&bytes).windows(3).any(|three| three == b"new"));
    }

    trait IntoValue {
        fn into_value(self) -> cbor4ii::core::Value;
    }

    impl IntoValue for i128 {
        fn into_value(self) -> cbor4ii::core::Value {
            cbor4ii::core::Value::Integer(self)
        }
    }
}
