//! One hop: resolve, connect, agree on TLS, request. Each phase is timed, and bounded.

use std::cell::Cell;
use std::net::{IpAddr, SocketAddr};

use mmn_kit::{ByteStream, Context, Failure, Octets, code};
use mmn_probe::time::{Instant, Nanos};
use mmn_schema::outcome::Outcome;

use super::ech::Offer;
use super::exchange::{Duplex, Limits, exchange};
use super::request::Message;
use super::result::{EchRejection, EchStatus, FailedConnect, Hop, Phases, Tls};
use super::target::Target;
use super::tls::{Handshake, Rejected, Trust, handshake};
use super::{Params, Version};
use crate::session::{Lap, within};

/// The most addresses of a name that are tried.
const MAX_ADDRESSES: usize = 4;

/// What the hops of a task have in common.
pub(super) struct Fetch<'a> {
    pub(super) context: &'a dyn Context,
    pub(super) params: &'a Params,
    pub(super) trust: &'a Trust,
    /// The ECH that is offered.
    pub(super) offer: Option<Offer>,
    /// The URL that was asked for: a configuration of ECH is its host's.
    pub(super) first: Target,
    /// When everything must be over.
    pub(super) until: Instant,
    /// How long the site's limits held back transfers.
    pub(super) transfers_held_ns: Cell<u64>,
}

/// What came of a hop.
pub(super) enum Came {
    /// An answer.
    Answer(Box<Hop>),
    /// No request was sent: ECH was rejected.
    Rejection(Box<EchRejection>),
}

/// A connection, in TLS where the scheme wants that: what was agreed on, the certificates, and how long it took.
enum Secure {
    Ready(Box<dyn Duplex>, Option<Tls>, Vec<Vec<u8>>, Option<u64>),
    Rejected(Rejected, u64),
}

