//! Networks for path measurements: routers in a row or in a graph, with a target at the end.

use std::net::{IpAddr, Ipv4Addr};

use super::{Coming, Quoted, SOURCE, Said, identity};
use crate::packet::{Body, Probe, UdpTag, tcp_flags};
use crate::wire::icmp::IcmpErrorKind;

/// The target of everything.
pub(crate) const TARGET: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 9));

/// The router of a number.
pub(crate) fn router(number: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(203, 0, 113, number))
}

/// A probe as an error quotes it in full.
pub(crate) fn quote(probe: &Probe) -> Quoted {
    let told = identity(probe);
    let (checksum, port, payload) = match &probe.body {
        Body::Echo { payload, checksum } => (*checksum, None, payload.clone()),
        Body::Udp { port, payload, tag } => {
            ((*tag == UdpTag::Checksum).then_some(told.tag), Some(*port), payload.clone())
        }
        Body::Tcp { port, payload, .. } => (None, Some(*port), payload.clone()),
        Body::Timestamp | Body::TooBig { .. } => (None, None, Vec::new()),
    };
    Quoted {
        ttl: Some(1),
        tos: Some(probe.tos),
        ip_bytes: Some(60),
        ip_id: Some(told.tag),
        source: Some(SOURCE),
        destination: Some(probe.destination),
        source_port: port.map(|_| told.selector),
        destination_port: port,
        checksum,
        payload,
    }
}

/// An ICMP error about a probe.
pub(crate) fn error(probe: &Probe, kind: IcmpErrorKind, icmp_type: u8, code: u8) -> Said {
    Said::Error { kind, icmp_type, code, quoted: quote(probe), extensions: Vec::new() }
}

/// What a router says when the TTL runs out.
pub(crate) fn expired(probe: &Probe) -> Said {
    error(probe, IcmpErrorKind::TtlExceeded, 11, 0)
}

/// What a host says to a probe.
pub(crate) fn accepted(probe: &Probe) -> Said {
    let number = u32::from(identity(probe).tag) << 16;
    match &probe.body {
        Body::Echo { payload, .. } => Said::EchoReply(payload.clone()),
        Body::Tcp { port, flags, .. } if *flags == tcp_flags::SYN => Said::Tcp {
            source_port: *port,
            flags: tcp_flags::SYN | tcp_flags::ACK,
            seq: 99,
            ack: number + 1,
            window: 1,
        },
        Body::Tcp { port, .. } => {
            Said::Tcp { source_port: *port, flags: tcp_flags::RST, seq: number, ack: 0, window: 0 }
        }
        _ => error(probe, IcmpErrorKind::PortUnreachable, 3, 3),
    }
}

/// A row of routers, silent ones absent, and the target behind them; each hop takes 10 ms.
pub(crate) fn row(routers: &[Option<IpAddr>], probe: &Probe) -> Vec<Coming> {
    let ttl = usize::from(probe.ttl.unwrap().0);
    let after = 10 * u64::try_from(ttl.min(routers.len() + 1)).unwrap();
    match routers.get(ttl - 1) {
        Some(Some(router)) => vec![Coming::answer(after, *router, expired(probe))],
        Some(None) => Vec::new(),
        None => vec![Coming::answer(after, probe.destination, accepted(probe))],
    }
}

/// Routers numbered from 1, some of them silent.
pub(crate) fn routers(count: u8, silent: &[u8]) -> Vec<Option<IpAddr>> {
    (1..=count).map(|number| (!silent.contains(&number)).then(|| router(number))).collect()
}
