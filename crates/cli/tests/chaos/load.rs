//! What clients ask for while everything breaks: bulk, brief, singles that wait, an open measurement that is appended
//! to, one that is called off; and readers of all of it.

use std::sync::Arc;
use std::time::Duration;

use mmn_client::{Client, Followed, Key, Measure, ResultsQuery};
use mmn_schema::api::{Cursor, Ledger, Measurement, MeasurementRequest, MeasurementState, ResultRecord};
use mmn_schema::dispatch::Input;
use mmn_schema::id::MeasurementId;
use mmn_schema::time::Span;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;
use tokio::task::JoinHandle;

use crate::kind;
use crate::net::{LONG, Trouble};
use crate::plan::WINDOW_MS;
use crate::world::World;

/// A measurement that was asked for, and what its clients saw of it.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) what: String,
    pub(crate) request: MeasurementRequest,
    pub(crate) key: Key,
    pub(crate) id: MeasurementId,
    /// Its time is so short that tasks may be lost.
    pub(crate) brief: bool,
    /// It was called off by its client.
    pub(crate) cancelled: bool,
    /// It was accepted while something may have been broken.
    pub(crate) amid: bool,
    /// Inputs whose acceptance was answered: of the first task that they became, and they.
    pub(crate) appended: Vec<(u64, Vec<Input>)>,
    /// What the answer to the question itself brought, for one that waited.
    pub(crate) answer: Option<Vec<ResultRecord>>,
    /// What its reader read, with the account at the end.
    pub(crate) read: Vec<ResultRecord>,
    pub(crate) ledger: Ledger,
}

type Job = JoinHandle<Result<Vec<Asked>, String>>;

/// Everything that is asked for in one run, begun.
pub(crate) fn begin(world: &Arc<World>, seed: u64) -> Vec<Job> {
    // Not the numbers of the plan.
    let mut random = StdRng::seed_from_u64(seed ^ 0x6c6f_6164);
    let mut at = |most: u64| Duration::from_millis(random.random_range(0..most));
    let spawn = |job: Ask| tokio::task::spawn_local(job.run(Arc::clone(world)));
    let mut jobs = vec![
        spawn(Ask::new("bulk-all", bulk("left, right", 300, 30), Duration::ZERO)),
        spawn(Ask::new("bulk-any", bulk("any(left, right)", 300, 30), Duration::ZERO).by_pages()),
        spawn(Ask::new("amid-all", bulk("left, right", 100, 40), at(WINDOW_MS)).by_pages()),
        spawn(Ask::new("amid-any", bulk("any(left, right)", 150, 40), at(WINDOW_MS))),
        spawn(Ask::new("brief", bulk("left, right", 100, 20), at(WINDOW_MS)).brief()),
    ];
    let called_off = Ask::new("cancelled", bulk("left, right", 600, 130), Duration::ZERO);
    jobs.push(spawn(called_off.cancel_after(Duration::from_millis(100) + at(2500))));
    jobs.push(tokio::task::spawn_local(open(Arc::clone(world))));
    jobs.push(tokio::task::spawn_local(singles(Arc::clone(world), Duration::from_millis(WINDOW_MS + 500))));
    jobs
}

pub(crate) fn bulk(from: &str, inputs: usize, takes_ms: u64) -> MeasurementRequest {
    let inputs: Vec<Input> = (0..inputs).map(input).collect();
    request(from, &inputs, takes_ms, Duration::from_secs(300))
}

/// One in ten can't be measured.
fn input(number: usize) -> Input {
    Input::Target(format!("{}-{number}", if number % 10 == 7 { kind::FAILS } else { "good" }))
}

fn request(from: &str, inputs: &[Input], takes_ms: u64, deadline: Duration) -> MeasurementRequest {
    let deadline = format!("{}ms", deadline.as_millis());
    serde_json::from_value(json!({
        "kind": kind::NAME, "params": { "takes_ms": takes_ms }, "inputs": inputs, "from": from, "deadline": deadline,
    }))
    .unwrap()
}

/// One measurement with all its inputs.
#[derive(Debug)]
pub(crate) struct Ask {
    what: &'static str,
    request: MeasurementRequest,
    after: Duration,
    cancel: Option<Duration>,
    pages: bool,
    brief: bool,
}

impl Ask {
    pub(crate) fn new(what: &'static str, mut request: MeasurementRequest, after: Duration) -> Self {
        request.label = Some(what.to_owned());
        Self { what, request, after, cancel: None, pages: false, brief: false }
    }