impl Fetch<'_> {
    /// Requests `target`.
    pub(super) async fn hop(&self, target: &Target, message: &Message) -> Result<Came, Failure> {
        let context = self.context;
        let (lap, started_at) = (Lap::begin(context), context.utc());
        let (addresses, resolve_ns) = self.resolve(target).await?;
        let mut failed_connects = Vec::new();
        let (address, stream, connect_ns) = self.connect(target, &addresses, &mut failed_connects).await?;
        let local = stream.local_addr().ok();
        let (source, source_port) = (local.map(|local| local.ip().into()), local.map(|local| local.port()));
        let (stream, tls, chain, tls_ns) = match self.secure(target, stream).await? {
            Secure::Ready(stream, tls, chain, tls_ns) => (stream, tls, chain, tls_ns),
            Secure::Rejected(rejected, tls_ns) => {
                return Ok(Came::Rejection(Box::new(EchRejection {
                    url: target.as_str().to_owned(),
                    address: address.into(),
                    family: address.into(),
                    port: target.port(),
                    source,
                    source_port,
                    failed_connects,
                    started_at,
                    resolve_ns,
                    connect_ns,
                    tls_ns,
                    ech_status: EchStatus::Rejected,
                    ech_outer_name: rejected.outer_name,
                    verified: rejected.error.is_none(),
                    error: rejected.error,
                    certificates: rejected.certificates,
                    ech_retry_configs: rejected.retry_configs,
                })));
            }
        };
        let http2 = self.speaks_http2(target, tls.as_ref())?;
        let request =
            message.request(target, http2).map_err(|error| Failure::refused(code::PARAMETERS, error))?;
        let limits = Limits {
            until: self.until,
            phase: Nanos(self.params.phase_timeout.as_ns()),
            max_body: self.params.max_body,
            keep_body: self.params.keep_body,
        };
        let answer = exchange(context, stream, request, http2, limits).await?;
        self.transfers_held_ns.set(self.transfers_held_ns.get().saturating_add(answer.transfer_held_ns));
        let tls = tls.map(|mut tls| {
            if self.params.keep_certificates {
                for (certificate, der) in tls.certificates.iter_mut().zip(chain) {
                    certificate.der = Some(Octets(der));
                }
            }
            tls
        });
        Ok(Came::Answer(Box::new(Hop {
            url: target.as_str().to_owned(),
            method: message.method.to_string(),
            address: address.into(),
            family: address.into(),
            port: target.port(),
            source,
            source_port,
            failed_connects,
            started_at,
            phases: Phases {
                resolve_ns,
                connect_ns,
                tls_ns,
                first_byte_ns: answer.first_byte_ns,
                transfer_ns: answer.transfer_ns,
                held_ns: lap.held_ns(context),
                total_ns: lap.took_ns(context).saturating_add(answer.transfer_held_ns),
            },
            tls,
            version: answer.version.to_owned(),
            status: answer.status,
            reason: answer.reason,
            interim: answer.interim,
            headers: answer.headers,
            trailers: answer.trailers,
            body: answer.body,
            sent_bytes: answer.sent_bytes,
            received_bytes: answer.received_bytes,
        })))
    }

    async fn resolve(&self, target: &Target) -> Result<(Vec<IpAddr>, Option<u64>), Failure> {
        let given = target.given_addresses(self.params);
        if !given.is_empty() {
            return Ok((given, None));
        }
        let resolving = self.context.resolve(target.host(), self.params.family);
        let late = || Failure::failed(code::RESOLVER_TIMEOUT, "resolving took too long");
        let resolution = within(self.context, self.next(), resolving).await.ok_or_else(late)??;
        Ok((resolution.addresses, resolution.took_ns))
    }

    /// Tries the addresses in turn; gives the first that answers, the stream, and how long that took.
    async fn connect(
        &self,
        target: &Target,
        addresses: &[IpAddr],
        failed: &mut Vec<FailedConnect>,
    ) -> Result<(IpAddr, Box<dyn ByteStream>, u64), Failure> {
        let mut last = Failure::failed(code::UNRESOLVABLE, format_args!("{} has no address", target.host()));
        for address in addresses.iter().take(MAX_ADDRESSES).copied() {
            let lap = Lap::begin(self.context);
            let to = SocketAddr::new(address, target.port());
            let connected = within(self.context, self.next(), self.context.connect(to)).await;
            let took_ns = lap.took_ns(self.context);
            let failure = match connected {
                Some(Ok(stream)) => return Ok((address, stream, took_ns)),
                Some(Err(failure)) => failure,
                None => Failure::failed(code::TIMEOUT, format_args!("connecting to {to} took too long")),
            };
            if failure.outcome == Outcome::Refused {
                return Err(failure);
            }
            failed.push(FailedConnect { address: address.into(), error: failure.reason.clone(), took_ns });
            last = failure;
        }
        for other in failed.iter().rev().skip(1) {
            let detail = last.reason.detail.take().unwrap_or_default();
            last.reason.detail = Some(format!("{detail}; before that {}: {}", other.address, other.error));
        }
        Err(last)
    }

    async fn secure(&self, target: &Target, stream: Box<dyn ByteStream>) -> Result<Secure, Failure> {
        if !target.is_secure() {
            return Ok(Secure::Ready(Box::new(stream), None, Vec::new(), None));
        }
        let lap = Lap::begin(self.context);
        let host = target.bare_host();
        let offer = self.offer_to(target);
        let came = handshake(self.context, self.next(), self.trust, self.params, offer, host, stream).await?;
        let tls_ns = lap.took_ns(self.context);
        Ok(match came {
            Handshake::Agreed(stream, tls, chain) => {
                let chain = chain.into_iter().map(|der| der.to_vec()).collect();
                Secure::Ready(stream, Some(tls), chain, Some(tls_ns))
            }
            Handshake::EchRejected(rejected) => Secure::Rejected(rejected, tls_ns),
        })
    }

    /// The ECH for `target`: a configuration is for the server that was asked for, and means nothing to another one.
    fn offer_to(&self, target: &Target) -> Option<&Offer> {
        let offer = self.offer.as_ref()?;
        (offer.outer_name.is_none() || target.same_origin(&self.first)).then_some(offer)
    }

    fn speaks_http2(&self, target: &Target, tls: Option<&Tls>) -> Result<bool, Failure> {
        let agreed = tls.and_then(|tls| tls.alpn.as_deref()) == Some("h2");
        match (self.params.version, target.is_secure()) {
            (Version::Http2, true) if !agreed => {
                Err(Failure::failed(code::PROTOCOL, "the server does not agree on HTTP/2"))
            }
            (Version::Http2, _) => Ok(true),
            _ => Ok(agreed),
        }
    }

    /// When the phase that begins now must be over.
    fn next(&self) -> Instant {
        (self.context.now() + Nanos(self.params.phase_timeout.as_ns())).min(self.until)
    }
}
