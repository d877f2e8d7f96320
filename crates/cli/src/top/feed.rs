//! What is read from the API: lists and figures by asking, events and results over one stream.
//!
//! The stream is opened again when it breaks, and goes on after the last result that was handed over. What is asked
//! for is asked at an interval, at once when something happened after which it may be out of date, and never so often
//! that reading would be most of the work.

use std::cell::RefCell;
use std::time::Duration;

use mmn_client::{Client, ClientError, Conversation, MeasurementsQuery};
use mmn_schema::announce::SummaryField;
use mmn_schema::api::{Cursor, ResultRecord};
use mmn_schema::event::EventId;
use mmn_schema::id::MeasurementId;
use mmn_schema::stream::{FromAnchor, FromClient};
use tokio::sync::{mpsc, watch};

use super::news::{Followed, Link, Look, News, Wants};
use crate::failure::{Failure, chain};
use crate::{clock, cmd, session};

/// How many measurements are listed.
const MEASUREMENTS: u32 = 100;
/// The least pause between two readings.
const LEAST_PAUSE: Duration = Duration::from_millis(300);
/// A pause is so many times as long as the reading before it took.
const PAUSE_FACTOR: u32 = 10;
/// How many events, and how many results, may be on their way.
const CREDITS: u32 = 512;
/// How many events of before are shown.
const PAST: u32 = 100;
/// The number of the subscription to events; results have those after it.
const EVENTS: u64 = 1;
/// The pauses before the stream is opened again; the last one for ever.
const PAUSES_MS: [u64; 5] = [250, 500, 1000, 2000, 5000];

/// The way to the API. A network that was started anew may be found elsewhere, with another token.
pub(crate) struct Door<'a> {
    find: Box<dyn Fn() -> Result<Client, Failure> + 'a>,
    client: RefCell<Client>,
}

impl<'a> Door<'a> {
    pub(crate) fn open(find: impl Fn() -> Result<Client, Failure> + 'a) -> Result<Self, Failure> {
        let client = RefCell::new(find()?);
        Ok(Self { find: Box::new(find), client })
    }

    pub(crate) fn client(&self) -> Client {
        self.client.borrow().clone()
    }

    /// Looks where the API is now. Where there is none, the former one may come back.
    fn look_again(&self) {
        if let Ok(client) = (self.find)() {
            self.client.replace(client);
        }
    }
}

/// Reads what is wanted, for ever.
pub(super) async fn ask(
    door: &Door<'_>,
    interval: Duration,
    mut wants: watch::Receiver<Wants>,
    news: mpsc::Sender<News>,
) {
    let began = clock::now();
    let mut kind = None;
    loop {
        let wanted = wants.borrow_and_update().clone();
        let start = clock::now();
        let told = read(&door.client(), &wanted.look, &mut kind, start.duration_since(began)).await;
        let failed = told.is_err();
        let told = told.unwrap_or_else(|error| News::Failed(chain(&error)));
        if news.send(told).await.is_err() {
            return;
        }
        if failed {
            door.look_again();
        }
        let calm = LEAST_PAUSE.max(clock::now().duration_since(start) * PAUSE_FACTOR);
        let rests = !failed && matches!(wanted.look, Look::Measurement(_, true));
        due(&wanted, &mut wants, calm, (!rests).then(|| interval.max(calm))).await;
    }
}

/// Waits until it is time to read again: at once for another page, when what was read may be out of date after a pause,
/// else after the interval, if there is one.
async fn due(before: &Wants, wants: &mut watch::Receiver<Wants>, calm: Duration, interval: Option<Duration>) {
    let mut again = std::pin::pin!(tokio::time::sleep(interval.unwrap_or_default()));
    let mut pause = std::pin::pin!(tokio::time::sleep(calm));
    let mut is_calm = false;
    loop {
        let (other, touched) = {
            let now = wants.borrow_and_update();
            (now.look != before.look, now.fresh != before.fresh)
        };
        if other || (touched && is_calm) {
            return;
        }
        tokio::select! {
            changed = wants.changed() => {
                if changed.is_err() {
                    return;
                }
            }
            () = &mut pause, if !is_calm => is_calm = true,
            () = &mut again, if interval.is_some() => return,
        }
    }
}

