//! What an actor begins with: the measurements that were found running, the latest that ended, and the keys.

use super::Actor;
use crate::ledger::queue::Queue;
use crate::measurement::Line;
use crate::recovery::Recovered;
use crate::store::record::{Assigned, Meta};

impl Actor {
    pub(super) fn restore(&mut self, recovered: Recovered) {
        self.ended.set_evicted(recovered.evicted);
        for (seq, done) in recovered.ended {
            let id = done.meta.id;
            self.ended.insert(done);
            self.ended.kept(seq, &[id]);
        }
        for (tenant, key, id, hash, at) in recovered.keys {
            self.keys.insert(&tenant, &key, id, hash, at);
        }
        for (seq, id) in recovered.brief {
            self.brief.insert(seq, id);
        }
        for mut running in recovered.running {
            let meta = running.meta.clone();
            running.lines = self.lines(&meta);
            let (id, tasks, inputs) = (meta.id, running.account.len(), running.accepted);
            let cancelled = running.cancelled.is_some();
            self.pending += running.account.ledger().pending;
            let width = running.width();
            let groups: Vec<_> = running
                .groups
                .iter()
                .map(|group| (group.first * width, group.end * width, group.until))
                .collect();
            self.running.insert(id, running);
            self.enter_waiting(id, inputs);
            self.end_refused(&meta, id, 0, tasks);
            for (first, end, until) in groups {
                self.watch_deadline(id, first, end, until);
            }
            if cancelled {
                self.call_off(id);
            } else {
                self.release(id, inputs);
            }
            self.finish_if_over(id);
        }
    }

    /// The lines of a measurement, with nothing in them.
    pub(super) fn lines(&mut self, meta: &Meta) -> Vec<Line> {
        let all = &mut self.registry.lanes;
        let line = |assigned: &Assigned| {
            let mut lanes: Vec<_> = assigned.vps.iter().map(|vp| all.lane(vp, &meta.kind)).collect();
            lanes.sort_unstable();
            Line { lanes: lanes.into(), queue: Queue::default(), waiting: false }
        };
        meta.assignments.iter().map(line).collect()
    }
}
