//! What can be seen of a process and of the kernel from outside, without memtrace.

use std::{
    env,
    fs::{self, File},
    os::unix::fs::FileExt as _,
    thread,
    time::{Duration, Instant},
};

/// How long anything may take that is waited for; `MEMTRACE_TEST_PATIENCE` times as long on a
/// machine that is that much slower than others.
pub fn patience() -> Duration {
    let factor = env::var("MEMTRACE_TEST_PATIENCE");
    Duration::from_mins(1) * factor.map_or(1, |factor| factor.parse().expect("a number"))
}

/// How often something is done that must go well every time; seldomer on a slower machine.
pub fn cycles() -> u32 {
    env::var("MEMTRACE_TEST_CYCLES").map_or(6, |cycles| cycles.parse().expect("a number"))
}

/// The first two numbers of the kernel's version.
pub fn kernel_version() -> [u32; 2] {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").expect("Linux says it");
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    [(); 2].map(|()| numbers.next().and_then(Result::ok).expect("a number"))
}

/// The breakpoint instruction that a uprobe leaves in the code of its process.
const BREAKPOINT: u8 = 0xcc;

/// Waits until something is true.
#[track_caller]
pub fn wait_until(what: &str, mut is_true: impl FnMut() -> bool) {
    let deadline = Instant::now() + patience();
    while !is_true() {
        assert!(Instant::now() < deadline, "waited in vain for: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// The state letter of a process; `X` if it is gone.
pub fn state(pid: u32) -> char {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next());
    state.unwrap_or('X')
}

/// Addresses at which the code of a process differs from its files by a breakpoint.
pub fn breakpoints(pid: u32) -> Vec<u64> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).expect("the process lives");
    let memory = File::open(format!("/proc/{pid}/mem")).expect("tests run as root");
    maps.lines().flat_map(|line| breakpoints_in(line, &memory)).collect()
}

fn breakpoints_in(line: &str, memory: &File) -> Vec<u64> {
    let words: Vec<_> = line.split_whitespace().collect();
    let [range, permissions, offset, _, _, path] = words[..] else { return Vec::new() };
    let Ok(file) = File::open(path) else { return Vec::new() };
    if !permissions.contains('x') {
        return Vec::new();
    }
    let number = |text: &str| u64::from_str_radix(text, 16).expect("a hexadecimal number");
    let (start, end) = range.split_once('-').expect("a range");
    let (start, end) = (number(start), number(end));
    let mut now = vec![0; (end - start) as usize];
    let mut original = now.clone();
    memory.read_exact_at(&mut now, start).expect("code can be read");
    // The last page may go beyond the file.
    let _ = file.read_at(&mut original, number(offset)).expect("the file can be read");
    let pairs = now.iter().zip(&original).zip(start..);
    let differ = pairs.filter(|((now, original), _)| now != original && **now == BREAKPOINT);
    differ.map(|(_, address)| address).collect()
}

/// Resident memory in bytes.
pub fn resident(pid: u32) -> u64 {
    let pages = fs::read_to_string(format!("/proc/{pid}/statm")).expect("the process lives");
    let pages = pages.split_whitespace().nth(1).and_then(|pages| pages.parse().ok());
    4096 * pages.unwrap_or(0_u64)
}

/// How many mappings a process has.
pub fn mapping_count(pid: u32) -> usize {
    fs::read_to_string(format!("/proc/{pid}/maps")).expect("the process lives").lines().count()
}

/// Ids of the kernel programs that a process holds open.
pub fn kernel_programs(pid: u32) -> Vec<u32> {
    let entries = fs::read_dir(format!("/proc/{pid}/fdinfo")).expect("the process lives");
    let mut ids: Vec<u32> = entries
        .filter_map(|entry| fs::read_to_string(entry.ok()?.path()).ok())
        .flat_map(|info| {
            let ids = info.lines().filter_map(|line| line.strip_prefix("prog_id:"));
            ids.filter_map(|id| id.trim().parse().ok()).collect::<Vec<_>>()
        })
        .collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// Whether the kernel's list of programs has this id.
pub fn is_loaded(program: u32) -> bool {
    const BPF_PROG_GET_NEXT_ID: libc::c_int = 11;
    // `start_id`, `next_id`, `open_flags` of `union bpf_attr`.
    let mut attributes = [program - 1, 0, 0];
    let size = size_of_val(&attributes);
    // SAFETY: the attributes are as long as is said, and are only written to.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, BPF_PROG_GET_NEXT_ID, attributes.as_mut_ptr(), size)
    };
    result == 0 && attributes[1] == program
}
