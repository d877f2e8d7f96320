//! Tasks that wait for the site's limits outside the driver: first come, first served, with a line for each cap of a target
//! and one for the site. Only the first of a line asks the page.
//!
//! The driver has an order of its own; the page alone is between both.

use std::cell::RefCell;
use std::sync::Arc;

use mmn_kit::{Failure, code};
use mmn_probe::time::{Instant, Nanos};
use rustc_hash::FxHashMap;
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::not_driven;
use crate::clock;
use crate::net::driver::DriveError;
use crate::net::page::{Cap, Held, Limit, Page};

/// What somebody waits for: a target's cap, or the site's limits where there is none.
type What = Option<Cap>;

/// The lines.
#[derive(Debug, Default)]
pub(super) struct Turns(RefCell<FxHashMap<What, Line>>);

#[derive(Debug, Default)]
struct Line {
    /// Whose turn it is; it is handed on in the order in which they came.
    turn: Arc<Mutex<()>>,
    /// How many are in the line, the first one included.
    waiting: u64,
}

/// A place in a line.
#[derive(Debug)]
struct Place<'a> {
    turns: &'a Turns,
    what: What,
}

/// It is his turn.
#[derive(Debug)]
struct Turn<'a> {
    _mine: OwnedMutexGuard<()>,
    _place: Place<'a>,
}

impl Turns {
    /// Waits until `take` has what it asks the page for: of a target's cap and the site's limits, or of these alone.
    pub(super) async fn wait(
        &self,
        page: &Page,
        what: What,
        deadline: Instant,
        take: impl Fn(Instant) -> Result<(), Held>,
    ) -> Result<(), Failure> {
        let now = clock::monotonic();
        if !self.is_lined(what) && !self.is_lined(None) {
            let Err(held) = take(now) else { return Ok(()) };
            in_time(held, now, deadline)?;
        }
        self.has_time(page, what, now, deadline)?;
        let _turn = self.turn(what).await;
        let mut for_site = None;
        loop {
            if what.is_some() && for_site.is_none() && self.is_lined(None) {
                for_site = Some(self.turn(None).await);
            }
            let now = clock::monotonic();
            let Err(held) = take(now) else { return Ok(()) };
            in_time(held, now, deadline)?;
            if what.is_some() && held.by == Limit::Site && for_site.is_none() {
                for_site = Some(self.turn(None).await);
                continue;
            }
            if held.by == Limit::Target {
                for_site = None;
            }
            tokio::time::sleep(held.wait.into()).await;
        }
    }

    fn is_lined(&self, what: What) -> bool {
        let lines = self.0.borrow();
        !lines.is_empty() && lines.contains_key(&what)
    }

    /// Whether those before one that comes now leave him time, if each of them sends one packet.
    fn has_time(&self, page: &Page, what: What, now: Instant, deadline: Instant) -> Result<(), Failure> {
        let waiting = self.0.borrow().get(&what).map_or(0, |line| line.waiting);
        let Some(gap) = what.and_then(|_| page.target_gap()) else { return Ok(()) };
        let earliest = now + Nanos(gap.0.saturating_mul(waiting));
        if earliest <= deadline {
            return Ok(());
        }
        let (after, late) = (earliest.saturating_since(now), earliest.saturating_since(deadline));
        Err(not_driven(DriveError::NoTime { after, late }))
    }

    async fn turn(&self, what: What) -> Turn<'_> {
        let turn = {
            let mut lines = self.0.borrow_mut();
            let line = lines.entry(what).or_default();
            line.waiting += 1;
            Arc::clone(&line.turn)
        };
        let place = Place { turns: self, what };
        Turn { _mine: turn.lock_owned().await, _place: place }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut lines = self.turns.0.borrow_mut();
        if let Some(line) = lines.get_mut(&self.what) {
            line.waiting -= 1;
            if line.waiting == 0 {
                lines.remove(&self.what);
            }
        }
    }
}

/// Whether what is held back now has time left when it is asked for again.
fn in_time(held: Held, now: Instant, deadline: Instant) -> Result<(), Failure> {
    if held.wait == Nanos::MAX || now + held.wait > deadline {
        return Err(Failure::refused(code::LIMITS, "the site's limits leave no room before the deadline"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use futures::FutureExt;
    use futures::future::join_all;

    use super::*;
    use crate::net::page::Limits;

    const FAR: Instant = Instant(u64::MAX);

    fn target(number: u8) -> IpAddr {
        Ipv4Addr::new(192, 0, 2, number).into()
    }

    fn page(packets_per_s: u64, target_packets_per_s: u64) -> Page {
        Page::create(Limits { packets_per_s, bits_per_s: 1 << 40, target_packets_per_s }, [1; 16]).unwrap()
    }

    async fn wait(turns: &Turns, page: &Page, to: u8, deadline: Instant) -> Result<(), Failure> {
        let to = target(to);
        turns.wait(page, Some(page.cap_of(to)), deadline, |now| page.take(now, to, 1, 64)).await
    }

    fn block_on<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
    }

    /// All of these come in this order. Gives in which they went.
    async fn order(turns: &Turns, page: &Page, targets: &[u8]) -> Vec<usize> {
        let gone = RefCell::new(Vec::new());
        let all = targets.iter().enumerate().map(async |(number, to)| {
            wait(turns, page, *to, FAR).await.unwrap();
            gone.borrow_mut().push(number);
        });
        join_all(all).await;
        assert!(turns.0.borrow().is_empty());
        gone.into_inner()
    }

    #[test]
    fn who_came_first_goes_first() {
        block_on(async {
            let turns = Turns::default();
            // One target, and many of whom the site's limit alone holds back.
            assert_eq!(order(&turns, &page(1 << 30, 500), &[1; 40]).await, (0..40).collect::<Vec<_>>());
            let targets: Vec<u8> = (0..40).collect();
            assert_eq!(order(&turns, &page(500, 1 << 30), &targets).await, (0..40).collect::<Vec<_>>());
        });
    }

    #[test]
    fn a_saturated_target_delays_no_other() {
        block_on(async {
            // The next packet to a target may leave in an hour and a half at the earliest.
            let (turns, page) = (Turns::default(), page(1 << 30, 1));
            wait(&turns, &page, 1, FAR).await.unwrap();
            let mut held: Vec<_> = (0..5_000).map(|_| Box::pin(wait(&turns, &page, 1, FAR))).collect();
            assert!(held.iter_mut().all(|one| one.now_or_never().is_none()));
            for other in 2..100 {
                wait(&turns, &page, other, Instant(0)).now_or_never().unwrap().unwrap();
            }
            // Whose turn comes too late need not wait for it.
            let deadline = clock::monotonic() + Nanos::from_secs(60);
            let failure = wait(&turns, &page, 1, deadline).now_or_never().unwrap().unwrap_err();
            assert!(failure.to_string().contains("at the earliest"), "{failure}");
            drop(held);
            assert!(turns.0.borrow().is_empty());
        });
    }
}
