//! The servers of all hosts, over the kernel's TCP: in a network of their own they listen at each port for every inner
//! address, which says whose server is meant ([`super::inner`]). What they say is [`crate::service`]'s.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use mmn_probe::time::{Instant, Nanos};
use rustc_hash::FxHashMap;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use super::inner::Inner;
use crate::clock;
use crate::ids::HostId;
use crate::plan::Plan;
use crate::service::{Ending, Services};

/// The most connections at once; one more waits to be accepted.
const MOST_CONNECTIONS: usize = 4_096;
/// The longest head of a request.
const MOST_HEAD: usize = 16 * 1024;
/// For how long a connection may be silent.
const PATIENCE: Duration = Duration::from_secs(60);
/// In which steps what is to be slow is sent.
const STEP: Duration = Duration::from_millis(10);

const DNS: u16 = 53;
const HTTPS: u16 = 443;

/// The servers of a plan.
#[derive(Debug)]
pub(crate) struct Servers {
    pub(crate) plan: Arc<Plan>,
    pub(crate) start: Instant,
    pub(crate) inner: Arc<Inner>,
    /// The configurations of TLS.
    pub(crate) certified: FxHashMap<HostId, Arc<ServerConfig>>,
}

/// The ports at which servers of a plan listen.
pub(crate) fn ports(plan: &Plan) -> Vec<u16> {
    let mut ports: Vec<_> =
        plan.nodes.iter().flat_map(|node| node.manners.ports.service_tcp.iter().copied()).collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}

impl Servers {
    /// Serves for ever, in the network that the calling thread is in. `ready` is told once all listen, or why not.
    pub(crate) fn run(self, ready: &std::sync::mpsc::SyncSender<io::Result<()>>) {
        let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => return drop(ready.send(Err(error))),
        };
        runtime.block_on(async move {
            match listen(&ports(&self.plan)).await {
                Err(error) => drop(ready.send(Err(error))),
                Ok(listeners) => {
                    let _ = ready.send(Ok(()));
                    Rc::new(self.with_services()).serve(listeners).await;
                }
            }
        });
    }

    fn with_services(self) -> Running {
        let services = Services::new(self.plan.clone(), self.start).into();
        Running { servers: self, services }
    }
}

struct Running {
    servers: Servers,
    services: std::cell::RefCell<Services>,
}

/// At every address of both versions; without IPv6 where the kernel has none.
async fn listen(ports: &[u16]) -> io::Result<Vec<TcpListener>> {
    let mut listeners = Vec::new();
    for &port in ports {
        listeners.push(TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await?);
        let six = tokio::net::TcpSocket::new_v6();
        if let Ok(six) = six {
            rustix::net::sockopt::set_ipv6_v6only(&six, true)?;
            six.bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)))?;
            listeners.push(six.listen(1_024)?);
        }
    }
    Ok(listeners)
}

impl Running {
    async fn serve(self: Rc<Self>, listeners: Vec<TcpListener>) {
        let room = Arc::new(Semaphore::new(MOST_CONNECTIONS));
        let (alive, mut ended) = mpsc::channel::<()>(1);
        for listener in listeners {
            let (this, room, alive) = (self.clone(), room.clone(), alive.clone());
            tokio::task::spawn_local(async move {
                let _alive = alive;
                while let Ok(place) = room.clone().acquire_owned().await {
                    let Ok((stream, _)) = listener.accept().await else { continue };
                    let this = this.clone();
                    tokio::task::spawn_local(async move {
                        // A connection that fails is its peer's concern.
                        let _ = this.meet(stream).await;
                        drop(place);
                    });
                }
            });
        }
        drop(alive);
        // They accept for ever.
        ended.recv().await;
    }

    async fn meet(&self, stream: TcpStream) -> io::Result<()> {
        let local = stream.local_addr()?;
        let Some(host) = self.servers.inner.host_of(plain(local.ip())) else { return Ok(()) };
        stream.set_nodelay(true)?;
        match local.port() {
            DNS => self.dns(stream, host).await,
            HTTPS => {
                let Some(config) = self.servers.certified.get(&host) else { return Ok(()) };
                let accepting = TlsAcceptor::from(config.clone()).accept(stream);
                let mut stream = timeout(PATIENCE, accepting).await??;
                match self.http(&mut stream, host, true).await? {
                    Ending::Reset => reset(stream.get_ref().0),
                    Ending::Stuck => std::future::pending().await,
                    _ => stream.shutdown().await,
                }
            }
            _ => {
                let mut stream = stream;
                match self.http(&mut stream, host, false).await? {
                    Ending::Reset => reset(&stream),
                    Ending::Stuck => std::future::pending().await,
                    _ => stream.shutdown().await,
                }
            }
        }
    }

    /// Queries with their lengths before them (RFC 1035, section 4.2.2).
    async fn dns(&self, mut stream: TcpStream, host: HostId) -> io::Result<()> {
        loop {
            let mut query = vec![0; usize::from(timeout(PATIENCE, stream.read_u16()).await??)];
            timeout(PATIENCE, stream.read_exact(&mut query)).await??;
            let response = self.services.borrow_mut().dns(clock::monotonic(), host, &query, 65_535);
            let Some(response) = response else { return Ok(()) };
            pause(response.after).await;
            let length = u16::try_from(response.bytes.len()).map_err(io::Error::other)?;
            stream.write_all(&[&length.to_be_bytes()[..], &response.bytes].concat()).await?;
        }
    }

    /// Requests without content, one after the other. Answers what is to become of the connection.
    async fn http<S>(&self, stream: &mut S, host: HostId, encrypted: bool) -> io::Result<Ending>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut bytes = Vec::new();
        loop {
            let end = loop {
                if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                    break at + 4;
                }
                if bytes.len() > MOST_HEAD {
                    return Ok(Ending::Closed);
                }
                if timeout(PATIENCE, stream.read_buf(&mut bytes)).await?? == 0 {
                    return Ok(Ending::Closed);
                }
            };
            let rest = bytes.split_off(end);
            let head = std::mem::replace(&mut bytes, rest);
            let reply = self.services.borrow().http(host, encrypted, &head);
            let Some(reply) = reply else { return Ok(Ending::Closed) };
            pause(reply.wait).await;
            send(stream, &reply.bytes, reply.bits_per_s).await?;
            if reply.ending != Ending::Open {
                return Ok(reply.ending);
            }
        }
    }
}

async fn send(
    stream: &mut (impl AsyncWrite + Unpin),
    bytes: &[u8],
    bits_per_s: Option<u64>,
) -> io::Result<()> {
    let Some(rate) = bits_per_s else {
        stream.write_all(bytes).await?;
        return stream.flush().await;
    };
    let step = rate.saturating_mul(u64::try_from(STEP.as_millis()).unwrap_or(1)) / 8_000;
    for part in bytes.chunks(usize::try_from(step).unwrap_or(usize::MAX).max(1)) {
        stream.write_all(part).await?;
        stream.flush().await?;
        sleep(STEP).await;
    }
    Ok(())
}

async fn pause(time: Nanos) {
    if time > Nanos::ZERO {
        sleep(time.into()).await;
    }
}

/// The peer gets RST in place of FIN: nothing is left to send (RFC 9293, section 3.10.4).
fn reset(stream: &TcpStream) -> io::Result<()> {
    Ok(rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO))?)
}

fn plain(address: IpAddr) -> IpAddr {
    address.to_canonical()
}
