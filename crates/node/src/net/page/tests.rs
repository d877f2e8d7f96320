use std::sync::atomic::AtomicU64;

use proptest::prelude::*;

use super::*;

const SEED: [u8; 16] = [3; 16];

fn address(number: u32) -> IpAddr {
    std::net::Ipv4Addr::from(number).into()
}

fn page(packets_per_s: u64, bits_per_s: u64, target_packets_per_s: u64) -> Page {
    Page::create(Limits { packets_per_s, bits_per_s, target_packets_per_s }, SEED).unwrap()
}

const LOOSE: u64 = 1 << 40;

#[test]
fn each_limit_holds_by_itself() {
    let now = Instant(1_000_000_000);
    let cases = [
        (page(100, LOOSE, LOOSE), Limit::Site),
        (page(LOOSE, 8_000, LOOSE), Limit::Site),
        (page(LOOSE, LOOSE, 100), Limit::Target),
    ];
    for (page, by) in cases {
        page.take(now, address(1), 1, 100).unwrap();
        let held = page.take(now, address(1), 1, 100).unwrap_err();
        assert_eq!(held.by, by);
        page.take(now + held.wait, address(1), 1, 100).unwrap();
        assert_eq!(page.counters(), Counters { packets: 2, bytes: 200, held: 1 });
    }
}

#[test]
fn a_slow_target_takes_nothing_from_the_site() {
    let page = page(1_000, LOOSE, 1);
    let now = Instant(1_000_000_000);
    page.take(now, address(1), 1, 100).unwrap();
    for _ in 0..1_000 {
        assert_eq!(page.take(now, address(1), 1, 100).unwrap_err().by, Limit::Target);
    }
    // Of the site's burst of ten, one is gone.
    for target in 2..11 {
        page.take(now, address(target), 1, 100).unwrap();
    }
    let site = page.take(now, address(12), 1, 100).unwrap_err();
    assert_eq!(site, Held { wait: Nanos::from_millis(1), by: Limit::Site });
    // Who waits for his target must not be taken for one who waits for the site: others would wait with him.
    let both = page.take(now, address(1), 1, 100).unwrap_err();
    assert_eq!(both, Held { wait: Nanos::from_secs(1), by: Limit::Target });
}

#[test]
fn nothing_is_allowed_at_a_rate_of_zero() {
    let page = page(0, LOOSE, LOOSE);
    assert_eq!(page.take(Instant(1), address(1), 1, 1).unwrap_err().wait, Nanos::MAX);
}

#[test]
fn another_mapping_sees_the_same_page_and_its_changes() {
    let here = page(100, LOOSE, LOOSE);
    let there = Page::open(here.as_fd().try_clone_to_owned().unwrap()).unwrap();
    assert_eq!(there.limits(), here.limits());
    let now = Instant(1_000_000_000);
    there.take(now, address(1), 1, 100).unwrap();
    assert!(here.take(now, address(2), 1, 100).is_err());
    here.set_limits(Limits { packets_per_s: LOOSE, ..here.limits() });
    there.take(now + Nanos::from_millis(10), address(1), 1, 100).unwrap();
    assert_eq!(here.counters(), there.counters());
    // The target's word is the same, so the key is.
    assert_eq!(here.target_word(address(77)), there.target_word(address(77)));
}

#[test]
fn neighbours_have_words_of_their_own_and_others_share_few() {
    let page = page(1, 1, 1);
    let of_block: std::collections::BTreeSet<_> =
        (256..320).map(|number| page.target_word(address(number))).collect();
    assert_eq!(of_block.len(), 64);
    let (first, last) = (of_block.first().unwrap(), of_block.last().unwrap());
    assert_eq!(last - first, 63);
    // The first address of each of very many networks: as many words as 4,096 balls hit of 65,536 bins, 3,970 more or less.
    let of_first = (0..4_096_u32).map(|number| page.target_word(address(number << 8 | 1)));
    let words = of_first.collect::<std::collections::BTreeSet<_>>().len();
    assert!(words > 3_900, "{words}");
}

#[test]
fn what_is_no_page_is_refused() {
    let foreign = |fd| matches!(Page::open(fd), Err(PageError::Foreign(_)));
    assert!(foreign(tempfile::tempfile().unwrap().into()));
    let unsealed = memfd_create(c"test", MemfdFlags::ALLOW_SEALING).unwrap();
    ftruncate(&unsealed, BYTES as u64).unwrap();
    assert!(foreign(unsealed));
    for size in [BYTES as u64, 8] {
        let sealed = memfd_create(c"test", MemfdFlags::ALLOW_SEALING).unwrap();
        ftruncate(&sealed, size).unwrap();
        fcntl_add_seals(&sealed, seals()).unwrap();
        assert!(foreign(sealed));
    }
}

#[test]
fn nobody_can_cut_the_page_short() {
    let page = page(1, 1, 1);
    assert!(ftruncate(page.as_fd(), 0).is_err());
}

