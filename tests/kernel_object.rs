//! The kernel object by itself: it loads, and the verifier's work stays within a budget.

use memtrace::kernel::{Kernel, Options};

/// Instructions that the verifier may look at in one program; the kernel's own limit is a million,
/// and newer kernels look at more of the same program.
const BUDGET: u32 = 250_000;

#[test]
#[expect(clippy::print_stdout, reason = "the figures, for whoever wants to see them")]
fn every_program_is_within_its_budget() {
    let options =
        Options { max_live: 1024, max_stacks: 1024, max_rows: 1 << 20, sample_interval: 0 };
    let kernel = Kernel::load(&options).expect("the kernel object loads");
    let programs: Vec<_> = kernel.programs().collect();
    assert!(programs.len() >= 6, "{programs:?}");
    for (name, verified) in programs {
        let verified = verified.expect("Linux 5.16 or newer counts them");
        println!("{name}: {verified} instructions verified");
        assert!(verified <= BUDGET, "{name}: {verified} instructions verified");
    }
}
