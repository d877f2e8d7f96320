//! The network that a vantage point is in: where its sockets are opened, and what it says of itself.
//!
//! Whoever opens a socket to measure by asks a [`Network`] for it. Usually that is this process's own. That of a lab's
//! vantage point is another, which this process need not be allowed to enter: the lab's process opens the socket there, and
//! passes it ([`Lab`]). Once it is open a socket is the same everywhere.
//!
//! To ask a lab takes some ten microseconds, in which the caller waits: what sends many packets opens its sockets once.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use mmn_lab::{
    host::{
        Client, ClientError,
        message::{About, Family, Refusal, SocketAsk, SocketKind},
    },
    ids::VpId,
    namespaces::INTERFACE,
    plan::Plan,
};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;

use super::{
    simulated::{Universe, names},
    sys,
};

/// A network that a vantage point is in.
#[derive(Clone, Debug, Default)]
pub enum Network {
    /// This process's own.
    #[default]
    Own,
    /// A vantage point's in a lab of network namespaces.
    Lab(Inside),
    /// A vantage point's in a world within this process, which has no sockets.
    Universe(Universe, VpId),
}

/// A lab whose process opens sockets for this one.
#[derive(Clone, Debug)]
pub struct Lab {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    client: Mutex<Client>,
    about: About,
    plan: Arc<Plan>,
    /// The recursive servers of the plan.
    name_servers: Vec<SocketAddr>,
    /// The certificate of the authority of its web servers, in PEM.
    authority: Option<String>,
}

/// A vantage point of a lab.
#[derive(Clone, Debug)]
pub struct Inside {
    lab: Lab,
    vp: VpId,
}

impl Network {
    /// Opens a socket there. It blocks, and closes on `exec`.
    pub fn socket(&self, domain: Domain, kind: Type, protocol: Option<Protocol>) -> io::Result<Socket> {
        match self {
            Self::Own => Socket::new(domain, kind, protocol),
            Self::Lab(inside) => inside.socket(domain, kind, protocol),
            Self::Universe(..) => Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "a world within the process has no sockets; one in network namespaces has",
            )),
        }
    }

    /// Whether it is this process's own.
    pub const fn is_own(&self) -> bool {
        matches!(self, Self::Own)
    }

    /// The addresses of the vantage point, where it is one of a simulated world.
    pub fn addresses(&self) -> Option<Vec<IpAddr>> {
        match self {
            Self::Own => None,
            Self::Lab(Inside { lab, vp }) => {
                let has_v6 = lab.shared.about.has_ipv6;
                let addresses = names::addresses(&lab.shared.plan, *vp);
                Some(addresses.filter(|address| has_v6 || address.is_ipv4()).collect())
            }
            Self::Universe(universe, vp) => Some(universe.addresses(*vp)),
        }
    }

    /// The name of the interface that has the addresses of the vantage point, where it is one of a lab.
    pub(super) const fn interface(&self) -> Option<&'static str> {
        match self {
            Self::Lab(_) => Some(INTERFACE),
            Self::Own | Self::Universe(..) => None,
        }
    }

    /// What a simulated world answers for a name without asking anybody; nothing where that is to be asked elsewhere.
    pub(crate) fn resolve(&self, name: &str) -> Option<Vec<IpAddr>> {
        match self {
            Self::Own => None,
            Self::Lab(inside) => {
                let Shared { plan, name_servers, .. } = &*inside.lab.shared;
                match names::of_nodes(plan, name) {
                    Some(addresses) => Some(addresses),
                    None if name_servers.is_empty() => Some(names::resolve(plan, name)),
                    None => None,
                }
            }
            Self::Universe(universe, _) => Some(universe.resolve(name)),
        }
    }

    /// What a simulated world answers for the PTR records of a name without asking anybody; nothing where that is to be asked
    /// elsewhere.
    pub(crate) fn pointers(&self, reverse: &str) -> Option<Vec<String>> {
        match self {
            Self::Own => None,
            Self::Lab(inside) => {
                let Shared { plan, name_servers, .. } = &*inside.lab.shared;
                name_servers.is_empty().then(|| names::pointers(plan, reverse))
            }
            Self::Universe(universe, _) => Some(names::pointers(universe.plan(), reverse)),
        }
    }

    /// The name servers of a simulated world; nothing where the system's are meant.
    pub(crate) fn name_servers(&self) -> Option<Vec<SocketAddr>> {
        match self {
            Self::Own => None,
            Self::Lab(inside) => Some(inside.lab.shared.name_servers.clone()),
            Self::Universe(universe, _) => Some(names::servers(universe.plan())),
        }
    }

    /// The certificate that it trusts besides, in PEM.
    pub(crate) fn authority(&self) -> Option<&str> {
        match self {
            Self::Lab(inside) => inside.lab.shared.authority.as_deref(),
            Self::Own | Self::Universe(..) => None,
        }
    }
}

impl Lab {
    /// Connects to the lab of `plan` that runs in a directory.
    pub fn connect(dir: &Path, plan: Arc<Plan>) -> Result<Self, ClientError> {
        let mut client = Client::connect(dir)?;
        let about = client.about()?;
        let authority = about.authority.as_ref().map(std::fs::read_to_string).transpose()?;
        let name_servers = names::servers(&plan);
        let shared = Shared { client: Mutex::new(client), about, plan, name_servers, authority };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The network of one of its vantage points.
    pub fn network(&self, vp: VpId) -> Network {
        Network::Lab(Inside { lab: self.clone(), vp })
    }

    /// Waits until it has ended. Must be called within a runtime.
    pub async fn ended(dir: &Path) -> io::Result<()> {
        let client = Client::connect(dir).map_err(system)?;
        let watched = sys::watch(client.into_socket(), Interest::READABLE)?;
        // Nothing comes that was not asked for: it is the end.
        watched.readable().await.map(drop)
    }
}

impl Inside {
    fn socket(&self, domain: Domain, kind: Type, protocol: Option<Protocol>) -> io::Result<Socket> {
        let Shared { client, plan, .. } = &*self.lab.shared;
        let unknown = || io::Error::from(io::ErrorKind::Unsupported);
        let vp = plan.vps.at(self.vp).and_then(|vp| plan.nodes.at(vp.node)).ok_or_else(unknown)?;
        let ask = SocketAsk {
            vp: vp.name.to_string(),
            family: match domain {
                Domain::IPV4 => Family::Inet,
                Domain::IPV6 => Family::Inet6,
                _ => return Err(unknown()),
            },
            kind: match kind {
                Type::STREAM => SocketKind::Stream,
                Type::DGRAM => SocketKind::Datagram,
                Type::RAW => SocketKind::Raw,
                _ => return Err(unknown()),
            },
            protocol: protocol
                .map_or(Ok(0), |protocol| i32::from(protocol).try_into())
                .map_err(|_| unknown())?,
        };
        let mut client = client.lock().unwrap_or_else(PoisonError::into_inner);
        client.socket(&ask).map(Socket::from).map_err(system)
    }
}

/// The system's own error, where that is what it was.
fn system(error: ClientError) -> io::Error {
    match error {
        ClientError::Refused(Refusal::System { errno, .. }) => io::Error::from_raw_os_error(errno),
        ClientError::System(error) => error,
        other => io::Error::other(other),
    }
}
