//! Packets under way, by handle. Their buffers are used again.

use mmn_probe::time::Instant;

use crate::ids::{Id as _, NodeId, Table, WayId};
use crate::truth::PacketId;

/// A packet's place in the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot(u32);

impl Slot {
    pub(super) const fn of(number: u32) -> Self {
        Self(number)
    }

    pub(super) const fn number(self) -> u32 {
        self.0
    }

    pub(super) fn index(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

/// A packet under way.
#[derive(Clone, Debug)]
pub(super) struct Packet {
    /// From its IP header on. Its TTL, and the checksum of an IPv4 header, are those of its birth until
    /// [`super::head::settle`] is called.
    pub(super) bytes: Vec<u8>,
    /// Its number.
    pub(super) id: PacketId,
    /// When it arrives at `node`: what follows counts from here.
    pub(super) due: Instant,
    /// What per-flow load balancers see of it.
    pub(super) flow: u64,
    /// Where it arrives next.
    pub(super) node: NodeId,
    /// By which way; absent at the node where it was made.
    pub(super) via: Option<WayId>,
    /// Whose its destination is; absent where it is nobody's.
    pub(super) target: Option<NodeId>,
    /// Its TTL now.
    pub(super) ttl: u8,
}

/// All packets under way.
#[derive(Debug, Default)]
pub(super) struct Pool {
    packets: Table<SlotId, Packet>,
    free: Vec<Slot>,
}

/// Slots index a table like other ids.
#[derive(Clone, Copy, Debug)]
struct SlotId(Slot);

impl crate::ids::Id for SlotId {
    fn new(index: usize) -> Self {
        Self(Slot(u32::try_from(index).unwrap_or(u32::MAX)))
    }

    fn index(self) -> usize {
        self.0.index()
    }
}

impl Pool {
    /// A packet with an empty buffer.
    pub(super) fn take(&mut self) -> Slot {
        if let Some(slot) = self.free.pop() {
            return slot;
        }
        let packet = Packet {
            bytes: Vec::new(),
            id: PacketId(0),
            due: Instant(0),
            flow: 0,
            node: NodeId::new(0),
            via: None,
            target: None,
            ttl: 0,
        };
        self.packets.push(packet).0
    }

    /// Gives a packet back; its handle must not be used again.
    pub(super) fn free(&mut self, slot: Slot) {
        self.of_mut(slot).bytes.clear();
        self.free.push(slot);
    }

    pub(super) fn of(&self, slot: Slot) -> &Packet {
        &self.packets[SlotId(slot)]
    }

    pub(super) fn of_mut(&mut self, slot: Slot) -> &mut Packet {
        &mut self.packets[SlotId(slot)]
    }

    pub(super) fn bytes(&self, slot: Slot) -> &[u8] {
        &self.of(slot).bytes
    }

    /// Takes the buffer of a packet out, to read it while others are written; put it back with [`Self::put_back`].
    pub(super) fn lend(&mut self, slot: Slot) -> Vec<u8> {
        std::mem::take(&mut self.of_mut(slot).bytes)
    }

    pub(super) fn put_back(&mut self, slot: Slot, bytes: Vec<u8>) {
        self.of_mut(slot).bytes = bytes;
    }
}
