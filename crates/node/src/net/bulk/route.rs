//! Where packets have to go that pass by the kernel's routing: the interface, the source address and the neighbour of
//! each target, as the kernel itself would choose them.
//!
//! The answer for one target holds for all that the same routes and rules name. So the destinations of all tables are
//! read once, and the kernel is asked once for each of them that is needed. It is all forgotten when routes, rules or
//! links change, and a neighbour when neighbours change, or after a while.
//!
//! What is not simple is not ours: targets on a link of ours, on this host, behind several next hops or in a tunnel go by
//! another lane. So does the first packet to a neighbour that is not known (or was not confirmed for a while): the kernel
//! resolves it in doing so.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, Ipv6Addr},
};

use mmn_probe::time::{Instant, Nanos};
use rustc_hash::FxHashMap;

use super::netlink::{Asker, Link, Listener, Neighbour, Prefix};

/// What is to be done with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Send it out there.
    Out(Exit),
    /// Ask again a little later: the neighbour is being resolved.
    Later,
    /// Another lane must take it.
    Elsewhere,
}

/// Where a packet leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Exit {
    pub(super) link: u32,
    pub(super) source: IpAddr,
    /// The neighbour's address; absent where the link has none.
    pub(super) hardware: Option<[u8; 6]>,
    pub(super) mtu: u32,
}

/// What is known of routes.
#[derive(Debug)]
pub(super) struct Routes {
    asker: Asker,
    listener: Listener,
    /// When changes were last asked for.
    listened: Instant,
    known: Option<Known>,
    /// When it was last read, and whether it has changed since.
    read: Instant,
    stale: bool,
    neighbours: BTreeMap<(u32, IpAddr), Hop>,
}

/// The destinations, and where what the kernel was asked of them leads.
#[derive(Debug, Default)]
struct Known {
    /// The lengths that there are, the longest first; of IPv4 those from 96 on.
    v4: Vec<u8>,
    v6: Vec<u8>,
    ways: FxHashMap<(u8, u128), Option<Answer>>,
}

#[derive(Clone, Copy, Debug)]
enum Answer {
    Elsewhere,
    Through { link: u32, gateway: IpAddr, source: IpAddr, mtu: u32, exit: Option<(Exit, Instant)> },
}

/// A neighbour and what is known of it.
#[derive(Clone, Copy, Debug)]
enum Hop {
    /// Known until then.
    Known { hardware: Option<[u8; 6]>, until: Instant },
    /// Not known when it was first needed; a packet is on its way that makes the kernel resolve it.
    Awaited { since: Instant, asked: Instant },
    /// It does not answer. Not asked again before then.
    Silent { until: Instant },
}

/// The hardware address of a neighbour, where the link has any, and until when it is believed in.
type Reached = (Option<[u8; 6]>, Instant);

/// More destinations than this are too many to read.
const MOST_PREFIXES: usize = 100_000;
/// Changes are asked for so often.
const LISTENS_EVERY: Nanos = Nanos::from_millis(20);
/// A table that changes all the time is read no more often than this.
const READS_EVERY: Nanos = Nanos::from_millis(100);
/// For so long a neighbour is believed in. Then a packet goes by another lane, so that the kernel looks for itself.
const BELIEVED: Nanos = Nanos::from_secs(20);
/// How long a neighbour may take to answer, and how often it is looked for meanwhile.
const ANSWERS_WITHIN: Nanos = Nanos::from_secs(3);
const LOOKS_EVERY: Nanos = Nanos::from_millis(5);
/// How long one that did not answer is left alone.
const LEFT_ALONE: Nanos = Nanos::from_secs(5);

// `linux/rtnetlink.h`, `linux/neighbour.h`, `linux/if_arp.h`, `linux/if.h`.
const RTN_UNICAST: u8 = 1;
const NUD_STALE: u16 = 0x04;
const NUD_VALID: u16 = 0x02 | NUD_STALE | 0x08 | 0x10 | 0x40 | 0x80;
const ARPHRD_ETHER: u16 = 1;
const IFF_UP: u32 = 1;
const IFF_LOOPBACK: u32 = 8;

