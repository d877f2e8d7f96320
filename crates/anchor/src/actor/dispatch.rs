//! Dispatch: batches to whoever has room, without timers: what is there is sent.

use std::ops::Bound;
use std::time::Instant;

use mmn_schema::body::Body;
use mmn_schema::dispatch::{Task, TaskBatch, ToInstance};
use mmn_schema::encoding::Encoding;
use mmn_schema::id::MeasurementId;
use mmn_schema::subject::Subject;

use super::{Actor, remaining_ns};
use crate::clock;
use crate::dispatch::lane::{LaneId, Turn};
use crate::measurement::{Running, size};
use crate::registry::Sink;

/// How many writes may wait before dispatch stops.
const MAX_WRITES: usize = 256;
/// How many bytes of records may wait to be kept before dispatch stops.
const MAX_UNKEPT: usize = 16 * 1024 * 1024;
/// About how many bytes of inputs go into one batch.
const MAX_BATCH_BYTES: usize = 256 * 1024;
/// How many members of a pool are looked at before all of them are.
const POOL_LOOK: usize = 64;

impl Actor {
    /// The tasks of a measurement's first `inputs` inputs may go out.
    pub(super) fn release(&mut self, id: MeasurementId, inputs: u64) {
        let Some(running) = self.running.get_mut(&id) else {
            return;
        };
        if inputs <= running.released || running.cancelled.is_some() {
            return;
        }
        running.released = inputs;
        for line in 0..running.lines.len() {
            self.stand(id, line);
        }
    }

    /// An assignment takes its place in the turns, if it has something waiting.
    pub(super) fn stand(&mut self, id: MeasurementId, at: usize) {
        let Some(running) = self.running.get_mut(&id) else {
            return;
        };
        let refused = running.meta.assignments.get(at).is_none_or(|assigned| assigned.refused.is_some());
        let released = running.released;
        let Some(line) = running.lines.get_mut(at) else {
            return;
        };
        if refused || line.waiting || line.queue.is_empty(released) {
            return;
        }
        line.waiting = true;
        self.registry.lanes.wait((id, at), &line.lanes);
        match &*line.lanes {
            [only] => {
                self.dirty.insert(*only);
            }
            lanes => {
                let now = clock::now();
                let from = rand::random_range(0..lanes.len().max(1));
                let (after, before) = lanes.split_at(from.min(lanes.len()));
                let look = |lane: &LaneId| {
                    let (_, free) = self.registry.least_loaded(*lane, now, None)?;
                    Some((free, *lane))
                };
                let around = || before.iter().chain(after);
                let few = around().take(POOL_LOOK).filter_map(look).max_by_key(|&(free, _)| free);
                let best = few.or_else(|| around().skip(POOL_LOOK).find_map(look));
                self.dirty.extend(best.map(|(_, lane)| lane));
            }
        }
    }

    /// Gives work to whoever has room.
    pub(super) fn dispatch(&mut self) {
        if self.stalled && self.may_dispatch() {
            self.stalled = false;
            self.dirty
                .extend(self.registry.lanes.ids().filter(|&lane| self.registry.lanes.is_waited_for(lane)));
        }
        let now = clock::now();
        while let Some(lane) = self.next_dirty() {
            if !self.registry.lanes.is_waited_for(lane) {
                continue;
            }
            if !self.may_dispatch() {
                self.stalled = true;
                return;
            }
            let Some((sink, room)) = self.registry.least_loaded(lane, now, None) else {
                continue;
            };
            let Some(turn) = self.registry.lanes.next(lane) else {
                continue;
            };
            let room = self.registry.share(sink, lane, room);
            self.give(turn, lane, sink, room, now);
            // It may have more, but the others of an instance come first: one kind shall not hold up another.
            self.served = lane;
            self.dirty.insert(lane);
        }
    }

    /// The next lane that may have both work and room, in turn.
    fn next_dirty(&mut self) -> Option<LaneId> {
        let after = (Bound::Excluded(self.served), Bound::Unbounded);
        let next = self.dirty.range(after).next().or_else(|| self.dirty.first()).copied()?;
        self.dirty.remove(&next);
        Some(next)
    }

    pub(super) fn may_dispatch(&self) -> bool {
        self.writes.len() < MAX_WRITES && self.unkept_bytes < MAX_UNKEPT
    }

