//! The path's MTU: routers that say so, and routers that do not.

use super::*;
use crate::trace::mtu::{Note, Origin};

/// How a router says that a packet is too big for its link.
#[derive(Clone, Copy)]
enum Tells {
    Mtu(u32),
    NoMtu,
    Nothing,
}

/// A link behind a router, and how much it takes.
type Link = (u8, u16, Tells);

/// A row of routers of which some have narrow links.
fn narrow(probe: &Probe, links: &[Link], hops: u8) -> Vec<Coming> {
    let payload = match &probe.body {
        Body::Echo { payload, .. } => payload.len(),
        _ => panic!(),
    };
    let size = u16::try_from(payload).unwrap() + 28;
    for (at, mtu, says) in links {
        if probe.ttl.unwrap().0 > *at && size > *mtu {
            let mtu = match says {
                Tells::Mtu(mtu) => Some(*mtu),
                Tells::NoMtu => None,
                Tells::Nothing => return Vec::new(),
            };
            let kind = IcmpErrorKind::TooBig { mtu };
            return vec![Coming::answer(9, router(*at), error(probe, kind, 3, 4))];
        }
    }
    row(&routers(hops, &[]), probe)
}

fn searched(links: &[Link]) -> (Option<u16>, Vec<Note>) {
    let mut machine = trace(|spec| spec.pmtud = Some(Pmtud { size: 1_500 }));
    run(&mut machine, |_, probe| Ok(narrow(probe, links, 5)));
    assert_eq!(machine.stop(), Some(Stop::Completed));
    let search = machine.mtu().unwrap();
    assert_eq!(search.ttl(), Some(Ttl(6)));
    assert!(machine.samples().filter(|sample| sample.of_mtu_search).all(|sample| sample.sent.is_some()));
    (search.mtu(), search.notes().to_vec())
}

#[test]
fn routers_that_say_so_are_believed() {
    assert_eq!(searched(&[]), (Some(1_500), vec![]));
    let told = |at, bytes, mtu| Note { bytes, origin: Origin::Router { from: router(at), mtu } };
    let links = [(2, 1_480, Tells::Mtu(1_480)), (4, 1_300, Tells::Mtu(1_300))];
    assert_eq!(
        searched(&links),
        (Some(1_300), vec![told(2, 1_500, Some(1_480)), told(4, 1_480, Some(1_300))])
    );
    // An old router that does not know how much, and one that says nonsense.
    assert_eq!(searched(&[(2, 1_480, Tells::NoMtu)]).0, Some(1_480));
    assert_eq!(searched(&[(2, 1_480, Tells::Mtu(9_000))]).0, Some(1_480));
}

#[test]
fn a_silent_one_is_found_by_trying() {
    let (mtu, notes) = searched(&[(3, 1_450, Tells::Nothing)]);
    assert_eq!(mtu, Some(1_450));
    let silence = Note { bytes: 1_454, origin: Origin::Silence { behind: Some(Ttl(3)) } };
    assert_eq!(notes, [silence]);
}

#[test]
fn a_small_first_link_is_this_hosts() {
    let mut machine = trace(|spec| spec.pmtud = Some(Pmtud { size: 1_500 }));
    run(&mut machine, |_, probe| match &probe.body {
        Body::Echo { payload, .. } if payload.len() > 1_400 - 28 => Err(SendFailure::TooBig),
        _ => Ok(narrow(probe, &[], 2)),
    });
    let search = machine.mtu().unwrap();
    assert_eq!(search.mtu(), Some(1_400));
    assert_eq!(search.notes(), [Note { bytes: 1_412, origin: Origin::Host }]);
}

#[test]
fn without_anybody_to_ask_there_is_no_search() {
    let mut machine = trace(|spec| spec.pmtud = Some(Pmtud { size: 1_500 }));
    run(&mut machine, |_, _| Ok(Vec::new()));
    assert_eq!((machine.stop(), machine.mtu().is_none()), (Some(Stop::GapLimit), true));
}

#[test]
fn nothing_passes() {
    let mut machine = trace(|spec| {
        spec.pmtud = Some(Pmtud { size: 1_500 });
        spec.attempts = 1;
    });
    run(&mut machine, |_, probe| {
        Ok(if probe.dont_fragment { Vec::new() } else { row(&routers(2, &[]), probe) })
    });
    let search = machine.mtu().unwrap();
    assert_eq!(search.mtu(), None);
    assert_eq!(search.notes(), [Note { bytes: 68, origin: Origin::Silence { behind: None } }]);
}
