//! The same program under memray, which is inside the process and sees every allocation.
//!
//! Compared is what each line of the program itself keeps alive in the end, by the innermost Python
//! frame that is not NumPy's; all other lines also ran before memtrace attached, which memray saw.
//! Lines that keep less than 1 MB are left out: they hold what happened to be in use. So is what
//! memray counts by `mmap`: memtrace counts what the allocator hands out. And memtrace does not
//! name lines whose place in the line table is behind 512 KiB.

use std::{
    collections::{HashMap, HashSet},
    path::Path,
    process::Command,
};

use crate::support::workload::{self, Workload};

const LARGE: u64 = 1_000_000;

#[test]
fn lines_keep_what_memray_says() {
    let python = workload::main_python();
    let traced = super::traced().iter().find(|traced| traced.python == python);
    let traced = traced.expect("the main one");
    let named = traced.answers.iter().filter(|answer| answer["line"].is_u64());
    let asked: HashSet<_> =
        named.map(|it| (name(it["file"].as_str().unwrap_or("?")), it["line"].as_u64())).collect();
    let mut ours: HashMap<_, u64> = HashMap::new();
    for ((file, line), found) in super::lines::lines(&traced.report) {
        *ours.entry((name(file), line.unwrap_or_default())).or_default() += found.live;
    }
    let theirs = memray(&python);
    let large = |lines: &HashMap<_, u64>| lines.values().filter(|bytes| **bytes > LARGE).count();
    assert!(large(&ours) > 60, "{} lines", large(&ours));
    let large = ours.iter().chain(&theirs).filter(|(_, bytes)| **bytes > LARGE);
    let compared = large.filter(|((file, line), _)| asked.contains(&(file.clone(), Some(*line))));
    let wrong = compared.filter_map(|(key, _)| {
        let bytes = |lines: &HashMap<_, u64>| lines.get(key).copied().unwrap_or_default();
        let (ours, theirs) = (bytes(&ours), bytes(&theirs));
        let differ = ours.abs_diff(theirs) > theirs / 100;
        differ.then(|| format!("{}:{}: memray says {theirs}, we {ours}", key.0, key.1))
    });
    super::assert_none_wrong(wrong);
}

/// The last part of a path: memray resolves links in it.
fn name(file: &str) -> String {
    Path::new(file).file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// What memray says, by file name and line.
fn memray(python: &Path) -> HashMap<(String, u64), u64> {
    let folder = tempfile::tempdir().expect("a folder for the recording");
    let recording = folder.path().join("recording.bin");
    let mut command = Command::new(python);
    command.args(["-m", "memray", "run", "--output"]).arg(&recording);
    command.arg(workload::source("lines.py")).arg(super::foreign_library());
    let mut program = Workload::start(&mut command);
    program.work();
    assert!(program.end().success());
    let script = workload::source("memray_lines.py");
    let output = Command::new(python).arg(script).arg(&recording).output().expect("Python starts");
    let lines: Vec<(String, u64, u64)> = serde_json::from_slice(&output.stdout).expect("JSON");
    let mut sizes: HashMap<_, u64> = HashMap::new();
    for (file, line, size) in lines {
        *sizes.entry((name(&file), line)).or_default() += size;
    }
    sizes
}
