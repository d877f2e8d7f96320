//! What a measurement gets from whoever performs it: sockets that obey the site, a resolver, time and chance.

use std::any::Any;
use std::fmt;
use std::future::ready;
use std::io;
use std::net::{IpAddr, SocketAddr};

use futures::future::LocalBoxFuture;
use futures::io::{AsyncRead, AsyncWrite};
use mmn_probe::conditions::{Conditions, Interface, Wish};
use mmn_probe::machine::Machine;
use mmn_probe::time::{Instant, Nanos, Stamp};
use mmn_schema::time::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::outcome::Failure;

/// The world as one task sees it.
///
/// Every address is checked against the site's policy and every packet paced by its limits, in here. A session kind
/// that follows a redirect or a referral resolves and connects again through the context, and so is checked again.
pub trait Context {
    /// The monotonic clock.
    fn now(&self) -> Instant;

    /// Civil time.
    fn utc(&self) -> Timestamp;

    /// When the task's time is over, on the monotonic clock.
    fn deadline(&self) -> Instant;

    /// How long the site's limits have held back what this task sends and reads itself so far: what a kind takes off the
    /// phases that it times, so that they are the network's.
    fn held(&self) -> Nanos {
        Nanos::ZERO
    }

    /// Waits until `instant`.
    fn sleep_until(&self, instant: Instant) -> LocalBoxFuture<'_, ()>;

    /// Fills `bytes` from the system's random source.
    fn random(&self, bytes: &mut [u8]);

    /// The addresses of a name (or of an address literal, brackets allowed), those that the policy refuses left out.
    /// Fails with *unresolvable*, *resolver-timeout* or *address-family*; refuses with *policy* when the policy leaves
    /// none.
    fn resolve<'a>(
        &'a self,
        host: &'a str,
        family: Family,
    ) -> LocalBoxFuture<'a, Result<Resolution, Failure>>;

    /// The name that the DNS has for an address (its PTR record), without the final dot, in presentation format (RFC 1035,
    /// section 5.1) and at most 253 octets long; asked of the system's resolver until `until`. Nothing where there is none, or
    /// none came in time. Whoever has the address's zone writes there what they like.
    fn name_of(&self, _address: IpAddr, _until: Instant) -> LocalBoxFuture<'_, Option<String>> {
        Box::pin(ready(None))
    }

    /// Whether the site's policy allows packets to `address`.
    fn check(&self, address: IpAddr) -> Result<(), Failure>;

    /// Waits until the site's limits let so many packets of so many bytes, IP headers included, go to `to`, after a check:
    /// for whoever sends them by other means than this context. Refuses with *limits* where the deadline comes first.
    fn pace(&self, to: IpAddr, packets: u64, bytes: u64) -> LocalBoxFuture<'_, Result<(), Failure>>;

    /// Opens a TCP connection, after a check and within the site's limits.
    fn connect(&self, to: SocketAddr) -> LocalBoxFuture<'_, Result<Box<dyn ByteStream>, Failure>>;

    /// Opens a UDP socket to one peer, after a check.
    fn datagrams(&self, to: SocketAddr) -> Result<Box<dyn Datagrams>, Failure>;

    /// Drives a machine to its end against one target, after a check and within the site's limits, and gives it
    /// back.
    fn drive(
        &self,
        target: IpAddr,
        machine: Box<dyn Driven>,
        wish: Wish,
    ) -> LocalBoxFuture<'_, Result<Performed, Failure>>;

    /// The interface that has an address of this host; nothing where none has it, or the system does not tell.
    fn interface_of(&self, _: IpAddr) -> Option<Interface> {
        None
    }

    /// The name servers that the system uses.
    fn name_servers(&self) -> Vec<SocketAddr>;

    /// A certificate to trust besides Mozilla's, in PEM: that of a simulated world's authority.
    fn authority(&self) -> Option<&str> {
        None
    }
}

/// A machine that a driver may own: whoever drives it lives longer than the task that asked for it.
pub trait Driven: Machine + Any + Send {}

impl<M: Machine + Any + Send> Driven for M {}

/// A machine that was driven to its end.
pub struct Performed {
    /// The machine.
    pub machine: Box<dyn Driven>,
    /// How it was driven.
    pub conditions: Conditions,
}

impl fmt::Debug for Performed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Performed").field("conditions", &self.conditions).finish_non_exhaustive()
    }
}

/// Bytes both ways.
pub trait ByteStream: AsyncRead + AsyncWrite + Unpin {
    /// The local end.
    fn local_addr(&self) -> io::Result<SocketAddr>;
}

/// Datagrams to and from one peer, with the best stamps that the system gives.
pub trait Datagrams {
    /// Sends one within the site's limits, and says when it left.
    fn send<'a>(&'a self, datagram: &'a [u8]) -> LocalBoxFuture<'a, Result<Stamp, Failure>>;

    /// Waits for the next one. Fails with *connection-refused* or *unreachable* when an ICMP error says so.
    fn receive<'a>(&'a self, buffer: &'a mut [u8]) -> LocalBoxFuture<'a, Result<Received, Failure>>;

    /// The local end.
    fn local_addr(&self) -> io::Result<SocketAddr>;
}

/// A datagram that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    /// Its length in bytes; the buffer holds as much of it as there was room for.
    pub bytes: usize,
    /// When it came.
    pub stamp: Stamp,
}

/// The addresses of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolution {
    /// The addresses in the resolver's order; at least one.
    pub addresses: Vec<IpAddr>,
    /// How long it took, in nanoseconds; absent for an address literal.
    pub took_ns: Option<u64>,
}

/// Which addresses of a name to use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// The first that the resolver gives.
    #[default]
    Any,
    /// IPv4 only.
    Ipv4,
    /// IPv6 only.
    Ipv6,
}

impl Family {
    /// Whether `address` is of the family.
    pub const fn holds(self, address: IpAddr) -> bool {
        match self {
            Self::Any => true,
            Self::Ipv4 => address.is_ipv4(),
            Self::Ipv6 => address.is_ipv6(),
        }
    }
}
