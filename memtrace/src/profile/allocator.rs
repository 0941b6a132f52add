//! Which native functions only hand memory on, so that blaming them would say nothing.

const FUNCTIONS: [&str; 23] = [
    "malloc",
    "calloc",
    "realloc",
    "reallocarray",
    "posix_memalign",
    "aligned_alloc",
    "memalign",
    "valloc",
    "pvalloc",
    "mallocx",
    "rallocx",
    "sysmalloc",
    "mmap",
    "mmap64",
    "__mmap",
    "mremap",
    "brk",
    "sbrk",
    "shmat",
    "npy_alloc_cache",
    "npy_alloc_cache_zero",
    "default_malloc",
    "default_calloc",
];

/// Of glibc, `CPython`, `NumPy`, C++ (also mangled), Rust, jemalloc, mimalloc, tcmalloc and their
/// renamed copies in wheels.
const PREFIXES: [&str; 23] = [
    "__libc_",
    "_int_",
    "PyMem_",
    "_PyMem_",
    "PyObject_Malloc",
    "PyObject_Calloc",
    "PyObject_Realloc",
    "_PyObject_Malloc",
    "_PyObject_Calloc",
    "_PyObject_Realloc",
    "_PyObject_Arena",
    "PyDataMem_",
    "operator new",
    "_Znw",
    "_Zna",
    "std::allocator",
    "std::__new_allocator",
    "__gnu_cxx::new_allocator",
    "__rust_alloc",
    "_rjem_",
    "je_",
    "mi_",
    "tc_",
];

/// What C libraries are called: those that the heap's reader knows by name.
const C_LIBRARIES: [&str; 4] = ["libc.so", "libc-2.", "ld-musl-", "libc.musl-"];

/// Whether a file is a C library by its name: what has no symbol in it serves allocations, copies and
/// fills.
pub(super) fn is_c_library(module: &str) -> bool {
    let name = module.rsplit('/').next().unwrap_or(module);
    C_LIBRARIES.iter().any(|library| name.starts_with(library))
}

/// Whether `symbol` is a function of an allocator.
pub(super) fn is_allocator(symbol: &str) -> bool {
    let name = symbol.split('@').next().unwrap_or(symbol);
    FUNCTIONS.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c_libraries_are_known_by_name() {
        for module in
            ["/usr/lib/x86_64-linux-gnu/libc.so.6", "/lib/libc-2.31.so", "ld-musl-x86_64.so.1"]
        {
            assert!(is_c_library(module), "{module}");
        }
        assert!(!is_c_library("/opt/libc.so.d/libother.so") && !is_c_library("libcrypto.so.3"));
    }

    #[test]
    fn allocators_are_known_by_name() {
        for name in ["malloc", "calloc@@GLIBC_2.2.5", "_PyObject_Malloc", "je_arrow_malloc"] {
            assert!(is_allocator(name), "{name}");
        }
        for name in ["PyArray_NewFromDescr_int", "PyObject_Call", "malloc_stats_of_mine"] {
            assert!(!is_allocator(name), "{name}");
        }
    }
}
