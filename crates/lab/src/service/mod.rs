//! What the hosts of a world serve, as functions from request to response: DNS and web pages.
//!
//! Time is an argument, as everywhere. A driver gives requests as they come from its sockets or from the world's ports,
//! and sends the responses when they are due.

mod dns;
mod http;
mod packet;

use std::sync::Arc;

use mmn_probe::time::{Instant, Nanos};

use crate::ids::HostId;
use crate::plan::Plan;

pub use self::http::{Ending, HttpReply};

/// The services of a world at work: what resolvers have kept is here.
#[derive(Debug)]
pub struct Services {
    plan: Arc<Plan>,
    start: Instant,
    caches: dns::Caches,
}

/// A response and when it leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// How long after the request.
    pub after: Nanos,
    /// What is sent.
    pub bytes: Vec<u8>,
}

/// An IP packet and when it leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// How long after the request.
    pub after: Nanos,
    /// From its IP header on.
    pub packet: Vec<u8>,
}

impl Services {
    /// Services of a plan whose world began at this instant.
    pub fn new(plan: Arc<Plan>, start: Instant) -> Self {
        Self { caches: dns::Caches::new(&plan), plan, start }
    }

    /// Answers a DNS query that came to a host. `most` is the longest response that the transport carries where the query
    /// says nothing: 512 octets over UDP, 65,535 over TCP. Nothing where there is no name server, or it is no query.
    pub fn dns(&mut self, now: Instant, host: HostId, query: &[u8], most: usize) -> Option<Response> {
        dns::answer(&self.plan, &mut self.caches, [self.start, now], host, query, most)
    }

    /// What a web server says to a request that came to a host, whole up to the end of its headers. `encrypted` says by
    /// which port it came. Nothing where there is no web server.
    pub fn http(&self, host: HostId, encrypted: bool, request: &[u8]) -> Option<HttpReply> {
        http::reply(&self.plan, host, encrypted, request)
    }

    /// Answers an IP packet with a UDP datagram for a service of a host, as it comes out of a world.
    pub fn packet(&mut self, now: Instant, host: HostId, packet: &[u8]) -> Option<Reply> {
        let asked = packet::read(packet)?;
        let response = match asked.port {
            53 => self.dns(now, host, asked.payload, 512)?,
            _ => return None,
        };
        let packet = asked.reply(&response.bytes)?;
        Some(Reply { after: response.after, packet })
    }
}
