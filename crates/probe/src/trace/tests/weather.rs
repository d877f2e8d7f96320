//! What must hold whatever the network does.

use super::*;

/// A machine that is looked at between each two steps.
struct Watched(Trace);

impl Machine for Watched {
    fn handle(&mut self, now: Instant, input: Input<'_>) {
        self.0.handle(now, input);
    }

    fn poll(&mut self, now: Instant) -> Output {
        let output = self.0.poll(now);
        let machine = &self.0;
        let open = machine.entries.iter().filter(|entry| entry.fate.is_none()).count();
        if machine.stop.is_none() {
            assert_eq!(open, usize::from(machine.open));
            assert!(machine.open <= machine.spec.parallel.max(1));
            let of_hops: usize = machine.hops.iter().map(|hop| usize::from(hop.open)).sum();
            assert!(of_hops <= open);
        }
        if let Output::Send(probe) = &output {
            let ttl = probe.ttl.unwrap();
            let last_ditch = machine.spec.last_ditch && ttl == Ttl(255);
            let backward = machine.spec.doubletree.is_some() && ttl >= Ttl(1);
            let from_first = ttl >= machine.spec.first_hop || backward;
            assert!(from_first && ttl <= machine.spec.max_ttl || last_ditch);
        }
        output
    }
}

fn spec() -> impl Strategy<Value = Spec> {
    let method = prop_oneof![Just(Method::Icmp), Just(Method::Udp), Just(Method::Tcp), Just(Method::TcpAck)];
    let counts = (1_u8..4, 0_u8..6, 1_u16..12, any::<bool>(), any::<bool>(), any::<(bool, bool)>());
    let times = (prop_oneof![Just(0), 1..300 * MS], MS..3_000 * MS);
    let ttls = (1_u8..4, prop_oneof![Just(255_u8), 4..30_u8]);
    let certainty = prop::option::weighted(0.3, prop_oneof![Just(0.05), 0.2..0.9_f64]);
    let stops = prop::option::weighted(0.4, (prop::collection::vec(1_u8..12, 0..2), any::<(bool, bool)>()));
    // Not one payload for all: what the driver takes for the answer to another probe then passes for that.
    let newer = (certainty, stops, prop_oneof![Just(0), 1..500 * MS]);
    let all = (method, counts, times, ttls, 0_u8..3, newer);
    all.prop_map(|(method, counts, times, ttls, loops, (certainty, stops, wait_hop))| {
        let (attempts, gap_limit, parallel, all_attempts, paris, (mtu, last_ditch)) = counts;
        let mut spec = Spec::new(TARGET);
        spec.shape.method = method;
        (spec.attempts, spec.gap_limit, spec.parallel) = (attempts, gap_limit, parallel);
        (spec.all_attempts, spec.paris, spec.loops) = (all_attempts, paris, loops);
        spec.last_ditch = last_ditch;
        (spec.wait, spec.timeout) = (Nanos(times.0), Nanos(times.1));
        (spec.first_hop, spec.max_ttl) = (Ttl(ttls.0), Ttl(ttls.1));
        spec.pmtud = mtu.then_some(Pmtud { size: 1_500 });
        spec.certainty = certainty.map(|epsilon| Arc::new(census::Certainty::new(epsilon).unwrap()));
        spec.wait_hop = Nanos(wait_hop);
        spec.doubletree = stops.map(|(global, (local, backward))| {
            let mut tree = doubletree::Doubletree::new(global.into_iter().map(router).collect());
            let sets = Arc::default();
            let max_age = Nanos::from_secs(60);
            tree.local =
                local.then(|| doubletree::LocalStopSet { sets, name: "a".into(), epoch: 0, max_age });
            tree.backward = backward;
            Box::new(tree)
        });
        spec
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn it_ends_and_accounts_for_each_probe_once(
        spec in spec(),
        hops in 0_u8..12,
        silent in prop::collection::vec(1_u8..12, 0..4),
        weather in prop::collection::vec(Weather::any(), 1..20),
        cancel_at in prop::option::weighted(0.2, 0_u32..12),
    ) {
        let way = routers(hops, &silent);
        let backward = spec.doubletree.as_ref().is_some_and(|tree| tree.backward);
        let end = if backward { 1 } else { spec.first_hop.0 };
        let mut machine = Watched(Trace::new(spec, Key::new([7; 16])).unwrap());
        let run = run(&mut machine, |_, probe| {
            let mut coming = row(&way, probe);
            if cancel_at == Some(probe.id.0) {
                let what = crate::testing::What::Cancel;
                coming.push(Coming { after: Nanos(MS), what });
            }
            weather[probe.id.0 as usize % weather.len()].spoil(coming)
        });
        let machine = machine.0;
        prop_assert!(machine.stop().is_some());
        prop_assert_eq!(machine.samples().len(), run.probes.len());
        for (sample, (_, probe)) in machine.samples().zip(&run.probes) {
            prop_assert_eq!(ProbeId(sample.id), probe.id);
            prop_assert_eq!(Some(sample.ttl), probe.ttl);
            let weather = weather[sample.id as usize % weather.len()];
            match sample.fate {
                Fate::Answered | Fate::Late => {
                    // What was believed is what the network said about this very probe.
                    let reply = sample.reply.unwrap();
                    let at = way.get(usize::from(sample.ttl.0) - 1).copied().unwrap_or(Some(TARGET));
                    prop_assert_eq!(Some(reply.from), at);
                    prop_assert!(sample.rtt.is_some());
                }
                Fate::NotSent(_) => prop_assert!(matches!(weather, Weather::Refused)),
                _ => prop_assert_eq!(sample.reply, None),
            }
        }
        if machine.is_reached() && cancel_at.is_none() {
            prop_assert!(machine.stop_ttl().unwrap().0 > hops.max(end - 1));
        }
    }

    #[test]
    fn in_fair_weather_the_result_is_the_path(
        mut spec in spec(),
        hops in 0_u8..12,
        silent in prop::collection::vec(1_u8..12, 0..4),
    ) {
        spec.timeout = Nanos::from_secs(1);
        spec.doubletree = None;
        (spec.gap_limit, spec.first_hop, spec.max_ttl) = (5, Ttl(1), Ttl(30));
        let way = routers(hops, &silent);
        let mut machine = Watched(Trace::new(spec, Key::new([7; 16])).unwrap());
        run(&mut machine, |_, probe| Ok(row(&way, probe)));
        prop_assert_eq!(machine.0.stop(), Some(Stop::Completed));
        prop_assert_eq!(path(&machine.0), with_target(way));
    }
}
