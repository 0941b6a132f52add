//! The native frames of a deterministic program, compared address by address with gdb's backtraces
//! of the same allocations in the same process. Names are not compared: gdb prefers other aliases
//! and reads debug information, which not every machine has.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use object::{Object as _, ObjectSegment as _};
use serde_json::Value;

use crate::support::{
    memtrace::Tracing,
    report::Report,
    workload::{self, Workload},
};

/// Allocations of these sizes are compared: `sites.py`.
const SIZES: std::ops::Range<u64> = 100_000..123_456_789;

/// A frame that both programs can name: the file, and the address in it.
pub type Place = (String, u64);

/// A frame of memtrace's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Frame {
    Native(Place),
    Python,
    Gap,
}

#[test]
fn native_frames_are_those_of_gdb() {
    let library = super::foreign_library();
    super::assert_none_wrong(pythons().iter().flat_map(|python| {
        let name = python.display();
        let mut command = Command::new(python);
        let mut program = Workload::start(command.arg(workload::source("sites.py")).arg(&library));
        let tracing = Tracing::attach(program.pid());
        program.work();
        let ours = by_size(&tracing.stop());
        let theirs = backtraces(&mut program);
        let frames: usize = theirs.values().flatten().map(Vec::len).sum();
        println!("{name}: {} sizes, {frames} frames of gdb", theirs.len());
        let wrong = compare(&ours, &theirs);
        wrong.into_iter().map(|wrong| format!("{name}: {wrong}")).collect::<Vec<_>>()
    }));
}

/// The usual one, a static one, and one for each way in which the interpreter loop runs Python
/// functions.
fn pythons() -> Vec<PathBuf> {
    let main = workload::main_python();
    let chosen = |python: &PathBuf| {
        let path = python.to_string_lossy();
        *python == main || ["static", "3.8", "3.13"].iter().any(|part| path.contains(part))
    };
    workload::pythons().into_iter().filter(chosen).collect()
}

/// The stacks of each size, innermost frame first, without the allocator's own frame.
fn by_size(report: &Report) -> BTreeMap<u64, Vec<Vec<Frame>>> {
    let mut sizes: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for stack in report.stacks() {
        // gdb waits for the allocator; mappings are allocations as well.
        if stack.names().last().is_none_or(|name| name.contains("mmap")) {
            continue;
        }
        let (bytes, objects) = stack.amount("allocated");
        let size = bytes / objects.max(1);
        if SIZES.contains(&size) {
            let frames: Vec<_> = stack.frames.iter().rev().skip(1).map(|it| frame(it)).collect();
            sizes.entry(size).or_default().push(frames);
        }
    }
    sizes
}

/// A frame of a report or of a snapshot.
pub fn frame(frame: &Value) -> Frame {
    match (frame["kind"].as_str(), frame["module"].as_str(), frame["address"].as_u64()) {
        (Some("python"), ..) => Frame::Python,
        (Some("native"), Some(module), Some(address)) => Frame::Native((module.into(), address)),
        _ => Frame::Gap,
    }
}

/// Lets the program do another round under gdb.
fn backtraces(program: &mut Workload) -> BTreeMap<u64, Vec<Vec<Place>>> {
    let mut gdb = Command::new("gdb");
    gdb.args(["-nx", "-batch", "-iex", "set auto-load off", "-iex", "set debuginfod enabled off"]);
    gdb.args(["-p", &program.pid().to_string(), "-x"]).arg(workload::source("backtrace.py"));
    let gdb = gdb.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let mut gdb = gdb.expect("gdb starts; cargo xtask setup installs it");
    let output = BufReader::new(gdb.stdout.take().expect("was piped"));
    let mut lines = output.lines().map(|line| line.expect("gdb writes"));
    assert!(lines.any(|line| line == "armed"), "gdb attaches");
    program.work();
    let stacks = lines.find_map(|line| line.strip_prefix("stacks ").map(str::to_owned));
    let stacks: Vec<Value> = serde_json::from_str(&stacks.expect("stacks")).expect("JSON");
    lines.for_each(drop);
    assert!(gdb.wait().expect("gdb ends").success());
    let maps = Maps::of(program.pid());
    let mut sizes: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for stack in &stacks {
        let frames = stack["frames"].as_array().expect("frames").iter().skip(1);
        // Callers are at the byte before the return address.
        let places = frames.map(|frame| maps.place(frame.as_u64().expect("an address") - 1));
        sizes.entry(stack["size"].as_u64().expect("a size")).or_default().push(places.collect());
    }
    sizes
}

