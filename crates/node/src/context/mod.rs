//! The world as tasks see it: sockets that obey the site, its resolver, time and chance.
//!
//! A [`Site`] is shared by all tasks of a process; a [`TaskContext`] is one task's view of it, with its deadline.
//! Every address passes the site's policy here, and every packet waits here until the limits let it go. The system's
//! own name servers are the one exception to the policy: the site chose them. Their packets count all the same.

mod errors;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod resolv_conf;
mod resolve;
mod stub;
mod tcp;
mod turns;
mod udp;

pub(crate) use resolve::has_route;

use std::cell::{Cell, OnceCell, RefCell};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use futures::FutureExt;
use mmn_kit::{
    ByteStream, Context, Datagrams, Driven, Failure, Family, LocalBoxFuture, Performed, Resolution,
    Timestamp, Wish, code,
};
use mmn_probe::conditions::{self, Interface};
use mmn_probe::time::{Instant, Nanos};

use crate::clock;
use crate::module::settings::{Endowment, Gift, NoSockets, Settings};
use crate::net::bulk::{Detour, Lane, PacketSockets};
use crate::net::carrier::Carrier;
use crate::net::driver::{Config, DriveError, Driver};
use crate::net::icmp::IdRange;
use crate::net::interfaces::Interfaces;
use crate::net::network::Network;
use crate::net::page::{Limits, Page, PageError};
use crate::policy::Policy;

use self::turns::Turns;

/// What all tasks of a process share.
#[derive(Debug)]
pub(crate) struct Site {
    policy: RefCell<Rc<Policy>>,
    page: Arc<Page>,
    /// Who waits for its limits, but for what the driver has.
    turns: Turns,
    /// There once there are sockets.
    driver: OnceCell<Driver>,
    no_sockets: Option<NoSockets>,
    /// Whether any of the node's sockets is in use: not only those that every process may open.
    has_sockets: Cell<bool>,
    /// Whether those that every process may open are in use, of IPv4 and of IPv6.
    has_ordinary: Cell<[bool; 2]>,
    network: Network,
    interfaces: Interfaces,
    /// Source ports for sockets of this process's own.
    ports: Option<IdRange>,
    /// What probes leave by that name a router.
    detour: RefCell<Option<Arc<Mutex<Detour>>>>,
}

