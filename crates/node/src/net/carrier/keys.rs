//! By what answers find their probes: protocol, selector (ICMP identifier or source port) and tag; or, where an answer
//! shows no tag, protocol, both ports and the target.
//!
//! Tags of a selector are given out in turn, so that one is used again as late as possible. When all are in use the
//! oldest is taken back once it is older than any answer can be expected to be; until then there is no room.
//!
//! Of a probe's destination 32 bits of a keyed hash are kept: enough to tell that an answer names another.

mod tags;

use std::{net::IpAddr, num::NonZeroU16};

use mmn_probe::{
    cookie::Key as Secret,
    packet::{Identity, ProbeId},
    time::Instant,
    wire::{
        heard::{Clues, Protocol},
        probe::tcp_number,
    },
};
use rustc_hash::FxHashMap;

use self::tags::{Label, Tags};
use super::{JobKey, Ticket};

/// Whose a key is. Many are under way at a time: it is kept small.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::net) struct Owner {
    job: JobKey,
    probe: ProbeId,
    /// Of its destination.
    destination: u32,
    /// When it was given out, in seconds; it runs over after 18 hours.
    since_s: u16,
    /// [`NOT_OURS`], [`BY_PORTS`], or one more than how many octets an answer may have added to the number of a TCP probe.
    told_by: NonZeroU16,
}

/// What tells the probe from others is the tag, and of TCP no number of ours.
const NOT_OURS: NonZeroU16 = NonZeroU16::MAX;
/// The ports alone tell the probe from others of its flow.
const BY_PORTS: NonZeroU16 = NonZeroU16::MIN.saturating_add(u16::MAX - 2);
const MOST_ADDED: u16 = u16::MAX - 3;

impl Owner {
    fn is_by_ports(&self) -> bool {
        self.told_by == BY_PORTS
    }

    fn added(&self) -> Option<u16> {
        (self.told_by < BY_PORTS).then_some(self.told_by.get() - 1)
    }

    pub(in crate::net) const fn ticket(&self) -> Ticket {
        Ticket { job: self.job, probe: self.probe }
    }
}

/// Who asks for a tag.
#[derive(Clone, Copy, Debug)]
pub(in crate::net) struct Claim {
    pub(in crate::net) ticket: Ticket,
    pub(in crate::net) protocol: Protocol,
    pub(in crate::net) selector: u16,
    pub(in crate::net) destination: IpAddr,
    pub(in crate::net) now: Instant,
    /// How many octets an answer may have added to the number of a TCP probe; nothing where the number is the machine's.
    pub(in crate::net) added: Option<u16>,
}

/// A tag that was given out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::net) struct Given {
    pub(in crate::net) tag: u16,
    /// What holds it.
    pub(in crate::net) key: u64,
    /// Whether it was nobody's before, so that it will be released once.
    pub(in crate::net) fresh: bool,
}

/// The keys of one address family.
#[derive(Debug)]
pub(in crate::net) struct Keys {
    secret: Secret,
    tags: Tags,
    /// Those that answers find without a tag.
    by_ports: FxHashMap<u64, Owner>,
    /// The next tag of each protocol and selector.
    next: FxHashMap<u32, u16>,
    /// How many tags are given out, by protocol.
    under_way: [u32; 3],
}

impl Keys {
    pub(in crate::net) fn new(secret: Secret) -> Self {
        Self {
            secret,
            tags: Tags::default(),
            by_ports: FxHashMap::default(),
            next: FxHashMap::default(),
            under_way: [0; 3],
        }
    }

    /// How many probes of a protocol hold a tag.
    pub(in crate::net) const fn under_way(&self, protocol: Protocol) -> u32 {
        let [icmp, udp, tcp] = self.under_way;
        match protocol {
            Protocol::Icmp => icmp,
            Protocol::Udp => udp,
            Protocol::Tcp => tcp,
        }
    }

