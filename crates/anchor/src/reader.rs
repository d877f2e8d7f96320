//! Readers of results: cursors, not consumers.
//!
//! A reader catches up by reading kept messages one after another, then follows what is being kept. One that falls
//! behind the bounded broadcast goes back to reading kept messages. So no reader loses data, none holds memory, and
//! records come in the order of their cursors, each once.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;

use mmn_schema::api::{Cursor, Ledger, Measurement, ResultRecord, Visibility};
use mmn_schema::id::{MeasurementId, Tenant};
use mmn_schema::problem::Problem;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};

use crate::command::{Command, Live, Watch};
use crate::gauge::Counted;
use crate::handle::{Anchor, Viewer};
use crate::problems;
use crate::store::record::Fresh;

/// What a reader finds next.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    /// Records, in the order of their cursors; parts between them where they came, if asked for.
    Records(Vec<ResultRecord>),
    /// Records that would stand here have expired: so many, where that is known.
    Expired(Option<u64>),
    /// All records were given, and the measurement is done.
    Done(Ledger),
}

/// Reads the results of one measurement, at its own pace.
#[derive(Debug)]
pub struct ResultReader {
    anchor: Anchor,
    viewer: Viewer,
    measurement: MeasurementId,
    parts: bool,
    /// The last record given.
    position: Option<Cursor>,
    /// The last kept message that was taken in.
    taken: u64,
    /// How many records stand before the next one, where that is known.
    seen: Option<u64>,
    waiting: VecDeque<ResultRecord>,
    expired: Option<Expired>,
    watch: Option<Watch>,
    /// Whether kept messages may be missing between `taken` and what `watch` tells.
    behind: bool,
    /// It has fallen behind what `watch` tells, and reads from the store again.
    lagging: Option<Counted>,
    done: Option<Ledger>,
}

/// So many records have expired, where that is known.
#[derive(Debug)]
struct Expired(Option<u64>);

impl ResultReader {
    pub(crate) async fn open(
        anchor: Anchor,
        viewer: Viewer,
        measurement: MeasurementId,
        after: Option<Cursor>,
    ) -> Result<Self, Problem> {
        let mut reader = Self {
            anchor,
            viewer,
            measurement,
            parts: false,
            position: after,
            taken: after.map_or(0, |after| after.seq.saturating_sub(1)),
            seen: after.is_none().then_some(0),
            waiting: VecDeque::new(),
            expired: None,
            watch: None,
            behind: true,
            lagging: None,
            done: None,
        };
        reader.follow().await?;
        Ok(reader)
    }

    /// A reader that begins with one of the newest records: at least `last` are left to read of those that are kept, or
    /// all, and not many more. It looks back in growing steps, so that it costs the same however many there are.
    pub(crate) async fn of_the_newest(
        anchor: Anchor,
        viewer: Viewer,
        measurement: MeasurementId,
        last: u64,
    ) -> Result<Self, Problem> {
        let mut reader = Self::open(anchor, viewer, measurement, None).await?;
        let store = reader.anchor.shared().store()?;
        let Some(newest) = store.last_kept(measurement).await?.map(Fresh::from) else { return Ok(reader) };
        let wanted = (newest.before + newest.records.len() as u64).saturating_sub(last);
        let (mut from, mut back) = (newest, 1);
        while from.before > wanted {
            let Some(seq) = from.seq.checked_sub(back).filter(|seq| *seq > 0) else { return Ok(reader) };
            let Some(kept) = store.next_kept(measurement, seq).await? else { return Ok(reader) };
            (from, back) = (kept.into(), back * 2);
        }
        reader.taken = from.seq.saturating_sub(1);
        reader.seen = Some(from.before);
        Ok(reader)
    }

    /// A reader of a measurement that has just been accepted: it has missed nothing of `live`.
    pub(crate) fn from_the_first(
        anchor: Anchor,
        viewer: Viewer,
        measurement: MeasurementId,
        live: Receiver<Live>,
    ) -> Self {
        Self {
            anchor,
            viewer,
            measurement,
            parts: false,
            position: None,
            taken: 0,
            seen: Some(0),
            waiting: VecDeque::new(),
            expired: None,
            watch: Some(Watch { live: Some(live), done: None }),
            behind: false,
            lagging: None,
            done: None,
        }
    }

    /// Gives the parts of kinds that stream, too. They are not kept: who was not there misses them.
    #[must_use]
    pub fn with_parts(mut self, parts: bool) -> Self {
        self.parts = parts;
        self
    }

    /// The last record that was given.
    pub fn position(&self) -> Option<Cursor> {
        self.position
    }

    /// Whether [`Self::next`] would have something to give without waiting for something new to be measured, as far
    /// as the reader knows.
    pub fn is_behind(&self) -> bool {
        !self.waiting.is_empty() || self.behind
    }

    /// What comes next: up to `max` records (at least one). Waits until there is something. It may be dropped while
    /// it waits, and called again: nothing is lost.
    pub async fn next(&mut self, max: usize) -> Result<Next, Problem> {
        loop {
            if let Some(next) = self.next_kept(max).await? {
                return Ok(next);
            }
            self.listen(max).await;
        }
    }

