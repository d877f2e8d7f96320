//! The WebSocket at `/api/v1/stream`: one connection carries any number of measurements and subscriptions, with
//! credits in both directions. JSON in text frames, CBOR in binary frames; an answer takes the form of its question.
//!
//! A client subscribes with a cursor and a number of credits: the anchor sends no more records than it was granted,
//! keeps nothing for a client that is behind (the records are in JetStream), and says so with
//! [`FromAnchor::Behind`]. In the other direction the anchor grants credits for inputs of an open measurement.

use std::ops::Range;

use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::{Cursor, Ledger, Measurement, MeasurementRequest, ResultRecord};
use crate::cbor::Items;
use crate::dispatch::Input;
use crate::encoding::{DecodeError, Encoding};
use crate::event::{Event, EventId};
use crate::id::MeasurementId;
use crate::problem::Problem;

/// What a client says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FromClient {
    /// Accept a measurement. Answered by `accepted` or `problem`.
    Measure {
        /// The client's number for this question; the answer carries it.
        id: u64,
        /// What to measure.
        request: Box<MeasurementRequest>,
        /// A key under which the same question leads to the same measurement.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        idempotency_key: Option<String>,
        /// Subscribe to its results at once, with so many credits.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        credits: Option<u32>,
    },
    /// Append inputs to an open measurement, within the inputs granted. Answered by `appended` or `problem`.
    Append {
        /// The client's number for this question.
        id: u64,
        /// Which measurement.
        measurement: MeasurementId,
        /// The inputs.
        inputs: Vec<Input>,
    },
    /// No more inputs will come. Answered by `closed` or `problem`.
    Close {
        /// The client's number for this question.
        id: u64,
        /// Which measurement.
        measurement: MeasurementId,
    },
    /// Send the results of a measurement. Answered by `results`, in order, and `done`; or `problem`.
    Subscribe {
        /// The client's number for this subscription.
        id: u64,
        /// Which measurement.
        measurement: MeasurementId,
        /// After which record; absent: from the first.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<Cursor>,
        /// So many records may be sent before more credits come.
        credits: u32,
    },
    /// Send what happens in the network, from now on; with `last` or `after` from before.
    Events {
        /// The client's number for this subscription.
        id: u64,
        /// So many events may be sent before more credits come; what comes meanwhile is counted and dropped, and
        /// the count is told.
        credits: u32,
        /// Leave out what happens to measurements: a connection that measures need not be woken by its own.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        but_measurements: bool,
        /// First the newest so many of those that the anchor still has: it keeps a few hundred in memory.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        last: Option<u32>,
        /// First those after this one that the anchor still has; how many it has not any more is told with the first.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<EventId>,
    },
    /// More records, or events, may be sent.
    Credit {
        /// Which subscription.
        id: u64,
        /// How many more.
        credits: u32,
    },
    /// Send no more.
    Unsubscribe {
        /// Which subscription.
        id: u64,
    },
    /// Call a measurement off. Answered by `closed` or `problem`.
    Cancel {
        /// The client's number for this question.
        id: u64,
        /// Which measurement.
        measurement: MeasurementId,
    },
}

/// What an anchor says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FromAnchor {
    /// A measurement is accepted, durably.
    Accepted {
        /// Which question.
        id: u64,
        /// The measurement.
        measurement: Box<Measurement>,
        /// For an open one: how many inputs may be appended.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        inputs: Option<u32>,
    },
    /// Inputs are accepted, durably.
    Appended {
        /// Which question.
        id: u64,
        /// The index of the first task that they became. They are numbered by input, then by vantage point.
        first: u64,
        /// How many tasks they became.
        tasks: u64,
    },
    /// More inputs may be appended.
    Inputs {
        /// Which measurement.
        measurement: MeasurementId,
        /// How many more.
        inputs: u32,
    },
    /// An open measurement takes no more inputs, or a measurement is called off.
    Closed {
        /// Which question.
        id: u64,
    },
    /// Records of a subscription, in the order of their cursors; parts between them where they came.
    Results {
        /// Which subscription.
        id: u64,
        /// The records.
        records: Vec<ResultRecord>,
    },
    /// The subscription's credits are used up and more records wait. They are kept, and come when credits do.
    Behind {
        /// Which subscription.
        id: u64,
        /// After which record it will go on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<Cursor>,
    },
    /// All records of a subscription were sent, and its measurement is done.
    Done {
        /// Which subscription.
        id: u64,
        /// The account.
        ledger: Ledger,
    },
    /// Something happened.
    Event {
        /// Which subscription.
        id: u64,
        /// What.
        event: Event,
        /// How many before it were dropped for want of credits, or are not kept any more.
        #[serde(default)]
        dropped: u64,
    },
    /// Something is wrong with what the client said.
    Problem {
        /// Which question or subscription; absent when it could not be read.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<u64>,
        /// What.
        problem: Problem,
    },
}

/// The records of [`FromAnchor::Results`] as they are written, for those who pass them on or look at few of their fields.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Written {
    frame: Bytes,
    /// Where each record stands, and its cursor.
    records: Vec<(Range<u32>, Option<Cursor>)>,
}