    /// Sends the next batch of an assignment.
    fn give(&mut self, (id, at): Turn, on: LaneId, sink: Sink, room: usize, now: Instant) {
        let Some(running) = self.running.get_mut(&id) else {
            return;
        };
        let width = running.width();
        let Some(line) = running.lines.get_mut(at) else {
            return;
        };
        line.waiting = false;
        let mut most = room.min(self.config.dispatch.max_batch).max(1);
        if line.lanes.len() > 1 {
            // A pool's work is spread over its members.
            let share = line.queue.len(running.released).div_ceil(line.lanes.len() as u64);
            most = most.min(usize::try_from(share).unwrap_or(usize::MAX).max(1));
        }
        let (mut load, mut popped) = (Load::default(), 0);
        while load.tasks.len() < most && load.bytes < MAX_BATCH_BYTES {
            let Some(input) = running.lines.get_mut(at).and_then(|line| line.queue.pop(running.released))
            else {
                break;
            };
            popped += 1;
            load.take(running, input * width + at as u64, now);
        }
        if let Some(line) = running.lines.get(at) {
            self.registry.lanes.count(&running.meta.kind, &line.lanes, 0, popped);
        }
        self.send_batch(id, on, sink, load, now);
        self.stand(id, at);
    }

    /// Sends these tasks, of one assignment.
    pub(super) fn send_tasks(
        &mut self,
        id: MeasurementId,
        lane: LaneId,
        sink: Sink,
        indices: Vec<u64>,
        now: Instant,
    ) {
        let Some(running) = self.running.get_mut(&id) else {
            return;
        };
        let mut load = Load::default();
        for index in indices {
            load.take(running, index, now);
        }
        self.send_batch(id, lane, sink, load, now);
    }

    fn send_batch(&mut self, measurement: MeasurementId, lane: LaneId, sink: Sink, load: Load, now: Instant) {
        let Load { params, tasks, deadline_ns, .. } = load;
        if tasks.is_empty() {
            return;
        }
        let Some((vp, kind)) = self.registry.lanes.get(lane).map(|lane| (lane.vp.clone(), lane.kind.clone()))
        else {
            return;
        };
        let at = clock::wall();
        let indices = tasks.iter().map(|task| task.index).collect();
        let mut batch = TaskBatch {
            anchor: self.id.clone(),
            epoch: self.epoch,
            seq: 0,
            ack: 0,
            measurement,
            kind: kind.clone(),
            params,
            deadline_ns,
            tasks,
        };
        self.counters.batches_total += 1;
        self.registry.sent(lane, sink, now);
        match sink {
            Sink::Instance(slot) => {
                let Some(instance) = self.registry.instances.get_mut(&slot) else {
                    return;
                };
                batch.seq = instance.slot.holding.send(measurement, &vp, indices, now, at);
                batch.ack = instance.inbound.tell();
                let instance_id = instance.id.clone();
                let receipt = Subject::Receipt(vp.clone(), instance_id.clone(), self.id.clone(), batch.seq);
                let reply = receipt.on(&self.shared.prefix);
                let subject = Subject::Task(vp, kind, instance_id).on(&self.shared.prefix);
                let encoding = instance.encoding;
                self.send(subject, Some(reply), encoding, &ToInstance::Tasks(batch));
            }
            Sink::Pool(lane) => {
                let Some(pool) = self.registry.pools.get_mut(&lane) else {
                    return;
                };
                let seq = pool.slot.holding.send(measurement, &vp, indices, now, at);
                let reply = format!("{}.p{}.{seq}", self.inbox, lane.number());
                let subject = Subject::Pool(vp, kind).on(&self.shared.prefix);
                self.send(subject, Some(reply), Encoding::Json, &batch);
            }
        }
    }
}

/// What goes into one batch.
#[derive(Debug)]
struct Load {
    params: Body,
    tasks: Vec<Task>,
    deadline_ns: u64,
    bytes: usize,
}

impl Default for Load {
    fn default() -> Self {
        Self { params: Body::default(), tasks: Vec::new(), deadline_ns: u64::MAX, bytes: 0 }
    }
}

impl Load {
    /// A task goes into the batch. What has no time left is ended by its deadline; what is not queued is somewhere else.
    fn take(&mut self, running: &mut Running, index: u64, now: Instant) {
        let left = running.until(index).map_or(0, |until| remaining_ns(now, until));
        if left == 0 || !running.account.take(index) {
            return;
        }
        if self.tasks.is_empty() {
            self.params = running.meta.params.clone();
        }
        self.deadline_ns = self.deadline_ns.min(left);
        let input = running.input_of(index);
        self.bytes += size(&input);
        self.tasks.push(Task { index, attempt: running.attempt(index), input });
    }
}
