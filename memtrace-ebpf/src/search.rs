//! Binary search that costs the verifier one look at each halving. With a branch in it, the verifier
//! of Linux 7.2 goes through both ways of each: eight hundred thousand instructions of a million.

use core::hint::black_box;

/// The first index in `start..end` for which `behind` is 1, if it is 0 for all smaller ones and the
/// range can be halved at most `STEPS` times; `None` once `behind` is.
pub fn partition_point<const STEPS: u32>(
    (start, end): (u32, u32),
    behind: impl Fn(u32) -> Option<u32>,
) -> Option<u32> {
    let (mut low, mut high) = (start, end);
    // Constant bound: the verifier has to see the loop end.
    for _ in 0..STEPS {
        if low >= high {
            break;
        }
        let middle = low + (high - low) / 2;
        let behind = behind(middle)?;
        low = middle + 1 - behind * (middle + 1 - low);
        high -= behind * (high - middle);
    }
    Some(low)
}

/// 1 if a number is larger than another one, else 0; both have 63 bits. Computed, and so that the
/// compiler does not make a comparison of it.
#[must_use]
pub fn exceeds(number: u64, other: u64) -> u32 {
    (black_box(other.wrapping_sub(number)) >> 63) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    const LARGEST: u64 = u64::MAX >> 1;

    #[test]
    fn numbers_are_compared_over_all_63_bits() {
        for (number, other) in [(0, 0), (0, 1), (7, 7), (0, LARGEST), (LARGEST, LARGEST)] {
            assert_eq!(exceeds(number, other), 0);
            assert_eq!(exceeds(other, number), u32::from(number != other));
        }
    }

    #[test]
    fn every_place_in_a_range_is_found() {
        for end in 3..40 {
            for point in 3..=end {
                let behind = |index| Some(u32::from(index >= point));
                assert_eq!(partition_point::<6>((3, end), behind), Some(point));
            }
        }
        assert_eq!(partition_point::<6>((3, 9), |_| None), None);
    }
}
