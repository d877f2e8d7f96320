//! The private decoders of this crate, for the fuzz targets. Nothing else uses them. A panic is a broken promise.
#![expect(clippy::missing_panics_doc, reason = "a panic is how a finding is told")]

use mmn_schema::encoding::Encoding;
use mmn_schema::id::MeasurementId;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use crate::api::fuzzing::{fields, query, question, request_body, token};

use crate::availability::Book;
use crate::history::History;
use crate::history::answer::{Interval, RollupAsk};
use crate::ledger::inputs::Inputs;
use crate::store::record::{Accept, Done, Kept, KeptBatch, Roll, Step};

/// Messages of LEDGER and RES. What is kept reads as the same again, and clients can be shown it.
pub fn kept(bytes: &[u8]) {
    if let Some(accept) = again::<Accept>(bytes)
        && let Step::Inputs(chunk) = accept.step
    {
        let mut inputs = Inputs::default();
        chunk.inputs.iter().for_each(|input| inputs.push(input));
        for (position, input) in (0..).zip(&chunk.inputs) {
            assert_eq!(inputs.input(position).as_ref(), Some(input));
        }
    }
    if let Some(done) = again::<Done>(bytes) {
        let _ = (done.weight(), done.view());
    }
    let _ = again::<Roll>(bytes);
    if let Ok(history) = History::read(bytes) {
        for (merge, interval) in
            [(false, Interval::Finest), (true, Interval::Ns(60_000_000_000)), (true, Interval::All)]
        {
            let ask = RollupAsk { merge, interval, quantiles: 3, ..RollupAsk::default() };
            let _ = history.answer(MeasurementId::new(1, &[7; 10]), &ask);
        }
    }
    let book = Book::restored(&[bytes.to_vec()]);
    let _ = (book.table(144, 5), Book::restored(&book.pages()));
    if let Some(batch) = again::<KeptBatch>(bytes) {
        let kept = Kept { measurement: MeasurementId::new(1, &[7; 10]), seq: 1, batch };
        assert_eq!(kept.results().count() as u64, kept.batch.len());
    }
}

fn again<T: DeserializeOwned + Serialize>(bytes: &[u8]) -> Option<T> {
    let value: T = Encoding::Cbor.decode(bytes).ok()?;
    let Ok(written) = Encoding::Cbor.encode(&value) else { panic!("what was read can't be written") };
    let read: Result<T, _> = Encoding::Cbor.decode(&written);
    let read = read.unwrap_or_else(|error| panic!("what was written can't be read: {error}"));
    assert!(Encoding::Cbor.encode(&read).is_ok_and(|twice| twice == written), "it reads as another");
    Some(value)
}
