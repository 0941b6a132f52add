//! The interpreter in a mapped file, libpython or a static executable: which version it is and
//! where the kernel finds what it needs. Refuses what it cannot be sure of, with the reason.

use memtrace_abi::{mapping::Range, python::Python};

use super::{
    Refusal, Specific, Version, current_thread,
    debug_offsets::{self, DebugOffsets},
    elf::Elf,
    evaluator, layout,
    structures::{self, Interpreter, Structures},
    thread_key, version,
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
    /// Address of `_PyRuntime.gilstate.tstate_current`, up to 3.11.
    current_thread: Option<u64>,
    /// Code of the interpreter loop, at most `MAX_EVALUATORS` ranges.
    pub evaluators: Vec<Range>,
    /// What its writable segments cover.
    data: Vec<Range>,
    /// Address of `PyType_Type`.
    type_type: Option<u64>,
    layout: Python,
    structures: Structures,
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
        if evaluators.is_empty() {
            return Err(Refusal::Incomplete("_PyEval_EvalFrameDefault"));
        }
        let runtime = symbol("_PyRuntime")?;
        let (layout, structures) = layouts(elf, runtime, version)?;
        let thread_key = thread_key::find(elf, runtime, version.minor)
            .ok_or(Refusal::Incomplete("autoTSSkey"))?;
        Ok(Self {
            version,
            runtime,
            code_type: symbol("PyCode_Type")?.start,
            thread_key,
            current_thread: current_thread::find(elf, runtime, version.minor),
            evaluators,
            data: elf.writable(),
            type_type: elf.symbol("PyType_Type").map(|symbol| symbol.start),
            layout,
            structures,
        })
    }

    /// What the object reader is told about the interpreter in one process; see
    /// [`Runtime::python`] for `bias`.
    pub fn interpreter(&self, bias: u64) -> Result<Interpreter, Refusal> {
        let moved = |range: &Range| Range {
            start: range.start.wrapping_add(bias),
            end: range.end.wrapping_add(bias),
        };
        let type_type = self.type_type.ok_or(Refusal::Incomplete("PyType_Type"))?;
        let specific = Specific { first: 0, blocks: 0, guessed: true };
        Ok(Interpreter {
            version: self.version,
            runtime: moved(&self.runtime),
            data: self.data.iter().map(moved).collect(),
            type_type: type_type.wrapping_add(bias),
            frames: self.python(bias, specific),
            structures: self.structures,
        })
    }

    /// What the kernel is told about the interpreter in one process, where `bias` (wrapping)
    /// turns the file's addresses into the process's.
    #[must_use]
    pub fn python(&self, bias: u64, specific: Specific) -> Python {
        let mut python = Python {
            thread_key: self.thread_key.wrapping_add(bias),
            current_thread: self.current_thread.map_or(0, |place| place.wrapping_add(bias)),
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

/// The version's rows, corrected by the build's own table of offsets where it has one.
fn layouts(
    elf: &Elf<'_>,
    runtime: Range,
    version: Version,
) -> Result<(Python, Structures), Refusal> {
    let rows = layout::of(version.minor).zip(structures::of(version.minor));
    let (row, structures) = rows.ok_or(Refusal::Version(version))?;
    if version.minor < 13 {
        return Ok((row, structures));
    }
    let missing = Refusal::Incomplete("table of debug offsets");
    let end = runtime.end.min(runtime.start.saturating_add(debug_offsets::SIZE));
    let bytes = elf.read(Range { start: runtime.start, end });
    let offsets = bytes.and_then(DebugOffsets::parse).ok_or(missing)?;
    if offsets.is_free_threaded() {
        return Err(Refusal::FreeThreaded(version));
    }
    let structures = offsets.apply_structures(structures).ok_or(missing)?;
    Ok((offsets.apply(row)?, structures))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Assembled from `interpreter.s`.
    const INTERPRETER: &[u8] = include_bytes!("testdata/interpreter.so");
    const VERSION: &[u8] = &0x030d_02f0_u32.to_le_bytes();

    /// The interpreter with the bytes replaced everywhere.
    fn patched(bytes: &[u8], with: &[u8]) -> Vec<u8> {
        let mut file = INTERPRETER.to_vec();
        let found: Vec<usize> =
            (0..file.len()).filter(|at| file[*at..].starts_with(bytes)).collect();
        assert!(!found.is_empty(), "nothing to patch");
        for at in found {
            file[at..at + with.len()].copy_from_slice(with);
        }
        file
    }

    fn refusal(file: &[u8], name: &str) -> String {
        Runtime::find(file, name).unwrap_err().to_string()
    }

    #[test]
    fn the_interpreter_is_found_with_the_parts_split_off_its_loop() {
        let runtime = Runtime::find(INTERPRETER, "libpython3.13.so.1.0").unwrap().unwrap();
        assert_eq!(runtime.version.to_string(), "3.13.2");
        assert_eq!(runtime.thread_key, runtime.runtime.start + 2160);
        let evaluators: Vec<_> =
            runtime.evaluators.iter().map(|range| (range.start, range.end)).collect();
        assert_eq!(evaluators, [(0x3c5, 0x3dc), (0x294, 0x3c2), (0x3c2, 0x3c5)]);
    }

    #[test]
    fn the_kernel_gets_addresses_in_the_process() {
        let runtime = Runtime::find(INTERPRETER, "libpython3.13.so.1.0").unwrap().unwrap();
        let specific = Specific { first: 784, blocks: 1296, guessed: false };
        let python = runtime.python(0x7f00_0000_0000, specific);
        assert_eq!(python.code_type, 0x7f00_0000_2000);
        assert_eq!(python.thread_key, 0x7f00_0000_0000 + runtime.runtime.start + 2160);
        assert!(python.is_evaluator(0x7f00_0000_0294));
        assert!(!python.is_evaluator(0x294));
        assert!(!python.is_evaluator(0));
        assert_eq!((python.specific_first, python.specific_blocks), (784, 1296));
        assert_eq!((python.minor, python.thread_frame), (13, 72));
    }

    #[test]
    fn other_files_hold_no_interpreter() {
        assert_eq!(Runtime::find(b"#!/usr/bin/python3.11", "script"), Ok(None));
        assert_eq!(Runtime::find(&INTERPRETER[..64], "python3.13"), Ok(None));
    }

    #[test]
    fn what_cannot_be_traced_is_refused_with_its_reason() {
        let newer = patched(VERSION, &0x030f_02f0_u32.to_le_bytes());
        assert!(refusal(&newer, "python3.15").contains("3.15.2 is not supported"));
        let beta = patched(VERSION, &0x030d_00b1_u32.to_le_bytes());
        assert!(refusal(&beta, "python3.13").contains("pre-release"));
        let unlocked = [&b"xdebugpy\xf0\x02\x0d\x03\0\0\0\0"[..], &[1]].concat();
        let unlocked = patched(&unlocked[..16], &unlocked);
        assert!(refusal(&unlocked, "python3.13").contains("free-threaded"));
        assert!(refusal(INTERPRETER, "python3.13t").contains("free-threaded"));
        let unknown = patched(b"xdebugpy", b"whatever");
        assert!(refusal(&unknown, "python3.13").contains("debug offsets"));
    }

    #[test]
    fn no_file_is_too_broken() {
        for size in 0..INTERPRETER.len() {
            let _ = Runtime::find(&INTERPRETER[..size], "python3.13");
        }
        let mut file = INTERPRETER.to_vec();
        for at in 0..file.len() {
            for flip in [0xff, 0x01, 0x80] {
                file[at] ^= flip;
                let _ = Runtime::find(&file, "python3.13");
                let _ = Specific::find(&file);
                file[at] ^= flip;
            }
        }
    }
}
