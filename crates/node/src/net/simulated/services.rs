//! What hosts serve over UDP, answered in the world itself.

use std::collections::BTreeMap;

use mmn_lab::{ids::HostId, service::Services};
use mmn_probe::time::Instant;

/// The services of a world, and their answers that are not due yet.
#[derive(Debug)]
pub(super) struct Answers {
    services: Services,
    waiting: BTreeMap<(Instant, u64), (HostId, Vec<u8>)>,
    /// Tells answers of one instant apart.
    given: u64,
}

/// How many answers wait at most; what is asked besides is not answered.
const MOST_WAITING: usize = 65_536;

impl Answers {
    pub(super) const fn new(services: Services) -> Self {
        Self { services, waiting: BTreeMap::new(), given: 0 }
    }

    /// A packet has come to a host.
    pub(super) fn asked(&mut self, at: Instant, host: HostId, packet: &[u8]) {
        let Some(reply) = self.services.packet(at, host, packet) else { return };
        if self.waiting.len() < MOST_WAITING {
            self.given += 1;
            self.waiting.insert((at + reply.after, self.given), (host, reply.packet));
        }
    }

    /// When the next one leaves.
    pub(super) fn next_at(&self) -> Option<Instant> {
        self.waiting.first_key_value().map(|((at, _), _)| *at)
    }

    /// Takes the next one.
    pub(super) fn pop(&mut self) -> Option<(Instant, HostId, Vec<u8>)> {
        self.waiting.pop_first().map(|((at, _), (host, packet))| (at, host, packet))
    }
}
