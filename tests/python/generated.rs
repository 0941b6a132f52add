//! Code that is made anew where other code was freed has its own name, file and lines.

use std::{collections::BTreeMap, path::Path};

use serde_json::Value;

use crate::support::{
    memtrace::Tracing,
    report::{Report, Stack},
    workload::{self, Workload},
};

/// As in `generated.py`.
const MANY: u64 = 200;
/// How often a place in the code made a block.
type Places = BTreeMap<(String, String, u64), u64>;

#[test]
fn code_that_is_made_again_at_one_address_keeps_its_own_name() {
    super::assert_none_wrong(workload::pythons().iter().flat_map(|python| {
        let report = trace(python);
        let sizes = by_size(&report);
        let wrong = (0..5 * MANY).filter_map(|block| wrong(&sizes, block / MANY, block % MANY));
        let wrong: Vec<_> = wrong.chain(report.losses()).collect();
        println!("{}: {} of {} wrong", python.display(), wrong.len(), 5 * MANY);
        wrong
            .into_iter()
            .take(3)
            .map(|it| format!("{}: {it}", python.display()))
            .collect::<Vec<_>>()
    }));
}

fn trace(python: &Path) -> Report {
    let mut program = Workload::python(python, "generated");
    let tracing = Tracing::attach(program.pid());
    program.work();
    tracing.stop()
}

/// What made the blocks, by their kind and number.
fn by_size(report: &Report) -> BTreeMap<[u64; 2], Places> {
    let mut sizes = BTreeMap::<_, Places>::new();
    for stack in report.stacks() {
        let (bytes, objects) = stack.amount("live");
        let size = bytes / objects.max(1);
        if let Some(place) = place(&stack) {
            let key = [size / 100_000, size % 100_000 / 16];
            *sizes.entry(key).or_default().entry(place).or_default() += objects;
        }
    }
    sizes
}

/// Name, file and line of the innermost Python frame.
fn place(stack: &Stack<'_>) -> Option<(String, String, u64)> {
    let python = |frame: &&&Value| frame["kind"] == "python";
    let frame = stack.frames.iter().rev().find(python)?;
    let text = |field: &str| Some(frame[field].as_str()?.to_owned());
    Some((text("name")?, text("file")?, frame["line"].as_u64()?))
}

fn wrong(sizes: &BTreeMap<[u64; 2], Places>, kind: u64, number: u64) -> Option<String> {
    let name = |name: &str, file: String, line| ((name.to_owned(), file, line), 1);
    let expected = match kind {
        0 => vec![name("<module>", format!("cell_{number:05}.py"), 2)],
        1 => vec![name("<lambda>", format!("short_{number:05}.py"), 1)],
        2 => vec![name(&format!("full_{number:05}"), "full.py".to_owned(), 2)],
        3 => vec![name("late", "late.py".to_owned(), number + 2)],
        _ => [1, 3].map(|line| name("<module>", format!("hashed_{number:05}.py"), line)).to_vec(),
    };
    let found = sizes.get(&[kind + 1, number]);
    let expected = Places::from_iter(expected);
    (found != Some(&expected)).then(|| format!("{found:?} instead of {expected:?}"))
}
