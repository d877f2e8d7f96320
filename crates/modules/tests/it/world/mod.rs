//! A world in memory that implements the measurements' context. Nothing in it sleeps: the runtime's clock is stopped,
//! and jumps to the next timer whenever all tasks wait.

mod clock;
mod pipe;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::LocalBoxFuture;
use mmn_kit::{
    ByteStream, Conditions, Context, Datagrams, Driven, Failure, Family, Lane, Measured, Measurement,
    Performed, Received, Resolution, Timestamp, Wish, code,
};
use mmn_modules::KINDS;
use mmn_probe::conditions::Interface;
use mmn_probe::machine::{Input, Output};
use mmn_probe::packet::{Departure, Identity, Probe, SendFailure};
use mmn_probe::time::{Instant, Nanos, Stamp, StampSource, Utc};
use mmn_schema::body::Body;
use mmn_schema::dispatch;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::mpsc;

pub(crate) use clock::{EPOCH_NS, run};
pub(crate) use pipe::End;

/// How long a connection takes to come about, and a name to resolve.
pub(crate) const CONNECT: Duration = Duration::from_millis(10);
pub(crate) const RESOLVE: Duration = Duration::from_millis(7);

type Listener = Rc<dyn Fn(End) -> LocalBoxFuture<'static, ()>>;
type Responder = Rc<dyn Fn(usize, &[u8]) -> Vec<Event>>;
type Echo = Rc<dyn Fn(&Probe, Instant) -> Vec<(u64, EchoEvent)>>;

/// What a scripted UDP server does after a query, and how long after.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    Reply(Duration, Vec<u8>),
    Refuse(Duration),
}

/// What comes of an echo request.
#[derive(Debug, Clone)]
pub(crate) enum EchoEvent {
    Reply {
        from: IpAddr,
        payload: Vec<u8>,
    },
    Error {
        from: IpAddr,
        kind: mmn_probe::wire::icmp::IcmpErrorKind,
        quoted: Vec<u8>,
    },
    /// The TTL ran out at a router, which adds these objects (RFC 4884).
    Expired {
        from: IpAddr,
        quoted: Vec<u8>,
        extensions: Vec<u8>,
    },
    Timestamp {
        originate: u32,
        receive: u32,
        transmit: u32,
    },
    Udp {
        from: SocketAddr,
        payload: Vec<u8>,
    },
    /// The numbers are those that a host gives back.
    Tcp {
        from: SocketAddr,
        flags: u8,
        seq: u32,
        ack: u32,
        options: &'static [u8],
    },
    /// Two recorded addresses in the reply's IPv4 header.
    Route {
        from: IpAddr,
        payload: Vec<u8>,
    },
    SendFailed(SendFailure),
    ClockStepped,
    Overrun,
}

#[derive(Default)]
pub(crate) struct World {
    names: HashMap<String, Vec<IpAddr>>,
    /// Of each address that has a name, and how long it takes to come.
    pointers: HashMap<IpAddr, (String, Duration)>,
    asked: RefCell<Vec<IpAddr>>,
    under_way: Cell<usize>,
    most_under_way: Cell<usize>,
    forbidden: Vec<IpAddr>,
    refused: Vec<SocketAddr>,
    listeners: HashMap<SocketAddr, Listener>,
    responders: HashMap<SocketAddr, Responder>,
    silent: Vec<SocketAddr>,
    echo: Option<Echo>,
    name_servers: Vec<SocketAddr>,
    random: Cell<u64>,
    deadline: Cell<Option<Instant>>,
    pace: Duration,
    held: Cell<Duration>,
    connects: RefCell<Vec<SocketAddr>>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn name(mut self, name: &str, addresses: &[&str]) -> Self {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        self.names.insert(name.to_owned(), addresses);
        self
    }

    pub(crate) fn pointer(mut self, address: IpAddr, name: &str, after: Duration) -> Self {
        self.pointers.insert(address, (name.to_owned(), after));
        self
    }

