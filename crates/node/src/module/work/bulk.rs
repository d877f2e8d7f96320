//! What goes in bulk: tasks that are one echo request each, of which there are very many. They have no future of their
//! own; the lane has them, and their ends come from its turns.
//!
//! A batch goes this way as a whole, where it may. Of its tasks those that the lane can't take (names, targets on a link of
//! ours, the first to an unknown neighbour) go the ordinary way, few at a time.

use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;

use mmn_kit::Conditions;
use mmn_probe::bulk::{End, Fate, Spec, SpecId};
use mmn_schema::dispatch::Input;
use mmn_schema::outcome::{Outcome, Reason, code};

use super::driven::address;
use super::{Work, at};
use crate::clock;
use crate::module::desk::{Ended, Key, Now, Origin, Started, Ticket};
use crate::module::perform::{Measure, ended, too_late};
use crate::net::bulk::{Lane, PacketSockets};

/// A batch of so many tasks goes in bulk, where it may.
pub(super) const MANY: usize = 64;
/// Tasks that go in bulk at a time.
const LIMIT: u32 = 131_072;
/// Tasks that the lane has declined and that are performed by themselves at a time.
const DECLINED_AT_A_TIME: usize = 512;

/// The lane, and what is to know beside it.
pub(super) struct InBulk {
    lane: Lane,
    /// The flock whose tasks are being begun.
    open: Option<(Key, SpecId)>,
    /// The flock of each measurement of the lane.
    flocks: Vec<Option<Key>>,
    /// Those that the lane can't take.
    declined: VecDeque<Started<Measure>>,
    ends: Vec<End>,
}

/// Whether a batch can go in bulk now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Ready,
    /// The site's policy does not allow it.
    Forbidden,
    /// There are no sockets for it.
    Missing,
}

/// Chooses the way of a batch, by what it asks for.
pub(super) fn choose(mut measure: Measure, many: bool, state: State) -> Result<Measure, Reason> {
    let Some(task) = measure.kind.bulk().filter(|task| many || task.wished) else { return Ok(measure) };
    match state {
        State::Ready => measure.bulk = Some(task),
        State::Forbidden if task.wished => {
            let reason = "the site's policy does not allow the bulk lane (allow_packet_sockets)";
            return Err(Reason::with(code::POLICY, reason));
        }
        State::Missing if task.wished => {
            return Err(Reason::with(code::UNPRIVILEGED, "there are no packet sockets for the bulk lane"));
        }
        State::Forbidden | State::Missing => {}
    }
    Ok(measure)
}

/// Waits until the lane has something to do.
pub(super) async fn ready(bulk: Option<&InBulk>) {
    match bulk {
        Some(bulk) => bulk.lane.ready().await,
        None => std::future::pending().await,
    }
}

impl Work {
    /// Packet sockets have come.
    pub(super) fn begin_bulk(&mut self, sockets: PacketSockets) {
        match self.outfit.site.bulk(sockets) {
            Ok(lane) => {
                self.bulk = Some(InBulk {
                    lane,
                    open: None,
                    flocks: Vec::new(),
                    declined: VecDeque::new(),
                    ends: Vec::new(),
                });
                self.desk.allow_bulk(|measure| measure.bulk.is_some(), LIMIT);
                tracing::info!("packet sockets are in use");
                self.announce();
            }
            Err(error) => tracing::warn!(%error, "packet sockets that came are of no use"),
        }
    }

    pub(super) fn bulk_state(&self) -> State {
        match &self.bulk {
            _ if !self.outfit.site.policy().allow_packet_sockets => State::Forbidden,
            Some(_) => State::Ready,
            None => State::Missing,
        }
    }

    /// Gives a task to the lane, or to those that go by themselves.
    pub(super) fn start_in_bulk(&mut self, started: Started<Measure>, moment: Now) {
        let Some(bulk) = &mut self.bulk else { return };
        let family = started.origin.measure.bulk.as_ref().map(|task| task.family);
        let Some(target) = family.and_then(|family| address(&started.input, family)) else {
            bulk.declined.push_back(started);
            return;
        };
        if let Err(refusal) = self.outfit.site.policy().judge(target) {
            let ended = Ended::without(Outcome::Refused, refusal.reason());
            self.desk.finish(started.ticket, moment, ended);
            return;
        }
        let taken = match started.ticket {
            Ticket::InFlock(flock, number) => bulk
                .spec_of(flock, &started.origin)
                .is_some_and(|spec| bulk.lane.submit(spec, target, number)),
            Ticket::Alone(_) => false,
        };
        if !taken {
            bulk.declined.push_back(started);
        }
    }

