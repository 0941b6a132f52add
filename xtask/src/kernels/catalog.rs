//! Which kernels and suites there are, which of them are tried together, and which tests are left
//! out of a pair for which reason.

use std::fmt;

use anyhow::{Result, bail};

use super::dependence::{self, Dependence};

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
    /// Whether it starts a second processor where time passes with the instructions.
    pub takes_counted_time: bool,
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

// The cloud builds: the same code as the ordinary ones, with fewer drivers.
const LINUX_5_10: Kernel = Kernel {
    name: "5.10",
    suites: &["bullseye", "bullseye-security"],
    package: "linux-image-cloud-amd64",
    too_old: true,
    takes_counted_time: false,
};
const LINUX_6_1: Kernel = Kernel {
    name: "6.1",
    suites: &["bookworm", "bookworm-security"],
    package: "linux-image-cloud-amd64",
    too_old: false,
    takes_counted_time: false,
};
const LINUX_6_12: Kernel = Kernel {
    name: "6.12",
    suites: &["bookworm", "bookworm-security"],
    package: "linux-image-6.12-cloud-amd64",
    too_old: false,
    takes_counted_time: true,
};
const LINUX_SID: Kernel = Kernel {
    name: "sid",
    suites: &["sid"],
    package: "linux-image-cloud-amd64",
    too_old: false,
    takes_counted_time: true,
};

const KERNELS: [&Kernel; 4] = [&LINUX_5_10, &LINUX_6_1, &LINUX_6_12, &LINUX_SID];

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

const SUITES: [&Suite; 4] = [&BULLSEYE, &BOOKWORM, &TRIXIE, &SID];

/// What `all` takes: pairs that people run, each kernel and each suite once. Those that take longest
/// come first, because two run at a time.
const USUAL: [Pair; 5] = [
    // What will be Debian 14; it alone has memray.
    Pair { kernel: &LINUX_SID, suite: &SID, share: Share::Dependent },
    // Debian 13. What depends on the kernel alone runs on that of Debian 12 and on the newest one.
    Pair { kernel: &LINUX_6_12, suite: &TRIXIE, share: Share::OnSuite },
    // Debian 12; the oldest kernel here that memtrace supports.
    Pair { kernel: &LINUX_6_1, suite: &BOOKWORM, share: Share::Dependent },
    // A container of Debian 11 on a newer kernel, for its own is refused.
    Pair { kernel: &LINUX_6_1, suite: &BULLSEYE, share: Share::OnSuite },
    // Debian 11.
    Pair { kernel: &LINUX_5_10, suite: &BULLSEYE, share: Share::Dependent },
];

/// What an unsupported kernel is tried with.
pub const FLOOR: &str = "kernel_object::kernels_are_accepted_from_5_17_on";

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
    /// Which tests it is for.
    share: Share,
}

/// The tests that a pair is for.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Share {
    /// Whoever names a pair chooses the tests.
    Every,
    /// Those that depend on the kernel or on the suite.
    Dependent,
    /// Those that depend on the suite, whatever else they depend on.
    OnSuite,
}

/// As on the command line.
impl fmt::Display for Pair {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.kernel.name, self.suite.name)
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
    /// Names between commas: `all`, a kernel (`6.1`), or a pair (`6.1/sid`).
    pub fn of(names: &str) -> Result<Self> {
        let mut pairs = Vec::<Pair>::new();
        for pair in names.split(',').map(named).collect::<Result<Vec<_>>>()?.concat() {
            // Machines of one name would share a folder.
            if pairs.iter().all(|other| other.to_string() != pair.to_string()) {
                pairs.push(pair);
            }
        }
        Ok(Self { host: names.split(',').any(|name| name == "all"), pairs })
    }
}

fn named(name: &str) -> Result<Vec<Pair>> {
    let is_usual = |pair: &Pair| name == "all" || name == pair.kernel.name;
    let usual = USUAL.into_iter().filter(is_usual);
    let found: Vec<_> = usual.chain(pairs().filter(|pair| pair.to_string() == name)).collect();
    if found.is_empty() {
        let known: Vec<_> = pairs().map(|pair| pair.to_string()).collect();
        bail!(
            "`{name}` is no kernel to test on\nhint: --kernel NAME, NAME/SUITE or all, of: {}",
            known.join(", ")
        );
    }
    Ok(found)
}