    /// The addresses whose names were asked for, in order, and how many at a time.
    pub(crate) fn asked(&self) -> (Vec<IpAddr>, usize) {
        (self.asked.borrow().clone(), self.most_under_way.get())
    }

    pub(crate) fn forbid(mut self, address: &str) -> Self {
        self.forbidden.push(address.parse().unwrap());
        self
    }

    pub(crate) fn refuse(mut self, at: &str) -> Self {
        self.refused.push(at.parse().unwrap());
        self
    }

    pub(crate) fn silence(mut self, at: &str) -> Self {
        self.silent.push(at.parse().unwrap());
        self
    }

    pub(crate) fn name_server(mut self, at: &str) -> Self {
        self.name_servers.push(at.parse().unwrap());
        self
    }

    pub(crate) fn tcp<F: Future<Output = ()> + 'static>(
        mut self,
        at: &str,
        serve: impl Fn(End) -> F + 'static,
    ) -> Self {
        let listener: Listener = Rc::new(move |end| serve(end).boxed_local());
        self.listeners.insert(at.parse().unwrap(), listener);
        self
    }

    /// The responder is told how many queries came before.
    pub(crate) fn udp(mut self, at: &str, respond: impl Fn(usize, &[u8]) -> Vec<Event> + 'static) -> Self {
        self.responders.insert(at.parse().unwrap(), Rc::new(respond));
        self
    }

    pub(crate) fn echo(
        mut self,
        respond: impl Fn(&Probe, Instant) -> Vec<(u64, EchoEvent)> + 'static,
    ) -> Self {
        self.echo = Some(Rc::new(respond));
        self
    }

    /// Limits that hold each connection back before its first packet.
    pub(crate) fn pace(mut self, by: Duration) -> Self {
        self.pace = by;
        self
    }

    pub(crate) fn deadline_in(self, after: Duration) -> Self {
        let at = Instant(u64::try_from(after.as_nanos()).unwrap());
        self.deadline.set(Some(at));
        self
    }

    /// Every connection that was asked for, in order.
    pub(crate) fn connects(&self) -> Vec<SocketAddr> {
        self.connects.borrow().clone()
    }

    /// Performs a kind as a module does: parameters as a client writes them, body encoded and decoded again.
    pub(crate) async fn perform<B: DeserializeOwned>(
        &self,
        kind: &str,
        params: Value,
        input: &str,
    ) -> Result<Measured<B>, Failure> {
        let measurement = prepare(kind, params)?;
        let input = dispatch::Input::Target(input.to_owned());
        let measured = measurement.run(self, &input).await?;
        let through_json = Body::from_json(measured.body.to_json().unwrap()).unwrap();
        let body = through_json.decode().unwrap();
        measured.body.decode::<B>().unwrap();
        let fields: Vec<String> = KINDS
            .iter()
            .find(|k| k.name() == kind)
            .unwrap()
            .info()
            .summary
            .into_iter()
            .map(|f| f.name)
            .collect();
        for name in measured.summary.keys() {
            assert!(fields.iter().any(|field| field == name), "{name} is a number that the kind announces");
        }
        Ok(Measured { answered: measured.answered, summary: measured.summary, body })
    }

    fn stamp(&self, source: StampSource) -> Stamp {
        Stamp { at: self.now(), utc: Utc(self.utc().unix_ns()), source }
    }
}

pub(crate) fn prepare(kind: &str, params: Value) -> Result<Box<dyn Measurement>, Failure> {
    let kind = KINDS.iter().find(|registered| registered.name() == kind).unwrap();
    kind.prepare(&Body::from_json(params).unwrap())
}

impl Context for World {
    fn now(&self) -> Instant {
        Instant(clock::elapsed_ns())
    }

    fn utc(&self) -> Timestamp {
        Timestamp::from_unix_ns(EPOCH_NS + i64::try_from(clock::elapsed_ns()).unwrap())
    }

    fn deadline(&self) -> Instant {
        self.deadline.get().unwrap_or(Instant(3_600_000_000_000))
    }