/// The numbers of the kind of the measurement that was read last.
type KindOf = Option<(MeasurementId, Vec<SummaryField>)>;

async fn read(client: &Client, look: &Look, kind: &mut KindOf, at: Duration) -> Result<News, ClientError> {
    Ok(match look {
        Look::Figures => News::Figures(client.metrics().await?, at),
        Look::Vps => {
            News::Vps(session::all_of(|after| async move { client.vps(after.as_deref()).await }).await?)
        }
        Look::Modules => News::Modules(
            session::all_of(|after| async move { client.modules(after.as_deref()).await }).await?,
        ),
        Look::Measurements => {
            let asked = MeasurementsQuery { limit: Some(MEASUREMENTS), ..MeasurementsQuery::default() };
            News::Measurements(client.measurements(asked).await?.items)
        }
        Look::Vp(id) => News::Vp(Box::new(client.vp(id.as_str()).await?)),
        Look::Measurement(id, _) => {
            let measurement = client.measurement(*id).await?;
            let fields = match kind.take() {
                Some((of, fields)) if of == *id => fields,
                _ => cmd::results::fields(client, &measurement).await,
            };
            *kind = Some((*id, fields.clone()));
            News::Measurement(Box::new(measurement), fields)
        }
    })
}

/// Hears what happens, and the results that are wanted, for ever.
pub(super) async fn hear(door: &Door<'_>, mut wants: watch::Receiver<Wants>, news: mpsc::Sender<News>) {
    let mut subscription = Subscription::default();
    let mut heard = None;
    let mut pauses = PAUSES_MS.iter();
    loop {
        let heard = match door.client().converse().await {
            Ok(conversation) => {
                pauses = PAUSES_MS.iter();
                Line {
                    conversation,
                    news: &news,
                    subscription: &mut subscription,
                    heard: &mut heard,
                    used: 0,
                }
                .talk(&mut wants)
                .await
            }
            Err(error) => Err(error),
        };
        if heard.is_ok() {
            return;
        }
        if news.send(News::Link(Link::CutOff(clock::wall()))).await.is_err() {
            return;
        }
        let pause = pauses.next().or(PAUSES_MS.last()).copied().unwrap_or_default();
        tokio::time::sleep(Duration::from_millis(pause)).await;
        door.look_again();
    }
}

/// The results that are followed, over any number of connections.
#[derive(Debug, Default)]
struct Subscription {
    of: Option<Followed>,
    /// Its number on the connection. None is used twice, so that what comes late is told apart.
    id: u64,
    /// The last record that was handed over.
    after: Option<Cursor>,
    is_over: bool,
    used: u32,
}

/// One connection.
struct Line<'l> {
    conversation: Conversation,
    news: &'l mpsc::Sender<News>,
    subscription: &'l mut Subscription,
    /// The event that was told last, over any number of connections.
    heard: &'l mut Option<EventId>,
    /// Events that came since credits were given last.
    used: u32,
}