impl Routes {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            listener: Listener::open()?,
            asker: Asker::open()?,
            listened: Instant(0),
            known: None,
            read: Instant(0),
            stale: false,
            neighbours: BTreeMap::new(),
        })
    }

    /// Takes note of what has changed. Call it before each round of [`Self::way`].
    pub(super) fn listen(&mut self, now: Instant) {
        if now.saturating_since(self.listened) < LISTENS_EVERY {
            return;
        }
        self.listened = now;
        let changes = self.listener.changes();
        self.stale |= changes.routes;
        if self.stale && now.saturating_since(self.read) >= READS_EVERY {
            self.forget();
        }
        if changes.neighbours {
            self.neighbours.retain(|_, hop| !matches!(hop, Hop::Known { .. }));
            self.forget_exits();
        }
    }

    /// Forgets everything: what was known has turned out to be wrong.
    pub(super) fn forget(&mut self) {
        self.known = None;
        self.stale = false;
        self.neighbours.clear();
    }

    /// Where a packet to `target` goes.
    pub(super) fn way(&mut self, now: Instant, target: IpAddr) -> Way {
        let Some(key) = self.key(now, target) else { return Way::Elsewhere };
        let Some(known) = self.known.as_ref() else { return Way::Elsewhere };
        let answer = if let Some(answer) = known.ways.get(&key).copied().flatten() {
            answer
        } else {
            let answer = self.ask(target);
            self.remember(key, answer);
            answer
        };
        let Answer::Through { link, gateway, source, mtu, exit } = answer else { return Way::Elsewhere };
        if let Some((exit, until)) = exit
            && now < until
        {
            return Way::Out(exit);
        }
        match self.hop(now, link, gateway) {
            Ok((hardware, until)) => {
                let exit = Exit { link, source, hardware, mtu };
                self.remember(key, Answer::Through { link, gateway, source, mtu, exit: Some((exit, until)) });
                Way::Out(exit)
            }
            Err(way) => way,
        }
    }

    /// Where a packet leaves for a router that is asked for by its address: it must be on a link of this host. Nothing where
    /// it is on none, or does not answer; [`Way::Elsewhere`] where the kernel has to be made to look for it.
    pub(super) fn by_router(&mut self, now: Instant, router: IpAddr) -> Option<Way> {
        let route = self.asker.route(router).ok()?;
        let (Some(link), None, Some(source), false, RTN_UNICAST) =
            (route.link, route.gateway, route.source, route.complex, route.kind)
        else {
            return None;
        };
        let Link { hardware: ARPHRD_ETHER, flags, mtu } = self.asker.link(link).ok()? else { return None };
        if flags & IFF_UP == 0 || flags & IFF_LOOPBACK != 0 {
            return None;
        }
        match self.hop(now, link, router) {
            Ok((hardware, _)) => Some(Way::Out(Exit { link, source, hardware, mtu })),
            Err(Way::Elsewhere)
                if matches!(self.neighbours.get(&(link, router)), Some(Hop::Silent { .. })) =>
            {
                None
            }
            Err(way) => Some(way),
        }
    }

    fn remember(&mut self, key: (u8, u128), answer: Answer) {
        if let Some(known) = &mut self.known {
            known.ways.insert(key, Some(answer));
        }
    }

    fn forget_exits(&mut self) {
        for answer in self.known.iter_mut().flat_map(|known| known.ways.values_mut()) {
            if let Some(Answer::Through { exit, .. }) = answer {
                *exit = None;
            }
        }
    }

    /// The longest destination that holds a target.
    fn key(&mut self, now: Instant, target: IpAddr) -> Option<(u8, u128)> {
        if self.known.is_none() {
            self.read = now;
            self.known = Some(match self.asker.prefixes(MOST_PREFIXES) {
                Ok(prefixes) => Known::of(&prefixes),
                Err(error) => {
                    tracing::warn!(%error, "the routes can't be read: no packet leaves in bulk");
                    Known::default()
                }
            });
        }
        self.known.as_ref()?.key(target)
    }

    fn ask(&mut self, target: IpAddr) -> Answer {
        let Ok(route) = self.asker.route(target) else { return Answer::Elsewhere };
        let (Some(link), Some(gateway), Some(source), false, RTN_UNICAST) =
            (route.link, route.gateway, route.source, route.complex, route.kind)
        else {
            return Answer::Elsewhere;
        };
        let Ok(Link { hardware: ARPHRD_ETHER, flags, mtu }) = self.asker.link(link) else {
            return Answer::Elsewhere;
        };
        if flags & IFF_UP == 0 || flags & IFF_LOOPBACK != 0 || gateway.is_ipv4() != target.is_ipv4() {
            return Answer::Elsewhere;
        }
        let mtu = route.mtu.map_or(mtu, |of_route| of_route.min(mtu));
        Answer::Through { link, gateway, source, mtu, exit: None }
    }

    /// The hardware address of a neighbour, and how long it may be used.
    fn hop(&mut self, now: Instant, link: u32, gateway: IpAddr) -> Result<Reached, Way> {
        let place = (link, gateway);
        match self.neighbours.get(&place).copied() {
            Some(Hop::Known { hardware, until }) if now < until => return Ok((hardware, until)),
            Some(Hop::Silent { until }) if now < until => return Err(Way::Elsewhere),
            Some(Hop::Awaited { asked, .. }) if now.saturating_since(asked) < LOOKS_EVERY => {
                return Err(Way::Later);
            }
            _ => {}
        }
        let found = self.asker.neighbour(link, gateway).ok().flatten();
        let before = self.neighbours.get(&place).copied();
        let (hop, way) = judge(now, found, before);
        self.neighbours.insert(place, hop);
        way
    }
}

