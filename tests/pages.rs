//! Whose resident memory is: to the page, by the stack that touched it first.

use std::process::Command;

use serde_json::Value;

use crate::support::{
    memtrace::Tracing,
    observe::breakpoints,
    report::Report,
    resident::{MIB, assert_close},
    workload::{Workload, main_python, source},
};

/// Who fills an array also runs code for the first time, which is resident from then on.
const SLACK: u64 = 2 << 20;

/// Bytes of the lines with this function.
fn line(report: &Report, function: &str, amount: &str) -> u64 {
    let lines = report.0["lines"].as_array().expect("lines").iter();
    let of_function = lines.filter(|line| line["function"] == function);
    of_function.map(|line| line["amounts"][amount]["bytes"].as_u64().expect("bytes")).sum()
}

fn python(script: &str, arguments: &[&str]) -> Command {
    let mut python = Command::new(main_python());
    python.arg(source(script)).args(arguments);
    python
}

fn check_pages(options: &[&str]) {
    let mut pages = Workload::c("pages");
    let tracing = Tracing::attach_with(pages.pid(), options);
    let sums = pages.work_and_sum();
    if options.contains(&"rss") {
        assert_eq!(breakpoints(pages.pid()), Vec::<u64>::new(), "there are no probes");
    }
    let report = tracing.stop();
    for function in ["touch_first", "touch_second", "touch_third", "touch_in_kernel"] {
        let [bytes] = *sums.values(function) else { panic!("one number") };
        assert_eq!(report.within("resident", function), (bytes, bytes / 4096), "{function}");
    }
    assert_eq!(report.0["losses"], Value::Array(Vec::new()));
    assert_eq!(report.0["processes"][0]["residence"]["is_measured"], true);
}

#[test]
fn every_page_belongs_to_the_function_that_touched_it_first() {
    check_pages(&["--view", "resident"]);
}

#[test]
fn so_it_does_without_any_probe() {
    check_pages(&["--view", "resident", "--detail", "rss"]);
}

#[test]
fn of_a_process_that_has_ended_the_last_rss_is_divided() {
    let mut python = Workload::start(&mut python("ending.py", &[]));
    let tracing = Tracing::attach(python.pid());
    python.work();
    python.end();
    let report = tracing.end();
    let process = &report.0["processes"][0];
    let rss = process["rss_bytes"].as_u64().expect("it was seen");
    assert_eq!(process["residence"]["is_measured"], false);
    assert_eq!(report.total("resident").0, rss);
    assert!(rss > 160 * MIB, "{rss}");
    assert_close(line(&report, "ones", "resident"), 100 * MIB, 2 * SLACK);
}

#[test]
fn pages_whose_touch_is_not_recorded_belong_to_the_blocks_on_them() {
    let mut kept = Workload::start(&mut python("kept.py", &[]));
    let tracing = Tracing::attach(kept.pid());
    kept.work();
    let report = tracing.stop();
    let [live, resident] = ["live", "resident"].map(|amount| line(&report, "keep", amount));
    assert_close(live, 300 * 400_000, 1 << 16);
    assert!(resident.abs_diff(live) < live / 20, "{resident} of {live}");
    assert!(report.0["processes"][0]["residence"]["held"].as_u64() > Some(MIB));
}

#[test]
fn mappings_are_live_where_they_were_made() {
    let mut pages = Workload::c("pages");
    let tracing = Tracing::attach_with(pages.pid(), &["--detail", "rss"]);
    pages.work();
    let report = tracing.stop();
    let pages = |function: &str| report.within("live", function).0 / 4096;
    // Five of the first and ten of others are gone from their middle, which is said.
    assert_eq!(pages("parts"), 64);
    let notes = report.0["notes"].as_array().expect("notes");
    assert!(
        notes
            .iter()
            .any(|note| note == "60.0 KiB of the live mappings were unmapped or replaced in their middle, and count all the same.")
    );
    assert_eq!((pages("moved"), pages("replaced")), (64 + 40, 30 + 10));
    assert_eq!((pages("heap"), pages("forked"), pages("shared")), (30, 20, 25));
}

#[test]
fn what_many_calls_took_may_be_given_back_by_one() {
    let mut trimmed = Workload::c("trimmed");
    let tracing = Tracing::attach_with(trimmed.pid(), &["--detail", "rss"]);
    trimmed.work();
    let report = tracing.stop();
    assert!(report.within("allocated", "grow").0 > 45 * MIB);
    assert_eq!(report.within("allocated", "map_in_a_row"), (100 * MIB, 100));
    assert!(report.total("live").0 < MIB, "{:?}", report.total("live"));
    assert_eq!(report.0["notes"], Value::Array(Vec::new()));
}

#[test]
fn arrays_of_every_kind_are_in_their_class() {
    let (mut maker, _) = Workload::start_and_read(&mut python("arrays.py", &[]));
    let tracing = Tracing::attach_with(maker.pid(), &["--detail", "rss"]);
    maker.go();
    let name = maker.expect("done").remove(0);
    let mut user = Workload::start(&mut python("arrays.py", &[&name]));
    let other = Tracing::attach_with(user.pid(), &["--detail", "rss"]);
    user.work();
    let (report, other) = (tracing.stop(), other.stop());
    let line = |function, amount| line(&report, function, amount);
    assert_close(line("never_written", "live"), 40 * MIB, SLACK);
    assert_close(line("never_written", "absent") + SLACK, 40 * MIB, SLACK);
    assert_close(line("never_written", "resident"), 0, SLACK);
    assert_close(line("ones", "resident"), 24 * MIB, SLACK);
    assert_close(line("half_written", "live"), 32 * MIB, SLACK);
    assert_close(line("half_written", "resident"), 16 * MIB, SLACK);
    assert_close(line("of_file", "live"), 20 * MIB, SLACK);
    assert_close(line("of_file", "resident"), 12 * MIB, SLACK);
    assert_close(line("of_file", "shared"), 0, SLACK);
    assert_close(line("<module>", "shared") + line("shared", "shared"), 16 * MIB, SLACK);
    let touched = |report: &Report| report.within("resident", "shared memory").0;
    assert_close(touched(&report), 16 * MIB, SLACK);
    assert_close(touched(&other), 20 * MIB, SLACK);
    assert!(user.end().success() && maker.end().success());
}

#[test]
fn a_with_block_is_told_line_by_line() {
    let mut inside = Workload::start(&mut python("tiles.py", &[]));
    let tracing = Tracing::attach_with(inside.pid(), &["--detail", "rss"]);
    inside.work();
    let report = tracing.stop();
    let line = |report, function, amount| line(report, function, amount);
    assert_close(line(&report, "tiles.<locals>.make", "live"), 24 * MIB, SLACK);
    assert_close(line(&report, "read_band", "shared"), 24 * MIB, SLACK);
    assert_eq!(report.0["segments"].as_array().expect("segments").len(), 6, "each once, by name");
    drop(inside);
    let mut outside = Workload::start(&mut python("tiles.py", &[]));
    let tracing = Tracing::attach_with(outside.pid(), &["--detail", "rss"]);
    outside.work();
    outside.work();
    let report = tracing.stop();
    assert_close(line(&report, "tiles.<locals>.make", "allocated"), 24 * MIB, SLACK);
    assert_close(line(&report, "tiles.<locals>.make", "live"), 0, SLACK);
    assert_close(line(&report, "read_band", "shared"), 0, SLACK);
}
