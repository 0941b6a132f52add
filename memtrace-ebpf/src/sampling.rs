//! Which allocations stand for others, and for how much.
//!
//! An allocation of `size` bytes is recorded with the probability that a Poisson process of one
//! point every `interval` bytes hits it, `p = 1 - exp(-size / interval)`, and then weighs
//! `size / p` bytes and `1 / p` objects. Its expected weight is its size whatever `p` is, so the
//! table's rounding adds no bias. No state is needed: each allocation is decided on its own.

use crate::allocation::OBJECT;

/// The longest interval: 64 GiB.
pub const MAX_INTERVAL: u64 = 1 << 36;
/// Table entries per interval.
const RESOLUTION: u64 = 64;
/// From this many intervals on an allocation is always recorded.
const CERTAIN_INTERVALS: u64 = 8;
const ENTRIES: usize = (RESOLUTION * CERTAIN_INTERVALS) as usize + 1;

/// `1 - exp(-i / 64)` in units of 2^-32.
static PROBABILITIES: [u64; ENTRIES] = probabilities();

const fn probabilities() -> [u64; ENTRIES] {
    const ONE: u128 = 1 << 64;
    /// `exp(-1/64)` in units of 2^-64.
    const DECAY: u128 = 18_160_753_814_917_686_419;
    let mut table = [0; ENTRIES];
    let mut survival = ONE;
    let mut index = 0;
    while index < ENTRIES {
        table[index] = ((ONE - survival) >> 32) as u64;
        survival = (survival * DECAY) >> 64;
        index += 1;
    }
    table
}

/// What a recorded allocation stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weight {
    /// Bytes.
    pub bytes: u64,
    /// Objects, in units of [`OBJECT`].
    pub objects: u64,
}

/// The weight of an allocation, or `None` if it is not to be recorded.
///
/// `interval` is in bytes, 0 to record everything, at most [`MAX_INTERVAL`]; `random` is uniform
/// over `u32`.
#[must_use]
pub fn weigh(size: u64, interval: u64, random: u32) -> Option<Weight> {
    if interval == 0 || size >= interval.saturating_mul(CERTAIN_INTERVALS) {
        return Some(Weight { bytes: size, objects: OBJECT });
    }
    let probability = probability(size.max(1), interval);
    (u64::from(random) < probability).then(|| Weight {
        bytes: (((size << 24) / probability) << 8)
            | ((((size << 24) % probability) << 8) / probability),
        objects: (OBJECT << 32) / probability,
    })
}

/// In units of 2^-32, at least 1; `size` is below eight intervals.
fn probability(size: u64, interval: u64) -> u64 {
    let scaled = (size << 16) / interval * RESOLUTION;
    // The mask changes nothing; it shows the verifier that the table is long enough.
    let index = (scaled >> 16) as usize & (ENTRIES - 2);
    let (low, high) = (PROBABILITIES[index], PROBABILITIES[index + 1]);
    (low + (((high - low) * (scaled & 0xffff)) >> 16)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A full-period generator: every run sees the same numbers.
    fn randoms() -> impl Iterator<Item = u32> {
        let mut state = 1_u64;
        core::iter::repeat_with(move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 32) as u32
        })
    }

    #[test]
    fn without_an_interval_everything_counts_once() {
        assert_eq!(weigh(5, 0, u32::MAX), Some(Weight { bytes: 5, objects: OBJECT }));
        assert_eq!(weigh(0, 0, u32::MAX), Some(Weight { bytes: 0, objects: OBJECT }));
    }

    #[test]
    fn large_allocations_count_exactly() {
        let weight = weigh(1 << 23, 1 << 20, u32::MAX);
        assert_eq!(weight, Some(Weight { bytes: 1 << 23, objects: OBJECT }));
    }

    #[test]
    #[expect(clippy::cast_precision_loss, reason = "an estimate is compared")]
    fn the_estimate_is_unbiased_for_every_size() {
        const TRIALS: usize = 400_000;
        for size in [64, 1000, 4096, 65_536, 300_000, 1 << 20, 2_000_000] {
            let weights = randoms().take(TRIALS).filter_map(|random| weigh(size, 1 << 18, random));
            let (bytes, objects) = weights
                .fold((0_u64, 0_u64), |sum, weight| (sum.0 + weight.bytes, sum.1 + weight.objects));
            // Four standard deviations of a Bernoulli estimate.
            let hits = TRIALS as f64 * (1.0 - (-(size as f64) / f64::from(1 << 18)).exp());
            let tolerance = 4.0 / hits.sqrt() + 1e-4;
            let truth = size as f64 * TRIALS as f64;
            assert!((bytes as f64 / truth - 1.0).abs() < tolerance, "{size}: {bytes} of {truth}");
            let truth = OBJECT as f64 * TRIALS as f64;
            assert!((objects as f64 / truth - 1.0).abs() < tolerance, "{size}: {objects}");
        }
    }
}
