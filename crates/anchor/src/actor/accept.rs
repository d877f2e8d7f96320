//! Acceptance: a request becomes a measurement in memory and chunks in LEDGER. It is answered when they are kept.

use std::sync::Arc;
use std::time::Instant;

use mmn_schema::api::{MeasurementRequest, Plan};
use mmn_schema::dispatch::Input;
use mmn_schema::id::{MeasurementId, Tenant};
use mmn_schema::outcome::code;
use mmn_schema::problem::Problem;
use mmn_schema::subject::{Log, Subject};
use tokio::sync::oneshot;

use super::{Actor, Deadline, Sweep, Tag, What};
use crate::admission::{self, Checked};
use crate::clock;
use crate::command::{Entered, Follow, Prepared, Reply, Wait};
use crate::handle::Appended;
use crate::measurement::{Asker, MAX_COLLECTED, Running, size};
use crate::problems;
use crate::store::group::SMALL_TASKS;
use crate::store::record::{Accept, CHUNK_BYTES, CHUNK_INPUTS, Chunk, Meta, Step};

impl Actor {
    pub(super) fn prepare(&mut self, request: &MeasurementRequest) -> Result<Prepared, Problem> {
        let checked = self.check(request)?;
        Ok(Prepared {
            kind: request.kind.clone(),
            vps: admission::planned(&self.registry, &request.kind, &checked.assignments),
            params: checked.params,
            inputs: checked.inputs,
            tasks: checked.tasks,
            refused: checked.refused,
            coverage: checked.coverage,
        })
    }

    fn check(&mut self, request: &MeasurementRequest) -> Result<Checked, Problem> {
        if let Some(full) = self.refusal() {
            return Err(full);
        }
        let seed = rand::random::<u32>().into();
        let checked = admission::check(&self.registry, &self.config.limits, request, self.pending, seed);
        if self.settles_at.is_some_and(|at| clock::now() < at) && is_of_settling(&checked) {
            return Err(Self::settling());
        }
        self.check_load(request, checked?)
    }

    fn settling() -> Problem {
        problems::not_ready("it has just begun, and those that offer this have not announced themselves yet")
    }

    /// Answers when the acceptance is kept, or that there will be none.
    pub(super) fn accept(
        &mut self,
        tenant: &Tenant,
        request: &MeasurementRequest,
        key: Option<String>,
        wait: Wait,
        reply: Reply<Entered>,
    ) {
        let hash = key.as_ref().map_or(0, |_| fingerprint(request));
        if let Some((id, known)) = key.as_ref().and_then(|key| self.keys.get(tenant, key)) {
            if known == hash {
                return self.accept_again(id, wait, reply);
            }
            let problem = Problem::new(422, "idempotency-key", "The idempotency key was used before")
                .detail("with another request");
            return drop(reply.send(Err(problem)));
        }
        match self.check(request) {
            Ok(checked) => self.enter(tenant, request, key.map(|key| (key, hash)), wait, checked, reply),
            Err(problem) => drop(reply.send(Err(problem))),
        }
    }

