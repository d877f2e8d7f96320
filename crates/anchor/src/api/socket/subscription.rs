//! How far a subscription may go: no more records than it was granted, and not a record lost or held in numbers.
//!
//! A reader that has used its credits looks ahead by one record, so as to know whether the client is behind.

use mmn_schema::api::{Cursor, ResultRecord};
use mmn_schema::encoding::Encoding;
use mmn_schema::stream::FromAnchor;

use crate::api::limits::MAX_RECORDS;
use crate::reader::{Next, ResultReader};

/// How many bytes of bodies one message carries at most, unless a single record is larger.
const MAX_BODY_BYTES: usize = 1 << 20;

/// The account of one subscription.
#[derive(Debug)]
pub(crate) struct Subscription {
    pub(crate) form: Encoding,
    id: u64,
    credits: u64,
    /// After which record it stands.
    after: Option<Cursor>,
    /// The record that was looked at ahead, and the reader that waits with it.
    held: Option<(Box<ResultRecord>, Box<ResultReader>)>,
}

/// What a subscription does next.
#[derive(Debug)]
pub(crate) enum Step {
    /// It reads: at most so many records.
    Read(Box<ResultReader>, usize),
    /// It waits for credits.
    Wait,
    /// It is over.
    Over,
}

impl Subscription {
    pub(crate) fn new(id: u64, form: Encoding, credits: u32, after: Option<Cursor>) -> Self {
        Self { form, id, credits: credits.into(), after, held: None }
    }

    /// Goes on reading: as much as there are credits for, or one record to look ahead.
    pub(crate) fn read(&self, reader: Box<ResultReader>) -> Step {
        let most = usize::try_from(self.credits).unwrap_or(MAX_RECORDS);
        Step::Read(reader, most.clamp(1, MAX_RECORDS))
    }

    /// Takes what was read. `say` takes what the client is told.
    pub(crate) fn take(
        &mut self,
        next: Next,
        reader: Box<ResultReader>,
        say: &mut dyn FnMut(FromAnchor),
    ) -> Step {
        match next {
            Next::Records(mut records) if self.credits == 0 && records.len() == 1 => {
                if let Some(record) = records.pop() {
                    self.held = Some((Box::new(record), reader));
                    say(FromAnchor::Behind { id: self.id, after: self.after });
                }
                Step::Wait
            }
            Next::Records(records) => {
                self.send(records, say);
                self.read(reader)
            }
            // The account that comes with the end counts them.
            Next::Expired(_) => self.read(reader),
            Next::Done(ledger) => {
                say(FromAnchor::Done { id: self.id, ledger });
                Step::Over
            }
        }
    }

    /// Takes more credits.
    pub(crate) fn credit(&mut self, credits: u32, say: &mut dyn FnMut(FromAnchor)) -> Step {
        self.credits = self.credits.saturating_add(credits.into());
        if self.credits == 0 {
            return Step::Wait;
        }
        match self.held.take() {
            Some((record, reader)) => {
                self.send(vec![*record], say);
                self.read(reader)
            }
            None => Step::Wait,
        }
    }

    fn send(&mut self, records: Vec<ResultRecord>, say: &mut dyn FnMut(FromAnchor)) {
        self.credits = self.credits.saturating_sub(records.len() as u64);
        self.after = records.iter().rev().find_map(|record| record.cursor).or(self.after);
        let (mut batch, mut bytes) = (Vec::with_capacity(records.len()), 0);
        for record in records {
            let length = record.body.cbor().len();
            if bytes + length > MAX_BODY_BYTES && !batch.is_empty() {
                say(FromAnchor::Results { id: self.id, records: std::mem::take(&mut batch) });
                bytes = 0;
            }
            bytes += length;
            batch.push(record);
        }
        if !batch.is_empty() {
            say(FromAnchor::Results { id: self.id, records: batch });
        }
    }
}
