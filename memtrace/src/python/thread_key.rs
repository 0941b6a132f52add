//! Where `_PyRuntime` keeps the key under which each thread finds its `PyThreadState`:
//! `autoTSSkey`, a `Py_tss_t { int _is_initialized; pthread_key_t _key; }`.

use std::collections::HashMap;

use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic, OpKind, Register};
use memtrace_abi::mapping::Range;

use super::elf::Elf;

/// The function that hands the key to `PyThread_tss_get`.
const READER: &str = "PyGILState_GetThisThreadState";
/// It is shorter than this.
const MAX_SIZE: u64 = 128;
/// From the start of a `Py_tss_t` to its `_key`.
const KEY: u64 = 4;

/// Address of the `Py_tss_t`: as the interpreter's own code has it, else by version.
pub fn find(elf: &Elf<'_>, runtime: Range, minor: u8) -> Option<u64> {
    decoded(elf, runtime).or_else(|| runtime.start.checked_add(offset(minor)?))
}

/// `offsetof(_PyRuntimeState, autoTSSkey)`, up to 3.11 `gilstate.autoTSSkey`; x86-64 with glibc.
fn offset(minor: u8) -> Option<u64> {
    match minor {
        8 => Some(1392),
        9 | 10 => Some(584),
        11 => Some(592),
        12 => Some(1544),
        13 => Some(2160),
        14 => Some(2336),
        _ => None,
    }
}

fn decoded(elf: &Elf<'_>, runtime: Range) -> Option<u64> {
    let function = elf.symbol(READER)?;
    let end = function.end.min(function.start.saturating_add(MAX_SIZE));
    let code = elf.read(Range { start: function.start, end })?;
    decode(code, function.start, runtime)
}

/// The key's address, if the code passes one within `_PyRuntime` to the function it calls first.
fn decode(code: &[u8], address: u64, runtime: Range) -> Option<u64> {
    let mut addresses = Addresses { runtime: runtime.start, known: HashMap::new() };
    Decoder::with_ip(64, code, address, DecoderOptions::NONE)
        .iter()
        .find_map(|instruction| addresses.follow(&instruction))
        .filter(|key| runtime.start < *key && *key < runtime.end && key % 4 == 0)
}

/// Addresses in registers, followed through straight-line code.
struct Addresses {
    runtime: u64,
    known: HashMap<Register, u64>,
}

impl Addresses {
    /// The address of the `Py_tss_t`, once the instruction passes it or its key on.
    fn follow(&mut self, instruction: &Instruction) -> Option<u64> {
        match instruction.mnemonic() {
            Mnemonic::Call | Mnemonic::Jmp => return self.known.get(&Register::RDI).copied(),
            // Inlined `PyThread_tss_get`: the key itself is loaded.
            Mnemonic::Mov if instruction.op0_register() == Register::EDI && loads(instruction) => {
                return self.memory(instruction)?.checked_sub(KEY);
            }
            _ if instruction.op0_kind() != OpKind::Register || !writes(instruction) => {}
            _ => self.assign(instruction),
        }
        None
    }

    fn assign(&mut self, instruction: &Instruction) {
        let register = instruction.op0_register().full_register();
        match self.result(instruction) {
            Some(address) => self.known.insert(register, address),
            None => self.known.remove(&register),
        };
    }

    fn result(&self, instruction: &Instruction) -> Option<u64> {
        match (instruction.mnemonic(), instruction.op1_kind()) {
            (Mnemonic::Lea, _) => self.memory(instruction),
            // The only address this function loads from the global offset table.
            (Mnemonic::Mov, OpKind::Memory)
                if instruction.is_ip_rel_memory_operand()
                    && instruction.op0_register().is_gpr64() =>
            {
                Some(self.runtime)
            }
            (Mnemonic::Mov, OpKind::Register) => {
                self.known.get(&instruction.op1_register().full_register()).copied()
            }
            (Mnemonic::Mov, OpKind::Immediate32 | OpKind::Immediate32to64) => {
                Some(instruction.immediate(1))
            }
            (Mnemonic::Add, OpKind::Immediate32to64 | OpKind::Immediate8to64) => {
                let before = self.known.get(&instruction.op0_register().full_register())?;
                Some(before.wrapping_add(instruction.immediate(1)))
            }
            _ => None,
        }
    }

