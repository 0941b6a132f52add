//! The interpreter in a mapped file, libpython or a static executable: which version it is and
//! where the kernel finds what it needs. Refuses what it cannot be sure of, with the reason.

use memtrace_abi::{mapping::Range, python::Python};

use super::{
    Refusal, Specific, Version,
    debug_offsets::{self, DebugOffsets},
    elf::Elf,
    evaluator, layout, thread_key, version,
};

/// An interpreter in a file. Addresses are the file's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Runtime {
    /// Which release.
    pub version: Version,
    /// What `_PyRuntime` covers.
    pub runtime: Range,
    /// Address of `PyCode_Type`.
    pub code_type: u64,
    /// Address of `_PyRuntime.autoTSSkey`.
    pub thread_key: u64,
    /// Code of the interpreter loop, at most `MAX_EVALUATORS` ranges.
    pub evaluators: Vec<Range>,
    layout: Python,
}

impl Runtime {
    /// Looks for an interpreter in the bytes of a file of that name. `None`: there is none.
    pub fn find(bytes: &[u8], file_name: &str) -> Result<Option<Self>, Refusal> {
        let Some(elf) = Elf::parse(bytes) else { return Ok(None) };
        let evaluators = evaluator::find(&elf);
        if evaluators.is_empty() && elf.symbol("PyEval_EvalFrameEx").is_none() {
            return Ok(None);
        }
        let version = Version::find(&elf, file_name).ok_or(Refusal::UnknownVersion)?;
        if version::names_free_threaded(file_name) {
            return Err(Refusal::FreeThreaded(version));
        }
        Self::of_version(&elf, version.check()?, evaluators).map(Some)
    }

    fn of_version(
        elf: &Elf<'_>,
        version: Version,
        evaluators: Vec<Range>,
    ) -> Result<Self, Refusal> {
        let symbol = |name| elf.symbol(name).ok_or(Refusal::Incomplete(name));
        let runtime = symbol("_PyRuntime")?;
        Ok(Self {
            version,
            runtime,
            code_type: symbol("PyCode_Type")?.start,
            thread_key: thread_key::find(elf, runtime, version.minor)
                .ok_or(Refusal::Incomplete("autoTSSkey"))?,
            evaluators,
            layout: layout(elf, runtime, version)?,
        })
    }

    /// What the kernel is told about the interpreter in one process, where `bias` (wrapping)
    /// turns the file's addresses into the process's.
    #[must_use]
    pub fn python(&self, bias: u64, specific: Specific) -> Python {
        let mut python = Python {
            thread_key: self.thread_key.wrapping_add(bias),
            code_type: self.code_type.wrapping_add(bias),
            specific_first: specific.first,
            specific_blocks: specific.blocks,
            ..self.layout
        };
        for (evaluator, found) in python.evaluators.iter_mut().zip(&self.evaluators) {
            evaluator.start = found.start.wrapping_add(bias);
            evaluator.end = found.end.wrapping_add(bias);
        }
        python
    }
}

/// The version's row, corrected by the build's own table of offsets where it has one.
fn layout(elf: &Elf<'_>, runtime: Range, version: Version) -> Result<Python, Refusal> {
    let row = layout::of(version.minor).ok_or(Refusal::Version(version))?;
    if version.minor < 13 {
        return Ok(row);
    }
    let end = runtime.end.min(runtime.start.saturating_add(debug_offsets::SIZE));
    let offsets = elf
        .read(Range { start: runtime.start, end })
        .and_then(DebugOffsets::parse)
        .ok_or(Refusal::Incomplete("table of debug offsets"))?;
    if offsets.is_free_threaded() {
        return Err(Refusal::FreeThreaded(version));
    }
    offsets.apply(row)
}