    fn held(&self) -> Nanos {
        self.held.get().into()
    }

    fn sleep_until(&self, instant: Instant) -> LocalBoxFuture<'_, ()> {
        let left = Duration::from_nanos(instant.saturating_since(self.now()).0);
        tokio::time::sleep(left).boxed_local()
    }

    fn random(&self, bytes: &mut [u8]) {
        // SplitMix64: seeded, and different each time.
        for byte in bytes {
            self.random.set(self.random.get().wrapping_add(0x9e37_79b9_7f4a_7c15));
            let mut z = self.random.get();
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            *byte = (z >> 56) as u8;
        }
    }

    fn resolve<'a>(
        &'a self,
        host: &'a str,
        family: Family,
    ) -> LocalBoxFuture<'a, Result<Resolution, Failure>> {
        async move {
            let bare = host.trim_start_matches('[').trim_end_matches(']');
            let (addresses, took_ns) = if let Ok(address) = bare.parse::<IpAddr>() {
                (vec![address], None)
            } else {
                tokio::time::sleep(RESOLVE).await;
                let known = self.names.get(host).cloned();
                let unknown = || Failure::failed(code::UNRESOLVABLE, format!("{host}: NXDOMAIN"));
                (known.ok_or_else(unknown)?, Some(u64::try_from(RESOLVE.as_nanos()).unwrap()))
            };
            let mut addresses: Vec<IpAddr> =
                addresses.into_iter().filter(|address| family.holds(*address)).collect();
            if addresses.is_empty() {
                return Err(Failure::failed(code::ADDRESS_FAMILY, "none of the family"));
            }
            addresses.retain(|address| self.check(*address).is_ok());
            if addresses.is_empty() {
                return Err(Failure::refused(code::POLICY, format!("{host} is not allowed here")));
            }
            Ok(Resolution { addresses, took_ns })
        }
        .boxed_local()
    }

    fn pace(&self, to: IpAddr, _: u64, _: u64) -> LocalBoxFuture<'_, Result<(), Failure>> {
        async move { self.check(to) }.boxed_local()
    }

    fn name_of(&self, address: IpAddr, _: Instant) -> LocalBoxFuture<'_, Option<String>> {
        async move {
            self.asked.borrow_mut().push(address);
            self.under_way.set(self.under_way.get() + 1);
            self.most_under_way.set(self.most_under_way.get().max(self.under_way.get()));
            let (name, after) = self.pointers.get(&address).cloned().unzip();
            tokio::time::sleep(after.unwrap_or(RESOLVE)).await;
            self.under_way.set(self.under_way.get() - 1);
            name
        }
        .boxed_local()
    }

    fn check(&self, address: IpAddr) -> Result<(), Failure> {
        let forbidden = self.forbidden.contains(&address);
        if forbidden {
            Err(Failure::refused(code::POLICY, format!("{address} is not allowed here")))
        } else {
            Ok(())
        }
    }

    fn connect(&self, to: SocketAddr) -> LocalBoxFuture<'_, Result<Box<dyn ByteStream>, Failure>> {
        async move {
            self.check(to.ip())?;
            self.connects.borrow_mut().push(to);
            tokio::time::sleep(self.pace).await;
            self.held.set(self.held.get() + self.pace);
            tokio::time::sleep(CONNECT).await;
            if self.silent.contains(&to) {
                std::future::pending::<()>().await;
            }
            let refused =
                || Failure::failed(code::CONNECTION_REFUSED, format!("{to} refused the connection"));
            let listener =
                self.listeners.get(&to).filter(|_| !self.refused.contains(&to)).ok_or_else(refused)?;
            let (near, far) = pipe::pair();
            tokio::task::spawn_local(listener(far));
            Ok(Box::new(near) as Box<dyn ByteStream>)
        }
        .boxed_local()
    }

    fn datagrams(&self, to: SocketAddr) -> Result<Box<dyn Datagrams>, Failure> {
        self.check(to.ip())?;
        let (sender, receiver) = mpsc::unbounded_channel();
        Ok(Box::new(Socket {
            world_stamp: Box::new(|source| World::new().stamp(source)),
            responder: self.responders.get(&to).cloned(),
            queries: Cell::new(0),
            sender,
            receiver: RefCell::new(receiver),
        }))
    }

    fn drive(
        &self,
        _: IpAddr,
        mut machine: Box<dyn Driven>,
        _: Wish,
    ) -> LocalBoxFuture<'_, Result<Performed, Failure>> {
        async move {
            let respond = self.echo.clone().expect("the test says what comes of echo requests");
            let mut coming: Vec<(Instant, u32, EchoEvent)> = Vec::new();
            loop {
                let now = self.now();
                let due: Vec<_> = coming.extract_if(.., |(at, ..)| *at <= now).collect();
                for (_, probe, event) in due {
                    deliver(machine.as_mut(), self.stamp(StampSource::Kernel), probe, &event);
                }
                let wake = match machine.poll(now) {
                    Output::Done => return Ok(Performed { machine, conditions: CONDITIONS }),
                    Output::Send(probe) => {
                        let events = respond(&probe, now);
                        let fails = events.iter().any(|(_, event)| matches!(event, EchoEvent::SendFailed(_)));
                        if !fails {
                            let stamp = self.stamp(StampSource::User);
                            let departure = departure(&probe);
                            machine.handle(now, Input::Sent { probe: probe.id, stamp, departure });
                        }
                        let later = |ms: u64| now + mmn_probe::time::Nanos::from_millis(ms);
                        coming.extend(events.into_iter().map(|(ms, event)| (later(ms), probe.id.0, event)));
                        continue;
                    }
                    Output::WaitUntil(at) => Some(at),
                    Output::Wait => None,
                };
                let next =
                    coming.iter().map(|(at, ..)| *at).chain(wake).min().expect("something to wait for");
                self.sleep_until(next).await;
            }
        }
        .boxed_local()
    }

    fn interface_of(&self, source: IpAddr) -> Option<Interface> {
        let mut name = [0; 16];
        name[..4].copy_from_slice(b"sim0");
        (source == IpAddr::from([192, 0, 2, 200])).then_some(Interface { name, mtu: 1_500 })
    }

    fn name_servers(&self) -> Vec<SocketAddr> {
        self.name_servers.clone()
    }
}

