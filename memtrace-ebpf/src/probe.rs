//! What a probe means, as carried by its attach cookie.

/// What a probed function does with memory, and where its arguments are.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Meaning {
    /// `f(size)`: `malloc`, `valloc`, `pvalloc`.
    Allocate = 0,
    /// `f(count, size)`: `calloc`.
    AllocateArray = 1,
    /// `f(alignment, size)`: `aligned_alloc`, `memalign`.
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
}

impl Meaning {
    /// Whether the outcome is known only when the function returns.
    #[must_use]
    pub const fn has_result(self) -> bool {
        !matches!(self, Self::Free | Self::LibrariesChanged)
    }
}

/// The cookie of one probe: which process, which function of which object.
///
/// | bits | field |
/// |---|---|
/// | 0..=31 | process slot |
/// | 32..=39 | [`Meaning`] |
/// | 40..=47 | function number, distinct for every probed address of the process |
/// | 48..=55 | allocator number: an index into [`crate::process::Process::allocators`] |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cookie {
    /// Index of the process.
    pub process: u32,
    /// A [`Meaning`]; checked by whoever matches on it.
    pub meaning: u8,
    /// Distinct for every probed address of a process.
    pub function: u8,
    /// Which allocator the function belongs to.
    pub allocator: u8,
}

impl Cookie {
    /// The 64 bits that the kernel hands to the program.
    #[must_use]
    pub const fn pack(self) -> u64 {
        self.process as u64
            | (self.meaning as u64) << 32
            | (self.function as u64) << 40
            | (self.allocator as u64) << 48
    }

    /// The cookie behind the 64 bits.
    #[must_use]
    pub const fn unpack(bits: u64) -> Self {
        Self {
            process: bits as u32,
            meaning: (bits >> 32) as u8,
            function: (bits >> 40) as u8,
            allocator: (bits >> 48) as u8,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_survives_the_kernel() {
        let cookie = Cookie { process: 0xdead_beef, meaning: 5, function: 200, allocator: 3 };
        assert_eq!(Cookie::unpack(cookie.pack()), cookie);
    }
}
