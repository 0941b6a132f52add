//! Where `_PyRuntime` keeps the `PyThreadState` that holds the interpreter lock, up to 3.11:
//! `gilstate.tstate_current`. A thread that runs a sub-interpreter has that one's state there, and
//! under its key still the main interpreter's. From 3.12 on the key follows.

use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic, OpKind, Register};
use memtrace_abi::mapping::Range;

use super::elf::Elf;

/// The function that returns it.
const READER: &str = "_PyThreadState_UncheckedGet";
/// It is shorter than this.
const MAX_SIZE: u64 = 64;

/// Its address: as the interpreter's own code has it, else by version. `None` from 3.12 on.
pub fn find(elf: &Elf<'_>, runtime: Range, minor: u8) -> Option<u64> {
    let offset = offset(minor)?;
    decoded(elf, runtime).or_else(|| runtime.start.checked_add(offset))
}

/// `offsetof(_PyRuntimeState, gilstate.tstate_current)`, x86-64 with glibc.
fn offset(minor: u8) -> Option<u64> {
    match minor {
        8 => Some(1368),
        9 | 10 => Some(568),
        11 => Some(576),
        _ => None,
    }
}

fn decoded(elf: &Elf<'_>, runtime: Range) -> Option<u64> {
    let function = elf.symbol(READER)?;
    let end = function.end.min(function.start.saturating_add(MAX_SIZE));
    decode(elf.read(Range { start: function.start, end })?, function.start, runtime)
}

/// The only word in `_PyRuntime` that the code loads.
fn decode(code: &[u8], address: u64, runtime: Range) -> Option<u64> {
    Decoder::with_ip(64, code, address, DecoderOptions::NONE)
        .iter()
        .take_while(|instruction| instruction.mnemonic() != Mnemonic::Ret)
        .filter(|it| it.mnemonic() == Mnemonic::Mov && it.op1_kind() == OpKind::Memory)
        .filter_map(|instruction| loaded(&instruction, runtime.start))
        .find(|place| runtime.start < *place && *place < runtime.end && place.is_multiple_of(8))
}

/// The address that is loaded from, where a register can only hold that of `_PyRuntime`.
fn loaded(instruction: &Instruction, runtime: u64) -> Option<u64> {
    let offset = instruction.memory_displacement64();
    let is_simple = instruction.memory_index() == Register::None
        && instruction.segment_prefix() == Register::None;
    match instruction.memory_base() {
        _ if !is_simple => None,
        Register::RIP | Register::None => Some(offset),
        _ => runtime.checked_add(offset),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_3_10_loads_it_through_the_offset_table() {
        let code = [
            0x48, 0x8b, 0x05, 0xd9, 0xdb, 0x17,
            0x00, // mov rax, [rip + _PyRuntime in the table]
            0x48, 0x8b, 0x80, 0x38, 0x02, 0x00, 0x00, // mov rax, [rax + 0x238]
            0xc3, // ret
        ];
        let runtime = Range { start: 0x003a_8660, end: 0x003a_8660 + 672 };
        assert_eq!(decode(&code, 0x1f_6150, runtime), Some(0x003a_8660 + 568));
    }

    #[test]
    fn static_3_11_loads_it_at_once() {
        let code = [0x48, 0x8b, 0x05, 0xb9, 0xe3, 0x41, 0x00, 0xc3]; // mov rax, [rip + 0x41e3b9]
        let runtime = Range { start: 0x00a5_b740, end: 0x00a5_b740 + 0x28b20 };
        assert_eq!(decode(&code, 0x0063_d5c0, runtime), Some(0x00a5_b740 + 576));
    }

    #[test]
    fn a_word_outside_the_runtime_is_not_believed() {
        let code = [0x48, 0x8b, 0x05, 0x31, 0x02, 0x00, 0x00, 0xc3];
        assert_eq!(decode(&code, 0x1000, Range { start: 0x2000, end: 0x3000 }), None);
        assert_eq!(decode(&[0xc3], 0x1000, Range { start: 0x1000, end: 0x3000 }), None);
    }
}
