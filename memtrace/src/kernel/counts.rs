//! Everything that the kernel programs have counted, read into memory.

use std::collections::HashMap as StdHashMap;

use anyhow::{Context as _, Result};
use aya::{
    Ebpf,
    maps::{Array, HashMap, MapData, PerCpuArray},
};
use memtrace_abi::{
    allocation::{StackChunk, StackKey, Totals},
    frame::{CHUNK_FRAMES, MAX_FRAMES},
    loss::Loss,
    process::ProcessTotals,
};

use super::{batch::Entries, take};

/// The maps that hold results.
pub(super) struct Counts {
    pub(super) totals: Entries<StackKey, Totals>,
    stacks: HashMap<MapData, u64, StackChunk>,
    pub(super) processes: Array<MapData, ProcessTotals>,
    losses: PerCpuArray<MapData, u64>,
}

impl Counts {
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self> {
        Ok(Self {
            totals: Entries::take(ebpf, "TOTALS")?,
            stacks: take(ebpf, "STACKS")?,
            processes: take(ebpf, "PROCESS_TOTALS")?,
            losses: take(ebpf, "LOSSES")?,
        })
    }

    /// What is counted for a process slot.
    pub(super) fn process(&self, slot: u32) -> Result<ProcessTotals> {
        self.processes.get(&slot, 0).context("read the totals of a process")
    }

    /// Losses so far, over all processors, without those that did not happen.
    pub(super) fn losses(&self) -> Result<Vec<(Loss, u64)>> {
        let count = |loss: Loss| -> Result<_> {
            let per_cpu = self.losses.get(&(loss as u32), 0).context("read a loss counter")?;
            Ok((loss, per_cpu.iter().sum()))
        };
        let all: Result<Vec<_>> = Loss::ALL.into_iter().map(count).collect();
        Ok(all?.into_iter().filter(|(_, count)| *count > 0).collect())
    }

    /// Calls `visit` with the totals of every stack of every process.
    pub(super) fn visit_totals(&self, visit: impl FnMut(StackKey, Totals)) -> Result<()> {
        self.totals.visit(visit).context("read the totals of stacks")
    }

    /// All chunks of stacks.
    pub(super) fn stacks(&self) -> Result<Stacks> {
        let chunks: Result<_, _> = self.stacks.iter().collect();
        Ok(Stacks(chunks.context("read the stacks")?))
    }
}

/// Recorded stacks by id.
pub struct Stacks(StdHashMap<u64, StackChunk>);

impl Stacks {
    /// The packed frames of a stack, innermost first; `None` if not all of it was stored.
    #[must_use]
    pub fn frames(&self, stack: u64) -> Option<Vec<u64>> {
        let (mut frames, mut next) = (Vec::new(), stack);
        for _ in 0..MAX_FRAMES as usize / CHUNK_FRAMES {
            let chunk = self.0.get(&next)?;
            frames.extend(chunk.frames.iter().take_while(|frame| **frame != 0));
            next = chunk.callers;
            if next == 0 {
                return Some(frames);
            }
        }
        None
    }
}
