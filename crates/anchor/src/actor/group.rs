//! Group commit: what small measurements have to be kept waits while a few messages are on their way, and goes together
//! in the next one. When nothing is on its way it goes at once.

use std::collections::VecDeque;

use bytes::Bytes;
use mmn_schema::id::MeasurementId;
use mmn_schema::subject::{Log, Subject};

use super::keep::message_bytes;
use super::{Actor, Tag};
use crate::store::group;
use crate::store::write::Write;

/// How many messages of one log may be on their way. More would make them smaller, and each costs as much.
const UNDER_WAY: usize = 1;

/// What waits for a place in a message.
#[derive(Debug, Default)]
pub(super) struct Groups {
    /// Measurements whose acceptance is to be written, unless it goes with the results meanwhile.
    accepts: VecDeque<MeasurementId>,
    accepts_under_way: usize,
    results: VecDeque<(MeasurementId, Bytes)>,
    results_under_way: usize,
    /// Counts the messages.
    next: u64,
}

impl Groups {
    /// An acceptance is to be written.
    pub(super) fn accept(&mut self, id: MeasurementId) {
        self.accepts.push_back(id);
    }
}

impl Actor {
    /// An acceptance is to be written.
    pub(super) fn group_accept(&mut self, id: MeasurementId) {
        self.groups.accept(id);
    }

    /// Results are to be written.
    pub(super) fn group_results(&mut self, id: MeasurementId, batch: Bytes) {
        self.groups.results.push_back((id, batch));
    }

    /// A message of a log is no longer on its way.
    pub(super) fn group_written(&mut self, tag: &Tag) {
        match tag {
            Tag::Accepts(_) => self.groups.accepts_under_way -= 1,
            Tag::Results(_) => self.groups.results_under_way -= 1,
            _ => {}
        }
    }

    /// Sends what waits, as far as it may.
    pub(super) fn write_groups(&mut self) {
        while self.groups.results_under_way < UNDER_WAY && !self.groups.results.is_empty() {
            self.write_results();
        }
        while self.groups.accepts_under_way < UNDER_WAY && !self.groups.accepts.is_empty() {
            self.write_accepts();
        }
    }

    fn write_results(&mut self) {
        let most = message_bytes(self.config.results.max_bytes);
        let (mut parts, mut bytes) = (Vec::new(), 0);
        let second = self.groups.results.front().map(|(id, _)| id.unix_s());
        while let Some((id, batch)) = self.groups.results.front() {
            if Some(id.unix_s()) != second || !parts.is_empty() && bytes + batch.len() > most {
                break;
            }
            bytes += batch.len();
            parts.extend(self.groups.results.pop_front());
        }
        self.groups.results_under_way += 1;
        let ids = parts.iter().map(|(id, _)| *id).collect();
        self.push_group(Tag::Results(ids), Log::Res, &parts, false);
    }

    fn write_accepts(&mut self) {
        let most = message_bytes(self.config.ledger.max_bytes);
        let (mut parts, mut bytes, mut second) = (Vec::new(), 0, None);
        while let Some(&id) = self.groups.accepts.front() {
            if second.is_some_and(|second| second != id.unix_s()) || bytes > most {
                break;
            }
            self.groups.accepts.pop_front();
            // It may have gone with the results, or be called off.
            let Some(accept) = self.running.get_mut(&id).and_then(|running| running.held.take()) else {
                continue;
            };
            let mut written = Vec::with_capacity(1024);
            if let Err(error) = accept.put(&mut written) {
                tracing::error!(%error, %id, "a record can't be written");
                continue;
            }
            bytes += written.len();
            second = Some(id.unix_s());
            parts.push((id, Bytes::from(written)));
        }
        if !parts.is_empty() {
            self.groups.accepts_under_way += 1;
            let ids = parts.iter().map(|(id, _)| *id).collect();
            self.push_group(Tag::Accepts(ids), Log::Accept, &parts, false);
        }
    }

    /// Writes a message of several measurements.
    pub(super) fn push_group(&mut self, tag: Tag, log: Log, parts: &[(MeasurementId, Bytes)], later: bool) {
        let Some((first, _)) = parts.first() else { return };
        self.groups.next += 1;
        let write = Write {
            subject: Subject::Logs(log, first.unix_s()).on(&self.shared.prefix),
            payload: group::write(parts).into(),
            id: format!("{}-{}-{}", self.id, self.epoch.0, self.groups.next),
        };
        self.push_write(tag, write, later);
    }
}