    /// Gives out a tag; nothing when there is no room.
    pub(in crate::net) fn give(&mut self, claim: Claim) -> Option<Given> {
        let Claim { protocol, selector, now, .. } = claim;
        let owner = self.owner_of(claim, false);
        let place = number(protocol) << 16 | u32::from(selector);
        let start = self.secret.hash(&place.to_be_bytes());
        let next = self.next.entry(place).or_insert(u16::try_from(start & 0xffff).unwrap_or(1));
        for _ in 0..TRIES {
            let tag = (*next).max(1);
            *next = tag.wrapping_add(1);
            let place = label(protocol, selector, tag);
            let other = self.tags.get(place);
            let fresh = other.is_none();
            if other.is_some_and(|other| seconds(now).wrapping_sub(other.since_s) <= LONGEST_LIFE_S) {
                continue;
            }
            self.tags.set(place, owner);
            if fresh && let Some(count) = self.count(protocol) {
                *count += 1;
            }
            return Some(Given { tag, key: tag_key(protocol, selector, tag), fresh });
        }
        None
    }

    /// Whether the ports and the target are another machine's.
    pub(in crate::net) fn ports_taken(&self, claim: Claim, port: u16) -> bool {
        let destination = self.destination(claim.destination);
        self.by_ports
            .get(&ports_key(claim.protocol, claim.selector, port, destination))
            .is_some_and(|other| other.job != claim.ticket.job)
    }

    /// Has answers without a tag find this probe, the latest of its machine. Nothing where another machine has the ports.
    pub(in crate::net) fn take_ports(&mut self, claim: Claim, port: u16, by_ports: bool) -> Option<u64> {
        if self.ports_taken(claim, port) {
            return None;
        }
        let owner = self.owner_of(claim, by_ports);
        let key = ports_key(claim.protocol, claim.selector, port, owner.destination);
        // A machine that holds it already holds it once.
        self.by_ports.insert(key, owner).is_none().then_some(key)
    }

    /// Whose an answer from `from` with these clues is.
    pub(in crate::net) fn owner(&self, clues: &Clues, from: IpAddr) -> Option<Owner> {
        let Clues { protocol, selector, tag, ip_id, far_port, destination, .. } = *clues;
        let quoted = destination.is_some();
        // What is no ICMP answers from where it was sent to, or not at all.
        let seen = destination.or((protocol != Protocol::Icmp).then_some(from));
        let seen_hash = seen.map(|address| self.destination(address));
        let fits = |owner: &&Owner| seen_hash.is_none_or(|seen| seen == owner.destination);
        let ports = far_port.zip(seen_hash).and_then(|(port, seen)| {
            self.by_ports.get(&ports_key(protocol, selector, port, seen)).filter(fits)
        });
        let tagged =
            |tag: Option<u16>| tag.and_then(|tag| self.tags.get(label(protocol, selector, tag)).filter(fits));
        if let Some(owner) = ports.filter(|owner| owner.is_by_ports()) {
            // Several such probes share ports where the machine gives no others: the header's number knows better.
            return tagged(ip_id.filter(|_| quoted))
                .filter(|told| told.job == owner.job)
                .or(Some(owner))
                .copied();
        }
        let proven = tagged(tag).filter(|owner| {
            let told = owner.added().zip(seen).zip(clues.number);
            told.is_none_or(|((added, seen), number)| {
                let identity = Identity { selector, tag: tag.unwrap_or(0) };
                number.wrapping_sub(tcp_number(identity, seen, &self.secret)) <= u32::from(added)
            })
        });
        // A NAT may have changed what carries the tag; the header's number stays.
        let owner = proven.or_else(|| tagged(ip_id.filter(|_| quoted))).or_else(|| ports.filter(|_| !quoted));
        owner.copied()
    }

    /// Takes a key back, if it is still this machine's. Returns whether it was.
    pub(in crate::net) fn release(&mut self, key: u64, job: JobKey) -> bool {
        let Some((protocol, selector)) = tag_of(key) else {
            if self.by_ports.get(&key).is_none_or(|owner| owner.job != job) {
                return false;
            }
            self.by_ports.remove(&key);
            if self.by_ports.is_empty() && self.by_ports.capacity() > 4096 {
                self.by_ports.shrink_to(1024);
            }
            return true;
        };
        let tag = u16::try_from(key & 0xffff).unwrap_or(0);
        let tag = label(protocol, selector, tag);
        if self.tags.get(tag).is_none_or(|owner| owner.job != job) {
            return false;
        }
        self.tags.remove(tag);
        if let Some(count) = self.count(protocol) {
            *count = count.saturating_sub(1);
        }
        true
    }

    /// The secret of the TCP numbers.
    pub(in crate::net) const fn secret(&self) -> &Secret {
        &self.secret
    }

