//! Free memory, charged to the stacks of the blocks that keep it resident.

use serde_json::Value;

use crate::support::{
    memtrace::{Tracing, run},
    report::Report,
    workload::Workload,
};

const VIEW: &str = "fragmentation";

/// Pinned bytes of all arenas of the first process.
fn pinned(report: &Report) -> u64 {
    let arenas = report.0["processes"][0]["heap"]["arenas"].as_array().expect("a heap");
    arenas.iter().map(|arena| arena["pinned"].as_u64().expect("bytes")).sum()
}

/// Bytes and objects of stacks that are a word on where the memory is from.
fn unseen(report: &Report) -> (u64, u64) {
    let is_origin =
        |frame: &&Value| frame["kind"] == "origin" && frame["name"] != "malloc's own data";
    let stacks = report.stacks();
    let unseen = stacks.iter().filter(|stack| stack.frames.iter().any(is_origin));
    unseen.map(|stack| stack.amount(VIEW)).fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
}

#[test]
fn pinned_bytes_are_charged_to_the_stacks_of_the_blocks_that_pin_them() {
    let mut workload = Workload::c("pinned");
    let tracing = Tracing::attach_with(workload.pid(), &["--view", VIEW]);
    workload.work();
    let report = tracing.stop();
    assert_eq!(report.losses(), Vec::<String>::new());
    let pinned = pinned(&report);
    assert_eq!((report.total(VIEW).0, report.counted(VIEW).0), (pinned, pinned));
    assert!((50 << 20..75 << 20).contains(&pinned), "{pinned}");
    let (late, late_blocks) = report.within(VIEW, "keep_late");
    let (early, early_blocks) = unseen(&report);
    println!("{pinned} pinned: {late} by 20000 traced blocks, {early} by 5000 older ones");
    assert!((19_990..=20_000).contains(&late_blocks), "{late_blocks}");
    assert!((4_990..=5_010).contains(&early_blocks), "{early_blocks}");
    // Four of five blocks; but some of them lie between the older ones.
    assert!((70..85).contains(&(100 * late / pinned)), "{late}");
    assert_eq!(report.within(VIEW, "fill_up"), (0, 0), "what is free pins nothing");
    assert!(late + early <= pinned && pinned - late - early < 64 << 10);
}

#[test]
fn a_recording_holds_the_heap() {
    let folder = tempfile::tempdir().expect("a folder");
    let recording = folder.path().join("trace.memtrace");
    let recording = recording.to_str().expect("a name");
    let mut workload = Workload::c("pinned");
    let tracing = Tracing::attach_with(workload.pid(), &["--output", recording]);
    workload.work();
    let pinned = pinned(&tracing.stop());
    let folded = folder.path().join("pinned.folded");
    let output = run(["report", recording, "--view", VIEW, "-o", folded.to_str().expect("a name")]);
    assert!(output.status.success(), "{output:?}");
    let folded = std::fs::read_to_string(folded).expect("it was written");
    let bytes = |line: &str| line.rsplit(' ').next().and_then(|number| number.parse::<u64>().ok());
    assert_eq!(folded.lines().filter_map(bytes).sum::<u64>(), pinned);
    assert!(folded.contains("[before attach: blocks of 128 B to 256 B]"), "{folded}");
}