/// Why a process has no site.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SiteError {
    #[error("the page of limits")]
    Page(#[from] PageError),
    #[error("a socket that was passed")]
    Socket(#[source] io::Error),
}

impl Site {
    /// Takes what the node gave. Without a page, as in a test, the process has limits of its own.
    pub(crate) fn new(mut endowment: Endowment) -> Result<Self, SiteError> {
        let gifts = endowment.take_gifts();
        let Endowment { settings, page, ports, network, .. } = endowment;
        let page = match page {
            Some(page) => Page::open(page)?,
            None => Page::create(limits(&settings.policy), rand::random())?,
        };
        let site = Self {
            policy: RefCell::new(Rc::new(settings.policy)),
            page: Arc::new(page),
            turns: Turns::default(),
            driver: OnceCell::new(),
            no_sockets: settings.no_sockets,
            has_sockets: Cell::new(false),
            has_ordinary: Cell::default(),
            interfaces: Interfaces::new(network.clone()),
            network,
            ports,
            detour: RefCell::default(),
        };
        site.add_sockets(gifts).map_err(SiteError::Socket)?;
        Ok(site)
    }

    /// A site that is this host alone, for self-tests: nothing leaves the host, and nothing counts.
    pub(crate) fn loopback(gifts: Vec<Gift>, ports: Option<IdRange>) -> Result<Self, SiteError> {
        let policy = Policy { max_pps: 1_000_000, max_pps_per_target: 1_000_000, ..Policy::loopback_alone() };
        let settings = Settings { policy, ..Settings::default() };
        let site = Self::new(Endowment { settings, ports, ..Endowment::default() })?;
        site.add_sockets(gifts).map_err(SiteError::Socket)?;
        Ok(site)
    }

    /// Takes sockets over; with the first of them machines can be driven. Must be called within a runtime.
    pub(crate) fn add_sockets(&self, gifts: Vec<Gift>) -> io::Result<()> {
        let whole = gifts.iter().any(Gift::is_whole);
        let carriers =
            gifts.into_iter().map(|gift| self.carriers_of(gift)).collect::<io::Result<Vec<_>>>()?;
        if carriers.is_empty() {
            return Ok(());
        }
        self.has_sockets.set(self.has_sockets.get() || whole);
        let driver = if let Some(driver) = self.driver.get() {
            driver.clone()
        } else {
            let driver = Driver::new(Arc::clone(&self.page), Config::default())?;
            // It was empty a line before, and nobody else has this thread.
            let _ = self.driver.set(driver.clone());
            self.allow_detour();
            driver
        };
        carriers.into_iter().flatten().try_for_each(|carrier| driver.add_carrier(carrier))
    }

    /// What carries packets by a gift; the same sockets are not opened twice.
    fn carriers_of(&self, gift: Gift) -> io::Result<Vec<Box<dyn Carrier>>> {
        let [v4, v6] = self.has_ordinary.get();
        let (has, with) = if gift.v6() { (v6, [v4, true]) } else { (v4, [true, v6]) };
        let opens = gift.opens_ordinary();
        let carriers = gift.carriers(&self.network, self.ports.filter(|_| !has))?;
        if opens {
            self.has_ordinary.set(with);
        }
        Ok(carriers)
    }

    /// Source ports for sockets of this process's own.
    pub(crate) const fn ports(&self) -> Option<IdRange> {
        self.ports
    }

    /// What drives machines here, once there are sockets.
    pub(crate) fn driver(&self) -> Option<&Driver> {
        self.driver.get()
    }

    /// Where its sockets are.
    pub(crate) const fn network(&self) -> &Network {
        &self.network
    }

    /// The interface that has an address.
    pub(crate) fn interface_of(&self, address: IpAddr) -> Option<Interface> {
        self.interfaces.of(address, clock::monotonic())
    }

    /// One task's view.
    pub(crate) fn context(self: &Rc<Self>, deadline: Instant) -> TaskContext {
        TaskContext { site: Rc::clone(self), deadline, held: Held::default(), declined: false }
    }

    /// The view of a task that the bulk lane has declined: whatever it wished, another lane takes it.
    pub(crate) fn context_of_declined(self: &Rc<Self>, deadline: Instant) -> TaskContext {
        TaskContext { declined: true, ..self.context(deadline) }
    }

    /// A bulk lane over these sockets, which probes that name a router leave by, too. Must be called within a runtime.
    pub(crate) fn bulk(&self, sockets: PacketSockets) -> io::Result<Lane> {
        *self.detour.borrow_mut() = Some(Arc::new(Mutex::new(Detour::new(&sockets)?)));
        self.allow_detour();
        Lane::new(sockets, Arc::clone(&self.page), rand::random())
    }

    /// The site's policy as it is now.
    pub(crate) fn policy(&self) -> Rc<Policy> {
        Rc::clone(&self.policy.borrow())
    }

    /// The site has changed its mind. It holds for every packet from now on.
    pub(crate) fn set_policy(&self, policy: Policy) {
        *self.policy.borrow_mut() = Rc::new(policy);
        self.allow_detour();
    }

    /// Probes may leave by routers that they name where the policy allows packet sockets, and there are some.
    fn allow_detour(&self) {
        let allowed = self.policy.borrow().allow_packet_sockets;
        if let Some(driver) = self.driver.get() {
            driver.set_detour(self.detour.borrow().clone().filter(|_| allowed));
        }
    }

    /// Why the node gave no sockets; absent when it did. Machines that need none of them can be driven all the same.
    pub(crate) fn no_sockets(&self) -> Option<NoSockets> {
        match (self.has_sockets.get(), &self.no_sockets) {
            (true, _) => None,
            (false, Some(missing)) => Some(missing.clone()),
            (false, None) => {
                Some(NoSockets { what: "the module was given no sockets".to_owned(), command: None })
            }
        }
    }

    fn check(&self, address: IpAddr) -> Result<(), Failure> {
        self.policy.borrow().judge(address).map_err(|refusal| Failure::refused(code::POLICY, refusal))
    }

    /// Waits until the limits let packets go to `target`.
    async fn pace(&self, target: IpAddr, packets: u64, bytes: u64, deadline: Instant) -> Result<(), Failure> {
        let (page, cap) = (&self.page, Some(self.page.cap_of(target)));
        self.turns.wait(page, cap, deadline, |now| page.take(now, target, packets, bytes)).await
    }

    /// The same for the system's name servers, which are nobody's target.
    async fn pace_resolver(&self, packets: u64, bytes: u64, deadline: Instant) -> Result<(), Failure> {
        let page = &self.page;
        self.turns.wait(page, None, deadline, |now| page.take_for_site(now, packets, bytes)).await
    }
}

/// The limits of a policy as the page has them.
pub(crate) fn limits(policy: &Policy) -> Limits {
    Limits {
        packets_per_s: policy.max_pps,
        bits_per_s: policy.max_bps.0,
        target_packets_per_s: policy.max_pps_per_target,
    }
}

/// Why what is driven by itself is not for the bulk lane.
const BULK: &str = "the bulk lane takes one plain ICMP echo request to each target (a ping with count = 1), and nothing else";

/// What it means for a task that its machine was not driven.
pub(crate) fn not_driven(error: DriveError) -> Failure {
    match error {
        DriveError::Full(_) => Failure::refused(code::SATURATED, error),
        // Whatever it asks for, it is more than the lane ever does: no privilege would help.
        DriveError::NoLane(conditions::Lane::Bulk) => Failure::refused(code::PARAMETERS, BULK),
        DriveError::NoTime { .. } => Failure::refused(code::LIMITS, error),
        DriveError::NoLane(_) => Failure::failed(code::UNPRIVILEGED, error),
        _ => Failure::failed(code::INTERNAL, error),
    }
}

/// Nanoseconds for which the limits have held one task back.
type Held = Rc<Cell<u64>>;

fn add(held: &Held, since: Instant) {
    held.set(held.get() + clock::monotonic().saturating_since(since).0);
}

/// One task's view of the site.
#[derive(Debug)]
pub(crate) struct TaskContext {
    site: Rc<Site>,
    deadline: Instant,
    held: Held,
    declined: bool,
}

impl Context for TaskContext {
    fn now(&self) -> Instant {
        clock::monotonic()
    }

    fn utc(&self) -> Timestamp {
        Timestamp::from_unix_ns(clock::wall().0)
    }

    fn deadline(&self) -> Instant {
        self.deadline
    }

    fn held(&self) -> Nanos {
        Nanos(self.held.get())
    }

    fn sleep_until(&self, instant: Instant) -> LocalBoxFuture<'_, ()> {
        let remaining = instant.saturating_since(clock::monotonic());
        tokio::time::sleep(remaining.into()).boxed_local()
    }

    fn random(&self, bytes: &mut [u8]) {
        rand::fill(bytes);
    }

    fn resolve<'a>(
        &'a self,
        host: &'a str,
        family: Family,
    ) -> LocalBoxFuture<'a, Result<Resolution, Failure>> {
        resolve::resolve(&self.site, self.deadline, host, family).boxed_local()
    }

    fn name_of(&self, address: IpAddr, until: Instant) -> LocalBoxFuture<'_, Option<String>> {
        resolve::name_of(&self.site, address, until.min(self.deadline)).boxed_local()
    }

    fn check(&self, address: IpAddr) -> Result<(), Failure> {
        self.site.check(address)
    }

    fn pace(&self, to: IpAddr, packets: u64, bytes: u64) -> LocalBoxFuture<'_, Result<(), Failure>> {
        async move {
            self.site.check(to)?;
            let since = clock::monotonic();
            let paced = self.site.pace(to, packets, bytes, self.deadline).await;
            add(&self.held, since);
            paced
        }
        .boxed_local()
    }

    fn connect(&self, to: SocketAddr) -> LocalBoxFuture<'_, Result<Box<dyn ByteStream>, Failure>> {
        async move {
            self.site.check(to.ip())?;
            let stream =
                tcp::connect(Rc::clone(&self.site), to, self.deadline, Rc::clone(&self.held)).await?;
            Ok(Box::new(stream) as Box<dyn ByteStream>)
        }
        .boxed_local()
    }

    fn datagrams(&self, to: SocketAddr) -> Result<Box<dyn Datagrams>, Failure> {
        // The system's name servers are the site's own choice.
        if !(to.port() == 53 && self.name_servers().contains(&to)) {
            self.site.check(to.ip())?;
        }
        Ok(Box::new(udp::Peer::open(Rc::clone(&self.site), to, self.deadline, Rc::clone(&self.held))?))
    }

    fn drive(
        &self,
        target: IpAddr,
        machine: Box<dyn Driven>,
        wish: Wish,
    ) -> LocalBoxFuture<'_, Result<Performed, Failure>> {
        async move {
            self.site.check(target)?;
            let Some(driver) = self.site.driver.get() else {
                let missing = self.site.no_sockets().map_or_else(String::new, |missing| missing.what);
                return Err(Failure::failed(code::UNPRIVILEGED, missing));
            };
            driver.has_time(target, self.deadline).map_err(not_driven)?;
            let wish = match wish {
                Wish::Only(conditions::Lane::Bulk) if self.declined => Wish::Any,
                wish => wish,
            };
            let run = driver.start_boxed(machine, wish);
            let done = match run {
                Ok(run) => run.await,
                Err(error) => Err(error),
            };
            match done {
                Ok((machine, conditions)) => Ok(Performed { machine, conditions }),
                Err(error) => Err(not_driven(error)),
            }
        }
        .boxed_local()
    }

    fn interface_of(&self, address: IpAddr) -> Option<Interface> {
        self.site.interface_of(address)
    }

    fn name_servers(&self) -> Vec<SocketAddr> {
        resolv_conf::of(&self.site.network).servers
    }

    fn authority(&self) -> Option<&str> {
        self.site.network.authority()
    }
}