impl Line<'_> {
    /// Talks until the connection breaks; it ends well when nobody listens any more.
    async fn talk(mut self, wants: &mut watch::Receiver<Wants>) -> Result<(), ClientError> {
        self.conversation.say(&FromClient::Events {
            id: EVENTS,
            credits: CREDITS,
            but_measurements: false,
            last: self.heard.is_none().then_some(PAST),
            after: *self.heard,
        })?;
        self.subscribe()?;
        self.conversation.flush().await?;
        if self.news.send(News::Link(Link::Live)).await.is_err() {
            return Ok(());
        }
        loop {
            let follow = wants.borrow_and_update().follow;
            if follow != self.subscription.of {
                if self.subscription.of.is_some() && !self.subscription.is_over {
                    self.conversation.say(&FromClient::Unsubscribe { id: self.subscription.id })?;
                }
                let id = self.subscription.id;
                *self.subscription = Subscription { of: follow, id, ..Subscription::default() };
                self.subscribe()?;
            }
            let answer = tokio::select! {
                answer = self.conversation.hear() => answer?,
                changed = wants.changed() => match changed {
                    Ok(()) => continue,
                    Err(_) => return Ok(()),
                },
            };
            let Some(told) = self.take(answer) else { continue };
            if self.news.send(told).await.is_err() {
                return Ok(());
            }
            self.give_credits()?;
        }
    }

    /// Asks for the results that are followed, after those that were handed over.
    fn subscribe(&mut self) -> Result<(), ClientError> {
        let subscription = &mut *self.subscription;
        let Some(of) = subscription.of.filter(|_| !subscription.is_over) else { return Ok(()) };
        subscription.id = subscription.id.max(EVENTS) + 1;
        subscription.used = 0;
        let (id, after) = (subscription.id, subscription.after);
        let measurement = of.measurement;
        self.conversation.say(&FromClient::Subscribe { id, measurement, after, credits: CREDITS })
    }

    fn take(&mut self, answer: FromAnchor) -> Option<News> {
        let subscription = &mut *self.subscription;
        let of = subscription.of;
        let is_its = |id: u64| id == subscription.id;
        match (answer, of) {
            (FromAnchor::Event { event, dropped, .. }, _) => {
                self.used += 1;
                *self.heard = event.id.or(*self.heard);
                Some(News::Event(event, dropped))
            }
            (FromAnchor::Results { id, records }, Some(of)) if is_its(id) => {
                let count = u32::try_from(records.len()).unwrap_or(u32::MAX);
                subscription.used = subscription.used.saturating_add(count);
                Some(News::Records(of, fresh(records, &mut subscription.after)))
            }
            (FromAnchor::Behind { id, .. }, Some(of)) if is_its(id) => {
                // What waits comes with the credits that were given back for what was handed over.
                Some(News::Behind(of))
            }
            (FromAnchor::Done { id, ledger }, Some(of)) if is_its(id) => {
                subscription.is_over = true;
                Some(News::Complete(of, ledger))
            }
            (FromAnchor::Problem { id: Some(id), problem }, Some(of))
                if is_its(id) && !subscription.is_over =>
            {
                subscription.is_over = true;
                Some(News::Unfollowed(of, problem.to_string()))
            }
            // Credits for a subscription that had just ended met nobody.
            (FromAnchor::Problem { id: Some(id), .. }, _) if id != EVENTS => None,
            (FromAnchor::Problem { problem, .. }, _) => Some(News::Failed(problem.to_string())),
            _ => None,
        }
    }

    /// Gives back the credits of what was handed over.
    fn give_credits(&mut self) -> Result<(), ClientError> {
        if self.used >= CREDITS / 2 {
            let credits = std::mem::take(&mut self.used);
            self.conversation.say(&FromClient::Credit { id: EVENTS, credits })?;
        }
        if self.subscription.used >= CREDITS / 2 && !self.subscription.is_over {
            let (id, credits) = (self.subscription.id, std::mem::take(&mut self.subscription.used));
            self.conversation.say(&FromClient::Credit { id, credits })?;
        }
        Ok(())
    }
}

/// The records after `after`, which moves on to the last of them.
fn fresh(mut records: Vec<ResultRecord>, after: &mut Option<Cursor>) -> Vec<ResultRecord> {
    records.retain(|record| match record.cursor {
        Some(cursor) if after.is_some_and(|last| cursor <= last) => false,
        Some(cursor) => {
            *after = Some(cursor);
            true
        }
        None => true,
    });
    records
}