    /// As [`Self::next`], and `None` where it would wait for something new to be measured.
    pub async fn next_kept(&mut self, max: usize) -> Result<Option<Next>, Problem> {
        loop {
            if let Some(Expired(count)) = self.expired.take() {
                return Ok(Some(Next::Expired(count)));
            }
            if !self.waiting.is_empty() {
                let count = max.clamp(1, self.waiting.len());
                let records: Vec<_> = self.waiting.drain(..count).collect();
                self.position = records.iter().rev().find_map(|record| record.cursor).or(self.position);
                return Ok(Some(Next::Records(records)));
            }
            // All that the account counts was given: nothing more is looked for.
            if let Some(done) = self.done.as_ref().filter(|done| self.seen == Some(done.accepted)) {
                return Ok(Some(Next::Done(done.clone())));
            }
            if self.watch.is_none() {
                self.follow().await?;
            }
            if !self.behind {
                return Ok(self.done.clone().map(Next::Done));
            }
            let store = self.anchor.shared().store()?;
            if let Some(kept) = store.next_kept(self.measurement, self.taken + 1).await? {
                self.take(&kept.into());
            } else {
                self.behind = false;
                self.lagging = None;
            }
        }
    }

    /// Asks the actor for what is kept from now on. What was kept before is read from the store.
    async fn follow(&mut self) -> Result<(), Problem> {
        let (viewer, id) = (self.viewer.clone(), self.measurement);
        let watch = self.anchor.ask(|reply| Command::Watch { viewer, id, reply }).await?;
        let watch = if let Some(watch) = watch {
            watch
        } else {
            let store = self.anchor.shared().store()?;
            let ledger = store.closed_measurement(&self.viewer, id).await?.ledger;
            Watch { live: None, done: Some(ledger) }
        };
        self.done.clone_from(&watch.done);
        self.watch = Some(watch);
        self.behind = true;
        Ok(())
    }

    /// Waits for something to be kept, then takes in what is there besides.
    async fn listen(&mut self, max: usize) {
        let Some(live) = self.watch.as_mut().and_then(|watch| watch.live.as_mut()) else {
            self.watch = None;
            return;
        };
        let mut next = live.recv().await;
        loop {
            match next {
                Ok(Live::Kept(kept)) => self.take(&kept),
                Ok(Live::Parts(parts)) if self.parts => self.waiting.extend(parts.iter().cloned()),
                Ok(Live::Parts(_)) => {}
                Ok(Live::Done(ledger)) => self.done = Some((*ledger).clone()),
                Err(RecvError::Lagged(_)) => {
                    self.behind = true;
                    let tallies = &self.anchor.shared().tallies;
                    tallies.lagged.fetch_add(1, Ordering::Relaxed);
                    self.lagging = Some(tallies.behind.count());
                    return;
                }
                Err(RecvError::Closed) => {
                    self.watch = None;
                    return;
                }
            }
            if self.waiting.len() >= max {
                return;
            }
            let Some(live) = self.watch.as_mut().and_then(|watch| watch.live.as_mut()) else {
                return;
            };
            next = match live.try_recv() {
                Ok(live) => Ok(live),
                Err(TryRecvError::Empty) => return,
                Err(TryRecvError::Closed) => Err(RecvError::Closed),
                Err(TryRecvError::Lagged(count)) => Err(RecvError::Lagged(count)),
            };
        }
    }

    fn take(&mut self, kept: &Fresh) {
        if kept.seq <= self.taken {
            return;
        }
        let resumed = self.position.filter(|_| self.seen.is_none());
        match (self.seen, resumed) {
            (Some(seen), _) if kept.before > seen => {
                self.expired = Some(Expired(Some(kept.before - seen)));
            }
            (None, Some(after)) if kept.seq > after.seq && kept.before > 0 && self.taken < after.seq => {
                // The message of the cursor itself is gone, and perhaps more after it.
                self.expired = Some(Expired(None));
            }
            _ => {}
        }
        self.seen = Some(kept.before + kept.records.len() as u64);
        self.taken = kept.seq;
        let after = self.position;
        self.waiting.extend(
            kept.records
                .iter()
                .filter(|record| after.is_none_or(|after| record.cursor > Some(after)))
                .cloned(),
        );
    }
}

impl Viewer {
    /// Whether this viewer may see what belongs to `tenant`.
    pub(crate) fn may_see(&self, tenant: &Tenant, visibility: Visibility) -> bool {
        visibility == Visibility::Public || self.is(tenant)
    }

    /// What this viewer sees of a measurement that it may see: not whose it is, where that is another one.
    pub(crate) fn shown_one(&self, mut measurement: Measurement) -> Measurement {
        if !self.is(&measurement.tenant) {
            measurement.tenant = Tenant::public();
        }
        measurement
    }

    /// The same of several.
    pub(crate) fn shown(&self, measurements: Vec<Measurement>) -> Vec<Measurement> {
        measurements.into_iter().map(|measurement| self.shown_one(measurement)).collect()
    }

    fn is(&self, tenant: &Tenant) -> bool {
        matches!(self, Self::Tenant(viewer) if viewer == tenant)
    }
}

/// 404 unless the viewer may see it.
pub(crate) fn hidden(id: MeasurementId) -> Problem {
    problems::not_found("measurement", &id.to_string())
}
