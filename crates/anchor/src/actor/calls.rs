//! Commands of the handle, each answered at once or when what it asks for is kept.

use std::sync::Arc;

use mmn_schema::api::{Limits, Measurement};
use mmn_schema::id::{MeasurementId, TaskId, Tenant};
use mmn_schema::problem::Problem;
use mmn_schema::rest::InputsPage;
use tokio::sync::watch;

use super::Actor;
use crate::clock;
use crate::command::{Command, Historical, Listed, Watch};
use crate::handle::{InputCredits, Viewer};
use crate::ledger::account::State;
use crate::list::Filter;
use crate::measurement::Running;
use crate::problems;
use crate::store::inputs;
use crate::store::record::{Meta, Note};
use crate::trace::{self, TaskState};

impl Actor {
    /// Whoever asked may be gone by now: then the answer is dropped.
    pub(super) fn on_command(&mut self, command: Command) {
        let now = clock::now();
        match command {
            Command::Prepare { request, reply } => drop(reply.send(self.prepare(&request))),
            Command::Accept { tenant, request, key, wait, reply } => {
                self.accept(&tenant, &request, key, wait, reply);
            }
            Command::Append { tenant, measurement, inputs, reply } => {
                self.append(&tenant, measurement, &inputs, reply);
            }
            Command::Close { tenant, measurement, reply } => self.close(&tenant, measurement, reply),
            Command::Cancel { tenant, measurement, reply } => self.cancel(&tenant, measurement, reply),
            Command::InputCredits { tenant, measurement, reply } => {
                let _ = reply.send(self.input_credits(&tenant, measurement));
            }
            Command::Inputs { viewer, id, from, limit, reply } => {
                let _ = reply.send(Ok(self.inputs(&viewer, id, from, limit)));
            }
            Command::Measurement { viewer, id, reply } => drop(reply.send(Ok(self.view(&viewer, id)))),
            Command::Measurements { viewer, filter, before, limit, reply } => {
                let _ = reply.send(Ok(self.list(&viewer, &filter, before, limit)));
            }
            Command::Watch { viewer, id, reply } => drop(reply.send(Ok(self.watch(&viewer, id)))),
            Command::Task { viewer, task, reply } => drop(reply.send(self.task(&viewer, task))),
            Command::History { measurement, reply } => {
                let running = self.running.get(&measurement);
                // Rows are shared: what is given out is copied when it changes, a row at a time.
                let running = running.map(|running| Historical::Running(running.history.clone()));
                let ended = || self.ended.history(measurement).map(Historical::Ended);
                let _ = reply.send(Ok(running.or_else(ended)));
            }
            Command::Choosable { reply } => drop(reply.send(Ok(self.registry.choosable()))),
            Command::Vps { ids, reply } => drop(reply.send(Ok(self.registry.vp_views(&ids, now)))),
            Command::Modules { of, reply } => {
                let _ = reply.send(Ok(self.registry.module_views(of.as_ref(), now)));
            }
            Command::Kinds { reply } => drop(reply.send(Ok(self.registry.kind_views()))),
            Command::Limits { reply } => drop(reply.send(Ok(self.limits()))),
            Command::Availability { vp, reply } => drop(reply.send(Ok(self.shelf.book.copy(vp.as_ref())))),
            Command::Status { reply } => drop(reply.send(Ok(Box::new(self.status(now))))),
            Command::Metrics { reply } => drop(reply.send(Ok(Box::new(self.metrics())))),
        }
    }

    fn view(&self, viewer: &Viewer, id: MeasurementId) -> Option<Measurement> {
        if let Some(running) = self.running.get(&id) {
            let meta = &running.meta;
            return viewer.may_see(&meta.tenant, meta.visibility).then(|| running.view());
        }
        let done = self.ended.get(id)?;
        viewer.may_see(&done.meta.tenant, done.meta.visibility).then(|| done.view())
    }

    pub(super) fn list(
        &self,
        viewer: &Viewer,
        filter: &Filter,
        before: Option<MeasurementId>,
        limit: usize,
    ) -> Listed {
        let wanted =
            |meta: &Meta, state| viewer.may_see(&meta.tenant, meta.visibility) && filter.takes(meta, state);
        let older = |id: &MeasurementId| before.is_none_or(|before| *id < before);
        let mut running: Vec<_> = self
            .running
            .values()
            .filter(|running| older(&running.meta.id) && wanted(&running.meta, running.state()))
            .collect();
        running.sort_unstable_by_key(|running| std::cmp::Reverse(running.meta.id));
        let mut running = running.into_iter().peekable();
        let ended = self.ended.before(before);
        let mut ended = ended.filter(|done| wanted(&done.meta, done.state())).peekable();
        let mut items = Vec::new();
        while items.len() < limit {
            let newer = match (running.peek(), ended.peek()) {
                (Some(running), Some(ended)) => running.meta.id > ended.meta.id,
                (running, _) => running.is_some(),
            };
            let next =
                if newer { running.next().map(Running::view) } else { ended.next().map(|done| done.view()) };
            let Some(next) = next else { break };
            items.push(next);
        }
        let more = running.peek().is_some() || ended.peek().is_some();
        Listed { items, more, evicted: self.ended.evicted() }
    }