    fn owner_of(&self, claim: Claim, by_ports: bool) -> Owner {
        let Claim { ticket: Ticket { job, probe }, destination, now, added, .. } = claim;
        let told_by = if by_ports {
            BY_PORTS
        } else {
            added.map_or(NOT_OURS, |added| NonZeroU16::MIN.saturating_add(added.min(MOST_ADDED)))
        };
        Owner { job, probe, destination: self.destination(destination), since_s: seconds(now), told_by }
    }

    fn destination(&self, address: IpAddr) -> u32 {
        let hash = match address {
            IpAddr::V4(address) => self.secret.hash(&address.octets()),
            IpAddr::V6(address) => self.secret.hash(&address.octets()),
        };
        u32::try_from(hash >> 32).unwrap_or_default()
    }

    fn count(&mut self, protocol: Protocol) -> Option<&mut u32> {
        self.under_way.get_mut(usize::try_from(number(protocol)).ok()?)
    }
}

/// The protocol and selector of a key that holds a tag; nothing for one that holds ports.
pub(in crate::net) fn tag_of(key: u64) -> Option<(Protocol, u16)> {
    let protocol = match key >> 52 {
        0 => Protocol::Icmp,
        1 => Protocol::Udp,
        2 => Protocol::Tcp,
        _ => return None,
    };
    Some((protocol, u16::try_from(key >> 16 & 0xffff).ok()?))
}

// A key has 56 bits: 4 that say what it holds, then the tag's selector and the tag, or the two ports and 20 bits of the
// target, so that two targets rarely share one; the owner knows its own.

fn tag_key(protocol: Protocol, selector: u16, tag: u16) -> u64 {
    u64::from(number(protocol)) << 52 | u64::from(selector) << 16 | u64::from(tag)
}

fn label(protocol: Protocol, selector: u16, tag: u16) -> Label {
    Label { protocol: u8::try_from(number(protocol)).unwrap_or(0), selector, tag }
}

fn ports_key(protocol: Protocol, selector: u16, port: u16, destination: u32) -> u64 {
    u64::from(number(protocol) + 3) << 52
        | u64::from(selector) << 36
        | u64::from(port) << 20
        | u64::from(destination & 0x000f_ffff)
}

const fn number(protocol: Protocol) -> u32 {
    match protocol {
        Protocol::Icmp => 0,
        Protocol::Udp => 1,
        Protocol::Tcp => 2,
    }
}

fn seconds(now: Instant) -> u16 {
    u16::try_from((now.0 / 1_000_000_000) & 0xffff).unwrap_or(0)
}

