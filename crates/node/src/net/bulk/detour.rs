//! The way by a router of one's own choice: packets go to its address on the link, whatever the routes of this host say.
//!
//! It takes a packet socket, and so the site's policy must allow those. A router that the kernel does not know yet is made
//! known to it by an empty datagram to its discard port; until it answers packets wait.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket},
    os::fd::{AsFd, OwnedFd},
};

use mmn_probe::{
    packet::SendFailure,
    time::{Instant, Nanos},
};

use super::{
    PacketSockets,
    route::{Exit, Routes, Way},
    sys::Batch,
};
use crate::net::carrier::{Refusal, refusal};

/// What sends by routers that are asked for.
#[derive(Debug)]
pub struct Detour {
    send: OwnedFd,
    routes: Routes,
    batch: Batch,
    /// Where the last packet left, and how long that is good for another one.
    last: Option<(IpAddr, Exit, Instant)>,
}

impl Detour {
    /// Shares the socket that sends.
    pub fn new(sockets: &PacketSockets) -> io::Result<Self> {
        let (send, routes) = (sockets.send.try_clone()?, Routes::new()?);
        Ok(Self { send, routes, batch: Batch::new(1, MOST_BYTES), last: None })
    }

    /// Sends a packet, IP header and all. [`Refusal::NoKey`] while the router is being looked for.
    pub(in crate::net) fn send(
        &mut self,
        now: Instant,
        router: IpAddr,
        packet: &[u8],
    ) -> Result<(), Refusal> {
        let exit = self.exit(now, router)?;
        if usize::try_from(exit.mtu).is_ok_and(|mtu| packet.len() > mtu) {
            return Err(Refusal::Failed(SendFailure::TooBig));
        }
        self.batch.clear();
        let Some(room) = self.batch.next().and_then(|room| room.get_mut(..packet.len())) else {
            return Err(Refusal::Failed(SendFailure::TooBig));
        };
        room.copy_from_slice(packet);
        self.batch.push(packet.len(), router.is_ipv6(), exit.link, exit.hardware);
        self.batch.send(self.send.as_fd(), 0).map(|_| ()).map_err(|error| {
            self.last = None;
            refusal(&error)
        })
    }

    fn exit(&mut self, now: Instant, router: IpAddr) -> Result<Exit, Refusal> {
        if let Some((last, exit, until)) = self.last
            && last == router
            && now < until
        {
            return Ok(exit);
        }
        self.routes.listen(now);
        match self.routes.by_router(now, router) {
            Some(Way::Out(exit)) => {
                self.last = Some((router, exit, now + GOOD_FOR));
                Ok(exit)
            }
            Some(Way::Later) => Err(Refusal::NoKey),
            Some(Way::Elsewhere) => {
                look_for(router);
                Err(Refusal::NoKey)
            }
            None => Err(Refusal::Failed(SendFailure::RouterSilent)),
        }
    }
}

/// Has the kernel find out where on the link a router is.
fn look_for(router: IpAddr) {
    let own =
        if router.is_ipv4() { IpAddr::from(Ipv4Addr::UNSPECIFIED) } else { Ipv6Addr::UNSPECIFIED.into() };
    if let Ok(socket) = UdpSocket::bind((own, 0)) {
        // That nobody takes it does not matter.
        let _ = socket.send_to(&[], (router, DISCARD));
    }
}

