//! What leaves: receipts and results, and what the module says of itself.

use std::time::Duration;

use mmn_bus::connect::Link;
use mmn_schema::announce::{
    Announcement, Heartbeat, InstanceState, KindInfo, KnownModule, Load, ModuleInfo, Role,
};
use mmn_schema::encoding::Encoding;
use mmn_schema::subject::Subject;
use tokio::sync::watch;

use super::{Waiting, Work, now};
use crate::herald::needed;
use crate::module::desk::Outgoing;
use crate::{clock, host};

impl Work {
    /// Sends receipts, but for those of batches whose results are all on their way: these say that it was taken.
    pub(super) fn send_receipts(&mut self) {
        for Waiting { reply, encoding, receipt, work } in std::mem::take(&mut self.receipts) {
            if work.is_none_or(|work| work.strong_count() > 0) {
                self.reply(reply, encoding, &receipt);
            }
        }
    }

    /// Hands results to the connection, while there is one that takes them.
    pub(super) fn flush(&mut self, link: &watch::Receiver<Link>) {
        if !self.desk.has_out() || !matches!(*link.borrow(), Link::Up { .. }) {
            return;
        }
        let now = clock::monotonic();
        while self.outbox.is_clear() {
            let Some(Outgoing { subject, encoding, payload }) = self.desk.next_out(now) else { return };
            self.send_receipts();
            let subject = subject.on(&self.outfit.prefix).into();
            self.outbox.push(subject, needed(encoding), payload);
        }
    }

    pub(super) fn reply<T: serde::Serialize>(
        &mut self,
        to: async_nats::Subject,
        encoding: Encoding,
        message: &T,
    ) {
        match encoding.encode(message) {
            Ok(bytes) => self.outbox.push(to, needed(encoding), bytes.into()),
            Err(error) => tracing::error!(%error, "an answer can't be written"),
        }
    }

    pub(super) fn announce(&mut self) {
        // Before the barrier the subscriptions may not stand; it is followed by an announcement anyway.
        if !self.announced {
            return;
        }
        let (module, simulated) = (self.outfit.module.clone(), self.outfit.simulated);
        let credits = Some(self.desk.credits());
        let kinds = self.infos.iter().map(|info| (info, self.unavailable(&info.name)));
        let role = if self.is_known {
            let unavailable = kinds.filter_map(|(info, why)| Some((info.name.clone(), why?))).collect();
            Role::Known(KnownModule { module, kinds: self.digest.clone(), unavailable, credits, simulated })
        } else {
            let kinds = kinds.map(|(info, unavailable)| KindInfo { unavailable, ..info.clone() }).collect();
            Role::Module(ModuleInfo { module, kinds, credits, simulated, digest: Some(self.digest.clone()) })
        };
        self.publish_announcement(role);
    }

    /// Announces how many tasks it can hold, where that has changed.
    pub(super) fn tell_credits(&mut self) {
        if let Some(credits) = self.desk.new_credits(clock::monotonic()) {
            tracing::debug!(credits, "can hold");
            self.announce();
        }
    }

    pub(super) fn publish_announcement(&mut self, role: Role) {
        let announcement = Announcement {
            schema: mmn_schema::VERSION,
            vp: self.outfit.vp.clone(),
            instance: self.outfit.instance.clone(),
            boot: self.boot,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at: self.started_at,
            role,
        };
        match self.outfit.herald.sign(&announcement) {
            Ok((headers, payload)) => {
                let subject = Subject::Announce.on(&self.outfit.prefix);
                self.outbox.push(subject.into(), Some(headers), payload);
            }
            Err(error) => tracing::error!(%error, "not announced"),
        }
    }

    pub(super) fn beat(&mut self) {
        if !self.announced || !self.outbox.is_clear() {
            return;
        }
        self.heartbeats += 1;
        let counts = self.desk.counts();
        let used = host::load(self.outfit.bus.client());
        let state = if self.desk.is_draining() {
            InstanceState::Draining
        } else if self.trials.is_starting() {
            InstanceState::Starting
        } else {
            InstanceState::Ready
        };
        let heartbeat = Heartbeat {
            boot: self.boot,
            seq: self.heartbeats,
            sent_at: now().utc,
            interval_ms: u32::try_from(self.outfit.heartbeat.as_millis()).unwrap_or(u32::MAX),
            state,
            load: Load {
                running: self.desk.running(),
                queued: self.desk.queued(),
                free: self.desk.free(),
                done: counts.done,
                refused: counts.refused,
                garbage: self.garbage,
                ..used
            },
            clock: clock::state(),
        };
        let subject = Subject::Hb(self.outfit.vp.clone(), self.outfit.instance.clone());
        let subject = subject.on(&self.outfit.prefix).into();
        self.reply(subject, Encoding::Cbor, &heartbeat);
    }

    /// Says goodbye, and makes sure that the server has it, and the results before it.
    pub(super) async fn leave(mut self) {
        if self.announced {
            self.publish_announcement(Role::Bye);
        }
        let goodbye = async {
            self.outbox.settle().await;
            if let Err(error) = self.outfit.bus.barrier().await {
                tracing::debug!(%error, "the server did not confirm the goodbye");
            }
        };
        if tokio::time::timeout(Duration::from_secs(1), goodbye).await.is_err() {
            tracing::debug!("no time left for a goodbye");
        }
        self.outfit.bus.close().await;
    }
}
