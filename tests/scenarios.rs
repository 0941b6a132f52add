//! Real packages in pools and clusters: the report answers who holds what, and which line.

use serde_json::Value;

use crate::support::{
    memtrace::run,
    report::Report,
    workload::{scenario_python, source},
};

const METHODS: [&str; 3] = ["fork", "spawn", "forkserver"];

#[test]
fn figures_that_workers_never_close_are_blamed_on_their_line() {
    for method in METHODS {
        let report = trace("maps.py", &[method]);
        let total = without_imports(&report);
        let (figures, _) = report.within("peak", "render");
        assert!(figures * 100 > total * 60, "{method}: {figures} of {total}");
        let workers = holders(&report, "render");
        assert_eq!(workers.len(), 2, "{method}: {workers:?}");
        assert!(workers.iter().all(|role| role.contains("worker")), "{method}: {workers:?}");
    }
}

#[test]
fn molecules_of_workers_are_told_from_results_in_the_parent() {
    for method in METHODS {
        let report = trace("molecules.py", &[method]);
        let total = without_imports(&report);
        let (molecules, _) = report.within("peak", "transform");
        assert!(molecules * 100 > total * 50, "{method}: {molecules} of {total}");
        assert_eq!(holders(&report, "transform").len(), 2, "{method}");
        // Eight results of 2 MB pile up in the parent, where they are received.
        let results = of_process(&report, 0, "peak", "_ConnectionBase.recv");
        assert!((12_000_000..24_000_000).contains(&results), "{method}: {results}");
    }
}

#[test]
fn a_dask_client_that_pulls_a_frame_into_its_process_is_told_from_its_workers() {
    let report = trace("pipeline.py", &[]);
    // Eight million rows of 16 bytes, whole and copied.
    let client = |function| of_process(&report, 0, "allocated", function);
    let copied = client("duplicate");
    assert!((128_000_000..140_000_000).contains(&copied), "{copied}");
    // The whole frame is received by a thread that knows nothing of who waits for it.
    let all = processes(&report)[0]["amounts"]["allocated"]["bytes"].as_u64();
    assert!(all >= Some(256_000_000), "{all:?}");
    assert_eq!(report.within("allocated", "duplicate").0, copied, "the client alone");
    let (in_workers, _) = report.within("allocated", "part");
    assert!(in_workers >= 128_000_000, "{in_workers}");
    let roles = processes(&report).iter().filter_map(|process| process["role"].as_str());
    assert!(roles.filter(|role| role.contains("spawn worker")).count() >= 2);
}

/// Bytes at the peaks, but for those of modules that are being imported.
fn without_imports(report: &Report) -> u64 {
    let imports = |name: &str| name == "_find_and_load";
    let stacks = report.stacks().into_iter().filter(|stack| !stack.names().any(imports));
    stacks.map(|stack| stack.amount("peak").0).sum()
}

fn trace(script: &str, arguments: &[&str]) -> Report {
    let folder = tempfile::tempdir().expect("a folder for the report");
    let file = folder.path().join("report.json");
    let (python, script) = (scenario_python(), source(script));
    let command = [python.as_os_str(), script.as_os_str()];
    let output = run(["--quiet".as_ref(), "--output".as_ref(), file.as_os_str(), "--".as_ref()]
        .into_iter()
        .chain(command)
        .chain(arguments.iter().map(AsRef::as_ref)));
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    Report::read(&file)
}

fn processes(report: &Report) -> &[Value] {
    report.0["processes"].as_array().expect("processes")
}

/// The roles of the processes that held more than 1 MB below a function at their peaks.
fn holders(report: &Report, function: &str) -> Vec<String> {
    let all = processes(report).iter().enumerate();
    all.filter(|(index, _)| of_process(report, *index, "peak", function) > 1_000_000)
        .map(|(_, process)| process["role"].as_str().unwrap_or_default().to_owned())
        .collect()
}

/// Bytes of one process, below a function.
fn of_process(report: &Report, process: usize, view: &str, function: &str) -> u64 {
    let owners = report.0["stacks"].as_array().expect("stacks").iter();
    let stacks = report.stacks().into_iter().zip(owners);
    stacks
        .filter(|(stack, owner)| {
            owner["process"] == process && stack.names().any(|name| name == function)
        })
        .map(|(stack, _)| stack.amount(view).0)
        .sum()
}
