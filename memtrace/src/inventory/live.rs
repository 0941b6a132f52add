//! The objects of a running process: finds the interpreter among what it has mapped, and reads
//! through the kernel.

use std::sync::OnceLock;

use anyhow::{Context as _, Result};
use memtrace_abi::mapping::Range;

use super::{Inventory, Limits, extents::Extents};
use crate::{
    heap::{Extent, Memory, Window},
    process::{
        Process,
        mappings::{Mapping, Mappings},
        memory,
    },
    python::{Interpreter, Runtime},
};

impl Interpreter {
    /// The interpreter of a process; `None`: it runs no Python. The error is a
    /// [`crate::python::Refusal`] if it is one that is not supported.
    pub fn of_process(process: &Process, mappings: &Mappings) -> Result<Option<Self>> {
        let groups = mappings.executables();
        let mut candidates: Vec<&Mapping> = groups.iter().map(|group| group[0]).collect();
        // Files that are called so, then the program, which may have it linked in.
        candidates.sort_by_key(|mapping| !is_called_python(mapping));
        let named = candidates.iter().filter(|mapping| is_called_python(mapping)).count();
        for mapping in candidates.into_iter().take(named + 1) {
            let object = process.object(mapping)?;
            let contents = object.contents();
            let found =
                contents.whole().map_or(Ok(None), |bytes| Runtime::find(bytes, &name(mapping)));
            if let Some(runtime) =
                found.with_context(|| format!("read {}", mapping.path.display()))?
            {
                let bias = object.bias(mapping).context("find where the interpreter is mapped")?;
                return Ok(Some(runtime.interpreter(bias.wrapping_neg())?));
            }
        }
        Ok(None)
    }
}

/// Extension modules have it in the middle of their names.
fn is_called_python(mapping: &Mapping) -> bool {
    let name = name(mapping);
    name.starts_with("libpython") || name.starts_with("python")
}

fn name(mapping: &Mapping) -> String {
    mapping.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

impl Inventory {
    /// Reads the objects of a running process. The error is a [`crate::python::Refusal`] if its
    /// interpreter is laid out otherwise than known, else that of the process.
    pub fn of_process(
        process: &Process,
        interpreter: &Interpreter,
        limits: &Limits,
    ) -> Result<Self> {
        let (interpreter, limits) = (interpreter.clone(), *limits);
        process
            .at_length(limits.time, move |process| {
                let live = Live::new(process)?;
                let inventory = Self::read(&live, &interpreter, &limits);
                match live.error.into_inner() {
                    Some(error) => Err(error),
                    None => Ok(inventory?),
                }
            })
            .with_context(|| format!("read the objects of {}", process.identity()))?
    }
}

/// The memory of a running process.
pub(super) struct Live {
    memory: memory::Memory,
    extents: Extents,
    /// The first that was met; nothing is asked for after it.
    error: OnceLock<anyhow::Error>,
}

impl Live {
    pub(super) fn new(process: &Process) -> Result<Self> {
        Ok(Self {
            memory: process.memory().of_this_program()?,
            extents: Extents::new(process),
            error: OnceLock::new(),
        })
    }

    fn ask<T>(&self, question: impl FnOnce(&memory::Memory) -> Result<T>) -> Option<T> {
        if self.error.get().is_some() {
            return None;
        }
        // Another thread may have met one first.
        question(&self.memory).map_err(|error| self.error.set(error)).ok()
    }
}

impl Memory for Live {
    fn read(&self, address: u64, buffer: &mut [u8]) -> usize {
        self.ask(|memory| memory.read(address, buffer)).unwrap_or(0)
    }

    fn read_pages(&self, address: u64, count: usize) -> Window {
        let read = self.ask(|memory| memory.read_pages(address, count));
        read.map_or_else(Window::default, |(is_here, bytes)| Window::new(&is_here, bytes))
    }

    fn resident(&self, range: Range) -> Vec<bool> {
        let pages = self.ask(|memory| memory.pages(range)).unwrap_or_default();
        pages.iter().map(|page| page.is_counted()).collect()
    }

    fn extent(&self, address: u64) -> Option<Extent> {
        self.extents.at(address)
    }
}
