//! Loads the programs, and attaches those that see the whole machine. The kernel takes them off with
//! the object.

use std::os::fd::AsFd as _;

use anyhow::{Context as _, Result, anyhow, bail};
use aya::{Btf, Ebpf, programs::Program};
use rayon::iter::{IntoParallelIterator as _, ParallelIterator as _};

use super::faults;
use crate::process::host;

/// Programs and the tracepoints that they are for.
const TRACEPOINTS: [(&str, &str); 4] = [
    ("process_exec", "sched_process_exec"),
    ("thread_exit", "sched_process_exit"),
    ("process_fork", "sched_process_fork"),
    ("system_call_return", "sys_exit"),
];

/// Loads all programs at the same time: to verify those that walk stacks takes long.
pub(super) fn load(ebpf: &mut Ebpf) -> Result<()> {
    let types = Btf::from_sys_fs().context("read the kernel's types")?;
    let programs: Vec<_> = ebpf.programs_mut().collect();
    programs.into_par_iter().try_for_each(|(name, program)| {
        load_one(name, program, &types).with_context(|| format!("load the kernel program {name}"))
    })
}

fn load_one(name: &str, program: &mut Program, types: &Btf) -> Result<()> {
    match program {
        Program::UProbe(program) => program.load()?,
        Program::RawTracePoint(program) => program.load()?,
        Program::BtfTracePoint(program) => program.load(tracepoint(name)?, types)?,
        // Whoever wants to use it is told why it cannot be used; the rest goes on.
        Program::PerfEvent(program) if name == faults::PROGRAM => drop(program.load()),
        // They are for looking at threads, which is another matter.
        Program::Iter(_) | Program::PerfEvent(_) => {}
        _ => bail!("it is of an unknown kind"),
    }
    Ok(())
}

fn tracepoint(name: &str) -> Result<&'static str> {
    let known = TRACEPOINTS.iter().find(|(program, _)| *program == name);
    known.map(|(_, tracepoint)| *tracepoint).ok_or_else(|| anyhow!("no tracepoint is known for it"))
}

/// How often the kernel has left one of the programs out because it was running on that processor
/// already: where tracepoints can be preempted (Linux 7.0), by what another thread does.
///
/// Programs on perf events of the same tracepoints are not preempted, but left out wherever anybody is
/// in the middle of a look into a map (`bpf_disable_instrumentation`), before Linux 6.7 uncounted.
pub(super) fn skipped(ebpf: &Ebpf) -> Result<u64> {
    let loaded = ebpf.programs().filter(|(_, program)| program.fd().is_ok());
    loaded.map(|(name, program)| skips(program).with_context(|| format!("look at {name}"))).sum()
}

/// The kernel's own count (Linux 5.12).
fn skips(program: &Program) -> Result<u64> {
    let text = host::about_open(program.fd()?.as_fd()).context("read of it")?;
    let count = text.lines().find_map(|line| line.strip_prefix("recursion_misses:"));
    Ok(count.context("find how often it was left out")?.trim().parse()?)
}

/// Watches the lives of processes, and what they do to their memory.
pub(super) fn watch_all(ebpf: &mut Ebpf) -> Result<()> {
    TRACEPOINTS.into_iter().try_for_each(|(name, tracepoint)| watch(ebpf, name, tracepoint))
}

/// Attaches a program to a tracepoint.
pub(super) fn watch(ebpf: &mut Ebpf, name: &str, tracepoint: &str) -> Result<()> {
    let program = ebpf.program_mut(name);
    match program.with_context(|| format!("no program {name} in the object"))? {
        Program::RawTracePoint(program) => program.attach(tracepoint).map(drop),
        Program::BtfTracePoint(program) => program.attach().map(drop),
        _ => bail!("program {name} is not for a tracepoint"),
    }
    .with_context(|| format!("attach to the tracepoint {tracepoint}"))
}
