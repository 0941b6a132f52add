//! Which tests depend on the kernel, and which on the Python and the C library of a suite: the others
//! end on every machine as they do on this one.

use super::catalog::FLOOR;

/// What decides a test's result besides memtrace.
#[derive(Clone, Copy)]
pub struct Dependence {
    /// Which kernel it is.
    pub kernel: bool,
    /// Python, or the C library.
    pub suite: bool,
}

const ON_BOTH: Dependence = Dependence { kernel: true, suite: true };
const ON_KERNEL: Dependence = Dependence { kernel: true, suite: false };
const ON_SUITE: Dependence = Dependence { kernel: false, suite: true };
const ON_NEITHER: Dependence = Dependence { kernel: false, suite: false };

/// By the beginnings of tests' names; the first that fits decides. Tests of no line depend on the
/// kernel: they go through its probes, page faults and processes.
const DEPENDENCES: [(Dependence, &[&str]); 7] = [
    // Programs in the kernel read what Python or the C library wrote; memtrace finds both in a process.
    (
        ON_BOTH,
        &[
            FLOOR,
            "accounting::functions::",
            "accounting::libraries::",
            "accounting::live",
            "accounting::threads::",
            "command::a_static_python",
            "python::",
            "snapshot::stacks::",
        ],
    ),
    // What a heap says is compared with what memtrace reads, which is the same code everywhere; who
    // reads while threads write is a matter of chance that this machine plays more often.
    (ON_NEITHER, &["heap::busy::"]),
    // Layouts of heaps and objects, read from outside.
    (ON_SUITE, &["heap::", "objects::", "snapshot::memory::"]),
    // Arithmetic, and a library that comes with the test: the events behind it are those of other tests.
    (
        ON_NEITHER,
        &[
            "accounting::allocators::",
            "accounting::cpp::",
            "accounting::peak::",
            "accounting::sampling::",
        ],
    ),
    // These ask the kernel for something that differs, or hold a process up.
    (
        ON_KERNEL,
        &[
            "bad_input::a_kernel",
            "bad_input::a_process_may_end",
            "bad_input::a_root_without",
            "bad_input::neither_tracefs",
            "budget::a_python",
            "budget::millions",
            "command::a_command_goes_on",
            "command::a_command_that_is_paused",
            "command::everything",
            "command::scripts",
        ],
    ),
    // What memtrace says, where it writes, and what it decides from its own counts.
    (
        ON_NEITHER,
        &[
            "bad_input::",
            "budget::",
            "cli::",
            "command::",
            "radar::",
            "timeline::",
            "trees::the_peak",
            // An emulated machine would start Pythons for minutes; trees of processes have other tests.
            "trees::workers",
        ],
    ),
    // They take packages that no suite of Debian has.
    (ON_NEITHER, &["scenarios::", "wheels::"]),
];

/// By the beginnings of their names: tests whose load takes a minute or more on an emulated processor.
/// What they show under load, shorter tests of the same modules show without.
const LONG: [&str; 10] = [
    "decomposition::processes_of_every_kind",
    "faults::a_loader_that_is_stopped",
    "heap::sums",
    "heap::trim::what_malloc_trim_gives_back_is_foretold()",
    "oom::kills::ten_victims",
    "oom::survival::short_lived",
    "safety::a_busy_process",
    "safety::nothing_stays_when_memtrace_is_killed_while",
    "selection::those_that_ended",
    "snapshot::memory::millions",
];

/// What a test depends on.
pub fn of(test: &str) -> Dependence {
    let line = DEPENDENCES.iter().find(|(_, beginnings)| begins_like(test, beginnings));
    line.map_or(ON_KERNEL, |(dependence, _)| *dependence)
}

/// Whether a test is left to machines that are not emulated, unless it is asked for.
pub fn is_long(test: &str) -> bool {
    begins_like(&format!("{test}()"), &LONG)
}

fn begins_like(test: &str, beginnings: &[&str]) -> bool {
    beginnings.iter().any(|beginning| test.starts_with(beginning))
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    #[test]
    fn the_first_line_that_fits_decides_and_what_fits_none_depends_on_the_kernel() {
        let dependences = ["heap::busy::a", "heap::a", "python::lines::a", "oom::a"].map(of);
        let found = dependences.map(|it| (it.kernel, it.suite));
        assert_eq!(found, [(false, false), (false, true), (true, true), (true, false)]);
    }

    #[test]
    fn a_long_test_is_told_from_one_whose_name_goes_on() {
        let name = "heap::trim::what_malloc_trim_gives_back_is_foretold";
        assert!(is_long(name) && !is_long(&format!("{name}_for_python")));
        assert!(is_long("heap::sums_are_those_of_mallinfo") && !is_long("oom::a"));
    }

    /// The modules are files; a test that is named itself is in its module's.
    #[test]
    fn what_tests_depend_on_is_said_of_tests_that_there_are() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests");
        let dependences = DEPENDENCES.iter().flat_map(|(_, beginnings)| *beginnings);
        for beginning in dependences.chain(&LONG) {
            let (module, test) = beginning.rsplit_once("::").unwrap();
            let file = folder.join(module.replace("::", "/")).with_extension("rs");
            let source = fs::read_to_string(&file).unwrap_or_default();
            assert!(source.contains(&format!("fn {test}")), "{beginning}");
        }
    }
}
