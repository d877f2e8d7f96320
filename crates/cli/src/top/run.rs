//! The crank: keys, news and time go into the machine, frames come out of it.

use std::time::Duration;

use crossterm::event::{Event, EventStream};
use futures::StreamExt;
use mmn_schema::id::MeasurementId;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};

use super::App;
use super::feed::{self, Door};
use super::keys::Key;
use super::news::{News, Wants};
use super::screen::Screen;
use crate::clock;
use crate::failure::{Exit, Failure};
use crate::session::Interrupts;

/// The least time between two frames, when there is news.
const FRAME: Duration = Duration::from_millis(100);
/// The same after a key: whoever types sees it at once.
const KEY_FRAME: Duration = Duration::from_millis(16);
/// How often ages are drawn anew.
const SECOND: Duration = Duration::from_secs(1);
/// How much news may wait to be taken; what comes then waits in the anchor.
const MAX_NEWS: usize = 16;

/// Shows the network, or a measurement in it, until whoever looks has seen enough.
pub(crate) async fn run(
    door: Door<'_>,
    interval: Duration,
    measurement: Option<MeasurementId>,
) -> Result<Exit, Failure> {
    let mut app = App::new(clock::wall());
    if let Some(id) = measurement {
        app.open_measurement(id);
    }
    let (want, wants) = watch::channel(app.wants());
    let (tell, told) = mpsc::channel(MAX_NEWS);
    let (interrupts, hangup) = (Interrupts::listen()?, signal(SignalKind::hangup())?);
    let screen = Screen::take()?;
    // One task: what panics gives the terminal back and ends all of it.
    tokio::select! {
        shown = show(screen, app, interrupts, hangup, want, told) => shown,
        () = feed::ask(&door, interval, wants.clone(), tell.clone()) => Ok(Exit::Good),
        () = feed::hear(&door, wants, tell) => Ok(Exit::Good),
    }
}

async fn show(
    mut screen: Screen,
    mut app: App,
    mut interrupts: Interrupts,
    mut hangup: Signal,
    want: watch::Sender<Wants>,
    mut told: mpsc::Receiver<News>,
) -> Result<Exit, Failure> {
    let mut keys = EventStream::new();
    let mut second = tokio::time::interval(SECOND);
    second.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut drawn = clock::now();
    // How long after the last frame the next one is due; absent: nothing has changed.
    let mut due = Some(Duration::ZERO);
    loop {
        let pause = due.map(|due| due.saturating_sub(clock::now().duration_since(drawn)));
        let sooner = |due: Option<Duration>, than: Duration| due.map_or(than, |due| due.min(than));
        tokio::select! {
            event = keys.next() => {
                let event = event.ok_or_else(|| Failure::new("the terminal is gone"))??;
                if matches!(event, Event::Resize(..)) {
                    due = Some(sooner(due, KEY_FRAME));
                } else if let Some(key) = Key::of(event) {
                    app.key(&key);
                    due = Some(sooner(due, KEY_FRAME));
                }
            }
            news = told.recv() => {
                let Some(news) = news else { return Ok(Exit::Good) };
                app.news(news);
                due = Some(sooner(due, FRAME));
            }
            _ = second.tick() => due = Some(sooner(due, FRAME)),
            () = interrupts.next() => return Ok(Exit::Good),
            _ = hangup.recv() => return Ok(Exit::Good),
            () = tokio::time::sleep(pause.unwrap_or_default()), if pause.is_some() => {
                app.at(clock::wall());
                screen.draw(&mut app)?;
                (drawn, due) = (clock::now(), None);
            }
        }
        if app.is_over() {
            return Ok(Exit::Good);
        }
        let wants = app.wants();
        want.send_if_modified(|wanted| {
            let modified = *wanted != wants;
            *wanted = wants;
            modified
        });
    }
}