    pub(crate) fn by_pages(mut self) -> Self {
        self.pages = true;
        self
    }

    fn brief(mut self) -> Self {
        self.brief = true;
        self.request.deadline = Some(Span::from_millis(1000));
        self
    }

    fn cancel_after(mut self, after: Duration) -> Self {
        self.cancel = Some(after);
        self
    }

    pub(crate) async fn run(self, world: Arc<World>) -> Result<Vec<Asked>, String> {
        tokio::time::sleep(self.after).await;
        let (mut asked, _) = accept(&world, self.what, self.request, None).await?;
        asked.brief = self.brief;
        asked.amid = !self.after.is_zero();
        let id = asked.id;
        let read = async {
            if self.pages { pages(&world, self.what, id).await } else { follow(&world, self.what, id).await }
        };
        let cancel = async {
            let Some(after) = self.cancel else { return Ok(false) };
            tokio::time::sleep(after).await;
            match world.net.ask(Duration::ZERO, async |client| client.cancel(id).await).await {
                // Calling off what is done does nothing.
                Ok(measurement) => Ok(measurement.state != MeasurementState::Done),
                // It was done before.
                Err(Trouble::Declined(error)) if error.problem().is_some_and(|it| it.status == 409) => {
                    Ok(false)
                }
                Err(trouble) => Err(format!("{}: its cancellation was {trouble}", self.what)),
            }
        };
        let (read, cancelled) = tokio::join!(read, cancel);
        (asked.read, asked.ledger) = read?;
        asked.cancelled = cancelled?;
        Ok(vec![asked])
    }
}

/// Asks until it is accepted, always with the same key.
async fn accept(
    world: &World,
    what: &str,
    request: MeasurementRequest,
    wait: Option<Span>,
) -> Result<(Asked, Measurement), String> {
    let key = Key::random();
    let answer = world.net.ask(wait.map_or(Duration::ZERO, Span::duration), async |client: &Client| {
        client.measure(&Measure { request: &request, key: key.clone(), wait }).await
    });
    let measurement = answer.await.map_err(|trouble| format!("{what} was {trouble}"))?;
    let asked = Asked {
        what: what.to_owned(),
        id: measurement.id,
        request,
        key,
        brief: false,
        cancelled: false,
        amid: true,
        appended: Vec::new(),
        answer: None,
        read: Vec::new(),
        ledger: Ledger::default(),
    };
    Ok((asked, measurement))
}

/// An open measurement that gets inputs as long as things break, and a while longer.
async fn open(world: Arc<World>) -> Result<Vec<Asked>, String> {
    let mut opening = request("any(left, right)", &[], 5, Duration::from_secs(300));
    opening.open = true;
    opening.label = Some("open".to_owned());
    let (mut asked, _) = accept(&world, "open", opening, None).await?;
    asked.amid = false;
    let id = asked.id;
    let append = async {
        let mut appended = Vec::new();
        let over = tokio::time::sleep(Duration::from_millis(WINDOW_MS + 500));
        tokio::pin!(over);
        let mut number = 0;
        loop {
            tokio::select! {
                () = &mut over => break,
                () = tokio::time::sleep(Duration::from_millis(60)) => {}
            }
            let inputs: Vec<Input> = (number..number + 20).map(input).collect();
            let anchor = world.net.preferred();
            match world
                .net
                .once(anchor, Duration::ZERO, async |client| client.append(id, &inputs).await)
                .await
            {
                Ok(taken) => {
                    appended.push((taken.first, inputs));
                    number += 20;
                }
                // It may have been accepted, once, and nobody knows. These inputs are never sent again.
                Err(Trouble::Unheard(_)) => {
                    number += 20;
                    world.net.prefer(anchor + 1);
                }
                Err(Trouble::Declined(error)) => return Err(format!("open: inputs were declined: {error}")),
            }
        }
        match world.net.ask(Duration::ZERO, async |client| client.close(id).await).await {
            Ok(_) => Ok(appended),
            Err(trouble) => Err(format!("open: its close was {trouble}")),
        }
    };
    let (appended, read) = tokio::join!(append, follow(&world, "open", id));
    asked.appended = appended?;
    (asked.read, asked.ledger) = read?;
    Ok(vec![asked])
}

