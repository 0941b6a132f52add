//! Where the C library keeps thread-specific data, read off the code of its
//! `pthread_getspecific`. Only glibc's way is known: a first block of keys in the thread's
//! descriptor, the others behind pointers.

use std::collections::HashMap;

use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic, OpKind, Register};
use memtrace_abi::mapping::Range;

use super::{Refusal, elf::Elf};

/// The function is shorter than this.
const MAX_SIZE: u64 = 512;
/// Bytes of an entry `{ sequence, value }` and from its start to the value.
const ENTRY: i64 = 16;
const VALUE: i64 = 8;
/// `struct pthread` has no larger offsets.
const MAX_OFFSET: u16 = 4096;

/// Offsets from the thread pointer to a thread's specific data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Specific {
    /// The block of keys below 32.
    pub first: u16,
    /// The array of pointers to blocks.
    pub blocks: u16,
    /// Whether the code could not be read, and these are the offsets of glibc 2.21 to 2.43.
    pub guessed: bool,
}

impl Specific {
    const USUAL: Self = Self { first: 0x310, blocks: 0x510, guessed: true };

    /// Reads the offsets off the C library, or off libpthread before glibc 2.34. `None`: the
    /// file does not have the function.
    pub fn find(bytes: &[u8]) -> Result<Option<Self>, Refusal> {
        let Some(elf) = Elf::parse(bytes) else { return Ok(None) };
        let Some(function) = elf.symbol("pthread_getspecific") else { return Ok(None) };
        if !is_glibc(&elf) {
            return Err(Refusal::CLibrary);
        }
        let end = function.end.min(function.start.saturating_add(MAX_SIZE));
        let code = elf.read(Range { start: function.start, end }).unwrap_or_default();
        Ok(Some(decode(code).unwrap_or(Self::USUAL)))
    }
}

/// Only glibc versions its symbols by its own name.
fn is_glibc(elf: &Elf<'_>) -> bool {
    let names = elf.section(".dynstr").unwrap_or_default();
    names.split(|byte| *byte == 0).any(|name| name.starts_with(b"GLIBC_2."))
}

fn decode(code: &[u8]) -> Option<Specific> {
    let mut walk = Walk { known: HashMap::new(), first: None, blocks: None };
    walk.known.insert(Register::RDI, Sum { keys: 1, ..Sum::default() });
    for instruction in &mut Decoder::new(64, code, DecoderOptions::NONE) {
        walk.note_reads(&instruction);
        walk.assign(&instruction);
    }
    Some(Specific { first: walk.first?, blocks: walk.blocks?, guessed: false })
}

/// `keys * key + threads * thread pointer + constant`.
#[derive(Clone, Copy, Default)]
struct Sum {
    keys: i64,
    threads: i64,
    constant: i64,
}

impl Sum {
    fn constant(constant: i64) -> Self {
        Self { constant, ..Self::default() }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            keys: self.keys.wrapping_add(other.keys),
            threads: self.threads.wrapping_add(other.threads),
            constant: self.constant.wrapping_add(other.constant),
        }
    }

    fn times(self, factor: i64) -> Self {
        Self {
            keys: self.keys.wrapping_mul(factor),
            threads: self.threads.wrapping_mul(factor),
            constant: self.constant.wrapping_mul(factor),
        }
    }
}

/// Sums in registers, followed through the code in address order. Whatever a block behind a jump
/// holds was not derived from the key and the thread pointer alone, so it reads as unknown.
struct Walk {
    known: HashMap<Register, Sum>,
    first: Option<u16>,
    blocks: Option<u16>,
}

