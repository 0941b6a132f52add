//! What a probe costs on this machine: functions of memtrace itself are called with and without an
//! empty program on them.

use std::{arch::naked_asm, env, fs::File, hint::black_box, process, time::Instant};

use anyhow::{Context as _, Result};
use aya::Ebpf;
use object::{Object as _, ObjectSegment as _, ReadCache};

use super::probes::{Point, Probe, attach};

/// Nanoseconds per hit of an empty program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Calibration {
    /// On an instruction that the kernel emulates.
    pub fast: u64,
    /// On an instruction that the kernel must single-step.
    pub slow: u64,
    /// On the return of a function, without what its entry costs.
    pub on_return: u64,
}

const CALLS: u32 = 2000;

/// The kernel emulates its first instruction.
#[unsafe(naked)]
extern "C" fn emulated() {
    naked_asm!("push rbp", "pop rbp", "ret")
}

/// As `emulated`. Another function, because the first one keeps its probe; other registers,
/// because the compiler may make one of two functions that are alike.
#[unsafe(naked)]
extern "C" fn emulated_with_return() {
    naked_asm!("push rbx", "pop rbx", "ret")
}

/// The kernel single-steps its first instruction.
#[unsafe(naked)]
extern "C" fn single_stepped() {
    naked_asm!("xor eax, eax", "ret")
}

unsafe extern "C" {
    /// The start of this program in memory; set by the linker.
    static __ehdr_start: u8;
}

/// Measures; takes some milliseconds. The probes stay on memtrace's own functions, where nothing
/// hits them: while the kernel takes probes off it attaches none.
pub(super) fn measure(ebpf: &mut Ebpf) -> Result<(Calibration, Vec<Probe>)> {
    let (fast, first) = cost(ebpf, "empty_enter", emulated)?;
    let (both, second) = cost(ebpf, "empty_return", emulated_with_return)?;
    let (slow, third) = cost(ebpf, "empty_enter", single_stepped)?;
    // A return probe traps on entry as well.
    let on_return = both.saturating_sub(fast);
    Ok((Calibration { fast, slow, on_return }, vec![first, second, third]))
}

/// What a program adds to each call of a function, and the probe with it.
fn cost(ebpf: &mut Ebpf, program: &str, function: extern "C" fn()) -> Result<(u64, Probe)> {
    let bare = time(function);
    let file = env::current_exe()?;
    let offset = file_offset(function)?;
    let point = Point { process_id: process::id(), file: &file, offset, cookie: 0 };
    let probe = attach(ebpf, program, point).context("attach to memtrace itself")?;
    Ok((time(function).saturating_sub(bare), probe))
}

/// Nanoseconds per call: the best of a few rounds, since everything that disturbs adds.
fn time(function: extern "C" fn()) -> u64 {
    const ROUNDS: u32 = 5;
    let round = || {
        let start = Instant::now();
        for _ in 0..CALLS / ROUNDS {
            black_box(function)();
        }
        start.elapsed().as_nanos() as u64 / u64::from(CALLS / ROUNDS)
    };
    (0..ROUNDS).map(|_| round()).min().unwrap_or_default()
}

fn file_offset(function: extern "C" fn()) -> Result<u64> {
    let start = (&raw const __ehdr_start).addr() as u64;
    let address = (function as usize as u64).wrapping_sub(start);
    let data = ReadCache::new(File::open(env::current_exe()?)?);
    let file = object::File::parse(&data).context("parse memtrace's own program")?;
    let base = file.segments().map(|segment| segment.address()).min().unwrap_or_default();
    let address = address.wrapping_add(base & !0xfff);
    let mut segments = file.segments();
    let segment = segments
        .find(|segment| (segment.address()..segment.address() + segment.size()).contains(&address))
        .context("find a function in memtrace's own program")?;
    Ok(address - segment.address() + segment.file_range().0)
}
