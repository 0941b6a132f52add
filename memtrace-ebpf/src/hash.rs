//! The hash that names stacks, tells code objects apart and compares walks.

/// Adds a word to a hash.
pub(crate) fn mix(hash: u64, word: u64) -> u64 {
    let product = (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    product ^ product >> 32
}
