//! What probing may cost: above the limit the probes are taken off, and the report says so.

use std::process::Command;

use crate::support::{
    memtrace::{self, Tracing},
    observe::{breakpoints, state, wait_until},
    report::Report,
    workload::{Workload, compile, main_python, source},
};

/// Expects the report of a process whose probes were taken off by the default limit.
fn check_shed(report: &Report) -> f64 {
    let process = &report.0["processes"][0];
    let shed = &process["shed"];
    let number = |name: &str| shed[name].as_f64().expect("the probes were taken off");
    assert!(number("share") > 0.1 && number("after_seconds") >= 2.0, "{shed}");
    assert!((number("limit") - 0.1).abs() < 1e-9, "{shed}");
    assert_eq!(report.0["cost"]["limit"], 0.1);
    assert!(process["decomposition"].is_object(), "RSS is followed to the end");
    let last = report.0["timeline"]["seconds"].as_array().and_then(|times| times.last()?.as_f64());
    assert!(last.expect("a time") > number("seconds") + 0.5, "and over time: {shed}");
    number("seconds")
}

#[test]
fn millions_of_small_blocks_are_too_dear() {
    let mut small = Workload::start(&mut Command::new(compile("small", &[])));
    let mut tracing = Tracing::attach_within(small.pid(), &["--max-overhead", "10"]);
    small.go();
    tracing.expect("memtrace: the probes of small-");
    wait_until("no probe", || breakpoints(small.pid()).is_empty());
    std::thread::sleep(std::time::Duration::from_secs(1));
    let report = tracing.stop();
    check_shed(&report);
    // What was counted until then is exact: every block but the last one of its place is free.
    let (bytes, count) = report.within("allocated", "churn");
    assert!(count > 10_000, "{count}");
    assert_eq!(report.counted("allocated"), (bytes, count));
    assert!(report.within("live", "churn").1 <= 1024);
    assert_eq!(report.within("peak", "churn").1, 1024);
}

#[test]
fn a_python_job_goes_on_without_probes_and_the_report_says_so() {
    let mut small = Command::new(main_python());
    small.arg(source("small.py")).env("PYTHONMALLOC", "malloc");
    let mut small = Workload::start(&mut small);
    let folder = tempfile::tempdir().expect("a folder");
    let json = folder.path().join("out.json");
    let mut memtrace = memtrace::command();
    let (pid, file) = (small.pid().to_string(), json.to_str().expect("text"));
    memtrace.args(["--verbose", "-d", "8s", "-p", &pid, "-o", file]);
    small.go();
    let output = memtrace.output().expect("memtrace starts");
    let [said, summary] =
        [&output.stderr, &output.stdout].map(|text| String::from_utf8_lossy(text).into_owned());
    assert!(said.contains("--max-overhead is 10 %") && said.contains("--sample 512KiB"), "{said}");
    check_shed(&Report::read(&json));
    let summary = summary.replace("\n    ", " ");
    for part in ["were taken off after", "Live memory is as of then", "when the probes were taken"]
    {
        assert!(summary.contains(part), "{part}: {summary}");
    }
    assert!(small.is_running() && breakpoints(small.pid()).is_empty());
}

#[test]
fn without_limit_the_probes_stay() {
    let pairs = ["unlimited", "100%"].map(|limit| {
        let mut small = Workload::start(&mut Command::new(compile("small", &[])));
        let options = ["--max-overhead", limit, "-d", "5s"];
        let tracing = Tracing::attach_within(small.pid(), &options);
        small.go();
        (small, tracing)
    });
    for (small, tracing) in pairs {
        let report = tracing.end();
        assert!(report.0["processes"][0]["shed"].is_null());
        let share = report.0["cost"]["share"].as_f64().expect("it used time");
        assert!(share > 0.1, "{share}: too little to be a test");
        assert_ne!(state(small.pid()), 'X');
    }
}

#[test]
fn a_command_has_no_limit_unless_it_is_given_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("text").to_owned();
    let (python, script) = (main_python(), source("small.py"));
    let run = |file: &str, options: &[&str]| {
        let mut memtrace = memtrace::command();
        memtrace.args(options).args(["-o", file, "--"]).arg(&python).arg(&script).arg("4");
        memtrace.env("PYTHONMALLOC", "malloc").stdin(std::process::Stdio::null());
        let output = memtrace.output().expect("memtrace starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let report = Report::read(file.as_ref());
        let processes = report.0["processes"].as_array().expect("processes").iter();
        processes.filter(|process| process["shed"].is_object()).count()
    };
    assert_eq!(run(&path("default.json"), &[]), 0);
    assert_eq!(run(&path("limited.json"), &["--max-overhead", "10"]), 1);
}
