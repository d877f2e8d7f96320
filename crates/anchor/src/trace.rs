//! What happened to one task, hop by hop: from what its kept record carries, and from memory while it is pending.

use std::sync::Arc;

use mmn_schema::api::{Clock, Hop, TaskTrace};
use mmn_schema::dispatch::Input;
use mmn_schema::id::{KindName, TaskId, VpId};
use mmn_schema::problem::Problem;
use mmn_schema::time::Timestamp;

use crate::command::Command;
use crate::handle::{Anchor, Viewer};
use crate::problems;
use crate::reader::hidden;
use crate::shared::Shared;
use crate::store::record::{Dispatched, Done, Entry, Kept, Meta, Note, Section};

/// A task of a measurement that is in memory.
#[derive(Debug)]
pub(crate) struct TaskState {
    pub(crate) kind: KindName,
    pub(crate) accepted_at: Timestamp,
    pub(crate) assigned: Vec<VpId>,
    /// Absent once the measurement is done.
    pub(crate) input: Option<Input>,
    pub(crate) ended: bool,
    /// Where it is now.
    pub(crate) out: Option<Note>,
    /// Attempts that came to nothing and are not kept yet.
    pub(crate) notes: Vec<Note>,
}

pub(crate) async fn trace(
    anchor: &Anchor,
    shared: &Arc<Shared>,
    viewer: &Viewer,
    task: TaskId,
) -> Result<TaskTrace, Problem> {
    let state = match anchor.ask(|reply| Command::Task { viewer: viewer.clone(), task, reply }).await? {
        Some(state) => state,
        None => ended(shared, viewer, task).await?,
    };
    let mut trace = TaskTrace {
        task,
        kind: state.kind,
        input: state.input.unwrap_or_default(),
        assigned: state.assigned,
        outcome: None,
        reason: None,
        hops: vec![hop(state.accepted_at, Clock::Anchor, "accepted")],
        expired: false,
    };
    let found = kept(shared, &mut trace).await?;
    for note in &state.notes {
        attempt(&mut trace.hops, note, true);
    }
    if let Some(out) = &state.out {
        attempt(&mut trace.hops, out, false);
    }
    trace.expired = state.ended && !found;
    let (first, rest) = trace.hops.split_at_mut(1);
    debug_assert_eq!(first.len(), 1);
    rest.sort_by_key(|hop| hop.attempt);
    Ok(trace)
}

/// What LEDGER says of a task whose measurement is no longer in memory.
async fn ended(shared: &Shared, viewer: &Viewer, task: TaskId) -> Result<TaskState, Problem> {
    let done = shared.store()?.done(task.measurement).await?.ok_or_else(|| hidden(task.measurement))?;
    of_done(&done, viewer, task)
}

/// A task of a measurement that ended.
pub(crate) fn of_done(done: &Done, viewer: &Viewer, task: TaskId) -> Result<TaskState, Problem> {
    if !viewer.may_see(&done.meta.tenant, done.meta.visibility) {
        return Err(hidden(task.measurement));
    }
    if task.index >= done.ledger.accepted {
        return Err(problems::not_found("task", &task.to_string()));
    }
    Ok(TaskState {
        kind: done.meta.kind.clone(),
        accepted_at: done.meta.accepted_at,
        assigned: assigned(&done.meta, task.index),
        input: None,
        ended: true,
        out: None,
        notes: Vec::new(),
    })
}

/// Where a task is assigned to.
pub(crate) fn assigned(meta: &Meta, index: u64) -> Vec<VpId> {
    let count = (meta.assignments.len() as u64).max(1);
    let at = usize::try_from(index % count).unwrap_or_default();
    meta.assignments.get(at).map(|assigned| assigned.vps.clone()).unwrap_or_default()
}

/// Enters what is kept of the task: its record and the attempts that came to nothing. Whether the record was found.
async fn kept(shared: &Shared, trace: &mut TaskTrace) -> Result<bool, Problem> {
    let store = shared.store()?;
    let index = trace.task.index;
    let (mut from, mut found) = (1, false);
    while let Some(kept) = store.next_kept(trace.task.measurement, from).await? {
        from = kept.seq + 1;
        for note in kept.batch.notes.iter().filter(|note| note.index == index) {
            attempt(&mut trace.hops, note, true);
        }
        let mut entries =
            kept.batch.sections.iter().flat_map(|s| s.entries.iter().map(move |entry| (s, entry)));
        if let Some((section, entry)) = entries.find(|(_, entry)| entry.record.index == index) {
            found = true;
            trace.input = entry.input.clone();
            trace.outcome = Some(entry.record.outcome);
            trace.reason.clone_from(&entry.record.reason);
            record(&mut trace.hops, &kept, section, entry);
        }
    }
    Ok(found)
}

fn record(hops: &mut Vec<Hop>, kept: &Kept, section: &Section, entry: &Entry) {
    let record = &entry.record;
    let dispatched = entry.dispatch.and_then(|at| section.dispatches.get(at as usize));
    let whose = |mut hop: Hop| {
        hop.attempt = Some(record.attempt);
        hop.vp.clone_from(&section.vp);
        hop.instance.clone_from(&section.instance);
        hop
    };
    if let Some(dispatched) = dispatched {
        sent(hops, dispatched, &whose);
    }
    if section.instance.is_some() {
        let mut started = whose(hop(record.started_at, Clock::Vp, "started"));
        let queued_us = record.queued_ns / 1000;
        let (ms, us) = (queued_us / 1000, queued_us % 1000);
        started.detail = Some(format!("after {ms}.{us:03} ms in the instance's queue"));
        let took = i64::try_from(record.duration_ns).unwrap_or(i64::MAX);
        let ended = Timestamp::from_unix_ns(record.started_at.unix_ns().saturating_add(took));
        hops.extend([started, whose(hop(ended, Clock::Vp, "ended"))]);
        hops.push(whose(hop(section.received_at, Clock::Anchor, "received")));
    } else {
        hops.push(whose(hop(section.received_at, Clock::Anchor, "given-up")));
    }
    let mut last = whose(hop(section.received_at, Clock::Anchor, "kept"));
    last.detail = Some(format!("as message {} of the results", kept.seq));
    hops.push(last);
    let mut closed = whose(hop(section.received_at, Clock::Anchor, "closed"));
    closed.detail = Some(match &record.reason {
        Some(reason) => format!("{}: {reason}", record.outcome),
        None => record.outcome.to_string(),
    });
    hops.push(closed);
}

fn attempt(hops: &mut Vec<Hop>, note: &Note, over: bool) {
    let whose = |mut hop: Hop| {
        hop.attempt = Some(note.attempt);
        hop.vp = Some(note.vp.clone());
        hop.instance.clone_from(&note.instance);
        hop
    };
    if let Some(dispatched) = &note.dispatched {
        sent(hops, dispatched, &whose);
    }
    if over {
        let mut given_up = whose(hop(note.at, Clock::Anchor, "given-up"));
        given_up.detail = Some(note.detail.clone());
        hops.push(given_up);
    }
}

fn sent(hops: &mut Vec<Hop>, dispatched: &Dispatched, whose: &impl Fn(Hop) -> Hop) {
    hops.push(whose(hop(dispatched.at, Clock::Anchor, "dispatched")));
    if let Some(at) = dispatched.acknowledged_at {
        hops.push(whose(hop(Timestamp::from_unix_ns(at), Clock::Anchor, "acknowledged")));
    }
}

fn hop(at: Timestamp, clock: Clock, hop: &str) -> Hop {
    Hop { at, clock, attempt: None, hop: hop.to_owned(), vp: None, instance: None, detail: None }
}
