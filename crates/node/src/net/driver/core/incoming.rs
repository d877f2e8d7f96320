//! From the sockets to the machines: packets, errors, transmit stamps, and what the clocks say about them.

use mmn_probe::{
    machine::Input,
    packet::{Message, Packet, Quote, Report},
    time::{Nanos, Utc},
};

use super::Core;
use crate::{
    clock::{self, Reading},
    net::{
        driver::job::JobKey,
        icmp::{Arrival, Content, Received},
        stamps::{kernel_stamp, user_stamp},
    },
};

impl Core {
    pub(super) fn drain_all(&mut self) {
        for index in 0..self.links.len() {
            self.drain(index);
        }
    }

    /// Reads the sockets that something left by since they were read.
    pub(super) fn drain_sent(&mut self) {
        for index in 0..self.links.len() {
            if self.links.get(index).is_some_and(|link| link.unread) {
                self.drain(index);
            }
        }
    }

    /// Reads what a socket has, up to a bound. Returns whether it has no more.
    pub(super) fn drain(&mut self, index: usize) -> bool {
        self.unread = 0;
        if let Some(link) = self.links.get_mut(index) {
            link.unread = false;
        }
        self.drain_errors(index);
        let Some(socket) = self.links.get(index).map(|link| link.socket.clone()) else { return true };
        let mut buffer = self.buffer.take().unwrap_or_default();
        let mut drained = false;
        let mut errors = 0;
        for _ in 0..MAX_BATCH {
            match socket.get_ref().receive(&mut buffer) {
                Ok(Some(Received::Packet(arrival))) => self.arrived(index, &arrival),
                Ok(Some(_)) => self.counters.unmatched += 1,
                // An error about an earlier packet, which the error queue tells better; reading cleared it.
                Err(_) if errors < MAX_ERRORS => errors += 1,
                // Nothing more; or a socket that fails for ever, which must not keep the runtime busy.
                Ok(None) | Err(_) => {
                    drained = true;
                    break;
                }
            }
        }
        self.buffer = Some(buffer);
        drained
    }

    /// Reads a socket's error queue: errors about packets, and stamps of those that left.
    pub(super) fn drain_errors(&mut self, index: usize) {
        let Some(socket) = self.links.get(index).map(|link| link.socket.clone()) else { return };
        let mut buffer = self.buffer.take().unwrap_or_default();
        for _ in 0..MAX_BATCH {
            match socket.get_ref().receive_error(&mut buffer) {
                Ok(Some(Received::Packet(arrival))) => self.arrived(index, &arrival),
                Ok(Some(Received::Transmitted { number, stamp })) => self.transmitted(index, number, stamp),
                Ok(Some(Received::Foreign)) => {}
                Ok(None) | Err(_) => break,
            }
        }
        self.buffer = Some(buffer);
    }

    fn arrived(&mut self, index: usize, arrival: &Arrival<'_>) {
        let (now, stepped) = self.read_clock();
        let Some(link) = self.links.get_mut(index) else { return };
        if let Some(dropped) = arrival.dropped {
            self.counters.overrun += u64::from(dropped.wrapping_sub(link.dropped));
            link.dropped = dropped;
        }
        let Some(owner) = link.keys.owner(arrival.id, arrival.seq) else {
            self.counters.unmatched += 1;
            return;
        };
        self.counters.received += 1;
        let message = match arrival.content {
            Content::EchoReply { payload } => Message::EchoReply { payload },
            Content::Error { kind, quoted_payload } => {
                let quote = Quote { payload: quoted_payload, ..Quote::default() };
                Message::Error(Report { kind, icmp_type: 0, code: 0, quote, extensions: &[] })
            }
        };
        let stamp = arrival.stamp.filter(|_| !stepped).and_then(|utc| kernel_stamp(now, utc));
        let packet = Packet {
            probe: owner.probe,
            from: arrival.from,
            stamp: stamp.unwrap_or(user_stamp(now)),
            ttl: arrival.ttl,
            tos: None,
            ip_id: None,
            ip_options: &[],
            bytes: arrival.bytes,
            message,
        };
        self.tell(owner.job, now.at, Input::Packet(packet));
    }

    fn transmitted(&mut self, index: usize, number: u32, stamp: Utc) {
        let (now, stepped) = self.read_clock();
        let Some(sent) = self.links.get_mut(index).and_then(|link| link.transmitted(number)) else { return };
        let Some(stamp) = kernel_stamp(now, stamp).filter(|_| !stepped) else { return };
        // A stamp from before the packet was handed over belongs to another packet.
        if stamp.at + STAMP_SLACK >= sent.handed {
            self.tell(sent.job, now.at, Input::Stamped { probe: sent.probe, stamp });
        }
    }

    /// Reads both clocks; returns whether civil time was set since they were last read, and tells everybody.
    fn read_clock(&mut self) -> (Reading, bool) {
        let now = clock::both();
        let distance_ns = now.distance_ns();
        let stepped = distance_ns.abs_diff(self.distance_ns) > STEP_NS;
        self.distance_ns = distance_ns;
        if stepped {
            self.counters.clock_steps += 1;
            let keys: Vec<JobKey> = self
                .jobs
                .iter()
                .enumerate()
                .filter_map(|(index, job)| Some(JobKey { index, generation: job.as_ref()?.generation }))
                .collect();
            for key in keys {
                self.tell(key, now.at, Input::ClockStepped);
            }
        }
        (now, stepped)
    }
}

/// How many packets are read from a socket before others get their turn.
const MAX_BATCH: usize = 256;
const MAX_ERRORS: usize = 16;
/// Civil time that moves by more than this against the monotonic clock was set.
const STEP_NS: u64 = 1_000_000;
/// How much earlier than its packet a transmit stamp may seem, for the inaccuracy of reading two clocks.
const STAMP_SLACK: Nanos = Nanos(20_000);
