//! Names to addresses, as this system resolves them: literals, `/etc/hosts`, then the name servers of
//! `/etc/resolv.conf`, in their order, over UDP and, where an answer does not fit, TCP. In a simulated world: what its file
//! names, then its name servers. And addresses to the names that the DNS alone has for them.
//!
//! Nothing is remembered between tasks: each resolution is part of its measurement.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket as StdUdpSocket};
use std::rc::Rc;

use futures::io::{AsyncReadExt, AsyncWriteExt};
use mmn_kit::{Failure, Family, Resolution, code};
use mmn_probe::time::{Instant, Nanos};

use super::resolv_conf::{self, ResolvConf};
use super::stub::{self, Ask, Reply};
use super::{Held, Site, tcp, udp};
use crate::clock;
use crate::net::udp::UdpPeer;

/// The addresses of `host` that the family and the policy leave.
pub(super) async fn resolve(
    site: &Rc<Site>,
    deadline: Instant,
    host: &str,
    family: Family,
) -> Result<Resolution, Failure> {
    let literal = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if let Ok(address) = literal.parse::<IpAddr>() {
        if !family.holds(address) {
            return Err(wrong_family(host, family));
        }
        site.check(address)?;
        return Ok(Resolution { addresses: vec![address], took_ns: None });
    }
    if let Some(known) = site.network.resolve(host) {
        let addresses = chosen(site, host, family, known)?;
        return Ok(Resolution { addresses, took_ns: None });
    }
    let began = clock::monotonic();
    let local = if site.network.is_own() { local(host) } else { Vec::new() };
    let addresses = match local {
        found if found.is_empty() => ask(site, deadline, host, family).await?,
        found => found,
    };
    let took_ns = Some(clock::monotonic().saturating_since(began).0);
    let addresses = chosen(site, host, family, addresses)?;
    Ok(Resolution { addresses, took_ns })
}

/// The name that the DNS has for an address.
pub(super) async fn name_of(site: &Rc<Site>, address: IpAddr, until: Instant) -> Option<String> {
    let reverse = stub::reverse(address);
    if let Some(known) = site.network.pointers(&reverse) {
        return known.into_iter().next();
    }
    let conf = resolv_conf::of(&site.network);
    match question(site, until, &conf, &reverse, Ask::Ptr).await {
        Ok(Reply::Name(name)) => name,
        _ => None,
    }
}

/// What this host knows by itself. `localhost` never leaves it (RFC 6761, section 6.3).
fn local(host: &str) -> Vec<IpAddr> {
    let name = host.strip_suffix('.').unwrap_or(host);
    let found = resolv_conf::hosts(name);
    let lower = name.to_ascii_lowercase();
    if found.is_empty() && (lower == "localhost" || lower.ends_with(".localhost")) {
        return vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    }
    found
}

fn chosen(site: &Site, host: &str, family: Family, addresses: Vec<IpAddr>) -> Result<Vec<IpAddr>, Failure> {
    if addresses.is_empty() {
        return Err(Failure::failed(code::UNRESOLVABLE, format_args!("{host} has no address")));
    }
    let mut of_family: Vec<IpAddr> = addresses.into_iter().filter(|a| family.holds(*a)).collect();
    if of_family.is_empty() {
        return Err(wrong_family(host, family));
    }
    // What there is a route to comes first; otherwise the resolver's order stays.
    match site.network.addresses() {
        None => of_family.sort_by_key(|address| !has_route(*address)),
        Some(own) => of_family.sort_by_key(|to| !own.iter().any(|own| own.is_ipv4() == to.is_ipv4())),
    }
    let mut refusal = None;
    let allowed: Vec<IpAddr> = of_family
        .into_iter()
        .filter(|address| match site.check(*address) {
            Ok(()) => true,
            Err(failure) => {
                refusal.get_or_insert(failure);
                false
            }
        })
        .collect();
    match refusal {
        Some(refusal) if allowed.is_empty() => Err(refusal),
        _ => Ok(allowed),
    }
}

