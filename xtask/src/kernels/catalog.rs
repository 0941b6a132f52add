//! Which kernels and suites there are, which of them are tried together, and which tests are left
//! out of a pair for which reason.

use std::fmt;

use anyhow::{Result, bail};

/// A kernel that Debian packages.
#[derive(Debug, PartialEq)]
pub struct Kernel {
    /// What it is called on the command line.
    pub name: &'static str,
    /// The suites that have it.
    pub suites: &'static [&'static str],
    /// A package that depends on the newest build of it.
    pub package: &'static str,
    /// Whether it is older than what memtrace needs.
    too_old: bool,
}

/// The two numbers of a glibc. What was linked with one runs with all that are not older.
pub type Glibc = [u32; 2];

/// A release of Debian with its interpreters and C library.
#[derive(Debug, PartialEq)]
pub struct Suite {
    /// Its code name.
    pub name: &'static str,
    /// The version of its C library; of a suite that changes, one that it has had.
    pub glibc: Glibc,
    /// Interpreters in `/usr/bin`, the usual one first.
    pub pythons: &'static [&'static str],
    /// Interpreters that memtrace has no layouts for.
    pub unsupported_pythons: &'static [&'static str],
    /// Packages beyond those that every test needs.
    pub packages: &'static [&'static str],
}

/// The cloud builds: the same code as the ordinary ones, with fewer drivers.
const KERNELS: [Kernel; 4] = [
    Kernel {
        name: "5.10",
        suites: &["bullseye", "bullseye-security"],
        package: "linux-image-cloud-amd64",
        too_old: true,
    },
    Kernel {
        name: "6.1",
        suites: &["bookworm", "bookworm-security"],
        package: "linux-image-cloud-amd64",
        too_old: false,
    },
    Kernel {
        name: "6.12",
        suites: &["bookworm", "bookworm-security"],
        package: "linux-image-6.12-cloud-amd64",
        too_old: false,
    },
    Kernel { name: "sid", suites: &["sid"], package: "linux-image-cloud-amd64", too_old: false },
];

const BULLSEYE: Suite = Suite {
    name: "bullseye",
    glibc: [2, 31],
    pythons: &["python3.9"],
    unsupported_pythons: &[],
    packages: &[],
};
const BOOKWORM: Suite = Suite {
    name: "bookworm",
    glibc: [2, 36],
    pythons: &["python3.11"],
    unsupported_pythons: &[],
    packages: &[],
};
const TRIXIE: Suite = Suite {
    name: "trixie",
    glibc: [2, 41],
    pythons: &["python3.13"],
    unsupported_pythons: &[],
    packages: &[],
};
const SID: Suite = Suite {
    name: "sid",
    glibc: [2, 43],
    pythons: &["python3.14"],
    unsupported_pythons: &["python3.15"],
    packages: &["python3-memray"],
};

/// The first one runs every test; the others those that their Python or C library matters to.
const SUITES: [&Suite; 4] = [&BOOKWORM, &BULLSEYE, &TRIXIE, &SID];

/// What an unsupported kernel is tried with.
const FLOOR: &str = "kernel_object::kernels_are_accepted_from_5_17_on";

/// What no machine can try.
pub const REMARK: &str = "Free-threaded Pythons are in no suite of Debian: that memtrace refuses them \
                          is left to the unit tests.";

/// A machine to test on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pair {
    /// What it boots.
    pub kernel: &'static Kernel,
    /// What its disk holds.
    pub suite: &'static Suite,
}

impl fmt::Display for Pair {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.kernel.name, self.suite.name)
    }
}

/// What was asked for.
#[derive(Debug, PartialEq)]
pub struct Choice {
    /// Whether this machine is tested as well.
    pub host: bool,
    /// The emulated machines.
    pub pairs: Vec<Pair>,
}

impl Choice {
    /// `all`, the name of a kernel (`6.1`), or of a pair (`6.1/sid`).
    pub fn of(name: &str) -> Result<Self> {
        if name == "all" {
            let pairs = KERNELS.iter().flat_map(pairs).collect();
            return Ok(Self { host: true, pairs });
        }
        let (kernel_name, suite) = name.split_once('/').map_or((name, None), |(a, b)| (a, Some(b)));
        let kernel = KERNELS.iter().find(|kernel| kernel.name == kernel_name);
        let pairs = kernel.map(pairs).unwrap_or_default();
        let wanted = |pair: &Pair| suite.is_none_or(|suite| suite == pair.suite.name);
        let pairs: Vec<_> = pairs.into_iter().filter(wanted).collect();
        if pairs.is_empty() {
            bail!(
                "`{name}` is no kernel to test on\nhint: --kernel NAME, NAME/SUITE or all, of: {}",
                names()
            );
        }
        Ok(Self { host: false, pairs })
    }
}

