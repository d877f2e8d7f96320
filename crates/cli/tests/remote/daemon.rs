//! A daemon of scamper that does what the test says: the machines of `mmn-scamper`, the other way round.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use mmn_scamper::Command;
use mmn_scamper::control::{Request, Server};
use mmn_scamper::remote::{
    Greeted, Greeting, Heard, Magic, MonitorName, Resume, Role, Session, greet, resume,
};
use mmn_warts::Record;
use mmn_warts::records::host::{Host, Query, Rr, RrData};
use mmn_warts::records::ping::{Ping, Reply};
use mmn_warts::records::trace::{Hop, Trace};
use mmn_warts::values::{IcmpType, Micros, Time};
use rcgen::{CertifiedKey, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// Time stands still here: nothing is due.
const NOW: Duration = Duration::ZERO;

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

/// A daemon.
pub(crate) struct Daemon {
    stream: Option<Box<dyn Stream>>,
    session: Session,
    control: Server,
    channel: u32,
    commands: VecDeque<Command>,
    left: Vec<u8>,
}

fn tcp(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

impl Daemon {
    /// One that is let in.
    pub(crate) fn connect(to: SocketAddr, name: &str) -> Self {
        Self::try_connect(to, name).unwrap()
    }

    /// One that may be turned away.
    pub(crate) fn try_connect(to: SocketAddr, name: &str) -> Option<Self> {
        Self::begin(Box::new(tcp(to)), name)
    }

    /// One that trusts an authority, and shows a certificate of its own where it has one. It may be turned away.
    pub(crate) fn try_connect_tls(
        to: SocketAddr,
        name: &str,
        trusted: CertificateDer<'static>,
        shown: Option<&CertifiedKey<KeyPair>>,
    ) -> Option<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(trusted).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
        let config = config.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
        let config = match shown {
            None => config.with_no_client_auth(),
            Some(made) => {
                let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
                config.with_client_auth_cert(vec![made.cert.der().clone()], key).unwrap()
            }
        };
        let server = ServerName::try_from("localhost").unwrap();
        let tls = ClientConnection::new(Arc::new(config), server).unwrap();
        Self::begin(Box::new(StreamOwned::new(tls, tcp(to))), name)
    }

    /// One whose session nobody knows: it is told so, and begins anew.
    pub(crate) fn resume_unknown(to: SocketAddr, name: &str) -> Self {
        let mut stream: Box<dyn Stream> = Box::new(tcp(to));
        let unknown = Resume { magic: Magic::new(*b"nobodys0"), expects: 3, unacknowledged: 1, next: 2 };
        stream.write_all(&resume(&unknown)).unwrap();
        assert!(matches!(greeted(&mut stream), Some((Greeted::Rejected, _))));
        Self::begin(stream, name).unwrap()
    }

    fn begin(mut stream: Box<dyn Stream>, name: &str) -> Option<Self> {
        let magic = Magic::new(std::array::from_fn(|_| fresh()));
        stream.write_all(&greet(&magic, MonitorName::new(name).as_ref())).ok()?;
        let (Greeted::Id(_), left) = greeted(&mut stream)? else { panic!("not let in") };
        let session = Session::new(Role::Daemon, magic, NOW);
        let commands = VecDeque::new();
        Some(Self { stream: Some(stream), session, control: Server::attached(), channel: 0, commands, left })
    }

    /// The next command; it is accepted.
    pub(crate) fn command(&mut self) -> Command {
        let command = self.next();
        self.control.accept();
        self.pass_on();
        command
    }

    /// Turns the next command down.
    pub(crate) fn refuse(&mut self, why: &str) {
        self.next();
        self.control.refuse(why);
        self.pass_on();
    }

    fn next(&mut self) -> Command {
        loop {
            if let Some(command) = self.commands.pop_front() {
                return command;
            }
            self.turn();
        }
    }

    /// Sends a record.
    pub(crate) fn record(&mut self, record: &Record) {
        self.control.data(None, &record.to_octets().unwrap());
        self.pass_on();
    }

    /// Sends a record that nobody asked for, as far as it can.
    pub(crate) fn stray(&mut self) {
        while self.channel == 0 {
            self.turn();
        }
        let record = Record::from(Ping { userid: Some(4_000_000_000), ..Ping::default() });
        self.control.data(None, &record.to_octets().unwrap());
        let said = self.control.take();
        self.session.send(NOW, self.channel, &said);
        let octets = self.session.take();
        let _ = self.stream.as_mut().unwrap().write_all(&octets);
    }

    /// Reads until the other side has closed.
    pub(crate) fn is_closed(&mut self) {
        let mut chunk = [0; 4096];
        while matches!(self.stream.as_mut().unwrap().read(&mut chunk), Ok(1..)) {}
    }

    /// The connection breaks.
    pub(crate) fn cut(&mut self) {
        self.stream = None;
        self.session.broken();
    }

    /// Comes back.
    pub(crate) fn resume(&mut self, to: SocketAddr) {
        let mut stream: Box<dyn Stream> = Box::new(tcp(to));
        stream.write_all(&resume(&self.session.resume())).unwrap();
        let Some((Greeted::Ok(expects), left)) = greeted(&mut stream) else { panic!("not resumed") };
        self.session.accepted(NOW, expects).unwrap();
        self.stream = Some(stream);
        self.left = left;
        self.flush();
    }

    fn turn(&mut self) {
        self.flush();
        let mut chunk = vec![0; 65_536];
        let octets = if self.left.is_empty() {
            let count = self.stream.as_mut().unwrap().read(&mut chunk).unwrap();
            assert!(count > 0, "it has closed");
            chunk.truncate(count);
            chunk
        } else {
            std::mem::take(&mut self.left)
        };
        self.session.receive(NOW, &octets).unwrap();
        while let Some(heard) = self.session.poll() {
            match heard {
                Heard::Opened(channel) => {
                    self.channel = channel;
                    self.control.more();
                }
                Heard::Data { octets, .. } => self.asked(&octets),
                Heard::Finished(_) => {}
            }
        }
        self.pass_on();
    }

    fn asked(&mut self, mut octets: &[u8]) {
        while let Some(request) = self.control.next(&mut octets) {
            match request {
                Request::Command(line) => self.commands.push_back(Command::parse(&line).unwrap()),
                Request::Halt(_) => self.control.ok("halted"),
                other => panic!("{other:?}"),
            }
        }
    }

    fn pass_on(&mut self) {
        let said = self.control.take();
        self.session.send(NOW, self.channel, &said);
        self.flush();
    }

    fn flush(&mut self) {
        let octets = self.session.take();
        if let Some(stream) = &mut self.stream {
            stream.write_all(&octets).unwrap();
            stream.flush().unwrap();
        }
    }
}

/// What the other side begins with, and what came behind it; nothing where it has closed.
fn greeted(stream: &mut Box<dyn Stream>) -> Option<(Greeted, Vec<u8>)> {
    let mut greeting = Greeting::default();
    loop {
        let mut chunk = [0; 4096];
        let count = stream.read(&mut chunk).ok().filter(|count| *count > 0)?;
        let mut octets = &chunk[..count];
        if let Some(greeted) = greeting.receive(&mut octets).ok()? {
            return Some((greeted, octets.to_vec()));
        }
    }
}

fn fresh() -> u8 {
    use std::sync::atomic::{AtomicU8, Ordering};
    static NEXT: AtomicU8 = AtomicU8::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

const START: Time = Time { sec: 1_790_000_000, usec: 500_000 };

/// What a daemon would have found.
pub(crate) fn answer(command: &Command) -> Record {
    match command {
        Command::Ping(one) => {
            let count = one.count.unwrap_or(4);
            let reply = |probe| Reply {
                reply_ttl: Some(60),
                reply_size: Some(84),
                icmp: Some(IcmpType { kind: 0, code: 0 }),
                rtt: Some(Micros(1_500 + u32::from(probe))),
                probe_id: Some(probe),
                addr: Some(one.target.into()),
                tx: Some(START),
                ..Reply::default()
            };
            Ping {
                start: Some(START),
                stop_reason: Some(1),
                probe_count: Some(count),
                probe_size: Some(84),
                ping_sent: Some(count),
                probe_sport: Some(77),
                userid: one.user_id,
                src: Some(std::net::IpAddr::from([198, 51, 100, 7]).into()),
                dst: Some(one.target.into()),
                replies: (0..count).map(reply).collect(),
                ..Ping::default()
            }
            .into()
        }
        Command::Trace(one) => {
            let hop = |ttl: u8| {
                let last = ttl == 3;
                let from = if last { one.target } else { std::net::IpAddr::from([198, 51, 100, ttl]) };
                Hop {
                    probe_ttl: Some(ttl),
                    reply_ttl: Some(64 - ttl),
                    probe_id: Some(0),
                    rtt: Some(Micros(1_000 * u32::from(ttl))),
                    icmp: Some(IcmpType { kind: if last { 0 } else { 11 }, code: 0 }),
                    probe_size: Some(60),
                    reply_size: Some(56),
                    addr: Some(from.into()),
                    ..Hop::default()
                }
            };
            Trace {
                start: Some(START),
                stop_reason: Some(1),
                hop_count: Some(3),
                probec: Some(3),
                dst: Some(one.target.into()),
                userid: one.user_id,
                hops: (1..=3).map(hop).collect(),
                ..Trace::default()
            }
            .into()
        }
        Command::Host(one) => {
            let address = std::net::IpAddr::from([192, 0, 2, 80]);
            let record = Rr {
                class: Some(1),
                rtype: Some(1),
                name: Some("www.example.net".into()),
                ttl: Some(60),
                data: Some(RrData::Address(address.into())),
                ..Rr::default()
            };
            let query = Query {
                tx: Some(START),
                rx: Some(START.plus(9_000)),
                id: Some(99),
                rcode: Some(0),
                flags: Some(0x18),
                an: vec![record],
                ..Query::default()
            };
            Host {
                dst: Some(one.server.unwrap_or(std::net::IpAddr::from([192, 0, 2, 54])).into()),
                start: Some(START),
                stop: Some(1),
                qtype: Some(1),
                qclass: Some(1),
                qname: Some("www.example.net".into()),
                userid: one.user_id,
                queries: vec![query],
                ..Host::default()
            }
            .into()
        }
        other => panic!("{other:?}"),
    }
}