/// Whether this host has a route to an address. Connecting a datagram socket sends nothing.
pub(crate) fn has_route(address: IpAddr) -> bool {
    let any: IpAddr = match address {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    StdUdpSocket::bind((any, 0)).and_then(|socket| socket.connect((address, 9))).is_ok()
}

async fn ask(site: &Rc<Site>, deadline: Instant, host: &str, family: Family) -> Result<Vec<IpAddr>, Failure> {
    let conf = resolv_conf::of(&site.network);
    let mut worst = Failure::failed(code::UNRESOLVABLE, format_args!("{host} is no name of the DNS"));
    for name in candidates(host, &conf) {
        let question = |wanted: bool, ask| {
            let (conf, name) = (&conf, name.as_str());
            async move {
                if !wanted {
                    return Ok(Vec::new());
                }
                question(site, deadline, conf, name, ask).await.map(|reply| match reply {
                    Reply::Addresses(addresses) => addresses,
                    _ => Vec::new(),
                })
            }
        };
        let (v6, v4) = futures::join!(
            question(family != Family::Ipv4, Ask::Aaaa),
            question(family != Family::Ipv6, Ask::A)
        );
        match (v6, v4) {
            (Ok(v6), Ok(v4)) if v6.is_empty() && v4.is_empty() => {
                worst = if family == Family::Any {
                    Failure::failed(code::UNRESOLVABLE, format_args!("{host} has no address"))
                } else {
                    wrong_family(host, family)
                };
            }
            (Ok(v6), Ok(v4)) => return Ok(v6.into_iter().chain(v4).collect()),
            // One family's trouble does not hide the other's addresses.
            (Ok(found), Err(_)) | (Err(_), Ok(found)) if !found.is_empty() => return Ok(found),
            (Err(failure), _) | (_, Err(failure)) => {
                let timeout = failure.reason.code == code::RESOLVER_TIMEOUT;
                worst = failure;
                if timeout {
                    break;
                }
            }
        }
    }
    Err(worst)
}

/// The names to try: as it is first, unless it has too few dots (`resolv.conf(5)`, `ndots`).
fn candidates(host: &str, conf: &ResolvConf) -> Vec<String> {
    if host.ends_with('.') {
        return vec![host.to_owned()];
    }
    let searched = conf.search.iter().map(|domain| format!("{host}.{domain}"));
    let dots = host.bytes().filter(|byte| *byte == b'.').count();
    if dots >= conf.ndots {
        std::iter::once(host.to_owned()).chain(searched).collect()
    } else {
        searched.chain(std::iter::once(host.to_owned())).collect()
    }
}

/// What the name servers say: addresses, or a name.
async fn question(
    site: &Rc<Site>,
    deadline: Instant,
    conf: &ResolvConf,
    name: &str,
    ask: Ask,
) -> Result<Reply, Failure> {
    let Some(query) = stub::query(rand::random(), name, ask) else {
        return Err(Failure::failed(code::UNRESOLVABLE, format_args!("{name} is no name of the DNS")));
    };
    let mut worst = Failure::failed(code::RESOLVER_TIMEOUT, "no name server answered");
    for _ in 0..conf.attempts {
        for server in &conf.servers {
            let until = deadline.min(clock::monotonic() + Nanos::from(conf.timeout));
            match exchange(site, *server, until, &query).await {
                Ok(answer @ (Reply::Addresses(_) | Reply::Name(_))) => return Ok(answer),
                Ok(Reply::NoName) => {
                    return Err(Failure::failed(code::UNRESOLVABLE, format_args!("there is no name {name}")));
                }
                Ok(Reply::Code(rcode)) => {
                    worst = Failure::failed(
                        code::UNRESOLVABLE,
                        format_args!("{server} has no answer for {name}: {}", rcode_name(rcode)),
                    );
                }
                // TCP's answers are whole.
                Ok(Reply::Truncated) | Err(_) => {}
            }
            if clock::monotonic() >= deadline {
                return Err(worst);
            }
        }
    }
    Err(worst)
}

async fn exchange(
    site: &Rc<Site>,
    server: SocketAddr,
    until: Instant,
    query: &[u8],
) -> Result<Reply, Failure> {
    let failed = |error| super::errors::failure(&error, format_args!("ask {server}"));
    let bytes = u64::try_from(query.len()).unwrap_or(u64::MAX).saturating_add(udp::HEADER_BYTES);
    site.pace_resolver(1, bytes, until).await?;
    let peer = UdpPeer::connect(&site.network, server).map_err(failed)?;
    peer.send(query).await.map_err(failed)?;
    let mut buffer = [0; 1500];
    loop {
        let remaining = until.saturating_since(clock::monotonic());
        let received = tokio::time::timeout(remaining.into(), peer.receive(&mut buffer)).await;
        let received = received.map_err(|_| no_answer(server))?;
        let (length, _) = received.map_err(failed)?;
        let bytes = buffer.get(..length).unwrap_or_default();
        match stub::reply(query, bytes) {
            Some(Reply::Truncated) => return over_tcp(site, server, until, query).await,
            Some(reply) => return Ok(reply),
            // Somebody else's, or forged: the right one may still come.
            None => {}
        }
    }
}

/// RFC 7766: two octets of length before each message.
async fn over_tcp(
    site: &Rc<Site>,
    server: SocketAddr,
    until: Instant,
    query: &[u8],
) -> Result<Reply, Failure> {
    let mut stream = tcp::connect(Rc::clone(site), server, until, Held::default()).await?;
    let talk = async {
        let length = u16::try_from(query.len()).unwrap_or(u16::MAX).to_be_bytes();
        stream.write_all(&[&length, query].concat()).await?;
        let mut length = [0; 2];
        stream.read_exact(&mut length).await?;
        let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut message).await?;
        std::io::Result::Ok(message)
    };
    let remaining = until.saturating_since(clock::monotonic());
    let message = tokio::time::timeout(remaining.into(), talk).await.map_err(|_| no_answer(server))?;
    let message = message.map_err(|error| super::errors::failure(&error, format_args!("ask {server}")))?;
    stub::reply(query, &message).ok_or_else(|| no_answer(server))
}

fn no_answer(server: SocketAddr) -> Failure {
    Failure::failed(code::RESOLVER_TIMEOUT, format_args!("no answer of {server}"))
}

fn wrong_family(host: &str, family: Family) -> Failure {
    let family = if family == Family::Ipv4 { "IPv4" } else { "IPv6" };
    Failure::failed(code::ADDRESS_FAMILY, format_args!("{host} has no {family} address"))
}

/// IANA, DNS RCODEs.
fn rcode_name(rcode: u8) -> String {
    match rcode {
        1 => "FORMERR".to_owned(),
        2 => "SERVFAIL".to_owned(),
        4 => "NOTIMP".to_owned(),
        5 => "REFUSED".to_owned(),
        other => format!("response code {other}"),
    }
}
