//! How long a bag of tasks takes when one of four instances is twenty times slower, against the ideal, and against a
//! queue group of bare NATS in the same run.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use tokio::sync::Semaphore;

use super::Bench;
use super::network::{self, Module};
use crate::http::Connection;
use crate::report::Report;
use crate::up::Up;
use crate::{clock, measurement, nats};

const TASKS: u32 = 10_000;
/// A queue group is so much slower that fewer do.
const YARDSTICK: u32 = 2_000;
const AT_A_TIME: u32 = 16;
const FAST: Duration = Duration::from_millis(10);
const SLOW: Duration = Duration::from_millis(200);
const SUBJECT: &str = "mmn.v1.evt.bench";

pub(super) fn run(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let up = network::start(
        bench,
        &[
            Module::noop(3, AT_A_TIME).sleeping(10),
            Module::noop(1, AT_A_TIME).named("noop-slow").sleeping(200),
        ],
    )?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = tokio::task::LocalSet::new();
    let fast = runtime.block_on(slept(FAST, 50));
    let slow = runtime.block_on(slept(SLOW, 5));
    report.note(&format!(
        "a sleep of 10 ms takes {:.2} ms here, one of 200 ms {:.2} ms: the ideal is computed with these",
        fast.as_secs_f64() * 1e3,
        slow.as_secs_f64() * 1e3
    ));
    let group = runtime.block_on(local.run_until(queue_group(&up)))?;
    let group = group.as_secs_f64() / ideal(YARDSTICK, fast, slow);
    report.yardstick("makespan of a bare queue group, 2,000 tasks", "x ideal", group);

    let mut api = Connection::open(&up.api, &up.token)?;
    let body = network::body("noop", "{}", "2m", TASKS);
    let begin = clock::now();
    let id = measurement::submit(&mut api, &body)?;
    let ledger = measurement::closed(&mut api, &id, Duration::from_secs(120))?;
    let took = (clock::now() - begin).as_secs_f64();
    anyhow::ensure!(ledger["ok"] == TASKS, "not all ok: {ledger}");
    let ideal = ideal(TASKS, fast, slow);
    report.note(&format!(
        "10,000 tasks took {took:.2} s from the request to the last result kept; ideal {ideal:.2} s"
    ));
    report.note("yardstick: the prototype, 1.16 x ideal");
    report.at_most("makespan with one of four 20 times slower, 10,000 tasks", "x ideal", took / ideal, 1.25);
    up.stop()
}

/// The least time in which all places together can do so many tasks, in seconds.
fn ideal(tasks: u32, fast: Duration, slow: Duration) -> f64 {
    let places = f64::from(AT_A_TIME);
    let done = |time: f64| {
        let each = |one: Duration| (time / one.as_secs_f64()).floor() * places;
        3.0 * each(fast) + each(slow)
    };
    let mut time = 0.0;
    while done(time) < f64::from(tasks) {
        time += 1e-4;
    }
    time
}

/// How long a sleep of the runtime takes, with as many at a time as an instance has.
async fn slept(duration: Duration, rounds: u32) -> Duration {
    let begin = clock::now();
    for _ in 0..rounds {
        futures::future::join_all((0..AT_A_TIME).map(|_| tokio::time::sleep(duration))).await;
    }
    (clock::now() - begin) / rounds
}

/// Requests to a queue group whose members do the same: how long until the last is answered.
async fn queue_group(up: &Up) -> anyhow::Result<Duration> {
    let mut members = Vec::new();
    for pause in [FAST, FAST, FAST, SLOW] {
        let bus = nats::as_anchor(up.data()).await?;
        let mut requests = bus.client().queue_subscribe(SUBJECT, "q".to_owned()).await?;
        bus.barrier().await?;
        members.push(tokio::task::spawn_local(async move {
            let places = Arc::new(Semaphore::new(AT_A_TIME as usize));
            while let Some(request) = requests.next().await {
                let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
                let client = bus.client().clone();
                tokio::task::spawn_local(async move {
                    tokio::time::sleep(pause).await;
                    drop(place);
                    if let Some(reply) = request.reply {
                        let _ = client.publish(reply, request.payload).await;
                    }
                });
            }
        }));
    }
    let caller = nats::as_anchor(up.data()).await?;
    let begin = clock::now();
    let inbox = caller.client().new_inbox();
    let mut replies = caller.client().subscribe(inbox.clone()).await?;
    caller.barrier().await?;
    for _ in 0..YARDSTICK {
        caller.client().publish_with_reply(SUBJECT, inbox.clone(), vec![0; 64].into()).await?;
    }
    for _ in 0..YARDSTICK {
        replies.next().await;
    }
    members.iter().for_each(tokio::task::JoinHandle::abort);
    Ok(clock::now() - begin)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ideal_keeps_all_places_busy() {
        // In 200 ms 48 places do 20 each, and 16 do one.
        assert!((ideal(48 * 20 + 16, FAST, SLOW) - 0.2).abs() < 1e-3);
        // One more begins another round of the fast ones.
        assert!((ideal(48 * 20 + 17, FAST, SLOW) - 0.21).abs() < 1e-3);
    }
}
