//! Traces that stop where others have been.

use super::*;
use crate::trace::doubletree::{Doubletree, LocalStopSet, LocalStopSets};

fn tree(sets: &Arc<LocalStopSets>, global: &[u8]) -> Doubletree {
    let local = LocalStopSet {
        sets: Arc::clone(sets),
        name: "set".into(),
        epoch: 0,
        max_age: Nanos::from_secs(3_600),
    };
    let mut tree = Doubletree::new(global.iter().copied().map(router).collect());
    tree.local = Some(local);
    tree
}

fn from(first: u8, tree: Doubletree, way: &[Option<IpAddr>]) -> (Trace, Vec<u8>) {
    let mut machine = trace(|spec| {
        (spec.first_hop, spec.doubletree, spec.parallel) = (Ttl(first), Some(Box::new(tree)), 1);
    });
    let run = through(&mut machine, way);
    let ttls = run.probes.iter().map(|(_, probe)| probe.ttl.unwrap().0).collect();
    (machine, ttls)
}

#[test]
fn it_goes_forward_and_then_back_to_the_first_hop() {
    let sets = Arc::default();
    let (machine, ttls) = from(4, tree(&sets, &[]), &routers(6, &[2]));
    assert_eq!(ttls, [4, 5, 6, 7, 3, 2, 2, 1]);
    assert_eq!((machine.stop(), machine.stop_ttl()), (Some(Stop::Completed), Some(Ttl(7))));
    assert_eq!((machine.local_stop(), machine.global_stop()), (None, None));
    // The next trace from here meets a router on the way back that is known.
    let (machine, ttls) = from(4, tree(&sets, &[]), &[&routers(3, &[2])[..], &[Some(router(44))]].concat());
    assert_eq!(ttls, [4, 5, 3]);
    assert_eq!(machine.local_stop(), Some((Ttl(3), router(3))));
    // And one whose first hop is known does not go back at all.
    let (machine, ttls) = from(4, tree(&sets, &[]), &routers(6, &[]));
    assert_eq!((ttls, machine.local_stop()), (vec![4, 5, 6, 7], Some((Ttl(4), router(4)))));
}

#[test]
fn the_global_stop_set_ends_the_way_forward() {
    let sets = Arc::default();
    let (machine, ttls) = from(3, tree(&sets, &[5, 200]), &routers(9, &[]));
    assert_eq!(ttls, [3, 4, 5, 2, 1]);
    assert_eq!((machine.stop(), machine.stop_ttl()), (Some(Stop::GlobalStopSet), Some(Ttl(5))));
    assert_eq!(machine.global_stop(), Some((Ttl(5), router(5))));
    assert_eq!(machine.local_stop(), None);
}

#[test]
fn a_near_destination_is_found_on_the_way_back() {
    let sets = Arc::default();
    let (machine, ttls) = from(6, tree(&sets, &[]), &routers(2, &[]));
    assert_eq!(ttls, [6, 5, 4, 3, 2, 1]);
    assert_eq!((machine.stop(), machine.stop_ttl()), (Some(Stop::Completed), Some(Ttl(3))));
}

#[test]
fn a_router_that_is_met_twice_on_one_way_is_not_taken_for_known() {
    // It forwards packets whose TTL has run out.
    let way = [Some(router(1)), Some(router(2)), Some(router(2)), Some(router(4))];
    let (machine, ttls) = from(3, tree(&Arc::default(), &[]), &way);
    assert_eq!((ttls, machine.local_stop()), (vec![3, 4, 5, 2, 1], None));
}

#[test]
fn without_a_set_it_goes_all_the_way_and_without_a_way_back_none() {
    let bare = || Doubletree::new(vec![]);
    assert_eq!(from(3, bare(), &routers(3, &[])).1, [3, 4, 2, 1]);
    let mut forward = Doubletree::new(vec![]);
    forward.backward = false;
    assert_eq!(from(3, forward, &routers(3, &[])).1, [3, 4]);
}

#[test]
fn a_gap_does_not_keep_it_from_going_back() {
    let mut machine = trace(|spec| {
        (spec.first_hop, spec.doubletree) = (Ttl(3), Some(Box::new(Doubletree::new(vec![]))));
        spec.gap_limit = 2;
        spec.last_ditch = true;
        spec.attempts = 1;
    });
    let way = [routers(3, &[]), vec![None; 30]].concat();
    let run = through(&mut machine, &way);
    let ttls: Vec<u8> = run.probes.iter().map(|(_, probe)| probe.ttl.unwrap().0).collect();
    assert_eq!(ttls, [3, 4, 5, 255, 2, 1]);
    assert_eq!(machine.stop(), Some(Stop::GapLimit));
}
