//! The functions that allocators export, as data. Refuses to know where they are.

use memtrace_abi::probe::Meaning;

/// What each function does, by symbol name. Names at one address are one function: the first
/// name here.
///
/// Releases come first, so that whoever attaches in this order misses no release of what it has
/// seen allocated. Those that end in `x` are jemalloc's; their flags change nothing that matters
/// here. C++ `operator new` is absent: it may throw, and the unwinder of exceptions cannot pass the
/// trampoline that a return probe leaves on the stack. So is `operator delete`: it is another name
/// of `free`, or calls it, or releases what only `operator new` has given.
pub const FUNCTIONS: [(&str, Meaning); 15] = [
    ("free", Meaning::Free),
    ("cfree", Meaning::Free),
    ("dallocx", Meaning::Free),
    ("sdallocx", Meaning::Free),
    ("malloc", Meaning::Allocate),
    ("calloc", Meaning::AllocateArray),
    ("realloc", Meaning::Reallocate),
    ("reallocarray", Meaning::ReallocateArray),
    ("posix_memalign", Meaning::AllocateInto),
    ("aligned_alloc", Meaning::AllocateAligned),
    ("memalign", Meaning::AllocateAligned),
    ("valloc", Meaning::Allocate),
    ("pvalloc", Meaning::Allocate),
    ("mallocx", Meaning::Allocate),
    ("rallocx", Meaning::Reallocate),
];

/// `operator new(unsigned long)`, which an allocator may have of its own.
pub const OPERATOR_NEW: &str = "_Znwm";

/// The function that the dynamic linkers of glibc and musl call after changing the list of
/// loaded libraries.
pub const LIBRARIES_CHANGED: &str = "_dl_debug_state";

/// A variable that only glibc's dynamic linker exports.
const GLIBC_LINKER: &str = "_rtld_global";

/// The known form of a name that this module asks about.
#[must_use]
pub fn known(name: &[u8]) -> Option<&'static str> {
    FUNCTIONS
        .iter()
        .map(|(function, _)| *function)
        .chain([OPERATOR_NEW, LIBRARIES_CHANGED, GLIBC_LINKER])
        .find(|known| known.as_bytes() == name)
}

/// Whether a file is an allocator, given whether it exports a name.
///
/// glibc's dynamic linker is not: up to glibc 2.31 it exports a `malloc` that it uses itself until
/// the libc is there.
#[must_use]
pub fn is_allocator(exports: impl Fn(&str) -> bool) -> bool {
    exports("malloc") && exports("free") && !exports(GLIBC_LINKER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_allocator_exports_both_malloc_and_free() {
        assert!(is_allocator(|name| ["malloc", "free"].contains(&name)));
        assert!(!is_allocator(|name| name == "malloc"));
        assert!(!is_allocator(|name| name == "free"));
    }

    #[test]
    fn the_early_malloc_of_glibcs_linker_is_no_allocator() {
        assert!(!is_allocator(|name| ["malloc", "free", "_rtld_global"].contains(&name)));
    }

    #[test]
    fn only_whole_names_are_known() {
        assert_eq!(known(b"free"), Some("free"));
        assert_eq!(known(b"freeaddrinfo"), None);
        assert_eq!(known(b""), None);
    }
}
