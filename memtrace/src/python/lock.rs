//! Who holds the global interpreter lock. Offsets by minor version, x86-64: `offsetof` compiled
//! against the version's own headers.

/// In a `struct _gil_runtime_state`, every version with a lock.
const LAST_HOLDER: u64 = 8;
const LOCKED: u64 = 16;

/// Where the lock of the main interpreter is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// In `_PyRuntime`: `ceval.gil`.
    Runtime(u64),
    /// In `_PyRuntime`: `interpreters.main`; in the interpreter: `ceval.gil`, a pointer.
    Interpreter(u64, u64),
}

fn place(minor: u8) -> Option<Place> {
    match minor {
        8 => Some(Place::Runtime(1152)),
        9 | 10 => Some(Place::Runtime(352)),
        11 => Some(Place::Runtime(360)),
        12 => Some(Place::Interpreter(48, 384)),
        13 => Some(Place::Interpreter(640, 16)),
        14 => Some(Place::Interpreter(816, 16)),
        _ => None,
    }
}

/// The `PyThreadState` that holds the lock of the main interpreter of the runtime at an address;
/// `Some(0)` if nobody does, `None` if that cannot be told.
pub fn holder(minor: u8, runtime: u64, read: impl Fn(u64) -> Option<u64>) -> Option<u64> {
    let at = |base: u64, offset: u64| read(base.wrapping_add(offset));
    let lock = match place(minor)? {
        Place::Runtime(offset) => runtime.wrapping_add(offset),
        Place::Interpreter(main, lock) => at(at(runtime, main)?, lock)?,
    };
    match at(lock, LOCKED)? as u32 {
        0 => Some(0),
        1 => at(lock, LAST_HOLDER),
        // It is not initialised, or this is no lock.
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use memtrace_abi::python::LAST_HOLDER_TO_CURRENT;

    use super::*;

    fn holder_in(minor: u8, words: &[(u64, u64)]) -> Option<u64> {
        let words: HashMap<u64, u64> = words.iter().copied().collect();
        holder(minor, 0x1000, |address| words.get(&address).copied())
    }

    #[test]
    fn the_holder_counts_only_while_the_lock_is_taken() {
        let (last, locked) = (0x1000 + 352 + 8, 0x1000 + 352 + 16);
        assert_eq!(holder_in(9, &[(last, 7), (locked, 1)]), Some(7));
        assert_eq!(holder_in(9, &[(last, 7), (locked, 0)]), Some(0));
        assert_eq!(holder_in(9, &[(last, 7), (locked, u64::MAX)]), None);
        assert_eq!(holder_in(9, &[]), None);
    }

    #[test]
    fn the_current_thread_lies_at_the_same_distance_up_to_3_11() {
        for (minor, current) in [(8, 1368), (9, 568), (10, 568), (11, 576)] {
            let lock = current - LAST_HOLDER_TO_CURRENT - LAST_HOLDER;
            assert_eq!(place(minor), Some(Place::Runtime(lock)), "3.{minor}");
        }
    }

    #[test]
    fn from_3_12_on_the_lock_is_the_interpreters() {
        let words = [(0x1000 + 48, 0x2000), (0x2000 + 384, 0x3000), (0x3008, 7), (0x3010, 1)];
        assert_eq!(holder_in(12, &words), Some(7));
        let words = [(0x1000 + 816, 0x2000), (0x2000 + 16, 0x3000), (0x3008, 7), (0x3010, 1)];
        assert_eq!(holder_in(14, &words), Some(7));
        assert_eq!(holder_in(15, &words), None, "its place is not known");
    }
}