    /// For now no more tasks are begun.
    pub(super) fn all_started(&mut self) {
        if let Some(bulk) = &mut self.bulk {
            bulk.close();
        }
    }

    /// Sends, reads, and ends what has ended.
    pub(super) fn turn_bulk(&mut self) {
        let Some(bulk) = &mut self.bulk else { return };
        if bulk.lane.running() > 0 {
            let InBulk { lane, ends, .. } = bulk;
            lane.turn(&mut |end| ends.push(end));
            self.end_bulk();
        }
        self.attempt_declined();
    }

    /// The policy has changed: what has not left yet is looked at again by whoever performs it by itself.
    pub(super) fn revise_bulk(&mut self) {
        let Some(InBulk { lane, ends, .. }) = &mut self.bulk else { return };
        let policy = self.outfit.site.policy();
        lane.decline_waiting(
            |target| !policy.allow_packet_sockets || policy.judge(target).is_err(),
            &mut |end| {
                ends.push(end);
            },
        );
        self.end_bulk();
    }

    /// These attempts have been called off.
    pub(super) fn forget_in_bulk(&mut self, stopped: &[Ticket]) {
        let Some(bulk) = &mut self.bulk else { return };
        let in_flock = |ticket: &&Ticket| matches!(ticket, Ticket::InFlock(..));
        let stopped: BTreeSet<Ticket> = stopped.iter().filter(in_flock).copied().collect();
        if !stopped.is_empty() {
            let flocks = &bulk.flocks;
            bulk.lane.forget(|spec, number| {
                let flock = flocks.get(spec.place()).copied().flatten();
                flock.is_some_and(|flock| stopped.contains(&Ticket::InFlock(flock, number)))
            });
            bulk.declined.retain(|started| !stopped.contains(&started.ticket));
        }
    }

    fn end_bulk(&mut self) {
        let Some(bulk) = &mut self.bulk else { return };
        if bulk.ends.is_empty() {
            return;
        }
        let conditions = bulk.lane.conditions();
        let turn = clock::both();
        let moment = at(turn, turn.at);
        let mut ends = std::mem::take(&mut bulk.ends);
        for End { spec, owner, sample } in ends.drain(..) {
            let Some(flock) = bulk.flocks.get(spec.place()).copied().flatten() else { continue };
            let ticket = Ticket::InFlock(flock, owner);
            let Some(origin) = self.desk.origin(ticket) else { continue };
            if sample.fate == Fate::Declined {
                let input = Input::Target(sample.target.to_string());
                bulk.declined.push_back(Started { ticket, origin: Rc::clone(origin), input });
                continue;
            }
            let ended = end_of(origin, &sample, &conditions);
            self.desk.finish(ticket, moment, ended);
        }
        bulk.ends = ends;
    }

    fn attempt_declined(&mut self) {
        let mut turn = None;
        while self.performing.len() < DECLINED_AT_A_TIME
            && let Some(started) = self.bulk.as_mut().and_then(|bulk| bulk.declined.pop_front())
        {
            let turn = *turn.get_or_insert_with(clock::both);
            self.attempt(started, turn);
        }
    }
}

impl InBulk {
    fn spec_of(&mut self, flock: Key, origin: &Origin<Measure>) -> Option<SpecId> {
        if let Some((open, spec)) = self.open
            && open == flock
        {
            return Some(spec);
        }
        self.close();
        let task = origin.measure.bulk.as_ref()?;
        let spec = Spec { shape: task.shape.clone(), timeout: task.timeout, deadline: origin.deadline };
        let spec = self.lane.measure(spec)?;
        if self.flocks.len() <= spec.place() {
            self.flocks.resize(spec.place() + 1, None);
        }
        *self.flocks.get_mut(spec.place())? = Some(flock);
        self.open = Some((flock, spec));
        Some(spec)
    }

    fn close(&mut self) {
        if let Some((_, spec)) = self.open.take() {
            self.lane.complete(spec);
        }
    }
}

fn end_of(origin: &Origin<Measure>, sample: &mmn_probe::bulk::Sample, conditions: &Conditions) -> Ended {
    if sample.fate == Fate::OutOfTime {
        return too_late();
    }
    ended(origin.measure.kind.of_bulk(sample, conditions))
}
