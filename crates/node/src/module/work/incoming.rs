//! What comes by the bus: work, orders, questions.

use async_nats::Message;
use mmn_schema::announce::Discover;
use mmn_schema::control::{Control, Controlled};
use mmn_schema::dispatch::{Receipt, TaskBatch, ToInstance};
use mmn_schema::encoding::Encoding;
use mmn_schema::outcome::{Reason, code};
use mmn_schema::subject::Subject;

use super::bulk;
use super::{By, DRAIN, Waiting, Work, now, prepare};
use crate::clock;
use crate::herald::encoding_of;
use crate::module::desk::Way;
use crate::module::orders;
use crate::module::perform::Measure;

/// One line of the log for what can't be read, in this time.
const GARBAGE_LOG_NS: u64 = 10_000_000_000;

impl Work {
    pub(super) fn came(&mut self, by: By, message: &Message) {
        match by {
            By::Task | By::Pool => self.work_came(by, message),
            By::Ctl => self.order_came(message),
            By::Discover => self.asked(message),
            By::Service => {
                if let Some(reply) = &message.reply
                    && let Some(answer) = self.service.answer(&message.subject, &self.stats)
                {
                    self.outbox.push(reply.clone(), None, answer.into());
                }
            }
        }
    }

    /// An anchor asks who is there.
    fn asked(&mut self, message: &Message) {
        let asked = encoding_of(message).and_then(|it| it.decode::<Discover>(&message.payload).ok());
        let Discover { known, only } = asked.unwrap_or_default();
        self.is_known = known.contains(&self.digest);
        if only.is_none_or(|only| only.contains(&self.outfit.instance)) {
            self.announce();
        }
    }

    fn work_came(&mut self, by: By, message: &Message) {
        let read = encoding_of(message).and_then(|encoding| {
            let read = match by {
                By::Pool => encoding.decode::<TaskBatch>(&message.payload).map(ToInstance::Tasks),
                _ => encoding.decode::<ToInstance>(&message.payload),
            };
            read.ok().map(|read| (encoding, read))
        });
        match read {
            None => self.garbage(message),
            Some((encoding, ToInstance::Sync(sync))) => self.desk.sync(now(), &sync, encoding),
            Some((encoding, ToInstance::Tasks(batch))) => {
                let way = if by == By::Pool { Way::Pool } else { Way::Addressed };
                self.batch_came(message, batch, way, encoding);
            }
        }
    }

    fn batch_came(&mut self, message: &Message, batch: TaskBatch, way: Way, encoding: Encoding) {
        if way == Way::Pool {
            self.stats.entry(batch.kind.to_string()).or_default().requests += 1;
        }
        let kinds = &self.kinds;
        let unavailable = self.unavailable(&batch.kind);
        let (many, lane) = (batch.tasks.len() >= bulk::MANY, self.bulk_state());
        let (receipt, work) = self.desk.offer(now(), batch, way, encoding, |kind, params| {
            let registered = kinds.get(kind).ok_or_else(|| Reason::new(code::UNSUPPORTED))?;
            if let Some(unavailable) = unavailable {
                return Err(unavailable.reason);
            }
            bulk::choose(prepare(&**registered, params)?, many, lane)
        });
        if let Some(reply) = &message.reply {
            let accepted = matches!(receipt, Receipt::Accepted { .. });
            let may_wait = accepted && self.receipts.len() < DRAIN;
            let to_anchor = matches!(Subject::parse(&self.outfit.prefix, reply), Ok(Subject::Receipt(..)));
            let work = (accepted && to_anchor).then_some(work);
            self.receipts.push(Waiting { reply: reply.clone(), encoding, receipt, work });
            if !may_wait {
                self.send_receipts();
            }
        }
    }

    fn order_came(&mut self, message: &Message) {
        let Some((encoding, order)) = encoding_of(message)
            .and_then(|encoding| Some((encoding, encoding.decode(&message.payload).ok()?)))
        else {
            self.garbage(message);
            return;
        };
        let controlled = self.order(order);
        if let Some(reply) = &message.reply {
            self.reply(reply.clone(), encoding, &controlled);
        }
    }

    fn order(&mut self, order: Control) -> Controlled {
        match order {
            Control::Cancel { epoch, measurement, indices } => {
                match self.desk.cancel(now(), epoch, measurement, indices.as_deref()) {
                    Ok((tasks, stopped)) => {
                        self.forget_in_bulk(&stopped);
                        self.end_called_off(&stopped);
                        for ticket in stopped {
                            if let Some(stop) = self.stops.remove(&ticket) {
                                stop.abort();
                            }
                        }
                        Controlled::Done { tasks }
                    }
                    Err(reason) => Controlled::Refused { reason },
                }
            }
            Control::Drain => {
                self.drain();
                Controlled::Done { tasks: u64::from(self.desk.running()) + u64::from(self.desk.queued()) }
            }
            Control::Quote { kind, params, inputs } => {
                let policy = self.outfit.site.policy();
                let measure = self
                    .kinds
                    .get(&kind)
                    .ok_or_else(|| Reason::new(code::UNSUPPORTED))
                    .and_then(|registered| prepare(&**registered, &params));
                let cost = |measure: Measure| {
                    let unsaid =
                        || Reason::with(code::UNSUPPORTED, format_args!("{kind} does not say what it costs"));
                    measure.kind.cost().ok_or_else(unsaid)
                };
                match measure.and_then(cost).and_then(|cost| orders::quote(&policy, &kind, cost, &inputs)) {
                    Ok(quote) => Controlled::Quoted(quote),
                    Err(reason) => Controlled::Refused { reason },
                }
            }
        }
    }

    fn garbage(&mut self, message: &Message) {
        self.garbage += 1;
        let now_ns = clock::monotonic().0;
        if self.garbage == 1 || now_ns.saturating_sub(self.garbage_logged_ns) > GARBAGE_LOG_NS {
            self.garbage_logged_ns = now_ns;
            tracing::warn!(
                subject = %message.subject,
                bytes = message.payload.len(),
                so_far = self.garbage,
                "a message that can't be read was dropped"
            );
        }
    }
}
