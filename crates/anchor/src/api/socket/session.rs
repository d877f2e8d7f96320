//! What one connection has under way: questions to the anchor, subscriptions, credits for inputs.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures::future::{AbortHandle, Abortable, BoxFuture, FutureExt};
use futures::stream::{FuturesUnordered, StreamExt};
use mmn_schema::api::{Cursor, MeasurementRequest};
use mmn_schema::encoding::Encoding;
use mmn_schema::event::Event;
use mmn_schema::id::{MeasurementId, Tenant};
use mmn_schema::problem::Problem;
use mmn_schema::stream::{FromAnchor, FromClient};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use super::codec::{Question, Unread};
use super::subscription::{Step, Subscription};
use crate::api::call::Caller;
use crate::api::measurements::check_key;
use crate::api::reply::bad_request;
use crate::command::Once;
use crate::events::Wanted;
use crate::handle::{Anchor, Following, InputCredits};
use crate::reader::{Next, ResultReader};

/// The most subscriptions of a connection, watched events and open measurements included.
const MAX_SUBSCRIPTIONS: usize = 1024;
/// The most questions that wait for the anchor; further ones are not read.
const MAX_QUESTIONS: usize = 256;

/// What came of something under way.
enum Done {
    /// An answer, and what begins with it.
    Answered(Encoding, Box<FromAnchor>, Option<Begin>),
    /// A reader is open, or is not.
    Opened(u64, Result<Box<ResultReader>, Problem>),
    /// A reader has read.
    Read(u64, Box<ResultReader>, Result<Next, Problem>),
    /// What was awaited whole is there; nothing where the anchor gave it up.
    Whole(u64, MeasurementId, Option<Once>),
    /// A watcher of events has something.
    Happened(u64, Receiver<Arc<Event>>, Result<Arc<Event>, RecvError>),
    /// An open measurement takes more inputs, or no more at all.
    Granted(Encoding, MeasurementId, InputCredits, Option<u32>),
    /// It was given up.
    Aborted,
}

/// What begins when a question is answered.
enum Begin {
    Accepted {
        id: u64,
        measurement: MeasurementId,
        /// A reader of its results, and so many credits.
        follow: Option<(Following, u32)>,
        inputs: Option<InputCredits>,
    },
    Grants {
        measurement: MeasurementId,
        inputs: InputCredits,
    },
}

/// What a number of the client's stands for.
enum Subscribed {
    Results(Subscription, AbortHandle),
    /// The results of one task, which come whole: for whom, and how many more records may come after them.
    Once(Encoding, MeasurementId, u32),
    Events(Watch, AbortHandle),
}

struct Watch {
    form: Encoding,
    credits: u64,
    dropped: u64,
}

/// One connection's business.
pub(crate) struct Session {
    anchor: Anchor,
    caller: Caller,
    subscribed: HashMap<u64, Subscribed>,
    /// Open measurements whose grants are told.
    granted: HashSet<MeasurementId>,
    under_way: FuturesUnordered<BoxFuture<'static, Done>>,
    questions: usize,
    answers: Vec<(Encoding, FromAnchor)>,
}

impl Session {
    pub(crate) fn new(anchor: Anchor, caller: Caller) -> Self {
        Self {
            anchor,
            caller,
            subscribed: HashMap::new(),
            granted: HashSet::new(),
            under_way: FuturesUnordered::new(),
            questions: 0,
            answers: Vec::new(),
        }
    }

    /// Whether another question may be read.
    pub(crate) fn has_room(&self) -> bool {
        self.questions < MAX_QUESTIONS
    }

