//! The functions that allocators export, as data. Refuses to know where they are.

use memtrace_abi::probe::Meaning;

/// What each function does, by its name, before which an allocator may have a prefix. Names at one
/// address are one function: the first name here.
///
/// Releases come first, so that whoever attaches in this order misses no release of what it has
/// seen allocated. Those that end in `x` are jemalloc's; their flags change nothing that matters
/// here. C++ `operator new` is absent: it may throw, and the unwinder of exceptions cannot pass the
/// trampoline that a return probe leaves on the stack. So is `operator delete`: it is another name
/// of `free`, or calls it, or releases what only `operator new` has given.
const FUNCTIONS: [(&str, Meaning); 15] = [
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

/// What only mimalloc has, behind its prefix. Its size comes before its alignment.
const MIMALLOC: [(&str, Meaning); 15] = [
    ("free_size", Meaning::Free),
    ("free_aligned", Meaning::Free),
    ("free_size_aligned", Meaning::Free),
    ("zalloc", Meaning::Allocate),
    ("malloc_small", Meaning::Allocate),
    ("zalloc_small", Meaning::Allocate),
    ("malloc_aligned", Meaning::Allocate),
    ("zalloc_aligned", Meaning::Allocate),
    ("mallocn", Meaning::AllocateArray),
    ("calloc_aligned", Meaning::AllocateArray),
    ("rezalloc", Meaning::Reallocate),
    ("reallocf", Meaning::Reallocate),
    ("realloc_aligned", Meaning::Reallocate),
    ("rezalloc_aligned", Meaning::Reallocate),
    ("recalloc", Meaning::ReallocateArray),
];

/// `duckdb::Allocator`: the jemalloc behind it is inlined there, so that its own functions are seldom
/// called. The names of C++ tell the arguments: the allocator's data, then the size, or the pointer and
/// its size. `DefaultReallocate` calls jemalloc's `realloc`.
const DUCKDB: [(&str, &str, Meaning); 2] = [
    (
        "_ZN6duckdb9Allocator11DefaultFreeEPNS_20PrivateAllocatorDataEPhm",
        "duckdb::Allocator::DefaultFree",
        Meaning::FreeOwned,
    ),
    (
        "_ZN6duckdb9Allocator15DefaultAllocateEPNS_20PrivateAllocatorDataEm",
        "duckdb::Allocator::DefaultAllocate",
        Meaning::AllocateAligned,
    ),
];
/// What the names of a class begin with.
const DUCKDB_PREFIX: usize = "_ZN6duckdb9Allocator".len();

/// One of these that every mimalloc has.
pub const OF_MIMALLOC: &str = "zalloc";

/// An allocating or releasing function, by its symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Named<'symbol> {
    /// What its allocator's functions have in common: empty for those that every program calls.
    pub prefix: &'symbol [u8],
    /// What is behind it.
    pub function: &'static str,
    /// What it does.
    pub meaning: Meaning,
    /// Its place in the order to attach in.
    pub rank: usize,
}

/// What a symbol of an allocator stands for; `None` for all others.
#[must_use]
pub fn named(symbol: &[u8]) -> Option<Named<'_>> {
    let functions = FUNCTIONS.iter().chain(&MIMALLOC).enumerate();
    let with = |(index, (function, meaning)): (usize, &(&'static str, Meaning))| {
        let prefix = symbol.strip_suffix(function.as_bytes())?;
        let is_known = match prefix {
            b"" => FUNCTIONS.iter().any(|(standard, _)| standard == function),
            _ => is_prefix(prefix, MIMALLOC.iter().any(|(special, _)| special == function)),
        };
        let rank = rank(index, *meaning);
        is_known.then_some(Named { prefix, function, meaning: *meaning, rank })
    };
    functions.map(with).find_map(|named| named).or_else(|| of_duckdb(symbol))
}

fn of_duckdb(symbol: &[u8]) -> Option<Named<'_>> {
    let known = DUCKDB.iter().position(|(mangled, ..)| mangled.as_bytes() == symbol)?;
    let (_, function, meaning) = DUCKDB[known];
    let rank = rank(FUNCTIONS.len() + MIMALLOC.len() + known, meaning);
    Some(Named { prefix: &symbol[..DUCKDB_PREFIX], function, meaning, rank })
}

/// Releases come first.
const fn rank(index: usize, meaning: Meaning) -> usize {
    let all = FUNCTIONS.len() + MIMALLOC.len() + DUCKDB.len();
    if meaning.is_release() { index } else { index + all }
}

