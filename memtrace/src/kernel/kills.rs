//! Kills as the kernel programs tell of them.

use std::{
    fs,
    os::fd::{AsRawFd, RawFd},
};

use anyhow::{Context as _, Result};
use aya::maps::{MapData, RingBuf};
use memtrace_abi::{
    kill::{Kill, VictimFields},
    process::state,
};

use super::{BTF, Kernel, btf::Btf, event, programs::watch, take, write};

/// Kills as they come in. Its file descriptor is readable when there are some.
pub struct Kills(RingBuf<MapData>);

impl AsRawFd for Kills {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl Iterator for Kills {
    type Item = Kill;

    /// The next kill that is there already.
    fn next(&mut self) -> Option<Kill> {
        event::read(&self.0.next()?)
    }
}

impl Kernel {
    /// Begins to watch for kills. Can be called once.
    pub fn watch_kills(&mut self) -> Result<Kills> {
        let ebpf = &mut self.ebpf;
        write(ebpf, "VICTIM_FIELDS", fields()?)?;
        watch(ebpf, "oom_victim", "mark_victim")?;
        watch(ebpf, "kill_signal", "signal_generate")?;
        take(ebpf, "KILLS").map(Kills)
    }

    /// Whether the process of a slot was killed.
    pub fn is_frozen(&self, slot: u32) -> Result<bool> {
        let process = self.processes.get(&slot, 0).context("read a process slot")?;
        Ok(process.state == state::FROZEN)
    }
}

/// The tracepoints, and whether this kernel has each; for whom they are is what they tell of.
pub fn tracepoints() -> Result<[(&'static str, bool); 2]> {
    let types = fs::read(BTF).with_context(|| format!("read {BTF}"))?;
    let types = Btf::parse(&types).with_context(|| format!("parse {BTF}"))?;
    let has = |name| types.has_tracepoint(name);
    Ok([
        ("kills by the kernel (oom:mark_victim)", has("mark_victim")),
        ("kills by other processes (signal:signal_generate)", has("signal_generate")),
    ])
}

fn fields() -> Result<VictimFields> {
    let types = fs::read(BTF).with_context(|| format!("read {BTF}"))?;
    let types = Btf::parse(&types).with_context(|| format!("parse {BTF}"))?;
    let task = |field| types.offset("task_struct", &[field]);
    let signal = |field| types.offset("signal_struct", &[field]);
    let memory = |field| types.offset("mm_struct", &[field]);
    let (counters, counter_size) = counters(&types)?;
    Ok(VictimFields {
        process: task("tgid")?,
        comm: task("comm")?,
        memory: task("mm")?,
        signal: task("signal")?,
        oom_memory: signal("oom_mm")?,
        oom_score_adj: signal("oom_score_adj")?,
        total: memory("total_vm")?,
        page_tables: memory("pgtables_bytes")?,
        counters,
        counter_size,
    })
}

/// The first counter of resident pages in an address space, and how large one is.
fn counters(types: &Btf<'_>) -> Result<(u64, u64)> {
    // One structure of plain numbers up to Linux 6.1.
    if let Ok(count) = types.offset("mm_struct", &["rss_stat", "count"]) {
        return Ok((count, 8));
    }
    let count = types.offset("percpu_counter", &["count"])?;
    Ok((types.offset("mm_struct", &["rss_stat"])? + count, types.size("percpu_counter")?))
}
