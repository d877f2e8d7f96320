//! Replies that are too big for a link that there is not.

use super::*;
use crate::testing::{self, Coming, Said};
use crate::wire::icmp::{self, Icmp};
use crate::wire::{ipv4, ipv6, probe};

const TARGET_V6: IpAddr = IpAddr::V6(std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));
const SOURCE_V6: IpAddr = IpAddr::V6(std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2));

fn echoed(probe: &Probe) -> Vec<Coming> {
    match &probe.body {
        Body::Echo { payload, .. } => {
            vec![Coming::answer(5, probe.destination, Said::EchoReply(payload.clone()))]
        }
        _ => Vec::new(),
    }
}

#[test]
fn a_host_is_told_of_each_reply_that_is_larger() {
    for (payload, told) in [(1_000, 0), (1_400, 3)] {
        let mut machine = ping(|spec| {
            spec.payload_bytes = payload;
            spec.pseudo_mtu = Some(1_280);
        });
        let run = testing::run(&mut machine, |_, probe| Ok(echoed(probe)));
        let messages: Vec<&Probe> =
            run.probes.iter().map(|(_, probe)| probe).filter(|probe| probe.id == too_big::ID).collect();
        assert_eq!((messages.len(), machine.too_big_sent()), (told, u32::try_from(told).unwrap()));
        assert!(messages.iter().all(|probe| probe.destination == TARGET));
        assert!(fates(&machine).iter().all(|fate| matches!(fate, Fate::Replied(_))));
        // The first of them leaves before the second request.
        assert!(told == 0 || run.probes[1].1.id == too_big::ID);
    }
}

#[test]
fn the_message_quotes_the_reply() {
    for (target, source) in [(TARGET, ROUTER), (TARGET_V6, SOURCE_V6)] {
        let payload = vec![0x5a; 1_400];
        let Input::Packet(reply) = reply(0, 0, &payload) else { panic!() };
        let identity = Identity { selector: 0x1234, tag: 0x5678 };
        let reply = Packet { from: target, ..reply };
        let message = too_big::about(&reply, &payload, identity, source, 1_280).unwrap();
        let Body::TooBig { mtu: 1_280, quote } = &message.body else { panic!() };
        let mut bytes = Vec::new();
        let own = Identity { selector: 1, tag: 2 };
        probe::encode(&message, own, source, Utc(0), &mut bytes).unwrap();
        let (family, transport) = if target.is_ipv4() {
            let packet = ipv4::decode(&bytes).unwrap();
            assert!(packet.checksum_ok && bytes.len() == 576);
            (icmp::Family::V4, packet.payload)
        } else {
            assert_eq!(bytes.len(), 1_280);
            (icmp::Family::V6, ipv6::decode(&bytes).unwrap().payload)
        };
        let Icmp::Error(error) = icmp::decode(family, transport).unwrap() else { panic!() };
        assert_eq!(error.kind, IcmpErrorKind::TooBig { mtu: Some(1_280) });
        assert_eq!(error.quoted.len(), quote.len());
        // What it quotes is the reply: from the target, to us, with its numbers.
        let (from, to, inner) = if target.is_ipv4() {
            let inner = ipv4::decode(error.quoted).unwrap();
            (IpAddr::from(inner.header.source), IpAddr::from(inner.header.destination), inner.payload)
        } else {
            let inner = ipv6::decode(error.quoted).unwrap();
            (IpAddr::from(inner.header.source), IpAddr::from(inner.header.destination), inner.payload)
        };
        assert_eq!((from, to), (target, source));
        assert_eq!(inner[4..8], [0x12, 0x34, 0x56, 0x78]);
    }
}

#[test]
fn what_can_not_be_told_does_not_hold_it_up() {
    let mut machine = ping(|spec| (spec.payload_bytes, spec.pseudo_mtu) = (1_400, Some(1_280)));
    testing::run(&mut machine, |_, probe| {
        if probe.id == too_big::ID { Err(SendFailure::Unprivileged) } else { Ok(echoed(probe)) }
    });
    assert_eq!((machine.too_big_sent(), machine.too_big_failed()), (0, Some(SendFailure::Unprivileged)));
    assert_eq!(machine.end(), Some(End::Completed));
}

#[test]
fn senseless_sizes_are_refused() {
    let refuse = |target, mtu, method| {
        let spec = Spec { pseudo_mtu: Some(mtu), method, ..Spec::new(target) };
        Ping::new(spec, Key::new([0; 16])).unwrap_err()
    };
    assert_eq!(refuse(TARGET, 67, Method::Icmp), SpecError::PseudoMtu(68));
    assert_eq!(refuse(TARGET_V6, 1_279, Method::Icmp), SpecError::PseudoMtu(1_280));
    assert_eq!(refuse(TARGET, 576, Method::Udp), SpecError::PseudoMtu(68));
}