impl Written {
    /// The records of a message in CBOR; `None` where it is another, or is written as mmn's own parts don't.
    pub fn read(frame: &Bytes) -> Option<Self> {
        let mut items = Items::new(frame);
        if items.map()? != 1 || items.text()? != "results" {
            return None;
        }
        let mut records = Vec::new();
        for _ in 0..items.map()? {
            if items.text()? != "records" {
                items.skip()?;
                continue;
            }
            let count = items.array()?;
            // What a message claims to hold is not believed before it is read.
            records.reserve(usize::try_from(count).ok()?.min(frame.len() / 24));
            for _ in 0..count {
                let start = u32::try_from(items.position()).ok()?;
                let cursor = record(&mut items)?;
                records.push((start..u32::try_from(items.position()).ok()?, cursor));
            }
        }
        items.is_at_end().then(|| Self { frame: frame.clone(), records })
    }

    /// Writes records.
    pub fn of(records: &[ResultRecord]) -> Result<Self, DecodeError> {
        let mut frame = Vec::new();
        let mut places = Vec::with_capacity(records.len());
        let end = |frame: &Vec<u8>| {
            u32::try_from(frame.len()).map_err(|_| DecodeError::Cbor("4 GiB of records".to_owned()))
        };
        for record in records {
            let start = end(&frame)?;
            let written = Encoding::Cbor.append(record, &mut frame);
            written.map_err(|error| DecodeError::Cbor(error.to_string()))?;
            places.push((start..end(&frame)?, record.cursor));
        }
        Ok(Self { frame: frame.into(), records: places })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Each of them, in CBOR.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.records
            .iter()
            .map(|(place, _)| self.frame.get(place.start as usize..place.end as usize).unwrap_or_default())
    }

    /// Leaves out those whose cursor is not after `after`, which moves on to the last of them. Parts have none and stay.
    pub fn keep_after(&mut self, after: &mut Option<Cursor>) {
        self.records.retain(|(_, cursor)| match (*cursor, *after) {
            (Some(cursor), Some(last)) if cursor <= last => false,
            (Some(cursor), _) => {
                *after = Some(cursor);
                true
            }
            (None, _) => true,
        });
    }

    /// The records themselves.
    pub fn decode(&self) -> Result<Vec<ResultRecord>, DecodeError> {
        self.iter().map(|record| Encoding::Cbor.decode(record)).collect()
    }
}

/// Passes over a record, and gives its cursor.
#[expect(
    clippy::option_option,
    reason = "the outer one: whether it could be read; the inner one: whether it has any"
)]
fn record(items: &mut Items<'_>) -> Option<Option<Cursor>> {
    let mut cursor = None;
    for _ in 0..items.map()? {
        if items.text()? == "cursor" {
            cursor = Some(items.text()?.parse().ok()?);
        } else {
            items.skip()?;
        }
    }
    Some(cursor)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::encoding::Encoding;
    use crate::id::TaskId;

    fn of(index: u64, cursor: Option<&str>) -> ResultRecord {
        let task = TaskId { measurement: MeasurementId::new(1_800_000_000_000, &[7; 10]), index };
        serde_json::from_value(json!({
            "cursor": cursor, "task": task, "kind": "ping", "input": "192.0.2.1", "attempt": 0, "final": true, "outcome": "ok",
        }))
        .unwrap()
    }

    fn message(records: &[ResultRecord]) -> Bytes {
        let message = FromAnchor::Results { id: 7, records: records.to_vec() };
        Encoding::Cbor.encode(&message).unwrap().into()
    }

    #[test]
    fn records_are_found_where_they_stand() {
        let records = [of(1, Some("1.5")), of(2, None), of(3, Some("1.6"))];
        let written = Written::read(&message(&records)).unwrap();
        assert_eq!((written.len(), written.is_empty()), (3, false));
        assert_eq!(written.decode().unwrap(), records);
        for (bytes, record) in written.iter().zip(&records) {
            assert_eq!(bytes, Encoding::Cbor.encode(record).unwrap());
        }
        let again = Written::of(&records).unwrap();
        assert!(again.iter().eq(written.iter()));
        assert!(Written::read(&message(&[])).unwrap().is_empty());
    }

    #[test]
    fn what_came_before_is_left_out() {
        let records =
            [of(1, Some("1.5")), of(2, None), of(3, Some("1.6")), of(4, Some("1.6")), of(5, Some("2.1"))];
        let mut written = Written::of(&records).unwrap();
        let mut after = Some("1.5".parse().unwrap());
        written.keep_after(&mut after);
        assert_eq!(written.decode().unwrap(), [records[1].clone(), records[2].clone(), records[4].clone()]);
        assert_eq!(after, Some("2.1".parse().unwrap()));
        written.keep_after(&mut after);
        assert_eq!(written.decode().unwrap(), [records[1].clone()]);
    }

    #[test]
    fn what_is_no_message_of_records_is_not_read() {
        let whole = message(&[of(1, Some("1.5")), of(2, None)]);
        for end in 0..whole.len() {
            assert!(Written::read(&whole.slice(..end)).is_none(), "{end}");
        }
        let mut longer = whole.to_vec();
        longer.push(0xf6);
        assert!(Written::read(&longer.into()).is_none());
        let other = Encoding::Cbor.encode(&FromAnchor::Behind { id: 7, after: None }).unwrap();
        assert!(Written::read(&other.into()).is_none());
        // {"results": {"records": array of 2^64 - 1 records}}
        let mut claim = b"\xa1\x67results\xa1\x67records\x9b".to_vec();
        claim.extend([0xff; 8]);
        assert!(Written::read(&claim.into()).is_none());
    }
}