const CONDITIONS: Conditions = Conditions {
    lane: Lane::Simulated,
    sent_by: StampSource::User,
    received_by: StampSource::Kernel,
    rtt_error_ns: None,
    clock: None,
    interface: None,
};

/// How the world sends a probe: the selector that it asks for, or its flow's; the tag is its number and one.
pub(crate) fn departure(probe: &Probe) -> Departure {
    let selector = probe.flow.selector.unwrap_or(1_000 + probe.flow.number);
    let identity = Identity { selector, tag: u16::try_from(probe.id.0 + 1).unwrap() };
    let source = Some(IpAddr::from([192, 0, 2, 200]));
    Departure { source, identity, ip_id: Some(identity.tag), bytes: 84 }
}

fn deliver(machine: &mut dyn Driven, stamp: Stamp, probe: u32, event: &EchoEvent) {
    use mmn_probe::packet::{Message, Packet, ProbeId, Quote, Report, Segment, Ttl};
    const TARGET: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const ROUTE: [u8; 12] = [7, 11, 12, 198, 51, 100, 1, 198, 51, 100, 2, 0];
    let probe = ProbeId(probe);
    let packet = |from: IpAddr, bytes: usize, message| {
        let (ttl, tos, ip_id) = (Some(Ttl(57)), Some(0), Some(77));
        Input::Packet(Packet {
            probe,
            from,
            stamp,
            ttl,
            tos,
            ip_id,
            fragment_id: None,
            ip_options: &[],
            bytes,
            message,
        })
    };
    let input = match event {
        EchoEvent::Reply { from, payload } => {
            packet(*from, payload.len() + 8, Message::EchoReply { payload })
        }
        EchoEvent::Error { from, kind, quoted } => {
            let quote = Quote { payload: quoted, ..Quote::default() };
            let report = Report { kind: *kind, icmp_type: 0, code: 0, quote, extensions: &[] };
            packet(*from, 36, Message::Error(report))
        }
        &EchoEvent::Timestamp { originate, receive, transmit } => {
            packet(TARGET, 20, Message::TimestampReply { originate, receive, transmit })
        }
        EchoEvent::Udp { from, payload } => {
            packet(from.ip(), payload.len() + 8, Message::Udp { source_port: from.port(), payload })
        }
        &EchoEvent::Tcp { from, flags, seq, ack, options } => {
            let (seq, ack, window) = (Some(seq), Some(ack), Some(1_024));
            let segment =
                Segment { source_port: from.port(), flags, seq, ack, window, options, payload: &[] };
            packet(from.ip(), 20 + options.len(), Message::Tcp(segment))
        }
        EchoEvent::Route { from, payload } => {
            let Input::Packet(packet) = packet(*from, payload.len() + 8, Message::EchoReply { payload })
            else {
                unreachable!()
            };
            Input::Packet(Packet { ip_options: &ROUTE, ..packet })
        }
        EchoEvent::Overrun => Input::Overrun,
        EchoEvent::Expired { from, quoted, extensions } => {
            let quote = Quote { ttl: Some(Ttl(1)), payload: quoted, ..Quote::default() };
            let kind = mmn_probe::wire::icmp::IcmpErrorKind::TtlExceeded;
            let report = Report { kind, icmp_type: 11, code: 0, quote, extensions };
            packet(*from, 36, Message::Error(report))
        }
        EchoEvent::SendFailed(reason) => Input::SendFailed { probe, reason: *reason },
        EchoEvent::ClockStepped => Input::ClockStepped,
    };
    machine.handle(stamp.at, input);
}