impl Walk {
    fn note_reads(&mut self, instruction: &Instruction) {
        if !(0..instruction.op_count()).any(|op| instruction.op_kind(op) == OpKind::Memory) {
            return;
        }
        if indexes_by_pointer(instruction) && self.is_on_thread(instruction) {
            self.blocks = self.blocks.or(offset(displacement(instruction)));
        } else if let Some(Sum { keys: ENTRY, threads: 1, constant }) = self.address(instruction)
            && instruction.mnemonic() != Mnemonic::Lea
        {
            // The value lies behind the sequence number, whichever is read first.
            self.first = self.first.max(offset(constant.wrapping_sub(VALUE)));
        }
    }

    /// Whether the operand is relative to the thread pointer, `fs` or a register that holds it.
    fn is_on_thread(&self, instruction: &Instruction) -> bool {
        let base = self.known.get(&instruction.memory_base());
        (instruction.memory_segment() == Register::FS
            && instruction.memory_base() == Register::None)
            || base.is_some_and(|sum| (sum.keys, sum.threads) == (0, 1))
    }

    fn assign(&mut self, instruction: &Instruction) {
        if instruction.op0_kind() != OpKind::Register
            || matches!(instruction.mnemonic(), Mnemonic::Cmp | Mnemonic::Test)
        {
            return;
        }
        let register = instruction.op0_register().full_register();
        match self.result(instruction) {
            Some(sum) => self.known.insert(register, sum),
            None => self.known.remove(&register),
        };
    }

    fn result(&self, instruction: &Instruction) -> Option<Sum> {
        match instruction.mnemonic() {
            Mnemonic::Mov => self.operand(instruction),
            Mnemonic::Lea => self.address(instruction),
            Mnemonic::Add => Some(self.target(instruction)?.plus(self.operand(instruction)?)),
            Mnemonic::Shl | Mnemonic::Sal => {
                let Sum { keys: 0, threads: 0, constant: bits @ 0..8 } =
                    self.operand(instruction)?
                else {
                    return None;
                };
                Some(self.target(instruction)?.times(1 << bits))
            }
            _ => None,
        }
    }

    fn target(&self, instruction: &Instruction) -> Option<Sum> {
        self.known.get(&instruction.op0_register().full_register()).copied()
    }

    /// The value of the second operand.
    fn operand(&self, instruction: &Instruction) -> Option<Sum> {
        match instruction.op1_kind() {
            OpKind::Register => {
                self.known.get(&instruction.op1_register().full_register()).copied()
            }
            // The descriptor's first and third words are its own address.
            OpKind::Memory => (instruction.memory_segment() == Register::FS
                && instruction.memory_base() == Register::None
                && instruction.memory_index() == Register::None
                && matches!(instruction.memory_displacement64(), 0 | 0x10))
            .then_some(Sum { threads: 1, ..Sum::default() }),
            _ => Some(Sum::constant(instruction.try_immediate(1).ok()?.cast_signed())),
        }
    }

    /// The address that the memory operand means.
    fn address(&self, instruction: &Instruction) -> Option<Sum> {
        let part = |register: Register| match register {
            Register::None => Some(Sum::default()),
            register => self.known.get(&register.full_register()).copied(),
        };
        let scale = i64::from(instruction.memory_index_scale());
        let segment = i64::from(instruction.memory_segment() == Register::FS);
        let start = Sum { threads: segment, ..Sum::constant(displacement(instruction)) };
        Some(
            start
                .plus(part(instruction.memory_base())?)
                .plus(part(instruction.memory_index())?.times(scale)),
        )
    }
}

fn indexes_by_pointer(instruction: &Instruction) -> bool {
    instruction.mnemonic() == Mnemonic::Mov
        && instruction.memory_index() != Register::None
        && instruction.memory_index_scale() == 8
}

fn displacement(instruction: &Instruction) -> i64 {
    instruction.memory_displacement64().cast_signed()
}

