//! What really happened to every packet.
//!
//! A world writes one [`Record`] for each packet: for those that were injected, and for those that nodes made of them
//! (answers, errors, copies, fragments), which name their [`Record::cause`]. Each has exactly one [`Fate`].
//!
//! The truth is bounded: when it is full the oldest records are forgotten, and [`Truth::forgotten`] says how many.

use std::net::IpAddr;
use std::ops::Range;

use mmn_probe::time::{Instant, Nanos};
use mmn_probe::wire::heard::Protocol;

use crate::ids::{LinkId, NodeId, WayId};
use crate::world::Port;

/// A packet's number, counted from 1 in the order of making.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PacketId(pub u64);

/// The record of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its number.
    pub id: PacketId,
    /// How it came to be.
    pub origin: Origin,
    /// The packet that it was made of or about; absent where it was injected.
    pub cause: Option<PacketId>,
    /// When it was injected or made.
    pub born: Instant,
    /// When it met its fate, to the nanosecond: of a delivery when it was due.
    pub ended: Instant,
    /// By when a driver in real time had passed it on, as far as that said so: it was brought no later.
    pub written: Option<Instant>,
    /// What became of it.
    pub fate: Fate,
    /// What it looked like.
    pub look: Look,
}

/// How a packet came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It was injected at this port.
    Injected(Port),
    /// This node answered something.
    Answer(NodeId),
    /// This node reported an error.
    Error(NodeId),
    /// This way delivered something twice.
    Copy(WayId),
    /// This node cut something to pieces.
    Fragment(NodeId),
}

/// What became of a packet. Each has one fate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is under way.
    UnderWay,
    /// It came out of the world at this port.
    Delivered(Port),
    /// It came to a node that made something of it: an answer or an error that names it as its cause.
    Answered(NodeId),
    /// It came to a node that kept it to itself.
    Kept(NodeId, Why),
    /// Its TTL ran out at this node.
    Expired(NodeId, Told),
    /// It was too big for this way.
    TooBig(WayId, Told),
    /// This node knew no way to its destination.
    NoRoute(NodeId, Told),
    /// It was cut to pieces here, which go on.
    Fragmented(NodeId),
    /// It became part of a whole at this node, of which another record tells.
    Reassembled(NodeId),
    /// It was lost on this way.
    Lost(WayId),
    /// The queue before this way was full.
    QueueFull(WayId),
    /// The link was down.
    LinkDown(LinkId),
    /// It was no packet.
    Malformed,
    /// As many packets were under way as a world holds.
    WorldFull,
}

/// Why a node said nothing to a packet that was for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Why {
    /// It says nothing ever, or nothing to such packets.
    Silent,
    /// It had said as much as it may in this time.
    RateLimited,
    /// The port is filtered.
    Filtered,
    /// Such packets are not answered by anybody.
    NoAnswerDue,
    /// It waits for the other fragments, or did in vain.
    Incomplete,
    /// Its checksum was wrong.
    Damaged,
    /// A translator had no entry for it.
    NotTranslated,
}

/// Whether the sender was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Told {
    /// By an error that names the packet as its cause.
    Yes,
    /// No.
    No(Why),
}

/// What a packet looked like when it was made: enough to find it by what a task knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// Its source.
    pub source: IpAddr,
    /// Its destination.
    pub destination: IpAddr,
    /// Its protocol, of those that are known here.
    pub protocol: Option<Protocol>,
    /// ICMP identifier or source port; 0 where it has none.
    pub selector: u16,
    /// ICMP sequence number or destination port; 0 where it has none.
    pub far: u16,
    /// The identification of its IPv4 header.
    pub ip_id: Option<u16>,
    /// Its TTL or hop limit.
    pub ttl: u8,
    /// Its length in octets.
    pub bytes: u32,
}

