//! The kernel object and the running kernel: which kernels are accepted, what the object holds, and
//! how much work it is for the verifier.

use std::{collections::BTreeSet, process};

use memtrace_abi::python::Python;

use crate::support::{memtrace, observe::kernel_version, refusal::refused};
use ::memtrace::kernel::{Kernel, Options, Threads, inventory::Inventory};

/// For each program, the instructions that the verifier may look at: half as many again as it did on
/// that of Linux 6.1, 6.12, 6.18 and 7.2 on which it looks at most. The kernel's own limit is a million.
const BUDGETS: [(&str, u32); 15] = [
    ("allocation_enter", 17_000),
    ("allocation_return", 115_000),
    ("empty_enter", 10),
    ("empty_return", 10),
    ("kill_signal", 14_000),
    ("libraries_changed", 500),
    ("oom_victim", 14_000),
    ("page_touched", 82_000),
    ("process_exec", 5000),
    ("process_fork", 500),
    ("release_enter", 5500),
    ("sample_thread", 46_000),
    ("system_call_return", 185_000),
    ("thread_exit", 4000),
    ("thread_standings", 200),
];

#[test]
fn every_program_is_within_its_budget() {
    let options =
        Options { max_live: 1024, max_stacks: 1024, max_rows: 1 << 20, sample_interval: 0 };
    let kernel = Kernel::load(&options).expect("the kernel object loads");
    let threads = Threads::load(process::id(), Python::default()).expect("it loads");
    let verified: Vec<_> = kernel.programs().chain(threads.programs()).collect();
    let mut beyond = Vec::<&str>::new();
    for (name, verified) in &verified {
        let verified = verified.expect("Linux 5.16 or newer counts them");
        let budget = BUDGETS.iter().find(|(program, _)| program == name);
        let (_, budget) = budget.unwrap_or_else(|| panic!("{name} has no budget"));
        println!("{name}: {verified} instructions verified of {budget}");
        beyond.extend((verified > *budget).then_some(name));
    }
    assert!(beyond.is_empty(), "beyond their budgets: {beyond:?}");
    let loaded: BTreeSet<_> = verified.iter().map(|(name, _)| *name).collect();
    assert_eq!(loaded, BUDGETS.iter().map(|(name, _)| *name).collect());
}

#[test]
fn the_loader_knows_every_program_and_map_of_the_object() {
    assert_eq!(Inventory::read().expect("the object is built in"), Inventory::known());
}

/// The first Linux that has everything.
const FLOOR: [u32; 2] = [5, 17];

#[test]
fn kernels_are_accepted_from_5_17_on() {
    let doctor = memtrace::run(["doctor"]);
    let findings = String::from_utf8_lossy(&doctor.stdout);
    if kernel_version() >= FLOOR {
        assert!(doctor.status.success(), "{findings}");
        assert!(memtrace::run(["--", "true"]).status.success());
        return;
    }
    assert_eq!(doctor.status.code(), Some(5), "{findings}");
    assert!(findings.contains("MISSING  loops in kernel programs (bpf_loop"), "{findings}");
    assert!(findings.ends_with("\nmemtrace cannot trace on this kernel.\n"), "{findings}");
    for arguments in [&["--pid", "1"][..], &["--", "true"]] {
        refused(5, arguments)
            .says("this kernel lacks loops in kernel programs (bpf_loop", "needed: Linux 5.17");
    }
}
