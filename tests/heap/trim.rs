//! What `malloc_trim(0)` is foretold to give back, compared with what it does.

use super::{accounts_of, heap_of, shaped};
use crate::support::workload::{Workload, main_python, pythons};

const KIB: u64 = 1024;

/// Lets the program trim; what it had in memory before and after, without files.
fn trimmed(workload: &mut Workload) -> (u64, u64) {
    let sums = workload.work_and_sum();
    let [before, after] = sums.values("trim") else { panic!("two numbers") };
    (before * KIB, after * KIB)
}

/// Within 2 % of what is in memory, or of the foretold bytes where those are more than a MiB.
fn check(shape: &str, workload: &mut Workload) -> u64 {
    let foretold = accounts_of(&heap_of(workload.pid())).total.trimmable;
    let (before, after) = trimmed(workload);
    let given_back = before.saturating_sub(after);
    println!("{shape}: {foretold} bytes foretold, {given_back} given back of {before}");
    let unit = if foretold > KIB * KIB { foretold } else { before };
    assert!(foretold.abs_diff(given_back) * 50 <= unit, "{shape}");
    foretold
}

#[test]
fn what_malloc_trim_gives_back_is_foretold() {
    for shape in ["interleaved", "small", "pages", "sparse", "top", "threads", "mapped", "kept_top"]
    {
        let (mut workload, _) = shaped(shape);
        check(shape, &mut workload);
    }
}

#[test]
fn what_malloc_trim_gives_back_is_foretold_for_python() {
    let interpreters = [main_python()].into_iter().chain(pythons());
    for interpreter in interpreters {
        let mut python = Workload::python(&interpreter, "heap");
        python.work();
        let foretold = check(&interpreter.to_string_lossy(), &mut python);
        assert!(foretold > 20 * KIB * KIB, "{foretold}");
    }
}