/// All that there are. A kernel that memtrace refuses needs no choice of Pythons.
fn pairs() -> impl Iterator<Item = Pair> {
    let is_one = |pair: &Pair| !pair.kernel.too_old || pair.suite == &BULLSEYE;
    let pairs = KERNELS
        .iter()
        .flat_map(|kernel| SUITES.iter().map(|suite| Pair { kernel, suite, share: Share::Every }));
    pairs.filter(is_one)
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
        if of("python::native::") && self.suite == &BULLSEYE {
            return Some("this suite's gdb sets no hardware breakpoints for scripts");
        }
        if of("wheels::") || of("scenarios::") || of("snapshot::memory::data_frames") {
            return Some("it takes packages that no suite of Debian has: runs on this machine");
        }
        if of("heap::busy::arenas_that_threads_contend_for") {
            return Some("its threads leave memtrace no time to read on an emulated processor");
        }
        let Dependence { kernel, suite } = dependence::of(test);
        match self.share {
            Share::Dependent | Share::OnSuite if dependence::is_long(test) => {
                Some("its load takes minutes on an emulated processor: runs on this machine")
            }
            Share::Dependent if !kernel && !suite => {
                Some("neither kernel, Python nor C library matters: runs on this machine")
            }
            Share::OnSuite if !suite => Some("the suite does not matter: runs with others"),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(name: &str) -> Vec<String> {
        Choice::of(name).unwrap().pairs.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn all_is_each_kernel_and_each_suite_and_the_host() {
        let all = Choice::of("all").unwrap();
        assert!(all.host);
        assert!(KERNELS.iter().all(|kernel| all.pairs.iter().any(|pair| pair.kernel == *kernel)));
        assert!(SUITES.iter().all(|suite| all.pairs.iter().any(|pair| pair.suite == *suite)));
    }

    #[test]
    fn a_kernel_is_its_usual_pairs_and_every_pair_has_a_name() {
        assert_eq!(names("6.1"), ["6.1/bookworm", "6.1/bullseye"]);
        assert_eq!(names("6.12"), ["6.12/trixie"]);
        assert_eq!(names("5.10"), ["5.10/bullseye"]);
        assert_eq!(names("6.12/sid,5.10,5.10"), ["6.12/sid", "5.10/bullseye"]);
        assert_eq!(pairs().count(), 1 + 3 * SUITES.len());
        assert!(!Choice::of("6.1").unwrap().host);
    }

    #[test]
    fn unknown_names_are_answered_with_the_known_ones() {
        for name in ["", "6.2", "6.1/", "6.1/buster", "5.10/sid", "ALL", "6.1,"] {
            let error = Choice::of(name).unwrap_err().to_string();
            assert!(error.contains("hint: --kernel") && error.contains("6.12/trixie"), "{error}");
        }
    }

    #[test]
    fn every_test_is_run_or_left_out_for_a_reason() {
        let tests = [
            "oom::a",
            "python::lines::b",
            "python::memray::c",
            "python::native::g",
            "cli::d",
            "heap::e",
            "wheels::f",
            "safety::a_busy_process",
            FLOOR,
        ];
        let tests = tests.map(str::to_owned);
        let run = |name: &str, index: usize| {
            let (run, left_out) = Choice::of(name).unwrap().pairs[index].divide(&tests);
            assert_eq!(run.len() + left_out.len(), tests.len());
            run
        };
        assert_eq!(run("5.10", 0), [FLOOR]);
        assert_eq!(
            run("6.1", 0),
            ["oom::a", "python::lines::b", "python::native::g", "heap::e", FLOOR]
        );
        assert_eq!(run("6.1", 1), ["python::lines::b", "heap::e", FLOOR]);
        let sid = [
            "oom::a",
            "python::lines::b",
            "python::memray::c",
            "python::native::g",
            "heap::e",
            FLOOR,
        ];
        assert_eq!(run("sid", 0), sid);
        let cannot_run = ["python::memray::c", "wheels::f"].map(str::to_owned);
        let named: Vec<_> = tests.iter().filter(|test| !cannot_run.contains(test)).collect();
        assert_eq!(run("sid/bookworm", 0).iter().collect::<Vec<_>>(), named);
    }
}