/// A kernel that memtrace refuses needs no choice of Pythons.
fn pairs(kernel: &'static Kernel) -> Vec<Pair> {
    let suites: &[&Suite] = if kernel.too_old { &[&BULLSEYE] } else { &SUITES };
    suites.iter().map(|suite| Pair { kernel, suite }).collect()
}

fn names() -> String {
    let pairs = KERNELS.iter().flat_map(pairs).map(|pair| pair.to_string().replace(' ', "/"));
    pairs.collect::<Vec<_>>().join(", ")
}

/// A test that a machine does not run.
#[derive(Clone, Debug, PartialEq)]
pub struct LeftOut {
    /// Its name.
    pub test: String,
    /// Why not.
    pub reason: &'static str,
}

impl Pair {
    /// The tests to run, and those to leave out.
    pub fn divide(&self, tests: &[String]) -> (Vec<String>, Vec<LeftOut>) {
        let (mut run, mut left_out) = (Vec::new(), Vec::new());
        for test in tests {
            match self.reason_against(test) {
                Some(reason) => left_out.push(LeftOut { test: test.clone(), reason }),
                None => run.push(test.clone()),
            }
        }
        (run, left_out)
    }

    fn reason_against(&self, test: &str) -> Option<&'static str> {
        let of = |module: &str| test.starts_with(module);
        if self.kernel.too_old {
            return (test != FLOOR)
                .then_some("memtrace refuses this kernel, which the test of the floor shows");
        }
        if of("python::memray::") && !self.suite.packages.contains(&"python3-memray") {
            return Some("this suite has no memray for its Python");
        }
        if of("wheels::") || of("scenarios::") || of("snapshot::memory::data_frames") {
            return Some("it takes packages that no suite of Debian has: runs on this machine");
        }
        if of("heap::busy::arenas_that_threads_contend_for") {
            return Some("its threads leave memtrace no time to read on an emulated processor");
        }
        let is_first = self.suite == SUITES[0];
        let depends_on_suite = of("python::") || of("accounting::") || test == FLOOR;
        (!is_first && !depends_on_suite)
            .then_some("neither Python nor the C library matters: runs with bookworm")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(pairs: &[Pair]) -> Vec<String> {
        pairs.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_kernel_is_tried_with_every_suite_unless_it_is_too_old() {
        let all = ["6.1 bookworm", "6.1 bullseye", "6.1 trixie", "6.1 sid"];
        assert_eq!(names(&Choice::of("6.1").unwrap().pairs), all);
        assert_eq!(names(&Choice::of("5.10").unwrap().pairs), ["5.10 bullseye"]);
        assert_eq!(names(&Choice::of("6.12/sid").unwrap().pairs), ["6.12 sid"]);
        assert!(!Choice::of("6.1").unwrap().host);
        let everything = Choice::of("all").unwrap();
        assert_eq!((everything.host, everything.pairs.len()), (true, 1 + 3 * SUITES.len()));
    }

    #[test]
    fn unknown_names_are_answered_with_the_known_ones() {
        for name in ["", "6.2", "6.1/", "6.1/buster", "5.10/sid", "ALL"] {
            let error = Choice::of(name).unwrap_err().to_string();
            assert!(error.contains("hint: --kernel") && error.contains("6.12/trixie"), "{error}");
        }
    }

    #[test]
    fn every_test_is_run_or_left_out_for_a_reason() {
        let tests = [
            "accounting::a",
            "python::lines::b",
            "python::memray::c",
            "cli::d",
            "wheels::e",
            "scenarios::f",
            FLOOR,
        ];
        let tests = tests.map(str::to_owned);
        let run = |name: &str| {
            let (run, left_out) = Choice::of(name).unwrap().pairs[0].divide(&tests);
            assert_eq!(run.len() + left_out.len(), tests.len());
            run
        };
        assert_eq!(run("5.10"), [FLOOR]);
        assert_eq!(run("6.1/trixie"), ["accounting::a", "python::lines::b", FLOOR]);
        assert_eq!(
            run("6.1/sid"),
            ["accounting::a", "python::lines::b", "python::memray::c", FLOOR]
        );
        assert_eq!(run("sid/bookworm"), ["accounting::a", "python::lines::b", "cli::d", FLOOR]);
    }
}