/// By what packets are looked for: all that is given must fit.
#[derive(Clone, Copy, Debug, Default)]
pub struct Query {
    /// Where it was injected.
    pub port: Option<Port>,
    /// Its source.
    pub source: Option<IpAddr>,
    /// Its destination.
    pub destination: Option<IpAddr>,
    /// Its protocol.
    pub protocol: Option<Protocol>,
    /// ICMP identifier or source port.
    pub selector: Option<u16>,
    /// ICMP sequence number or destination port.
    pub far: Option<u16>,
    /// The identification of its IPv4 header.
    pub ip_id: Option<u16>,
    /// Not made before this.
    pub from: Option<Instant>,
    /// Made before this.
    pub until: Option<Instant>,
}

/// The records of a world.
#[derive(Clone, Debug)]
pub struct Truth {
    /// The record of packet *n* stands at place *n* modulo the capacity, unless a later one has taken it.
    records: Vec<Record>,
    /// What was made of each, at the same places.
    families: Vec<Family>,
    capacity: u64,
    next: u64,
    /// When the latest was made, of all so far.
    latest: Instant,
    /// How much earlier than that a packet was made at most: drivers in real time inject a little late.
    latest_lead: Nanos,
}

/// The first and the last that was made of a packet, and the next that was made of the same cause; 0 for none. And the
/// latest birth up to here, which grows from place to place.
#[derive(Clone, Copy, Debug, Default)]
struct Family {
    first: u64,
    last: u64,
    next: u64,
    latest: Instant,
}

impl Truth {
    /// Room for so many records, at least one.
    pub fn new(capacity: usize) -> Self {
        Self {
            records: Vec::new(),
            families: Vec::new(),
            capacity: u64::try_from(capacity.max(1)).unwrap_or(1),
            next: 1,
            latest: Instant(0),
            latest_lead: Nanos::ZERO,
        }
    }

    /// Asks for all its room now, so that no packet waits while it grows. The system gives memory as it is used.
    pub fn reserve(&mut self) {
        let capacity = usize::try_from(self.capacity).unwrap_or(0);
        self.records.reserve_exact(capacity.saturating_sub(self.records.len()));
        self.families.reserve_exact(capacity.saturating_sub(self.families.len()));
    }

    /// How many packets there were.
    pub const fn count(&self) -> u64 {
        self.next - 1
    }

    /// How many records were forgotten for lack of room.
    pub const fn forgotten(&self) -> u64 {
        self.count().saturating_sub(self.capacity)
    }

    /// The record of a packet, unless it was forgotten.
    pub fn of(&self, id: PacketId) -> Option<&Record> {
        self.records.get(self.place(id)).filter(|record| record.id == id && id.0 != 0)
    }