    fn enter(
        &mut self,
        tenant: &Tenant,
        request: &MeasurementRequest,
        key: Option<(String, u64)>,
        wait: Wait,
        checked: Checked,
        reply: Reply<Entered>,
    ) {
        let (now, at) = (clock::now(), clock::wall());
        let unix_ms = u64::try_from(at.unix_ns() / 1_000_000).unwrap_or_default();
        let id = MeasurementId::new(unix_ms, &rand::random());
        if let Some((key, hash)) = &key {
            self.keys.insert(tenant, key, id, *hash, at);
        }
        let plan = Plan {
            vps: admission::planned(&self.registry, &request.kind, &checked.assignments)
                .into_iter()
                .map(|(vp, _)| vp)
                .collect(),
            tasks: checked.tasks,
            refused: checked.refused,
            packets: None,
            bytes: None,
            coverage: checked.coverage.clone(),
        };
        let meta = Arc::new(Meta {
            id,
            number: self.next_number,
            tenant: tenant.clone(),
            visibility: request.visibility,
            kind: request.kind.clone(),
            params: checked.params,
            from: checked.from,
            label: request.label.clone(),
            deadline_ns: checked.deadline.as_ns(),
            open: request.open,
            max_tasks: request.budget.and_then(|budget| budget.max_tasks),
            assignments: checked.assignments,
            coverage: checked.coverage,
            accepted_at: at,
            key,
            written: std::sync::OnceLock::new(),
        });
        self.next_number += 1;
        let lines = self.lines(&meta);
        let mut running = Running::new(Arc::clone(&meta), lines);
        let small = (1..=SMALL_TASKS).contains(&checked.tasks) && !request.open;
        let follow = (wait == Wait::Results).then(|| match checked.tasks {
            1 if small => Follow::Once(running.follow_once()),
            _ => Follow::Live(running.follow(small)),
        });
        let done = (wait == Wait::End).then(|| {
            let (waiter, done) = oneshot::channel();
            running.done_waiters.push(waiter);
            running.collected = (checked.tasks <= MAX_COLLECTED && !request.open).then(Vec::new);
            done
        });
        // Who waits for all there is waits a little for the acceptance too.
        let whole = wait == Wait::End || running.once.is_some();
        running.askers.push(Asker { reply, existing: false, plan: Some(plan), done, follow });
        self.running.insert(id, running);
        self.counters.measurements_total += 1;
        self.take_in(id, &checked.inputs, now, whole && small);
        if whole {
            self.release(id, checked.inputs.len() as u64);
        }
        let (kind, tasks) = (&request.kind, checked.tasks);
        self.event_of("measurement-accepted", id, || {
            format!("{kind} with {tasks} task{}", if tasks == 1 { "" } else { "s" })
        });
    }

    /// The same request came before, under its idempotency key.
    fn accept_again(&mut self, id: MeasurementId, wait: Wait, reply: Reply<Entered>) {
        let Some(running) = self.running.get_mut(&id) else {
            // Without an answer it is read from LEDGER.
            let accepted = self.ended.get(id).map(|done| done.view());
            let entered = Entered { id, existing: true, accepted, done: None, follow: None };
            return self.answers.push((reply, entered));
        };
        let done = (wait == Wait::End).then(|| {
            let (waiter, receiver) = oneshot::channel();
            running.done_waiters.push(waiter);
            receiver
        });
        running.askers.push(Asker { reply, existing: true, plan: None, done, follow: None });
        if running.durable {
            self.answer_askers(id);
        }
    }

    /// The acceptance is kept: who asked is told, unless all is over, which is told with it.
    fn answer_askers(&mut self, id: MeasurementId) {
        let Some(running) = self.running.get_mut(&id) else { return };
        if running.askers.is_empty() || running.is_over() {
            return;
        }
        let view = running.view();
        let askers = std::mem::take(&mut running.askers);
        self.answers.extend(askers.into_iter().map(|asker| asker.entered(view.clone())));
    }

    /// Enters inputs and writes their acceptance. `hold`: it may go together with the results, if they come soon.
    fn take_in(&mut self, id: MeasurementId, inputs: &[Input], now: Instant, hold: bool) -> u64 {
        let Some(running) = self.running.get_mut(&id) else {
            return 0;
        };
        let group = running.inputs.len();
        let chunks = chunks(inputs);
        let until = now + std::time::Duration::from_nanos(running.meta.deadline_ns);
        let first = running.append(inputs, until, chunks.len());
        let meta = Arc::clone(&running.meta);
        let tasks = running.account.len() - first;
        let shares = running.is_small() && chunks.len() == 1;
        self.enter_waiting(id, inputs.len() as u64);
        self.pending += tasks;
        self.counters.tasks_accepted_total += tasks;
        let (subject, mut at) = (Subject::Log(Log::Accept, id), group);
        for (number, chunk) in chunks.into_iter().enumerate() {
            let first = group == 0 && number == 0 && at == 0;
            let accept = Accept {
                anchor: self.id.clone(),
                epoch: self.epoch,
                at: clock::wall(),
                step: Step::Inputs(Chunk {
                    meta: first.then(|| Arc::clone(&meta)),
                    group,
                    total: inputs.len() as u64,
                    first: at,
                    inputs: chunk.to_vec(),
                }),
            };
            at += chunk.len() as u64;
            if shares {
                self.hold(id, accept, hold);
                continue;
            }
            // The first group of an open measurement may be empty, and one that a former term left in pieces may begin
            // where this one does: neither may be taken for it.
            let name = format!("{id}-a-{}-{group}-{}-{number}", self.epoch.0, inputs.len());
            self.write(Tag::Accept(id, group), &subject, name, &accept);
        }
        self.end_refused(&meta, id, first, tasks);
        self.watch_deadline(id, first, first + tasks, until);
        first
    }

