//! What a probe means, as carried by its attach cookie.

/// What a probed function does with memory, and where its arguments are.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Meaning {
    /// `f(size)`: `malloc`, `valloc`, `pvalloc`.
    Allocate = 0,
    /// `f(count, size)`: `calloc`.
    AllocateArray = 1,
    /// `f(alignment, size)`: `aligned_alloc`, `memalign`; or `f(owner, size)`.
    AllocateAligned = 2,
    /// `f(&mut pointer, alignment, size) -> error`: `posix_memalign`.
    AllocateInto = 3,
    /// `f(pointer, size)`: `realloc`.
    Reallocate = 4,
    /// `f(pointer, count, size)`: `reallocarray`.
    ReallocateArray = 5,
    /// `f(pointer)`: `free`.
    Free = 6,
    /// The dynamic linker has changed the list of loaded libraries.
    LibrariesChanged = 7,
    /// `f(owner, pointer)`.
    FreeOwned = 8,
}

impl Meaning {
    /// Whether the outcome is known only when the function returns.
    #[must_use]
    pub const fn has_result(self) -> bool {
        !matches!(self, Self::Free | Self::FreeOwned | Self::LibrariesChanged)
    }

    /// Whether memory is given back, and none is returned.
    #[must_use]
    pub const fn is_release(self) -> bool {
        matches!(self, Self::Free | Self::FreeOwned)
    }
}

/// The cookie of one probe: which process, which function.
///
/// | bits | field |
/// |---|---|
/// | 0..=31 | process slot |
/// | 32..=39 | [`Meaning`] |
/// | 40..=55 | function number, distinct for every probed address |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cookie {
    /// Index of the process, or [`Cookie::CURRENT`].
    pub process: u32,
    /// A [`Meaning`]; checked by whoever matches on it.
    pub meaning: u8,
    /// Distinct for every probed address.
    pub function: u16,
}

impl Cookie {
    /// The probe is in several processes; the one that hits it counts.
    pub const CURRENT: u32 = u32::MAX;

    /// The 64 bits that the kernel hands to the program.
    #[must_use]
    pub const fn pack(self) -> u64 {
        self.process as u64 | (self.meaning as u64) << 32 | (self.function as u64) << 40
    }

    /// The cookie behind the 64 bits.
    #[must_use]
    pub const fn unpack(bits: u64) -> Self {
        Self { process: bits as u32, meaning: (bits >> 32) as u8, function: (bits >> 40) as u16 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_survives_the_kernel() {
        let cookie = Cookie { process: 0xdead_beef, meaning: 5, function: 0xbeef };
        assert_eq!(Cookie::unpack(cookie.pack()), cookie);
    }
}