/// How many keys in use to step over before saying that there is no room.
const TRIES: usize = 64;
/// A reply that comes later than this may go unmatched when keys are short.
const LONGEST_LIFE_S: u16 = 60;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const TARGET: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    fn keys() -> Keys {
        Keys::new(Secret::new([7; 16]))
    }

    fn job(generation: u32) -> JobKey {
        JobKey { index: 0, generation }
    }

    fn claim(probe: u32, second: u64) -> Claim {
        Claim {
            ticket: Ticket { job: job(1), probe: ProbeId(probe) },
            protocol: Protocol::Icmp,
            selector: 9,
            destination: TARGET,
            now: Instant(second * 1_000_000_000),
            added: None,
        }
    }

    fn udp(probe: u32) -> Claim {
        Claim { protocol: Protocol::Udp, ..claim(probe, 0) }
    }

    fn clues(protocol: Protocol) -> Clues {
        Clues {
            protocol,
            selector: 9,
            tag: None,
            ip_id: None,
            far_port: None,
            destination: None,
            number: None,
        }
    }

    #[test]
    fn an_owner_is_small() {
        assert!(size_of::<Owner>() <= 20);
    }

    #[test]
    fn a_full_space_makes_room_by_age_alone() {
        let mut keys = keys();
        let tags: HashSet<u16> = (0..65_535).map(|probe| keys.give(claim(probe, 1)).unwrap().tag).collect();
        assert!(tags.len() == 65_535 && !tags.contains(&0));
        assert_eq!(keys.under_way(Protocol::Icmp), 65_535);
        assert_eq!(keys.give(claim(1, 61)), None);
        let Given { tag, fresh: false, .. } = keys.give(claim(70_000, 62)).unwrap() else { panic!() };
        let found = keys.owner(&Clues { tag: Some(tag), ..clues(Protocol::Icmp) }, OTHER).unwrap();
        assert_eq!(found.ticket().probe, ProbeId(70_000));
        assert_eq!(keys.under_way(Protocol::Icmp), 65_535);
    }

    #[test]
    fn a_key_of_somebody_else_stays() {
        let mut keys = keys();
        let Given { tag, key, .. } = keys.give(claim(0, 0)).unwrap();
        assert_eq!(tag_of(key), Some((Protocol::Icmp, 9)));
        let asked = Clues { tag: Some(tag), ..clues(Protocol::Icmp) };
        assert!(!keys.release(key, job(2)));
        assert!(keys.owner(&asked, TARGET).is_some());
        assert!(keys.release(key, job(1)));
        assert!(keys.owner(&asked, TARGET).is_none());
        assert_eq!(keys.under_way(Protocol::Icmp), 0);
    }

    #[test]
    fn what_names_another_destination_is_not_ours() {
        let mut keys = keys();
        let tag = keys.give(udp(3)).unwrap().tag;
        let quote = |destination, tag, ip_id| Clues {
            tag: Some(tag),
            ip_id: Some(ip_id),
            far_port: Some(33_435),
            destination: Some(destination),
            ..clues(Protocol::Udp)
        };
        let other = tag.wrapping_add(1);
        assert!(keys.owner(&quote(TARGET, tag, other), OTHER).is_some());
        assert!(keys.owner(&quote(OTHER, tag, tag), OTHER).is_none());
        // A NAT has changed the checksum.
        assert!(keys.owner(&quote(TARGET, other, tag), OTHER).is_some());
        assert!(keys.owner(&quote(TARGET, other, other), OTHER).is_none());
    }

    #[test]
    fn a_udp_answer_finds_the_latest_probe_to_its_port() {
        let mut keys = keys();
        let mut held = Vec::new();
        for probe in 0..3 {
            let claim = udp(probe);
            keys.give(claim).unwrap();
            held.extend(keys.take_ports(claim, 53, false));
        }
        assert_eq!(held.len(), 1);
        let answer = Clues { far_port: Some(53), ..clues(Protocol::Udp) };
        assert_eq!(keys.owner(&answer, TARGET).unwrap().ticket().probe, ProbeId(2));
        assert!(keys.owner(&answer, OTHER).is_none());
        let stranger = Claim { ticket: Ticket { job: job(5), probe: ProbeId(0) }, ..udp(0) };
        assert!(keys.ports_taken(stranger, 53) && keys.take_ports(stranger, 53, true).is_none());
        assert!(keys.release(held[0], job(1)));
        assert!(keys.take_ports(stranger, 53, true).is_some());
    }

    #[test]
    fn probes_told_by_ports_are_found_by_them_and_by_the_header() {
        let mut keys = keys();
        let tags = [0, 1].map(|probe| {
            let claim = udp(probe);
            let tag = keys.give(claim).unwrap().tag;
            keys.take_ports(claim, 33_435, true);
            tag
        });
        let quote = |ip_id| Clues {
            tag: Some(0x1234),
            ip_id,
            far_port: Some(33_435),
            destination: Some(TARGET),
            ..clues(Protocol::Udp)
        };
        let found = |ip_id| keys.owner(&quote(ip_id), OTHER).unwrap().ticket().probe;
        assert_eq!([found(Some(tags[0])), found(Some(tags[1])), found(None)], [0, 1, 1].map(ProbeId));
    }

    #[test]
    fn a_tcp_answer_must_know_the_number() {
        let mut keys = keys();
        let claim = Claim { protocol: Protocol::Tcp, added: Some(1), ..claim(4, 0) };
        let tag = keys.give(claim).unwrap().tag;
        let number = tcp_number(Identity { selector: 9, tag }, TARGET, keys.secret());
        let answer = |number| Clues {
            tag: Some(tag),
            far_port: Some(443),
            number: Some(number),
            ..clues(Protocol::Tcp)
        };
        assert!(keys.owner(&answer(number), TARGET).is_some());
        assert!(keys.owner(&answer(number + 1), TARGET).is_some());
        assert!(keys.owner(&answer(number + 2), TARGET).is_none());
        assert!(keys.owner(&answer(number), OTHER).is_none());
    }
}