/// One after the other for a while, each waited for.
pub(crate) async fn singles(world: Arc<World>, time: Duration) -> Result<Vec<Asked>, String> {
    let over = tokio::time::sleep(time);
    tokio::pin!(over);
    let mut all = Vec::new();
    loop {
        tokio::select! {
            () = &mut over => break,
            () = tokio::time::sleep(Duration::from_millis(200)) => {}
        }
        let what = format!("single-{}", all.len());
        let mut one = request("any(left, right)", &[input(all.len())], 0, Duration::from_secs(300));
        one.label = Some(what.clone());
        let (mut asked, measurement) = accept(&world, &what, one, Some(Span::from_millis(4000))).await?;
        if measurement.state == MeasurementState::Done {
            asked.answer = measurement.results;
        }
        all.push(asked);
    }
    for asked in &mut all {
        (asked.read, asked.ledger) = pages(&world, &asked.what, asked.id).await?;
    }
    Ok(all)
}

/// Reads over the WebSocket, from whichever anchor answers, to the end.
pub(crate) async fn follow(
    world: &World,
    what: &str,
    id: MeasurementId,
) -> Result<(Vec<ResultRecord>, Ledger), String> {
    /// For so long nothing may come.
    const QUIET: Duration = Duration::from_millis(700);
    let mut all: Vec<ResultRecord> = Vec::new();
    let mut after: Option<Cursor> = None;
    let mut last = String::new();
    let reading = async {
        let mut number = world.net.preferred();
        loop {
            let mut follow = world.net.client(number).follow(id, after);
            loop {
                match tokio::time::timeout(QUIET, follow.next()).await {
                    Ok(Ok(Followed::Records(records))) => all.extend(records),
                    Ok(Ok(Followed::Done(ledger))) => return Ok(ledger),
                    Ok(Err(error)) if error.is_passing() => {
                        last = error.to_string();
                        break;
                    }
                    Ok(Err(error)) => return Err(format!("{what}: its results were declined: {error}")),
                    Err(_) => {
                        "nothing came".clone_into(&mut last);
                        break;
                    }
                }
            }
            after = follow.cursor();
            number += 1;
        }
    };
    let read = tokio::time::timeout(LONG, reading).await;
    match read {
        Ok(ledger) => Ok((all, ledger?)),
        Err(_) => Err(unread(world, what, id, all.len(), &last).await),
    }
}

/// Reads page by page, to the end.
async fn pages(world: &World, what: &str, id: MeasurementId) -> Result<(Vec<ResultRecord>, Ledger), String> {
    let mut all: Vec<ResultRecord> = Vec::new();
    let mut last = String::new();
    let reading = async {
        let mut after = None;
        loop {
            let query = ResultsQuery { after, limit: Some(500) };
            match world.net.ask(Duration::ZERO, async |client| client.results(id, query).await).await {
                Ok(page) => {
                    let none = page.items.is_empty();
                    all.extend(page.items);
                    match page.next {
                        None => break,
                        Some(next) => after = Some(next.parse().unwrap()),
                    }
                    if none {
                        tokio::time::sleep(Duration::from_millis(300)).await;
                    }
                }
                Err(Trouble::Unheard(error)) => last = error,
                Err(trouble) => return Err(format!("{what}: its results were {trouble}")),
            }
        }
        let ledger = world.net.ask(Duration::ZERO, async |client| client.ledger(id).await).await;
        ledger.map_err(|trouble| format!("{what}: its ledger was {trouble}"))
    };
    let read = tokio::time::timeout(LONG, reading).await;
    match read {
        Ok(ledger) => Ok((all, ledger?)),
        Err(_) => Err(unread(world, what, id, all.len(), &last).await),
    }
}

async fn unread(world: &World, what: &str, id: MeasurementId, read: usize, last: &str) -> String {
    let now =
        world.net.once(world.net.preferred(), Duration::ZERO, async |client| client.measurement(id).await);
    let now = match now.await {
        Ok(measurement) => format!("{:?}, {:?}", measurement.state, measurement.ledger),
        Err(trouble) => trouble.to_string(),
    };
    format!("{what} ({id}) did not end within {LONG:?}: {read} results were read ({last}); now it is {now}")
}

/// Reads all that is kept, once more from the beginning.
pub(crate) async fn again(world: &World, asked: &Asked) -> Result<(Vec<ResultRecord>, Ledger), String> {
    pages(world, &asked.what, asked.id).await
}
