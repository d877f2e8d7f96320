//! The loop: what wakes it, and what follows.

use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::time::Duration;

use async_nats::Message;
use futures::future::LocalBoxFuture;
use futures::{FutureExt, StreamExt};
use mmn_bus::connect::{BarrierError, Link};
use tokio::sync::watch;
use tokio::time::Sleep;
use tokio_util::sync::CancellationToken;

use super::trials::Findings;
use super::{By, DRAIN, Work, bulk, driven, now, wait};
use crate::module::desk::{Ended, Ticket};
use crate::module::settings::Change;

/// How long a receipt waits for results: with them it costs no packet of its own, and after all of them it is left out.
const RECEIPT_WAITS: Duration = Duration::from_millis(10);
/// How long the last results may take to be acknowledged: anchors compare notes four times a second.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(1);
/// How long a drain may take that a signal began.
const GRACE: Duration = Duration::from_secs(10);
/// What is left when a signal ends a drain: a second later comes the one that can't be heard.
const HASTE: Duration = Duration::from_millis(500);
/// How long to wait before a barrier that was not passed is tried again.
const BARRIER_AGAIN: Duration = Duration::from_millis(500);

/// What woke the loop.
enum Event {
    Sent,
    Performed(Ticket, Ended),
    Came(By, Message),
    InputsEnded,
    /// There is more to begin, and others have had their turn.
    More,
    Link,
    Barrier(Result<(), BarrierError>),
    Node(Option<Change>),
    Beat,
    ReceiptsDue,
    Tested(Findings),
    TestAgain,
    Overdue,
    Shutdown,
    Unacknowledged,
    OutOfTime,
}

/// How it ends.
enum End {
    /// In order.
    Goodbye,
    /// Nobody can hear it any more.
    Closed,
}

type Barrier = LocalBoxFuture<'static, Result<(), BarrierError>>;

/// What the loop waits for besides work.
struct Turn {
    shutdown: CancellationToken,
    told_to_end: bool,
    node_open: bool,
    /// For the sockets that come next.
    fragments: Option<OwnedFd>,
    link: watch::Receiver<Link>,
    barrier: Option<Barrier>,
    beat: Pin<Box<Sleep>>,
    receipts_due: Pin<Box<Sleep>>,
    test_again: Pin<Box<Sleep>>,
    /// Results that were sent may still be lost on the way: it stays until an anchor has kept them, but not for ever.
    unacknowledged: Pin<Box<Sleep>>,
    lingers: bool,
    out_of_time: Pin<Box<Sleep>>,
}

impl Work {
    /// Works until it has drained: `shutdown`, an order, or the node's end make it drain.
    pub(in crate::module) async fn run(mut self, shutdown: CancellationToken) {
        let timer = |after| Box::pin(tokio::time::sleep(after));
        let mut link = self.outfit.bus.link();
        link.mark_changed();
        let mut turn = Turn {
            shutdown,
            told_to_end: false,
            node_open: true,
            fragments: None,
            link,
            barrier: None,
            beat: timer(Duration::ZERO),
            receipts_due: timer(Duration::ZERO),
            test_again: timer(Duration::MAX),
            unacknowledged: timer(Duration::MAX),
            lingers: false,
            out_of_time: timer(Duration::MAX),
        };
        self.trials.begin(&self.kinds);
        loop {
            let event = self.next(&mut turn).await;
            let receipts_wait = !self.receipts.is_empty();
            match self.handle(event, &mut turn) {
                None => {}
                Some(End::Goodbye) => break,
                Some(End::Closed) => return,
            }
            self.drain_ready();
            self.end_driven();
            self.start();
            self.turn_bulk();
            self.flush(&turn.link);
            self.tell_credits();
            if !receipts_wait && !self.receipts.is_empty() {
                turn.receipts_due.as_mut().set(tokio::time::sleep(RECEIPT_WAITS));
            }
            if self.desk.is_draining() && self.desk.is_idle() && self.outbox.is_clear() {
                if self.desk.is_acknowledged() {
                    break;
                }
                if !std::mem::replace(&mut turn.lingers, true) {
                    turn.unacknowledged.as_mut().set(tokio::time::sleep(ACKNOWLEDGED_WITHIN));
                }
            }
        }
        self.leave().await;
    }

    /// Waits for something to do: timers and orders first, then work, so that a flood of it starves nothing.
    async fn next(&mut self, turn: &mut Turn) -> Event {
        loop {
            return tokio::select! {
                biased;
                () = self.outbox.settle(), if !self.outbox.is_clear() => Event::Sent,
                () = &mut turn.beat => Event::Beat,
                () = &mut turn.receipts_due, if !self.receipts.is_empty() => Event::ReceiptsDue,
                () = &mut turn.out_of_time => Event::OutOfTime,
                () = turn.shutdown.cancelled(), if !turn.told_to_end => Event::Shutdown,
                () = &mut turn.unacknowledged, if turn.lingers => Event::Unacknowledged,
                () = &mut turn.test_again => Event::TestAgain,
                () = driven::overdue(self.overdue_at) => Event::Overdue,
                _ = turn.link.changed() => Event::Link,
                passed = wait(&mut turn.barrier) => Event::Barrier(passed),
                from_node = self.outfit.node.recv(), if turn.node_open => Event::Node(from_node),
                Some(done) = self.performing.next() => match done {
                    Ok((ticket, ended)) => Event::Performed(ticket, ended),
                    Err(_aborted) => continue,
                },
                () = driven::ready(&self.outfit.site) => Event::More,
                () = bulk::ready(self.bulk.as_ref()) => Event::More,
                input = self.inputs.next(), if self.outbox.is_clear() => match input {
                    Some((by, message)) => Event::Came(by, message),
                    None => Event::InputsEnded,
                },
                findings = self.trials.finished() => Event::Tested(findings),
                () = tokio::task::yield_now(), if self.desk.can_start() => Event::More,
            };
        }
    }