struct Socket {
    world_stamp: Box<dyn Fn(StampSource) -> Stamp>,
    responder: Option<Responder>,
    queries: Cell<usize>,
    sender: mpsc::UnboundedSender<Result<Vec<u8>, Failure>>,
    receiver: RefCell<mpsc::UnboundedReceiver<Result<Vec<u8>, Failure>>>,
}

impl Datagrams for Socket {
    fn send<'a>(&'a self, datagram: &'a [u8]) -> LocalBoxFuture<'a, Result<Stamp, Failure>> {
        async move {
            let number = self.queries.replace(self.queries.get() + 1);
            let events = self.responder.as_ref().map(|respond| respond(number, datagram)).unwrap_or_default();
            for event in events {
                let sender = self.sender.clone();
                tokio::task::spawn_local(async move {
                    let (after, what) = match event {
                        Event::Reply(after, bytes) => (after, Ok(bytes)),
                        Event::Refuse(after) => {
                            (after, Err(Failure::failed(code::CONNECTION_REFUSED, "port unreachable")))
                        }
                    };
                    tokio::time::sleep(after).await;
                    let _ = sender.send(what);
                });
            }
            Ok((self.world_stamp)(StampSource::User))
        }
        .boxed_local()
    }

    #[expect(clippy::await_holding_refcell_ref, reason = "a socket has one reader")]
    fn receive<'a>(&'a self, buffer: &'a mut [u8]) -> LocalBoxFuture<'a, Result<Received, Failure>> {
        async move {
            let bytes = self.receiver.borrow_mut().recv().await.expect("the sender lives here")?;
            let length = bytes.len().min(buffer.len());
            buffer[..length].copy_from_slice(&bytes[..length]);
            Ok(Received { bytes: bytes.len(), stamp: (self.world_stamp)(StampSource::Kernel) })
        }
        .boxed_local()
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(SocketAddr::from(([192, 0, 2, 200], 40_000)))
    }
}