    /// The address that the memory operand means.
    fn memory(&self, instruction: &Instruction) -> Option<u64> {
        let base = match instruction.memory_base() {
            Register::RIP | Register::None => 0,
            register => *self.known.get(&register)?,
        };
        (instruction.memory_index() == Register::None)
            .then(|| base.wrapping_add(instruction.memory_displacement64()))
    }
}

fn loads(instruction: &Instruction) -> bool {
    instruction.op1_kind() == OpKind::Memory
}

fn writes(instruction: &Instruction) -> bool {
    !matches!(instruction.mnemonic(), Mnemonic::Cmp | Mnemonic::Test | Mnemonic::Push)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_passed_through_the_offset_table_by_shared_3_10() {
        let code = [
            0x48, 0x8b, 0x05, 0x69, 0xd1, 0x17,
            0x00, // mov rax, [rip + _PyRuntime in the table]
            0x48, 0x83, 0xb8, 0x40, 0x02, 0x00, 0x00, 0x00, // cmp qword [rax + 0x240], 0
            0x74, 0x0f, // je
            0x48, 0x8d, 0xb8, 0x48, 0x02, 0x00, 0x00, // lea rdi, [rax + 0x248]
            0xe9, 0x13, 0xd5, 0xe6, 0xff, // jmp PyThread_tss_get
        ];
        let runtime = Range { start: 0x003a_8660, end: 0x003a_8660 + 672 };
        assert_eq!(decode(&code, 0x1f_6bc0, runtime), Some(0x003a_8660 + 584));
    }

    #[test]
    fn the_key_is_loaded_at_once_by_static_3_11() {
        let code = [
            0x48, 0x83, 0x3d, 0x50, 0x3d, 0x56, 0x00, 0x00, // cmp qword [rip + 0x563d50], 0
            0x0f, 0x84, 0x1f, 0xc8, 0xf2, 0xff, // je
            0x8b, 0x3d, 0x50, 0x3d, 0x56, 0x00, // mov edi, [rip + 0x563d50]
            0xe9, 0xa7, 0x8a, 0xf2, 0xff, // jmp pthread_getspecific
        ];
        let runtime = Range { start: 0x00a5_b740, end: 0x00a5_b740 + 0x28b20 };
        assert_eq!(decode(&code, 0x004f_7c30, runtime), Some(0x00a5_b740 + 592));
    }

    #[test]
    fn the_key_is_an_absolute_address_in_static_3_14() {
        let code = [
            0xf3, 0x0f, 0x1e, 0xfa, // endbr64
            0x83, 0x3d, 0x3b, 0x49, 0x77, 0x00, 0x00, // cmp dword [rip + 0x77493b], 0
            0x74, 0x0a, // je
            0xbf, 0xe0, 0x10, 0xba, 0x00, // mov edi, 0xba10e0
            0xe9, 0x7f, 0x2e, 0x11, 0x00, // jmp PyThread_tss_get
        ];
        let runtime = Range { start: 0x00ba_07c0, end: 0x00ba_07c0 + 0x4d4c8 };
        assert_eq!(decode(&code, 0x0042_c79a, runtime), Some(0x00ba_07c0 + 2336));
    }

    #[test]
    fn a_key_outside_the_runtime_is_not_believed() {
        let code = [0xbf, 0xe0, 0x10, 0xba, 0x00, 0xe9, 0x7f, 0x2e, 0x11, 0x00];
        assert_eq!(decode(&code, 0x1000, Range { start: 0x2000, end: 0x3000 }), None);
    }
}
