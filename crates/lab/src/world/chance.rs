//! Draws: functions of the seed and of what they are for, so that none depends on how many came before elsewhere.

/// What a draw is for.
#[derive(Clone, Copy, Debug)]
#[repr(u64)]
pub(super) enum For {
    Loss = 1,
    Duplicate,
    Reorder,
    Jitter,
    Balance,
    IpId,
    Sequence,
    Flow,
}

/// 64 random bits: the `number`th of those that are for `what` at the `place`.
pub(super) const fn draw(seed: u64, what: For, place: u64, number: u64) -> u64 {
    let stream = mix(seed ^ (what as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    mix(mix(stream ^ place.wrapping_mul(0xd6e8_feb8_6659_fd93))
        .wrapping_add(number.wrapping_mul(0xa076_1d64_78bd_642f)))
}

/// The finaliser of `SplitMix64` (Steele, Lea and Flood, 2014).
pub(super) const fn mix(z: u64) -> u64 {
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A number below `end`, each as likely as far as 64 bits go.
pub(super) const fn below(draw: u64, end: u64) -> u64 {
    let product = draw as u128 * end as u128;
    (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_even_and_apart() {
        let mean = |what, place| {
            let sum: u64 = (0..10_000).map(|number| draw(1, what, place, number) >> 48).sum();
            sum / 10_000
        };
        for place in 0..20 {
            assert!(mean(For::Loss, place).abs_diff(32_768) < 1_000);
            assert!(mean(For::Jitter, place).abs_diff(32_768) < 1_000);
        }
        assert_ne!(draw(1, For::Loss, 2, 3), draw(1, For::Jitter, 2, 3));
        assert_ne!(draw(1, For::Loss, 2, 3), draw(1, For::Loss, 3, 2));
        assert_ne!(draw(1, For::Loss, 2, 3), draw(2, For::Loss, 2, 3));
        assert_eq!((below(u64::MAX, 7), below(0, 7)), (6, 0));
    }
}
