//! What the driver has without a future: tasks of packet kinds whose target is an address. A task is a machine in the
//! driver, and what the desk keeps of it; its end comes from the driver.
//!
//! All others (names, whatever holds a conversation) are performed by a future each.

use std::collections::{BTreeMap, BTreeSet};
use std::future::{pending, poll_fn};
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};

use mmn_kit::{Family, Performed};
use mmn_probe::time::Instant;
use mmn_schema::dispatch::Input;
use mmn_schema::outcome::Outcome;
use tokio::time::sleep;

use super::{TURN, Work, at, now};
use crate::clock;
use crate::context::{Site, not_driven};
use crate::module::desk::{Ended, Key, Origin, Started, Ticket};
use crate::module::perform::{Measure, broken, ended, held_too_long, too_late};

/// Waits until a machine has ended.
pub(super) async fn ready(site: &Site) {
    match site.driver() {
        Some(driver) => poll_fn(|context| driver.poll_ended(context)).await,
        None => pending().await,
    }
}

/// Waits until it is time for [`Work::end_overdue`].
pub(super) async fn overdue(next: Option<Instant>) {
    match next {
        Some(next) => sleep(next.saturating_since(clock::monotonic()).into()).await,
        None => pending().await,
    }
}

/// The address that a task is about, where its text is how that address is written: so it need not be kept.
pub(super) fn address(input: &Input, family: Family) -> Option<IpAddr> {
    let Input::Target(text) = input else { return None };
    let address: IpAddr = text.parse().ok()?;
    let plain = match address {
        // There is only one way to write it.
        IpAddr::V4(_) => true,
        IpAddr::V6(v6) => v6.to_ipv4_mapped().is_none() && v6.to_string() == *text,
    };
    (plain && family.holds(address)).then_some(address)
}

impl Work {
    /// Gives a task to the driver, where that is all it takes; else gives it back.
    pub(super) fn drive(&mut self, started: Started<Measure>) -> Option<Started<Measure>> {
        let (Ticket::Alone(key), Some(driver)) = (started.ticket, self.outfit.site.driver()) else {
            return Some(started);
        };
        let kind = &started.origin.measure.kind;
        let target = kind.driven().and_then(|family| address(&started.input, family));
        let Some(target) = target else { return Some(started) };
        let begun = || {
            if let Err(refusal) = self.outfit.site.policy().judge(target) {
                return Err(Ended::without(Outcome::Refused, refusal.reason()));
            }
            let deadline = started.origin.deadline;
            driver.has_time(target, deadline).map_err(|error| Ended::of_failure(not_driven(error)))?;
            let (machine, wish) = kind.machine(target, rand::random()).map_err(Ended::of_failure)?;
            driver.start_for(key.bits(), machine, wish).map_err(|error| Ended::of_failure(not_driven(error)))
        };
        let begun = catch_unwind(AssertUnwindSafe(begun));
        let failed = match begun {
            Ok(begun) => begun.err(),
            Err(panic) => Some(broken(&started.origin, panic.as_ref())),
        };
        if let Some(ended) = failed {
            self.desk.finish(started.ticket, now(), ended);
        } else {
            let deadline = started.origin.deadline;
            self.overdue_at = Some(self.overdue_at.map_or(deadline, |next| next.min(deadline)));
        }
        None
    }

    /// Ends the tasks whose machines have ended, up to a bound.
    pub(super) fn end_driven(&mut self) {
        let site = &self.outfit.site;
        let Some(driver) = site.driver() else { return };
        let mut turn = None;
        for _ in 0..TURN {
            let Some((owner, (machine, conditions))) = driver.take_ended() else { return };
            let ticket = Ticket::Alone(Key::of_bits(owner));
            let Some(origin) = self.desk.origin(ticket) else { continue };
            let ended = of_machine(site, origin, Performed { machine, conditions });
            let turn = *turn.get_or_insert_with(clock::both);
            self.desk.finish(ticket, at(turn, clock::monotonic()), ended);
        }
    }

    /// Ends attempts that are called off. What their machines have found until now is in their records.
    pub(super) fn end_called_off(&mut self, stopped: &[Ticket]) {
        let site = &self.outfit.site;
        let owners = owners(stopped);
        let mut found = match site.driver() {
            Some(driver) if !owners.is_empty() => {
                driver.stop_for(|owner| owners.contains(&owner)).into_iter().collect()
            }
            _ => BTreeMap::new(),
        };
        let now = now();
        for &ticket in stopped {
            let done = owner(ticket).and_then(|owner| found.remove(&owner));
            let ended = done.zip(self.desk.origin(ticket)).map(|((machine, conditions), origin)| {
                of_machine(site, origin, Performed { machine, conditions })
            });
            let called_off = Ended::called_off();
            let ended = match ended.filter(|ended| ended.outcome == Outcome::Ok) {
                Some(found) => Ended { outcome: called_off.outcome, reason: called_off.reason, ..found },
                None => called_off,
            };
            self.desk.finish(ticket, now, ended);
        }
    }

    /// Ends the tasks whose deadline has passed and that the driver has.
    pub(super) fn end_overdue(&mut self) {
        let now = now();
        let (overdue, next) = self.desk.overdue(now.at, |ticket| !self.stops.contains_key(&ticket));
        let held = self.forget_driven(&overdue);
        for &ticket in &overdue {
            let held = owner(ticket).is_some_and(|owner| held.contains(&owner));
            self.desk.finish(ticket, now, if held { held_too_long() } else { too_late() });
        }
        self.overdue_at = next.map(|next| next.max(now.at + OVERDUE_EVERY));
    }

    /// These attempts have ended without their machines. Says whose the site's limits held back.
    fn forget_driven(&self, ended: &[Ticket]) -> BTreeSet<u64> {
        let owners = owners(ended);
        match self.outfit.site.driver() {
            Some(driver) if !owners.is_empty() => {
                driver.forget_for(|owner| owners.contains(&owner)).into_iter().collect()
            }
            _ => BTreeSet::new(),
        }
    }
}

/// The end that comes of a machine.
fn of_machine(site: &Site, origin: &Origin<Measure>, performed: Performed) -> Ended {
    let measured = || ended(origin.measure.kind.of_machine(performed, &|source| site.interface_of(source)));
    catch_unwind(AssertUnwindSafe(measured)).unwrap_or_else(|panic| broken(origin, panic.as_ref()))
}

/// As whose the driver knows the machine of an attempt.
fn owner(ticket: Ticket) -> Option<u64> {
    match ticket {
        Ticket::Alone(key) => Some(key.bits()),
        Ticket::InFlock(..) => None,
    }
}

fn owners(tickets: &[Ticket]) -> BTreeSet<u64> {
    tickets.iter().filter_map(|ticket| owner(*ticket)).collect()
}

/// How often it is looked for tasks whose time is over, at most.
const OVERDUE_EVERY: mmn_probe::time::Nanos = mmn_probe::time::Nanos::from_millis(20);
