//! The randomised fault test: processes of every role are killed, stopped, cut off and started again while tasks are in
//! flight, and afterwards all that was promised must hold, seen from outside.
//!
//! A run is made of its seed: `MMN_FAULT_SEED=17 cargo nextest run -p mmn --test chaos replay` does it again.
//! `MMN_FAULT_RUNS` and `MMN_FAULT_AT_ONCE` change how many there are, and how many at a time.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test that fails may panic, and says why"
)]

mod faults;
mod kind;
mod load;
mod net;
mod plan;
mod process;
mod proxy;
mod scenarios;
mod skew;
mod streams;
mod verdict;
mod world;

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use plan::Plan;
use world::{Common, PLACES, World};

const MMN: &str = env!("CARGO_BIN_EXE_mmn");
/// Runs of each half.
const RUNS: u64 = 100;
/// Runs at a time.
const AT_ONCE: usize = 8;
/// How long the network may take to be whole again after the last fault.
const WHOLE: Duration = Duration::from_secs(30);

#[test]
fn module_process() {
    kind::be_module();
}

#[test]
fn replay() {
    if let Some(seed) = number("MMN_FAULT_SEED") {
        runs(std::iter::once(seed));
    }
}

#[test]
fn fixed_seeds() {
    runs(0..number("MMN_FAULT_RUNS").unwrap_or(RUNS));
}

#[test]
fn fresh_seeds() {
    runs((0..number("MMN_FAULT_RUNS").unwrap_or(RUNS)).map(|_| u64::from(rand::random::<u32>())));
}

fn number(name: &str) -> Option<u64> {
    Some(std::env::var(name).ok()?.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// In a runtime of one thread, as the roles have.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, future)
}

fn runs(seeds: impl Iterator<Item = u64>) {
    let at_once = number("MMN_FAULT_AT_ONCE").map_or(AT_ONCE, |count| usize::try_from(count).unwrap());
    let failed = block_on(async {
        let common = Arc::new(Common::make());
        let runs = (1..).zip(seeds).map(|(number, seed)| {
            let common = Arc::clone(&common);
            tokio::task::spawn_local(async move { run(&common, number, seed).await })
        });
        let ended = futures::stream::iter(runs).buffer_unordered(at_once);
        ended.filter_map(async |run| run.unwrap()).collect::<Vec<String>>().await
    });
    assert!(failed.is_empty(), "{} runs failed\n\n{}", failed.len(), failed.join("\n"));
}

/// One run. What it gives is what went wrong, with the way to see it again.
async fn run(common: &Common, number: usize, seed: u64) -> Option<String> {
    let plan = Plan::of(seed);
    let mut world = Arc::new(World::start(common, number).await);
    let (mut wrong, mut all) = (Vec::new(), Vec::new());
    let jobs = load::begin(&world, seed);
    faults::perform(&world, &plan).await;
    for job in jobs {
        match job.await {
            Ok(Ok(asked)) => all.extend(asked),
            Ok(Err(error)) => wrong.push(error),
            Err(error) => wrong.push(error.to_string()),
        }
    }
    wrong.extend(verdict::judge(&world, &all).await);
    let instances = PLACES.iter().map(|(_, count)| count).sum();
    if tokio::time::timeout(WHOLE, world.net.instances(instances)).await.is_err() {
        let page = world.net.ask(Duration::ZERO, async |client| client.modules(None).await).await;
        let items = page.map(|page| page.items).unwrap_or_default();
        let how: Vec<_> =
            items.iter().map(|it| format!("{} {:?}: {}", it.instance, it.health, it.evidence)).collect();
        wrong.push(format!("not every instance is back: {}", how.join("; ")));
    }
    world.stop().await;
    wrong.extend(world.complaints());
    if wrong.is_empty() {
        return None;
    }
    let dir = Arc::get_mut(&mut world).and_then(|world| world.dir.take()).map(tempfile::TempDir::keep);
    let mut text = format!("{plan}logs and streams are in {dir:?}\n");
    for what in &wrong {
        text.push_str("  ");
        text.push_str(what);
        text.push('\n');
    }
    let _ = writeln!(text, "again: MMN_FAULT_SEED={seed} cargo nextest run -p mmn --test chaos replay");
    eprintln!("{text}");
    Some(text)
}