    /// An acceptance waits for a place in a message. `long`: for a tick or two, since its results may come before.
    fn hold(&mut self, id: MeasurementId, accept: Accept, long: bool) {
        if let Some(running) = self.running.get_mut(&id) {
            running.held = Some(accept);
        }
        if !long {
            return self.group_accept(id);
        }
        self.held.push(id);
    }

    /// Ends the tasks of assignments that are refused at once.
    pub(super) fn end_refused(&mut self, meta: &Meta, id: MeasurementId, first: u64, tasks: u64) {
        for (line, assigned) in meta.assignments.iter().enumerate() {
            if assigned.refused.is_some() && tasks > 0 {
                let sweep =
                    Sweep { measurement: id, next: first, end: first + tasks, what: What::Line(line) };
                self.sweeps.push_back(sweep);
            }
        }
    }

    pub(super) fn watch_deadline(
        &mut self,
        measurement: MeasurementId,
        first: u64,
        end: u64,
        until: Instant,
    ) {
        if end > first {
            let what = What::Queued;
            self.deadlines.push(std::cmp::Reverse(Deadline { at: until, measurement, first, end, what }));
        }
    }

    /// A part of an acceptance is kept.
    pub(super) fn on_accept_kept(&mut self, id: MeasurementId, first: u64) {
        let Some(running) = self.running.get_mut(&id) else {
            return;
        };
        if let Some(group) = running.groups.iter_mut().find(|group| group.first == first && group.writes > 0)
        {
            group.writes -= 1;
        }
        // Answers come in the order of the groups: one whose predecessor is not kept would not be recovered.
        let width = running.width();
        let mut released = running.accepted;
        for group in &mut running.groups {
            if group.writes > 0 {
                break;
            }
            released = released.max(group.end);
            if let Some(reply) = group.reply.take() {
                let (first, tasks) = (group.first * width, (group.end - group.first) * width);
                let _ = reply.send(Ok(Appended { first, tasks }));
            }
        }
        running.accepted = released;
        running.durable = running.groups.front().is_some_and(|group| group.writes == 0);
        if running.durable {
            self.answer_askers(id);
        }
        self.release(id, released);
        self.finish_if_over(id);
    }

    /// There was no room for a part of an acceptance. Whether it is to be tried again.
    pub(super) fn on_accept_full(&mut self, id: MeasurementId, first: u64) -> bool {
        if first == 0 {
            self.unaccept(id, &problems::storage_full("ledger"));
        }
        first > 0
    }

    /// A measurement is not accepted after all.
    pub(super) fn unaccept(&mut self, id: MeasurementId, problem: &Problem) {
        // Nobody was told of it, so it never was.
        if let Some(running) = self.running.remove(&id) {
            Self::leave_waiting(&mut self.registry.lanes, &running);
            self.pending -= running.account.ledger().pending;
            self.counters.measurements_total -= 1;
            self.counters.tasks_accepted_total -= running.account.len();
            if let Some((key, _)) = &running.meta.key {
                self.keys.remove(&running.meta.tenant, key);
            }
            for asker in running.askers {
                let _ = asker.reply.send(Err(problem.clone()));
            }
        }
    }