#[test]
fn a_portion_is_what_may_leave_and_the_rest_goes_back() {
    let page = page(1_000, LOOSE, 100);
    let now = Instant(1_000_000_000);
    // Of the site's burst of ten.
    let mut portion = page.portion(now, 32, 100).unwrap();
    for target in 1..4 {
        portion.take(address(target)).unwrap();
    }
    assert_eq!(portion.take(address(3)), Err(Held { wait: Nanos::from_millis(10), by: Limit::Target }));
    drop(portion);
    assert_eq!(page.counters(), Counters { packets: 3, bytes: 300, held: 1 });
    let mut portion = page.portion(now, 32, 100).unwrap();
    for target in 4..11 {
        assert!(portion.has_more());
        portion.take(address(target)).unwrap();
    }
    assert!(!portion.has_more());
    assert_eq!(portion.take(address(11)).unwrap_err().by, Limit::Site);
    drop(portion);
    let held = page.portion(now, 32, 100).unwrap_err();
    assert_eq!(held, Held { wait: Nanos::from_millis(1), by: Limit::Site });
    // No burst makes up for missed slots beyond the bucket's own.
    assert_eq!(page.portion(now + held.wait, 32, 100).unwrap().count, 1);
}

#[test]
fn what_others_took_meanwhile_stays_taken() {
    let page = page(1_000, LOOSE, LOOSE);
    let now = Instant(1_000_000_000);
    let portion = page.portion(now, 5, 100).unwrap();
    page.take(now, address(1), 1, 100).unwrap();
    drop(portion);
    // Five of ten were taken at once and not given back.
    assert_eq!(page.portion(now, 32, 100).unwrap().count, 4);
}

/// Threads with mappings of their own ask as fast as they can, and move a shared clock on by asking.
#[test]
fn many_threads_never_exceed_rate_times_time_and_burst() {
    const RATE: u64 = 100_000;
    const THREADS: u32 = 4;
    const ASKED: u32 = 50_000;
    const TICK_NS: u64 = 100;
    let page = page(RATE, LOOSE, LOOSE);
    let start = 1_000_000_000;
    let now = AtomicU64::new(start);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let now = &now;
            let page = Page::open(page.as_fd().try_clone_to_owned().unwrap()).unwrap();
            scope.spawn(move || {
                for asked in 0..ASKED {
                    let at = Instant(now.fetch_add(TICK_NS, AcqRel));
                    let target = address(asked * THREADS + thread);
                    if thread % 2 == 0 {
                        let _ = page.take(at, target, 1, 100);
                    } else if let Ok(mut portion) = page.portion(at, 3, 100) {
                        while portion.has_more() {
                            portion.take(target).unwrap();
                        }
                    }
                }
            });
        }
    });
    let elapsed = now.load(Acquire) - start;
    assert_eq!(elapsed, u64::from(THREADS * ASKED) * TICK_NS);
    let steady = RATE * elapsed / 1_000_000_000;
    let taken = page.counters().packets;
    assert!(taken <= steady + burst(RATE) + 1, "{taken} of {steady}");
    assert!(taken >= steady, "{taken} of {steady}");
}

proptest! {
    #[test]
    fn every_limit_is_kept(
        packets_per_s in 1_u64..5_000, bits_per_s in 1_000_u64..5_000_000, target_packets_per_s in 1_u64..2_000,
        steps in prop::collection::vec((0_u64..2_000_000, 0_u32..4, 20_u64..1_500, 0_u32..6), 1..300),
    ) {
        let page = page(packets_per_s, bits_per_s, target_packets_per_s);
        let start = 1_000_000_000;
        let (mut now, mut packets, mut bits, mut largest) = (start, 0_u64, 0_u64, 0_u64);
        let mut of_target = [0_u64; 4];
        let within = |count: u64, rate: u64, burst: u64, elapsed: u64| {
            u128::from(count) * 1_000_000_000 <= u128::from(rate) * u128::from(elapsed)
                + u128::from(burst) * 1_000_000_000
        };
        for (gap, target, bytes, portion) in steps {
            now += gap;
            let mut left = |target: u32| {
                packets += 1;
                bits += bytes * 8;
                largest = largest.max(bytes * 8);
                of_target[target as usize] += 1;
            };
            if portion == 0 {
                if page.take(Instant(now), address(target), 1, bytes).is_ok() {
                    left(target);
                }
            } else if let Ok(mut taken) = page.portion(Instant(now), 8, bytes) {
                for more in 0..portion {
                    let target = (target + more) % 4;
                    if taken.take(address(target)).is_ok() {
                        left(target);
                    }
                }
            }
            let elapsed = now - start;
            prop_assert!(within(packets, packets_per_s, burst(packets_per_s), elapsed));
            prop_assert!(within(bits, bits_per_s, burst(bits_per_s).max(largest), elapsed));
            for count in of_target {
                prop_assert!(within(count, target_packets_per_s, burst(target_packets_per_s), elapsed));
            }
        }
    }
}
