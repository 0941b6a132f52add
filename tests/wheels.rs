//! Allocators that are linked into wheels, found by the names of their functions.

use crate::support::{
    memtrace::Tracing,
    report::Report,
    workload::{Workload, wheels_python},
};

#[test]
fn memory_of_wheels_is_accounted_with_its_stacks() {
    let mut wheels = Workload::python(&wheels_python(), "wheels");
    let tracing = Tracing::attach(wheels.pid());
    wheels.work();
    let report = tracing.stop();
    // The sizes that Arrow asks for are those that it was asked for, rounded up to 64.
    assert_eq!(largest(&report, "by_mimalloc"), 30_000_000);
    assert_eq!(largest(&report, "by_jemalloc"), 20_000_000);
    assert_eq!(largest(&report, "by_system"), 10_000_000);
    assert_eq!(largest(&report, "resized"), 7_000_000);
    let (polars, _) = report.within("live", "by_polars");
    assert!((40_000_000..41_000_000).contains(&polars), "{polars}");
    // A table is two columns of 16 MB.
    let table = |view, function| report.within(view, function).0;
    let (dropped, kept) = (table("live", "table_one"), table("live", "table_two"));
    println!("DuckDB holds {kept}, and {dropped} of what was dropped");
    assert!(table("allocated", "table_one") > 32_000_000);
    assert!((32_000_000..45_000_000).contains(&kept) && dropped < 4_000_000, "{kept}, {dropped}");
    let notes = report.0["notes"].to_string();
    assert!(!notes.contains("stripped"), "{notes}");
}

/// Bytes of the largest stack with a function, to 64 bytes.
fn largest(report: &Report, function: &str) -> u64 {
    let stacks = report.stacks();
    let within = stacks.iter().filter(|stack| stack.names().any(|name| name == function));
    let largest = within.map(|stack| stack.amount("live").0).max().unwrap_or_default();
    largest / 64 * 64
}