    /// All records that are kept, the oldest first.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        (self.forgotten() + 1..self.next).filter_map(|id| self.of(PacketId(id)))
    }

    /// The records that fit a query, the oldest first. With times this is fast: only what was made about then is looked at.
    pub fn find<'t>(&'t self, query: &'t Query) -> impl Iterator<Item = &'t Record> {
        self.span(query.from, query.until)
            .filter_map(|id| self.of(PacketId(id)))
            .filter(|record| query.fits(record))
    }

    /// The numbers among which all are that were not made before `from`, and before `until`.
    pub(crate) fn span(&self, from: Option<Instant>, until: Option<Instant>) -> Range<u64> {
        let first = from.map_or(self.forgotten() + 1, |from| self.first_reaching(from));
        let end = until.map_or(self.next, |until| self.first_reaching(until + self.latest_lead));
        first..end
    }

    /// What was made of a packet: answers, errors, copies and fragments, the oldest first.
    pub fn consequences(&self, cause: PacketId) -> impl Iterator<Item = &Record> {
        let family = |id: u64| {
            let id = PacketId(id);
            self.of(id).and_then(|_| self.families.get(self.place(id)).copied())
        };
        let mut next = family(cause.0).map_or(0, |family| family.first);
        std::iter::from_fn(move || {
            let record = self.of(PacketId(next))?;
            next = family(next).map_or(0, |family| family.next);
            Some(record)
        })
    }

    /// What came back for a packet that was injected: the packets made of it, and of these, that came out at vantage
    /// points, in the order of coming; of one in pieces the piece that came last. The packet itself is none of them.
    pub fn returns(&self, id: PacketId) -> Vec<&Record> {
        let mut all: Vec<&Record> = Vec::new();
        let made = self.consequences(id).map(|record| {
            let below = self.returns(record.id);
            let own = matches!(record.fate, Fate::Delivered(Port::Vp(_))).then_some(record);
            own.into_iter().chain(below)
        });
        if self.of(id).is_some_and(|record| matches!(record.fate, Fate::Fragmented(_))) {
            all.extend(made.flatten().max_by_key(|record| record.ended));
        } else {
            all.extend(made.flatten());
        }
        all.sort_by_key(|record| (record.ended, record.id));
        all
    }

    /// Notes by when a driver had passed a packet on.
    pub fn written(&mut self, id: PacketId, at: Instant) {
        if let Some(record) = self.of_mut(id) {
            record.written = Some(at);
        }
    }

    pub(crate) fn add(
        &mut self,
        origin: Origin,
        cause: Option<PacketId>,
        born: Instant,
        look: Look,
    ) -> PacketId {
        let id = PacketId(self.next);
        self.next += 1;
        self.latest = self.latest.max(born);
        self.latest_lead = self.latest_lead.max(self.latest.saturating_since(born));
        let fate = Fate::UnderWay;
        let record = Record { id, origin, cause, born, ended: born, written: None, fate, look };
        let place = self.place(id);
        if self.records.len() <= place {
            // The first number is 1: place 0 is taken last.
            let nobody = Record { id: PacketId(0), ..record };
            self.records.resize(place + 1, nobody);
            self.families.resize(place + 1, Family::default());
        }
        if let (Some(old), Some(family)) = (self.records.get_mut(place), self.families.get_mut(place)) {
            *old = record;
            *family = Family { latest: self.latest, ..Family::default() };
        }
        if let Some(cause) = cause {
            self.adopt(cause, id);
        }
        id
    }

    /// Notes that a packet was made of another.
    fn adopt(&mut self, cause: PacketId, id: PacketId) {
        if self.of(cause).is_none() {
            return;
        }
        let place = self.place(cause);
        let Some(family) = self.families.get_mut(place) else { return };
        let last = std::mem::replace(&mut family.last, id.0);
        if family.first == 0 {
            family.first = id.0;
            return;
        }
        let place = self.place(PacketId(last));
        if self.of(PacketId(last)).is_some()
            && let Some(sibling) = self.families.get_mut(place)
        {
            sibling.next = id.0;
        }
    }

    /// The number of the first packet by which one had been made at this instant or later: none before it was.
    fn first_reaching(&self, at: Instant) -> u64 {
        let (mut low, mut high) = (self.forgotten() + 1, self.next);
        while low < high {
            let middle = low.midpoint(high);
            let place = self.place(PacketId(middle));
            if self.families.get(place).is_some_and(|family| family.latest < at) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    pub(crate) fn end(&mut self, id: PacketId, at: Instant, fate: Fate) {
        if let Some(record) = self.of_mut(id) {
            record.ended = at;
            record.fate = fate;
        }
    }

    fn of_mut(&mut self, id: PacketId) -> Option<&mut Record> {
        let place = self.place(id);
        self.records.get_mut(place).filter(|record| record.id == id)
    }

    fn place(&self, id: PacketId) -> usize {
        usize::try_from(id.0 % self.capacity).unwrap_or(0)
    }
}

impl Query {
    fn fits(&self, record: &Record) -> bool {
        fn is<T: PartialEq>(wanted: Option<&T>, there: &T) -> bool {
            wanted.is_none_or(|wanted| wanted == there)
        }
        let look = &record.look;
        self.port.is_none_or(|port| record.origin == Origin::Injected(port))
            && is(self.source.as_ref(), &look.source)
            && is(self.destination.as_ref(), &look.destination)
            && (self.protocol.is_none() || self.protocol == look.protocol)
            && is(self.selector.as_ref(), &look.selector)
            && is(self.far.as_ref(), &look.far)
            && (self.ip_id.is_none() || self.ip_id == look.ip_id)
            && self.from.is_none_or(|from| record.born >= from)
            && self.until.is_none_or(|until| record.born < until)
    }
}