/// What follows from what the kernel knows of a neighbour and what was known here.
fn judge(now: Instant, found: Option<Neighbour>, before: Option<Hop>) -> (Hop, Result<Reached, Way>) {
    let until = now + BELIEVED;
    match (found, before) {
        // Known, but nobody has made sure of late: one packet goes where the kernel does so.
        (Some(Neighbour { state: NUD_STALE, address: Some(hardware) }), Some(Hop::Known { .. }) | None) => {
            (Hop::Known { hardware: Some(hardware), until }, Err(Way::Elsewhere))
        }
        (Some(Neighbour { state, address: Some(hardware) }), _) if state & NUD_VALID != 0 => {
            (Hop::Known { hardware: Some(hardware), until }, Ok((Some(hardware), until)))
        }
        (_, Some(Hop::Awaited { since, .. })) if now.saturating_since(since) < ANSWERS_WITHIN => {
            (Hop::Awaited { since, asked: now }, Err(Way::Later))
        }
        (_, Some(Hop::Awaited { .. })) => (Hop::Silent { until: now + LEFT_ALONE }, Err(Way::Elsewhere)),
        _ => (Hop::Awaited { since: now, asked: now }, Err(Way::Elsewhere)),
    }
}

impl Known {
    fn of(prefixes: &[Prefix]) -> Self {
        let mut known = Self::default();
        for prefix in prefixes {
            let v4 = prefix.bits >= 96 && Ipv6Addr::from(prefix.address).to_ipv4_mapped().is_some();
            let lengths = if v4 { &mut known.v4 } else { &mut known.v6 };
            if !lengths.contains(&prefix.bits) {
                lengths.push(prefix.bits);
            }
            known.ways.insert((prefix.bits, mask(prefix.address, prefix.bits)), None);
        }
        known.v4.sort_unstable_by(|one, other| other.cmp(one));
        known.v6.sort_unstable_by(|one, other| other.cmp(one));
        known
    }

    fn key(&self, target: IpAddr) -> Option<(u8, u128)> {
        let (lengths, address) = match target {
            IpAddr::V4(v4) => (&self.v4, v4.to_ipv6_mapped().to_bits()),
            IpAddr::V6(v6) => (&self.v6, v6.to_bits()),
        };
        lengths.iter().map(|bits| (*bits, mask(address, *bits))).find(|key| self.ways.contains_key(key))
    }
}