/// Every stack of one has to be a stack of the other.
fn compare(
    ours: &BTreeMap<u64, Vec<Vec<Frame>>>,
    theirs: &BTreeMap<u64, Vec<Vec<Place>>>,
) -> Vec<String> {
    let mut wrong = Vec::new();
    if theirs.len() < 30 || ours.keys().ne(theirs.keys()) {
        wrong.push(format!("sizes: {:?} and {:?}", ours.keys(), theirs.keys()));
    }
    for (size, ours) in ours {
        let theirs = theirs.get(size).map(Vec::as_slice).unwrap_or_default();
        let only_theirs = theirs.iter().find(|it| !ours.iter().any(|our| agree(our, it)));
        let only_ours = ours.iter().find(|our| !theirs.iter().any(|it| agree(our, it)));
        if only_theirs.is_some() || only_ours.is_some() {
            wrong.push(format!("{size} bytes: {only_ours:x?}\ngdb: {only_theirs:x?}"));
        }
    }
    wrong
}

/// Whether the stacks are the same, where each run of Python frames stands for the one native
/// frame of the interpreter loop that executes it.
fn agree(ours: &[Frame], theirs: &[Place]) -> bool {
    let mut ours = ours.to_vec();
    ours.dedup_by(|frame, before| *frame == Frame::Python && *before == Frame::Python);
    ours.len() == theirs.len()
        && ours.iter().zip(theirs).all(|(our, their)| match our {
            Frame::Native(place) => place == their,
            Frame::Python => is_interpreter(&their.0),
            Frame::Gap => false,
        })
}

/// Whether a file is the interpreter.
pub fn is_interpreter(path: &str) -> bool {
    Path::new(path).file_name().is_some_and(|name| name.to_string_lossy().contains("python3."))
}

/// The files that a process has mapped.
pub struct Maps(Vec<Map>);

struct Map {
    start: u64,
    end: u64,
    offset: u64,
    path: String,
    /// Address and file offset of the file's segments.
    segments: Vec<(u64, u64, u64)>,
}

impl Maps {
    /// Of a process.
    pub fn of(pid: u32) -> Self {
        let text = fs::read_to_string(format!("/proc/{pid}/maps")).expect("the program runs");
        let mut files = HashMap::new();
        let map = |line: &str| {
            let mut fields = line.split_ascii_whitespace();
            let (start, end) = fields.next()?.split_once('-')?;
            let offset = fields.nth(1)?;
            let path = fields.nth(2)?.to_owned();
            let segments = files.entry(path.clone()).or_insert_with(|| segments(&path)).clone();
            let number = |digits| u64::from_str_radix(digits, 16).ok();
            Some(Map {
                start: number(start)?,
                end: number(end)?,
                offset: number(offset)?,
                path,
                segments,
            })
        };
        Self(text.lines().filter_map(map).collect())
    }

    /// The file, and the address in it.
    pub fn place(&self, pc: u64) -> Place {
        let found = self.0.iter().find(|map| map.start <= pc && pc < map.end);
        let map = found.expect("code of a file");
        let offset = pc - map.start + map.offset;
        let holds = |(_, start, size): &&(u64, u64, u64)| *start <= offset && offset < start + size;
        let (address, start, _) = map.segments.iter().find(holds).expect("a segment");
        (map.path.clone(), offset - start + address)
    }
}

fn segments(path: &str) -> Vec<(u64, u64, u64)> {
    let bytes = fs::read(path).unwrap_or_default();
    let Ok(file) = object::File::parse(&*bytes) else { return Vec::new() };
    let segment = |segment: object::Segment<'_, '_>| {
        let (offset, size) = segment.file_range();
        (segment.address(), offset, size)
    };
    file.segments().map(segment).collect()
}