fn offset(offset: i64) -> Option<u16> {
    u16::try_from(offset).ok().filter(|offset| *offset < MAX_OFFSET)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DECODED: Specific = Specific { guessed: false, ..Specific::USUAL };

    #[test]
    fn glibc_2_36_adds_the_thread_pointer_from_memory() {
        let code = [
            0x83, 0xff, 0x1f, // cmp edi, 31
            0x77, 0x3b, // ja
            0x89, 0xf8, // mov eax, edi
            0x48, 0x83, 0xc0, 0x31, // add rax, 0x31
            0x48, 0xc1, 0xe0, 0x04, // shl rax, 4
            0x64, 0x48, 0x03, 0x04, 0x25, 0x10, 0x00, 0x00, 0x00, // add rax, fs:[0x10]
            0x48, 0x8b, 0x50, 0x08, // mov rdx, [rax + 8]
            0x89, 0xff, // mov edi, edi
            0x48, 0x8d, 0x0d, 0x56, 0xaf, 0x14, 0x00, // lea rcx, [rip + __pthread_keys]
            0x48, 0x8b, 0x30, // mov rsi, [rax]
            0x48, 0xc1, 0xe7, 0x04, // shl rdi, 4
            0x48, 0x39, 0x34, 0x39, // cmp [rcx + rdi], rsi
            0xc3, // ret
            0x89, 0xf8, // mov eax, edi
            0xc1, 0xe8, 0x05, // shr eax, 5
            0x64, 0x48, 0x8b, 0x04, 0xc5, 0x10, 0x05, 0x00,
            0x00, // mov rax, fs:[rax * 8 + 0x510]
        ];
        assert_eq!(decode(&code), Some(DECODED));
    }

    #[test]
    fn glibc_2_31_adds_it_from_a_register() {
        let code = [
            0x8d, 0x47, 0x31, // lea eax, [rdi + 0x31]
            0x48, 0xc1, 0xe0, 0x04, // shl rax, 4
            0x64, 0x48, 0x8b, 0x14, 0x25, 0x10, 0x00, 0x00, 0x00, // mov rdx, fs:[0x10]
            0x48, 0x01, 0xd0, // add rax, rdx
            0x4c, 0x8b, 0x40, 0x08, // mov r8, [rax + 8]
            0xc3, // ret
            0x89, 0xf8, // mov eax, edi
            0xc1, 0xe8, 0x05, // shr eax, 5
            0x64, 0x48, 0x8b, 0x14, 0xc5, 0x10, 0x05, 0x00,
            0x00, // mov rdx, fs:[rax * 8 + 0x510]
        ];
        assert_eq!(decode(&code), Some(DECODED));
    }

    #[test]
    fn a_descriptor_of_another_shape_is_followed() {
        let code = [
            0x64, 0x48, 0x8b, 0x14, 0x25, 0x00, 0x00, 0x00, 0x00, // mov rdx, fs:[0]
            0x48, 0x89, 0xf8, // mov rax, rdi
            0x48, 0xc1, 0xe0, 0x04, // shl rax, 4
            0x48, 0x8b, 0x8c, 0x02, 0x20, 0x03, 0x00, 0x00, // mov rcx, [rdx + rax + 0x320]
            0x48, 0x8b, 0x84, 0x02, 0x28, 0x03, 0x00, 0x00, // mov rax, [rdx + rax + 0x328]
            0xc1, 0xef, 0x05, // shr edi, 5
            0x48, 0x8b, 0x84, 0xfa, 0x20, 0x05, 0x00,
            0x00, // mov rax, [rdx + rdi * 8 + 0x520]
        ];
        let expected = Specific { first: 0x320, blocks: 0x520, guessed: false };
        assert_eq!(decode(&code), Some(expected));
    }

    #[test]
    fn code_without_both_reads_tells_nothing() {
        assert_eq!(decode(&[]), None);
        assert_eq!(decode(&[0x89, 0xf8, 0xc3]), None);
    }

    #[test]
    fn files_without_the_function_are_not_c_libraries() {
        assert_eq!(Specific::find(b"#!/bin/sh"), Ok(None));
    }
}