    pub(super) fn append(
        &mut self,
        tenant: &Tenant,
        id: MeasurementId,
        inputs: &[Input],
        reply: Reply<Appended>,
    ) {
        if let Err(problem) = self.may_append(tenant, id, inputs) {
            let _ = reply.send(Err(problem));
            return;
        }
        if inputs.is_empty() {
            let first = self.running.get(&id).map_or(0, |running| running.account.len());
            let _ = reply.send(Ok(Appended { first, tasks: 0 }));
            return;
        }
        self.take_in(id, inputs, clock::now(), false);
        if let Some(group) = self.running.get_mut(&id).and_then(|running| running.groups.back_mut()) {
            group.reply = Some(reply);
        }
    }

    fn may_append(&self, tenant: &Tenant, id: MeasurementId, inputs: &[Input]) -> Result<(), Problem> {
        let running = self.running.get(&id).filter(|running| running.meta.tenant == *tenant);
        let Some(running) = running else {
            let mine = self.ended.get(id).is_some_and(|done| done.meta.tenant == *tenant);
            return Err(if mine { problems::conflict("it is done") } else { Self::hidden(id) });
        };
        if !running.open {
            return Err(problems::conflict("it is not open"));
        }
        if let Some(full) = self.refusal() {
            return Err(full);
        }
        let Some(kind) = self.registry.kinds.get(&running.meta.kind) else {
            return Err(problems::not_ready("the kind has not announced itself since the anchor began"));
        };
        let limits = &self.config.limits;
        let problem = admission::check_inputs(kind.info.input, inputs, true, limits, problems::invalid());
        if !problem.errors.is_empty() {
            return Err(problem);
        }
        let granted = running.granted(limits.open_inputs);
        let wanted = running.inputs.len() + inputs.len() as u64;
        if wanted > granted {
            return Err(Problem::new(429, "credits", "More inputs than were granted")
                .detail(format_args!("{granted} inputs are granted in all, and this makes {wanted}")));
        }
        let tasks = inputs.len() as u64 * running.width();
        if running.meta.max_tasks.is_some_and(|most| running.account.len() + tasks > most) {
            return Err(problems::over_budget("/inputs", "it would have more tasks than its budget allows"));
        }
        if self.pending + tasks > limits.max_pending_tasks {
            return Err(problems::saturated(self.pending, limits.max_pending_tasks, tasks));
        }
        Ok(())
    }
}

/// Inputs in chunks that fit a message; one empty chunk when there are none.
fn chunks(inputs: &[Input]) -> Vec<&[Input]> {
    let mut chunks = Vec::new();
    let (mut rest, mut bytes, mut count) = (inputs, 0, 0);
    for input in inputs {
        let size = size(input);
        if count == CHUNK_INPUTS || (count > 0 && bytes + size > CHUNK_BYTES) {
            let (chunk, others) = rest.split_at(count);
            chunks.push(chunk);
            (rest, bytes, count) = (others, 0, 0);
        }
        bytes += size;
        count += 1;
    }
    chunks.push(rest);
    chunks
}

/// A number that tells requests apart, the same in every build (FNV-1a).
fn fingerprint(request: &MeasurementRequest) -> u64 {
    let bytes = serde_json::to_vec(request).unwrap_or_default();
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Whether what is wrong may be that an anchor has just taken over, and not everybody has announced themselves: a vantage point
/// may have, and its modules not yet.
fn is_of_settling(checked: &Result<Checked, Problem>) -> bool {
    match checked {
        Ok(checked) => checked
            .assignments
            .iter()
            .any(|assigned| assigned.refused.as_ref().is_some_and(|reason| reason.code == code::UNSUPPORTED)),
        Err(problem) => problem.errors.iter().any(|error| matches!(&*error.pointer, "/kind" | "/from")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_fit_a_message_and_lose_nothing() {
        assert_eq!(chunks(&[]).len(), 1);
        let inputs: Vec<Input> = (0..20_000).map(|n| Input::Target(format!("{n:0200}"))).collect();
        let chunks = chunks(&inputs);
        assert!(chunks.iter().all(|chunk| chunk.len() * 204 <= CHUNK_BYTES), "{}", chunks.len());
        assert_eq!(chunks.concat(), inputs);
    }
}