    /// Does what an event asks for; gives how it ends, where that is now.
    fn handle(&mut self, event: Event, turn: &mut Turn) -> Option<End> {
        match event {
            // Ports come with the settings, or not at all.
            Event::Sent | Event::More | Event::Node(Some(Change::Ports(_))) => {}
            Event::ReceiptsDue => self.send_receipts(),
            Event::Performed(ticket, ended) => self.performed(ticket, ended),
            Event::Came(by, message) => self.came(by, &message),
            Event::InputsEnded => {
                tracing::error!("the connection is closed for good");
                return Some(End::Closed);
            }
            Event::Link => {
                turn.barrier = self.link_changed(&mut turn.link);
            }
            Event::Barrier(Ok(())) => {
                self.announced = true;
                self.announce();
                self.beat();
            }
            Event::Barrier(Err(error)) => {
                tracing::warn!(%error, "the server does not answer: announcing later");
                let bus = self.outfit.bus.clone();
                turn.barrier = Some(
                    async move {
                        tokio::time::sleep(BARRIER_AGAIN).await;
                        bus.barrier().await
                    }
                    .boxed_local(),
                );
            }
            Event::Node(Some(Change::Policy(policy))) => {
                self.outfit.site.set_policy(*policy);
                self.revise_bulk();
                self.announce();
                self.trials.begin(&self.kinds);
            }
            Event::Node(Some(Change::Bulk(sockets))) => self.begin_bulk(sockets),
            Event::Node(Some(Change::Drain)) => self.drain(),
            Event::Shutdown => {
                turn.told_to_end = true;
                // Who is told a second time, by a node that waits no longer, has little left.
                if !self.desk.is_draining() {
                    self.drain();
                    turn.out_of_time.as_mut().set(tokio::time::sleep(GRACE));
                } else if turn.node_open {
                    turn.out_of_time.as_mut().set(tokio::time::sleep(HASTE));
                }
            }
            Event::Tested(findings) => {
                if let Some(pause) = self.tested(findings) {
                    turn.test_again.as_mut().set(tokio::time::sleep(pause));
                }
            }
            Event::TestAgain => {
                turn.test_again.as_mut().set(tokio::time::sleep(Duration::MAX));
                self.trials.begin(&self.kinds);
            }
            Event::Node(Some(Change::Fragments(socket))) => turn.fragments = Some(socket),
            Event::Node(Some(Change::Gifts(mut sockets))) => {
                for gift in &mut sockets {
                    gift.add_fragments(&mut turn.fragments);
                }
                self.trials.add(sockets);
                self.trials.begin(&self.kinds);
            }
            Event::Node(None) => {
                turn.node_open = false;
                self.drain();
                turn.out_of_time.as_mut().set(tokio::time::sleep(self.outfit.last_grace));
            }
            Event::Beat => {
                self.desk.expire(now());
                self.beat();
                let jitter = rand::random_range(0.9..1.1);
                turn.beat.as_mut().set(tokio::time::sleep(self.outfit.heartbeat.mul_f64(jitter)));
            }
            Event::Overdue => self.end_overdue(),
            Event::Unacknowledged => {
                tracing::info!("no anchor has acknowledged the last results: leaving all the same");
                return Some(End::Goodbye);
            }
            Event::OutOfTime => return Some(End::Goodbye),
        }
        None
    }

    /// Handles what is ready without waiting, up to a bound.
    fn drain_ready(&mut self) {
        for _ in 0..DRAIN {
            // Polled without a waker: the loop polls again before it waits.
            if let Some(Some(done)) = self.performing.next().now_or_never() {
                if let Ok((ticket, ended)) = done {
                    self.performed(ticket, ended);
                }
            } else if self.outbox.is_clear()
                && let Some(Some((by, message))) = self.inputs.next().now_or_never()
            {
                self.came(by, &message);
            } else {
                return;
            }
        }
    }

    /// A new connection: subscriptions are made anew by the library; once they stand the module announces itself.
    fn link_changed(
        &mut self,
        link: &mut watch::Receiver<Link>,
    ) -> Option<LocalBoxFuture<'static, Result<(), BarrierError>>> {
        let up = matches!(*link.borrow_and_update(), Link::Up { .. });
        self.announced = false;
        if !up {
            self.receipts.clear();
            self.outbox.give_up_waiting();
            return None;
        }
        let bus = self.outfit.bus.clone();
        Some(async move { bus.barrier().await }.boxed_local())
    }
}