    /// What is to be written since the last call.
    pub(crate) fn answers(&mut self) -> impl Iterator<Item = (Encoding, FromAnchor)> + use<'_> {
        self.answers.drain(..)
    }

    /// Takes a question.
    pub(crate) fn take(&mut self, (form, question): Question) {
        let question = match question {
            Ok(question) => question,
            Err(Unread { id, problem }) => return self.say(form, FromAnchor::Problem { id, problem }),
        };
        let id = number(&question);
        if let Err(problem) = self.ask(form, question) {
            self.say(form, FromAnchor::Problem { id: Some(id), problem });
        }
    }

    /// Waits until something under way has come to something, and takes it in. May be dropped while it waits.
    pub(crate) async fn turn(&mut self) {
        match self.under_way.next().await {
            Some(done) => self.conclude(done),
            None => std::future::pending().await,
        }
    }

    fn ask(&mut self, form: Encoding, question: FromClient) -> Result<(), Problem> {
        match question {
            FromClient::Measure { id, request, idempotency_key, credits } => {
                let tenant = self.caller.tenant()?.clone();
                if credits.is_some() {
                    self.check_free(id)?;
                }
                if idempotency_key.as_deref().is_some_and(|key| !check_key(key)) {
                    return Err(bad_request("an idempotency key has 1 to 255 visible ASCII characters"));
                }
                let asked = Measure { id, tenant, request, key: idempotency_key, credits };
                self.question(asked.ask(self.anchor.clone(), form));
            }
            FromClient::Append { id, measurement, inputs } => {
                let tenant = self.caller.tenant()?.clone();
                let (anchor, told) = (self.anchor.clone(), self.granted.contains(&measurement));
                self.question(async move {
                    let answer = match anchor.append(&tenant, measurement, inputs).await {
                        Ok(taken) => FromAnchor::Appended { id, first: taken.first, tasks: taken.tasks },
                        Err(problem) => FromAnchor::Problem { id: Some(id), problem },
                    };
                    // A connection that has not heard of the measurement has not heard of its grants.
                    let begin = if told { None } else { grants(&anchor, &tenant, measurement).await };
                    Done::Answered(form, Box::new(answer), begin)
                });
            }
            FromClient::Close { id, measurement } => {
                let (anchor, tenant) = (self.anchor.clone(), self.caller.tenant()?.clone());
                self.question(async move {
                    let closed = anchor.close(&tenant, measurement).await;
                    Done::Answered(form, Box::new(ended(id, closed.map(drop))), None)
                });
            }
            FromClient::Cancel { id, measurement } => {
                let (anchor, tenant) = (self.anchor.clone(), self.caller.tenant()?.clone());
                self.question(async move {
                    let cancelled = anchor.cancel(&tenant, measurement).await;
                    Done::Answered(form, Box::new(ended(id, cancelled.map(drop))), None)
                });
            }
            FromClient::Subscribe { id, measurement, after, credits } => {
                self.check_free(id)?;
                self.subscribe(id, form, measurement, after, credits);
            }
            FromClient::Events { id, credits, but_measurements, last, after } => {
                self.caller.tenant()?;
                self.check_free(id)?;
                if but_measurements && after.is_some() {
                    return Err(bad_request(
                        "`after` counts events of measurements: it goes without `but_measurements`",
                    ));
                }
                let last = last.map(|last| usize::try_from(last).unwrap_or(usize::MAX));
                let heard = self.anchor.events_from(Wanted { last, after, but_measurements });
                let watch = Watch { form, credits: credits.into(), dropped: heard.missing };
                let (abort, registration) = AbortHandle::new_pair();
                // Each wait is registered anew; the first one holds the place.
                drop(registration);
                self.subscribed.insert(id, Subscribed::Events(watch, abort));
                for event in &heard.before {
                    self.tell(id, event);
                }
                self.watch(id, heard.live);
            }
            FromClient::Credit { id, credits } => self.credit(id, credits)?,
            FromClient::Unsubscribe { id } => match self.subscribed.remove(&id) {
                Some(Subscribed::Results(_, abort) | Subscribed::Events(_, abort)) => abort.abort(),
                // What comes of it finds nobody.
                Some(Subscribed::Once(..)) => {}
                None => return Err(no_subscription(id)),
            },
        }
        Ok(())
    }

    fn question(&mut self, question: impl Future<Output = Done> + Send + 'static) {
        self.questions += 1;
        self.under_way.push(question.boxed());
    }

    fn check_free(&self, id: u64) -> Result<(), Problem> {
        if self.subscribed.contains_key(&id) {
            return Err(bad_request(format!("{id} is the number of another subscription")));
        }
        if self.subscribed.len() >= MAX_SUBSCRIPTIONS {
            return Err(Problem::new(429, "too-many-subscriptions", "The connection carries too much")
                .detail(format!("it carries {MAX_SUBSCRIPTIONS} subscriptions, the most that it may")));
        }
        Ok(())
    }

    fn subscribe(
        &mut self,
        id: u64,
        form: Encoding,
        measurement: MeasurementId,
        after: Option<Cursor>,
        credits: u32,
    ) {
        let (anchor, viewer) = (self.anchor.clone(), self.caller.viewer());
        let abort = self.abortable(async move {
            let reader = anchor.reader(&viewer, measurement, after).await;
            Done::Opened(id, reader.map(|reader| Box::new(reader.with_parts(true))))
        });
        let subscription = Subscription::new(id, form, credits, after);
        self.subscribed.insert(id, Subscribed::Results(subscription, abort));
    }

    /// Starts something that ends early when its subscription does.
    fn abortable(&mut self, work: impl Future<Output = Done> + Send + 'static) -> AbortHandle {
        let (abort, registration) = AbortHandle::new_pair();
        let work = Abortable::new(work, registration);
        self.under_way.push(work.map(|done| done.unwrap_or(Done::Aborted)).boxed());
        abort
    }

    fn read(&mut self, id: u64, mut reader: Box<ResultReader>, most: usize) {
        let abort = self.abortable(async move {
            let next = reader.next(most).await;
            Done::Read(id, reader, next)
        });
        if let Some(Subscribed::Results(_, current)) = self.subscribed.get_mut(&id) {
            *current = abort;
        }
    }

    fn watch(&mut self, id: u64, mut events: Receiver<Arc<Event>>) {
        let abort = self.abortable(async move {
            let event = events.recv().await;
            Done::Happened(id, events, event)
        });
        if let Some(Subscribed::Events(_, current)) = self.subscribed.get_mut(&id) {
            *current = abort;
        }
    }

    fn credit(&mut self, id: u64, credits: u32) -> Result<(), Problem> {
        match self.subscribed.get_mut(&id) {
            Some(Subscribed::Results(subscription, _)) => {
                let (form, answers) = (subscription.form, &mut self.answers);
                let step = subscription.credit(credits, &mut |answer| answers.push((form, answer)));
                self.step(id, step);
                Ok(())
            }
            Some(Subscribed::Once(_, _, left)) => {
                *left = left.saturating_add(credits);
                Ok(())
            }
            Some(Subscribed::Events(watch, _)) => {
                watch.credits = watch.credits.saturating_add(credits.into());
                Ok(())
            }
            None => Err(no_subscription(id)),
        }
    }

    fn step(&mut self, id: u64, step: Step) {
        match step {
            Step::Read(reader, most) => self.read(id, reader, most),
            Step::Wait => {}
            Step::Over => drop(self.subscribed.remove(&id)),
        }
    }

    fn conclude(&mut self, done: Done) {
        match done {
            Done::Answered(form, answer, begin) => {
                self.questions -= 1;
                self.say(form, *answer);
                self.begin(form, begin);
            }
            Done::Opened(id, opened) => {
                self.advance(id, |subscription, _| opened.map(|reader| subscription.read(reader)));
            }
            Done::Read(id, reader, next) => {
                self.advance(id, |subscription, say| next.map(|next| subscription.take(next, reader, say)));
            }
            Done::Whole(id, measurement, once) => self.whole(id, measurement, once),
            Done::Happened(id, events, event) => self.happened(id, events, event),
            Done::Granted(form, measurement, credits, Some(inputs)) => {
                self.say(form, FromAnchor::Inputs { measurement, inputs });
                self.await_grant(form, measurement, credits);
            }
            Done::Granted(_, measurement, _, None) => drop(self.granted.remove(&measurement)),
            Done::Aborted => {}
        }
    }

    fn advance(
        &mut self,
        id: u64,
        work: impl FnOnce(&mut Subscription, &mut dyn FnMut(FromAnchor)) -> Result<Step, Problem>,
    ) {
        // A subscription that has ended meanwhile needs nothing more.
        let Some(Subscribed::Results(subscription, _)) = self.subscribed.get_mut(&id) else { return };
        let (form, answers) = (subscription.form, &mut self.answers);
        match work(subscription, &mut |answer| answers.push((form, answer))) {
            Ok(step) => self.step(id, step),
            Err(problem) => {
                self.subscribed.remove(&id);
                self.say(form, FromAnchor::Problem { id: Some(id), problem });
            }
        }
    }

    /// A measurement of one task has come to something.
    fn whole(&mut self, id: u64, measurement: MeasurementId, once: Option<Once>) {
        let (form, credits) = match self.subscribed.get(&id) {
            Some(&Subscribed::Once(form, of, credits)) if of == measurement => (form, credits),
            _ => return,
        };
        self.subscribed.remove(&id);
        match once {
            // A reader looks ahead, and waits with what it found.
            Some(Once::Whole(..)) if credits == 0 => self.subscribe(id, form, measurement, None, 0),
            Some(Once::Whole(records, ledger)) => {
                self.say(form, FromAnchor::Results { id, records });
                self.say(form, FromAnchor::Done { id, ledger });
            }
            Some(Once::Live(live)) => {
                let (anchor, viewer) = (self.anchor.clone(), self.caller.viewer());
                let reader = ResultReader::from_the_first(anchor, viewer, measurement, live);
                self.follow(
                    id,
                    Subscription::new(id, form, credits, None),
                    Box::new(reader.with_parts(true)),
                );
            }
            // The anchor stops, or has handed the measurement over: it is known where it is then.
            None => self.subscribe(id, form, measurement, None, credits),
        }
    }

    fn follow(&mut self, id: u64, subscription: Subscription, reader: Box<ResultReader>) {
        let step = subscription.read(reader);
        let (abort, _) = AbortHandle::new_pair();
        self.subscribed.insert(id, Subscribed::Results(subscription, abort));
        self.step(id, step);
    }

    fn happened(&mut self, id: u64, events: Receiver<Arc<Event>>, event: Result<Arc<Event>, RecvError>) {
        let Some(Subscribed::Events(watch, _)) = self.subscribed.get_mut(&id) else { return };
        match event {
            Ok(event) => self.tell(id, &event),
            Err(RecvError::Lagged(count)) => watch.dropped += count,
            Err(RecvError::Closed) => {
                self.subscribed.remove(&id);
                return;
            }
        }
        self.watch(id, events);
    }

    /// Tells an event, if there is a credit for it.
    fn tell(&mut self, id: u64, event: &Event) {
        let Some(Subscribed::Events(watch, _)) = self.subscribed.get_mut(&id) else { return };
        if watch.credits == 0 {
            watch.dropped += 1;
            return;
        }
        watch.credits -= 1;
        let (form, dropped) = (watch.form, std::mem::take(&mut watch.dropped));
        self.say(form, FromAnchor::Event { id, event: event.clone(), dropped });
    }

    fn begin(&mut self, form: Encoding, begin: Option<Begin>) {
        match begin {
            None => {}
            Some(Begin::Accepted { id, measurement, follow, inputs }) => {
                if let Some(inputs) = inputs {
                    self.tell_grants(form, measurement, inputs);
                }
                let Some((following, credits)) = follow else { return };
                // The number may have been taken while the anchor was asked.
                match (self.check_free(id), following) {
                    (Ok(()), Following::Once(mut once)) => {
                        self.subscribed.insert(id, Subscribed::Once(form, measurement, credits));
                        match once.try_recv() {
                            Ok(once) => self.whole(id, measurement, Some(once)),
                            Err(_) => self
                                .under_way
                                .push(once.map(move |once| Done::Whole(id, measurement, once.ok())).boxed()),
                        }
                    }
                    (Ok(()), Following::Reader(reader)) => {
                        self.follow(id, Subscription::new(id, form, credits, None), reader);
                    }
                    (Err(problem), _) => self.say(form, FromAnchor::Problem { id: Some(id), problem }),
                }
            }
            Some(Begin::Grants { measurement, inputs }) => self.tell_grants(form, measurement, inputs),
        }
    }

    fn tell_grants(&mut self, form: Encoding, measurement: MeasurementId, inputs: InputCredits) {
        if self.granted.len() < MAX_SUBSCRIPTIONS && self.granted.insert(measurement) {
            self.await_grant(form, measurement, inputs);
        }
    }

    fn await_grant(&mut self, form: Encoding, measurement: MeasurementId, mut inputs: InputCredits) {
        let work = async move {
            let more = inputs.next().await;
            Done::Granted(form, measurement, inputs, more)
        };
        self.under_way.push(work.boxed());
    }

    fn say(&mut self, form: Encoding, answer: FromAnchor) {
        self.answers.push((form, answer));
    }
}