const fn mask(address: u128, bits: u8) -> u128 {
    if bits == 0 { 0 } else { address & (u128::MAX << (128 - bits as u32)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::testing::{in_namespace, ip, require_root, router};

    fn at(ms: u64) -> Instant {
        Instant(1_000_000_000 + ms * 1_000_000)
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_longest_destination_decides() {
        let v4 = |text: &str, bits: u8| Prefix {
            address: text.parse::<std::net::Ipv4Addr>().unwrap().to_ipv6_mapped().to_bits(),
            bits: bits + 96,
        };
        let v6 = Prefix { address: 0, bits: 0 };
        let known = Known::of(&[v4("0.0.0.0", 0), v4("10.0.0.0", 8), v4("10.1.2.0", 24), v6]);
        let bits = |text: &str| known.key(address(text)).map(|(bits, _)| bits);
        assert_eq!(bits("10.1.2.3"), Some(120));
        assert_eq!(bits("10.1.3.3"), Some(104));
        assert_eq!(bits("192.0.2.1"), Some(96));
        assert_eq!(bits("2001:db8::1"), Some(0));
        assert_eq!(Known::of(&[v6]).key(address("10.1.2.3")), None);
    }

    #[test]
    fn targets_leave_as_the_kernel_would_send_them() {
        require_root("targets_leave_as_the_kernel_would_send_them");
        in_namespace(|| {
            let _router = router();
            let mut routes = Routes::new().unwrap();
            ip("neigh replace 10.77.0.2 lladdr 02:00:00:00:00:02 dev va nud permanent");
            let Way::Out(exit) = routes.way(at(0), address("203.0.113.1")) else { panic!() };
            assert_eq!((exit.source, exit.mtu), (address("10.77.0.1"), 1_500));
            assert_eq!(exit.hardware, Some([2, 0, 0, 0, 0, 2]));
            // This host, a link of ours, nowhere, and several ways.
            ip("route add 198.18.0.0/16 nexthop via 10.77.0.2 nexthop via 10.77.0.3");
            ip("route add unreachable 192.0.2.0/24");
            routes.listen(at(200));
            for elsewhere in ["127.0.0.1", "10.77.0.1", "10.77.0.99", "192.0.2.1", "198.18.0.1"] {
                assert_eq!(routes.way(at(200), address(elsewhere)), Way::Elsewhere, "{elsewhere}");
            }
            assert!(matches!(routes.way(at(200), address("203.0.113.2")), Way::Out(_)));
        });
    }

    #[test]
    fn changes_are_heard() {
        require_root("changes_are_heard");
        in_namespace(|| {
            let _router = router();
            let mut routes = Routes::new().unwrap();
            ip("neigh replace 10.77.0.2 lladdr 02:00:00:00:00:02 dev va nud permanent");
            let target = address("203.0.113.1");
            assert!(matches!(routes.way(at(0), target), Way::Out(_)));
            ip("neigh replace 10.77.0.2 lladdr 02:00:00:00:00:09 dev va nud permanent");
            routes.listen(at(30));
            let Way::Out(exit) = routes.way(at(30), target) else { panic!() };
            assert_eq!(exit.hardware, Some([2, 0, 0, 0, 0, 9]));
            ip("route add unreachable 203.0.113.0/24");
            routes.listen(at(200));
            assert_eq!(routes.way(at(200), target), Way::Elsewhere);
            ip("route del unreachable 203.0.113.0/24");
            ip("link set va down");
            routes.listen(at(400));
            assert_eq!(routes.way(at(400), target), Way::Elsewhere);
        });
    }

    #[test]
    fn the_first_packet_to_a_neighbour_goes_where_the_kernel_resolves_it() {
        require_root("the_first_packet_to_a_neighbour_goes_where_the_kernel_resolves_it");
        in_namespace(|| {
            let _router = router();
            let mut routes = Routes::new().unwrap();
            let target = address("203.0.113.1");
            assert_eq!(routes.way(at(0), target), Way::Elsewhere);
            assert_eq!(routes.way(at(1), target), Way::Later);
            ip("neigh replace 10.77.0.2 lladdr 02:00:00:00:00:02 dev va nud reachable");
            assert!(matches!(routes.way(at(10), target), Way::Out(_)));
            // A neighbour that never answers.
            ip("route add 198.51.0.0/16 via 10.77.0.77");
            routes.listen(at(300));
            let silent = address("198.51.0.1");
            assert_eq!(routes.way(at(300), silent), Way::Elsewhere);
            assert_eq!(routes.way(at(310), silent), Way::Later);
            assert_eq!(routes.way(at(4_000), silent), Way::Elsewhere);
            assert_eq!(routes.way(at(4_001), silent), Way::Elsewhere);
        });
    }
}