    /// Inputs of a measurement that runs.
    fn inputs(&self, viewer: &Viewer, id: MeasurementId, from: u64, limit: usize) -> Option<InputsPage> {
        let running = self.running.get(&id)?;
        if !viewer.may_see(&running.meta.tenant, running.meta.visibility) {
            return None;
        }
        // Those of a brief one go out before they are kept.
        let total = running.accepted.max(running.released);
        let items = (from..total).take(limit).filter_map(|position| running.inputs.input(position)).collect();
        Some(inputs::page(items, from, total))
    }

    fn watch(&mut self, viewer: &Viewer, id: MeasurementId) -> Option<Watch> {
        if let Some(running) = self.running.get_mut(&id) {
            let visible = viewer.may_see(&running.meta.tenant, running.meta.visibility);
            return visible.then(|| Watch { live: Some(running.subscribe()), done: None });
        }
        let done = self.ended.get(id)?;
        let visible = viewer.may_see(&done.meta.tenant, done.meta.visibility);
        visible.then(|| Watch { live: None, done: Some(done.ledger.clone()) })
    }

    fn input_credits(&mut self, tenant: &Tenant, id: MeasurementId) -> Result<InputCredits, Problem> {
        let window = self.config.limits.open_inputs;
        let running = self.running.get_mut(&id).filter(|running| running.meta.tenant == *tenant);
        let running = running.ok_or_else(|| Self::hidden(id))?;
        if !running.open {
            return Err(problems::conflict("it is not open"));
        }
        let granted = running.granted(window);
        let told = running.inputs.len();
        let sender = running.credits.get_or_insert_with(|| watch::Sender::new(granted));
        Ok(InputCredits { granted: sender.subscribe(), told })
    }

    fn task(&self, viewer: &Viewer, task: TaskId) -> Result<Option<TaskState>, Problem> {
        let Some(running) = self.running.get(&task.measurement) else {
            let done = self.ended.get(task.measurement);
            return done.map(|done| trace::of_done(done, viewer, task)).transpose();
        };
        let meta = Arc::clone(&running.meta);
        if !viewer.may_see(&meta.tenant, meta.visibility) {
            return Err(Self::hidden(task.measurement));
        }
        let Some(state) = running.account.state(task.index) else {
            return Err(problems::not_found("task", &task.to_string()));
        };
        let out = (state == State::Out).then(|| self.out(task, running.attempt(task.index))).flatten();
        Ok(Some(TaskState {
            kind: meta.kind.clone(),
            accepted_at: meta.accepted_at,
            assigned: trace::assigned(&meta, task.index),
            input: Some(running.input_of(task.index)),
            ended: state == State::Closed,
            out,
            notes: running.notes.iter().filter(|note| note.index == task.index).cloned().collect(),
        }))
    }

    /// Where a task is at present.
    fn out(&self, task: TaskId, attempt: u32) -> Option<Note> {
        let note = |vp: &mmn_schema::id::VpId, instance, dispatched| Note {
            index: task.index,
            attempt,
            vp: vp.clone(),
            instance,
            dispatched: Some(dispatched),
            at: clock::wall(),
            detail: String::new(),
        };
        let instances = self.registry.instances.values();
        let mut held = instances.filter_map(|instance| {
            let (dispatched, _) = instance.slot.holding.dispatched(task.measurement, task.index)?;
            Some(note(&instance.vp, Some(instance.id.clone()), dispatched))
        });
        held.next().or_else(|| {
            self.registry.pools.iter().find_map(|(lane, pool)| {
                let (dispatched, taker) = pool.slot.holding.dispatched(task.measurement, task.index)?;
                Some(note(&self.registry.lanes.get(*lane)?.vp, taker, dispatched))
            })
        })
    }

    fn limits(&self) -> Limits {
        let (limits, results) = (&self.config.limits, &self.config.results);
        Limits {
            max_pending_tasks: limits.max_pending_tasks,
            pending_tasks: self.pending,
            max_inputs: limits.max_inputs,
            max_requests_per_s: self.config.api.max_requests_per_s,
            results_max_bytes: results.max_bytes,
            results_bytes: self.fills.results.bytes(),
            results_max_age_s: (results.max_age_s > 0).then_some(results.max_age_s),
        }
    }
}