/// A measurement to be accepted.
struct Measure {
    id: u64,
    tenant: Tenant,
    request: Box<MeasurementRequest>,
    key: Option<String>,
    credits: Option<u32>,
}

impl Measure {
    async fn ask(self, anchor: Anchor, form: Encoding) -> Done {
        let Self { id, tenant, request, key, credits } = self;
        let open = request.open;
        let accepted = match credits {
            Some(credits) => anchor
                .accept_and_follow(&tenant, *request, key)
                .await
                .map(|(accepted, following)| (accepted, Some((following.with_parts(), credits)))),
            None => anchor.accept(&tenant, *request, key).await.map(|accepted| (accepted, None)),
        };
        let (measurement, follow) = match accepted {
            Ok((accepted, follow)) => (accepted.measurement, follow),
            Err(problem) => {
                let answer = FromAnchor::Problem { id: Some(id), problem };
                return Done::Answered(form, Box::new(answer), None);
            }
        };
        let (of, mut granted, mut inputs) = (measurement.id, None, None);
        if open && let Ok(mut free) = anchor.input_credits(&tenant, of).await {
            granted = Some(free.next().now_or_never().flatten().unwrap_or(0));
            inputs = Some(free);
        }
        let answer = FromAnchor::Accepted { id, measurement: Box::new(measurement), inputs: granted };
        Done::Answered(form, Box::new(answer), Some(Begin::Accepted { id, measurement: of, follow, inputs }))
    }
}

async fn grants(anchor: &Anchor, tenant: &Tenant, measurement: MeasurementId) -> Option<Begin> {
    let inputs = anchor.input_credits(tenant, measurement).await.ok()?;
    Some(Begin::Grants { measurement, inputs })
}

fn ended(id: u64, ended: Result<(), Problem>) -> FromAnchor {
    match ended {
        Ok(()) => FromAnchor::Closed { id },
        Err(problem) => FromAnchor::Problem { id: Some(id), problem },
    }
}

fn number(question: &FromClient) -> u64 {
    match question {
        FromClient::Measure { id, .. }
        | FromClient::Append { id, .. }
        | FromClient::Close { id, .. }
        | FromClient::Subscribe { id, .. }
        | FromClient::Events { id, .. }
        | FromClient::Credit { id, .. }
        | FromClient::Unsubscribe { id }
        | FromClient::Cancel { id, .. } => *id,
    }
}

fn no_subscription(id: u64) -> Problem {
    Problem::new(404, "not-found", "There is no such thing").detail(format!("no subscription {id}"))
}
