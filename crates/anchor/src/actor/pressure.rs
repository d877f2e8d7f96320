//! Back-pressure: what waits is counted for each kind at each vantage point, and a request whose tasks would wait there
//! until their deadline is refused at once, with the time after which it may do better.

use std::time::{Duration, Instant};

use mmn_schema::api::MeasurementRequest;
use mmn_schema::id::{KindName, MeasurementId, VpId};
use mmn_schema::outcome::{Reason, code};
use mmn_schema::problem::Problem;

use super::Actor;
use crate::admission::Checked;
use crate::dispatch::lane::Lanes;
use crate::dispatch::load::{Load, drain};
use crate::measurement::Running;
use crate::problems;

/// A kind may have so many times as many tasks waiting as there is room left for all. With 4 a single one takes four
/// fifths of the room, two take four ninths each: there is always some for one that has none.
const SHARE: u64 = 4;

/// A kind at a vantage point, or in a pool, that has more than it can do.
#[derive(Debug, Clone, Copy)]
struct Overload {
    waiting: u64,
    /// How many are done in a second, where that is known.
    rate: Option<f64>,
    /// After how long there may be room.
    after: Duration,
}

impl Actor {
    /// Refuses what would wait until its deadline, or takes up the room of others. Of several vantage points those that
    /// are overloaded refuse their tasks, and the others take theirs.
    pub(super) fn check_load(
        &mut self,
        request: &MeasurementRequest,
        mut checked: Checked,
    ) -> Result<Checked, Problem> {
        let kind = &request.kind;
        let inputs = checked.inputs.len() as u64;
        let (most, waiting) = (self.config.limits.max_pending_tasks, self.registry.lanes.waiting_of(kind));
        let room = most.saturating_sub(self.pending);
        let wanted = checked.tasks - checked.refused;
        if waiting.saturating_add(wanted) > room.saturating_mul(SHARE) && waiting > 0 {
            *self.counters.overload_total.entry("kind").or_default() += 1;
            return Err(problems::share(kind, waiting, wanted));
        }
        // Three quarters of its time a task may wait: it has to be performed as well.
        let bound = Duration::from_nanos(checked.deadline.as_ns() / 4 * 3);
        let mut worst: Option<Overload> = None;
        let mut overloaded = Vec::new();
        let mut free = 0;
        for (at, assigned) in checked.assignments.iter().enumerate() {
            if assigned.refused.is_some() {
                continue;
            }
            match self.overload(kind, &assigned.vps, inputs, bound) {
                Some(overload) => {
                    let shorter = worst.is_none_or(|worst| overload.after < worst.after);
                    worst = if shorter { Some(overload) } else { worst };
                    overloaded.push((at, overload));
                }
                None => free += 1,
            }
        }
        let Some(Overload { waiting, rate, after }) = worst else {
            return Ok(checked);
        };
        *self.counters.overload_total.entry("lane").or_default() += 1;
        if free == 0 {
            return Err(problems::overloaded(kind, waiting, rate, after));
        }
        for (at, overload) in overloaded {
            if let Some(assigned) = checked.assignments.get_mut(at) {
                let detail = format!("{} tasks of the kind wait there", overload.waiting);
                assigned.refused = Some(Reason::with(code::SATURATED, detail));
                checked.refused += inputs;
            }
        }
        Ok(checked)
    }

    /// Whether a kind has more than it can do at these vantage points, of which one is chosen.
    fn overload(&self, kind: &KindName, vps: &[VpId], inputs: u64, bound: Duration) -> Option<Overload> {
        let lanes = &self.registry.lanes;
        let loads = || {
            let found = vps.iter().filter_map(|vp| lanes.find(vp, kind));
            found.filter_map(|lane| lanes.get(lane)).map(|lane| &lane.load)
        };
        let pooled = if vps.len() > 1 { lanes.pooled_of(kind) } else { 0 };
        let waiting = pooled + loads().map(Load::waiting).sum::<u64>();
        if waiting == 0 {
            return None;
        }
        // While of one it is not known, it may be free.
        let rate: Option<f64> = loads().map(Load::rate).sum();
        let rate = rate.filter(|_| loads().count() == vps.len());
        let most = self.config.limits.max_pending_per_lane.saturating_mul(vps.len() as u64);
        let over = waiting.saturating_add(inputs).saturating_sub(most);
        if over > 0 {
            let after = rate.map_or(Duration::from_secs(1), |rate| drain(over, rate));
            return Some(Overload { waiting, rate, after });
        }
        let wait = drain(waiting, rate?);
        (wait > bound).then(|| Overload { waiting, rate, after: wait.saturating_sub(bound) })
    }

    /// Tasks of so many more inputs wait.
    pub(super) fn enter_waiting(&mut self, id: MeasurementId, inputs: u64) {
        if let Some(running) = self.running.get(&id) {
            for (at, line) in running.lines.iter().enumerate() {
                if !is_refused(running, at) {
                    self.registry.lanes.count(&running.meta.kind, &line.lanes, inputs, 0);
                }
            }
        }
    }

    /// Nothing of a measurement waits any more. To be told before its queues are cleared or it is forgotten.
    pub(super) fn leave_waiting(lanes: &mut Lanes, running: &Running) {
        for (at, line) in running.lines.iter().enumerate() {
            if !is_refused(running, at) {
                let left = line.queue.len(running.inputs.len());
                lanes.count(&running.meta.kind, &line.lanes, 0, left);
            }
        }
    }

    /// How fast is work done?
    pub(super) fn look_at_loads(&mut self, now: Instant) {
        self.counters.lane_waiting_most = self.registry.lanes.look(now);
    }
}

/// Whether the tasks of an assignment are refused at once.
fn is_refused(running: &Running, at: usize) -> bool {
    running.meta.assignments.get(at).is_none_or(|assigned| assigned.refused.is_some())
}