/// RFC 863.
const DISCARD: u16 = 9;
/// The largest packet.
const MOST_BYTES: usize = 65_535;
/// How long the answer of the routes is not asked for again.
const GOOD_FOR: Nanos = Nanos::from_millis(250);

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use mmn_probe::{
        conditions::{Lane, Wish},
        cookie::Key,
        ping::{Fate, Ping, Spec},
        trace::{self, Trace},
        wire::icmp::Family,
    };

    use super::*;
    use crate::net::{
        carrier::raw::{RawCarrier, RawSockets},
        driver::{self, Driver},
        icmp::IdRange,
        page::{Limits, Page},
        testing::{in_namespace, ip, require_root, router},
    };

    const LOOSE: Limits =
        Limits { packets_per_s: 1 << 30, bits_per_s: 1 << 40, target_packets_per_s: 1 << 30 };

    fn driver() -> Driver {
        let page = Arc::new(Page::create(LOOSE, [1; 16]).unwrap());
        let driver = Driver::new(page, driver::Config::default()).unwrap();
        let (ids, ports) = (IdRange::new(0x400, 8).unwrap(), IdRange::new(61_000, 8).unwrap());
        for family in [Family::V4, Family::V6] {
            let sockets = RawSockets::open(family, ids, ports).unwrap();
            driver.add_carrier(Box::new(RawCarrier::new(sockets, [7; 16]).unwrap())).unwrap();
        }
        driver
    }

    fn detour() -> Arc<Mutex<Detour>> {
        let sockets = PacketSockets::open(IdRange::new(0x4000, 64).unwrap()).unwrap();
        Arc::new(Mutex::new(Detour::new(&sockets).unwrap()))
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    async fn ping(driver: &Driver, target: &str, by: &str) -> Fate {
        let spec = Spec { count: 1, router: Some(address(by)), ..Spec::new(address(target)) };
        let machine = Ping::new(spec, Key::new([9; 16])).unwrap();
        let (done, _) = driver.run(machine, Wish::Only(Lane::Precise)).await.unwrap();
        done.samples().next().unwrap().fate
    }

    fn block_on<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
    }

    #[test]
    fn probes_leave_by_the_router_that_they_name() {
        require_root("probes_leave_by_the_router_that_they_name");
        in_namespace(|| {
            let _router = router();
            // By the routes of this host nothing gets anywhere.
            ip("route del default");
            ip("-6 route del default");
            block_on(async {
                let driver = driver();
                let refused = Fate::NotSent(SendFailure::NoRouter);
                assert_eq!(ping(&driver, "192.0.2.9", "10.77.0.2").await, refused);
                driver.set_detour(Some(detour()));
                for (target, by) in [("192.0.2.9", "10.77.0.2"), ("2001:db8:2::9", "2001:db8:77::2")] {
                    // The router says that there is no such network: the request got to it, and was ours.
                    let fate = ping(&driver, target, by).await;
                    let Fate::Error(report) = &fate else { panic!("{fate:?}") };
                    assert_eq!(report.arrival.from, address(by), "{report:?}");
                    assert!(report.verified);
                }
                // On no link of this host, and of one that is not there.
                for by in ["203.0.113.1", "10.77.0.1"] {
                    let silent = Fate::NotSent(SendFailure::RouterSilent);
                    assert_eq!(ping(&driver, "192.0.2.9", by).await, silent, "{by}");
                }
                driver.set_detour(None);
                assert_eq!(ping(&driver, "192.0.2.9", "10.77.0.2").await, refused);
            });
        });
    }

    #[test]
    fn a_trace_by_a_router_begins_there() {
        require_root("a_trace_by_a_router_begins_there");
        in_namespace(|| {
            let _router = router();
            ip("route del default");
            block_on(async {
                let driver = driver();
                driver.set_detour(Some(detour()));
                for method in
                    [trace::shape::Method::Icmp, trace::shape::Method::Udp, trace::shape::Method::Tcp]
                {
                    let mut spec = trace::Spec::new(address("192.0.2.9"));
                    spec.shape.method = method;
                    spec.shape.router = Some(address("10.77.0.2"));
                    let machine = Trace::new(spec, Key::new([9; 16])).unwrap();
                    let (done, _) = driver.run(machine, Wish::Any).await.unwrap();
                    let first = done.samples().find_map(|sample| sample.reply.map(|reply| reply.from));
                    assert_eq!(first, Some(address("10.77.0.2")), "{method:?}");
                }
            });
        });
    }
}