/// Whether an allocator that is linked into something has such names: `je_`, `duckdb_je_`,
/// `je_arrow_`, `_rjem_`, `mi_`, `arrow_mi_`. What the allocators call their inner functions has more
/// before the name, as `je_arena_malloc`.
fn is_prefix(prefix: &[u8], is_mimalloc: bool) -> bool {
    let belongs = |to: &[u8]| {
        let before = prefix.strip_suffix(to);
        before.is_some_and(|before| before.is_empty() || before.ends_with(b"_"))
    };
    let is_jemalloc = belongs(b"je_") || matches!(prefix, b"_rjem_" | b"je_arrow_");
    belongs(b"mi_") || is_jemalloc && !is_mimalloc
}

/// Whether functions are those of an allocator.
#[must_use]
pub fn is_complete(meanings: impl Iterator<Item = Meaning> + Clone) -> bool {
    let mut releases = meanings.clone();
    let mut others = meanings;
    releases.any(Meaning::is_release) && others.any(|meaning| !meaning.is_release())
}

/// What tells that an allocator is linked into a file whose symbols do not name it.
const TRACES: [(&str, &[u8]); 3] = [
    ("jemalloc", b"<jemalloc>: "),
    ("mimalloc", b"MIMALLOC_SHOW_STATS"),
    ("mimalloc", b"mimalloc: error: "),
];

/// An allocator in a file, by the messages that it may print.
#[must_use]
pub fn trace(bytes: &[u8]) -> Option<&'static str> {
    let is_there = |(_, text): &&(&str, &[u8])| memchr::memmem::find(bytes, text).is_some();
    TRACES.iter().find(is_there).map(|(name, _)| *name)
}

/// `operator new(unsigned long)`, which an allocator may have of its own.
pub const OPERATOR_NEW: &str = "_Znwm";

/// The function that the dynamic linkers of glibc and musl call after changing the list of
/// loaded libraries.
pub const LIBRARIES_CHANGED: &str = "_dl_debug_state";

/// A variable that only glibc's dynamic linker exports.
const GLIBC_LINKER: &str = "_rtld_global";

/// The known form of a name that is no function of an allocator.
#[must_use]
pub fn other(name: &[u8]) -> Option<&'static str> {
    [OPERATOR_NEW, LIBRARIES_CHANGED, GLIBC_LINKER]
        .into_iter()
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
    fn allocators_in_wheels_are_known_by_their_prefixes() {
        let parts = |symbol: &'static str| {
            let Named { prefix, function, .. } = named(symbol.as_bytes())?;
            Some((std::str::from_utf8(prefix).unwrap(), function))
        };
        assert_eq!(parts("free"), Some(("", "free")));
        assert_eq!(parts("duckdb_je_aligned_alloc"), Some(("duckdb_je_", "aligned_alloc")));
        assert_eq!(parts("je_arrow_rallocx"), Some(("je_arrow_", "rallocx")));
        assert_eq!(parts("_rjem_sdallocx"), Some(("_rjem_", "sdallocx")));
        assert_eq!(parts("arrow_mi_malloc_aligned"), Some(("arrow_mi_", "malloc_aligned")));
        assert_eq!(parts("mi_free"), Some(("mi_", "free")));
        let inner = [
            "je_arena_malloc",
            "je_a0malloc",
            "duckdb_je_bootstrap_free",
            "_rjem_je_large_malloc",
            "mi_heap_malloc",
            "_mi_page_free",
            "je_malloc_aligned",
            "malloc_aligned",
            "xfree",
            "freeaddrinfo",
            "",
        ];
        for symbol in inner {
            assert_eq!(parts(symbol), None, "{symbol}");
        }
    }

    #[test]
    fn the_methods_of_an_allocator_are_known_by_their_arguments() {
        let name = "_ZN6duckdb9Allocator11DefaultFreeEPNS_20PrivateAllocatorDataEPhm";
        let free = named(name.as_bytes()).unwrap();
        assert_eq!(
            (free.function, free.meaning),
            ("duckdb::Allocator::DefaultFree", Meaning::FreeOwned)
        );
        let allocate = DUCKDB[1].0.as_bytes();
        let allocate = named(allocate).unwrap();
        assert!(free.prefix == allocate.prefix && free.rank < allocate.rank);
        assert!(free.rank < named(b"malloc").unwrap().rank);
        let others = &name[..name.len() - 1];
        assert_eq!(named(others.as_bytes()), None, "other arguments, other places of them");
    }

    #[test]
    fn only_whole_names_are_known() {
        assert_eq!(other(b"_dl_debug_state"), Some(LIBRARIES_CHANGED));
        assert_eq!(other(b"_dl_debug_state_x"), None);
    }

    #[test]
    fn a_stripped_allocator_leaves_its_messages() {
        assert_eq!(trace(b"...\0<jemalloc>: %s: Error\0"), Some("jemalloc"));
        assert_eq!(trace(b"nothing of the kind"), None);
    }
}
