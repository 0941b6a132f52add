//! One step of DWARF unwinding on x86-64, shared so that the host tests what the kernel runs.
//!
//! `.eh_frame` becomes rows of 4 bytes: the low 16 bits of the address where the row starts and
//! the index of a [`Rule`]. Rows are grouped by the 64 KiB page of their address.

use crate::{
    crosses_the_boundary,
    search::{exceeds, partition_point},
};

/// Registers that a return address can be computed from.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Registers {
    /// Program counter.
    pub pc: u64,
    /// Stack pointer.
    pub sp: u64,
    /// Frame pointer register; holds whatever the function keeps in `rbp`.
    pub fp: u64,
}

/// How the canonical frame address (CFA) is found. The value is [`Rule::cfa`].
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cfa {
    /// No unwind information covers the address.
    Unknown = 0,
    /// `cfa = sp + cfa_offset`
    Sp = 1,
    /// `cfa = fp + cfa_offset`
    Fp = 2,
    /// `cfa = *(sp + cfa_offset) + cfa_addend`: a realigned stack.
    SpDeref = 3,
    /// `cfa = *(fp + cfa_offset) + cfa_addend`: a realigned stack, as NumPy's AVX code has.
    FpDeref = 4,
    /// `cfa = sp + 8 + (if pc & 15 >= cfa_offset { 8 } else { 0 })`: a PLT entry.
    Plt = 5,
    /// `sp` points at the kernel's `ucontext`; all registers are read from there.
    Signal = 6,
    /// The return address is undefined: the first frame of a thread.
    End = 7,
    /// A rule that needs registers which are not tracked.
    Unsupported = 8,
    /// The caller's stack pointer is `sp + cfa_offset`, and the return address is in `rdi`: glibc's
    /// `vfork`, whose child uses the same stack. Only for the innermost frame, with its registers.
    ReturnInRdi = 9,
}

/// How the caller's frame pointer is found. The value is [`Rule::fp`].
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fp {
    /// Untouched.
    Same = 0,
    /// `*(cfa + fp_offset)`
    AtCfa = 1,
    /// `*(fp + fp_offset)`
    AtFp = 2,
}

/// How to get from a frame to its caller. The return address is always at `cfa - 8`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Rule {
    /// A [`Cfa`].
    pub cfa: u8,
    /// An [`Fp`].
    pub fp: u8,
    /// Keeps the layout free of padding.
    pub reserved: u16,
    /// Bytes; see [`Cfa`].
    pub cfa_offset: i32,
    /// Bytes; see [`Cfa`].
    pub cfa_addend: i32,
    /// Bytes; see [`Fp`].
    pub fp_offset: i32,
}
crosses_the_boundary!(Rule, 16);

impl Rule {
    /// Whether the frame pointer register decides the outcome, or the caller's frame pointer.
    #[must_use]
    pub const fn uses_fp(self) -> bool {
        self.cfa == Cfa::Fp as u8 || self.cfa == Cfa::FpDeref as u8 || self.fp == Fp::AtFp as u8
    }
}

/// Distinct rules in the kernel's dictionary, over all objects.
pub const MAX_RULES: u32 = 1 << 16;
/// Bits of an address within one page of rows.
pub const PAGE_BITS: u32 = 16;
/// The rows around one page are searched in at most this many halvings.
pub const SEARCH_STEPS: u32 = 17;

/// Offsets into `ucontext` on x86-64: linux 6.18, `arch/x86/include/uapi/asm/sigcontext.h`.
const UCONTEXT_FP: u64 = 120;
const UCONTEXT_SP: u64 = 160;
const UCONTEXT_PC: u64 = 168;

/// A row as it is stored: the low bits of its address above, the rule's index below.
#[must_use]
pub const fn pack_row(address: u64, rule: u16) -> u32 {
    ((address as u32 & 0xffff) << 16) | rule as u32
}

/// Why a walk ends.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The thread's first frame: the stack is complete.
    End,
    /// No row covers the address.
    NoRow,
    /// The row needs registers that are not tracked.
    Unsupported,
    /// The stack could not be read.
    Unreadable,
    /// The step would not move towards the caller.
    NoProgress,
}

/// The rule of the last row that starts at or before `pc`, in whose page the rows `start..end` are.
///
/// Where none of them does, it is the row before them, which reaches into the page, unless they are
/// the `first` of their object. `row_at` gives the packed row of an index.
pub fn find_row(
    pc: u64,
    first: u32,
    (start, end): (u32, u32),
    row_at: impl Fn(u32) -> Option<u32>,
) -> Option<u16> {
    let low_bits = pc & 0xffff;
    let behind = |index| Some(exceeds(u64::from(row_at(index)? >> 16), low_bits));
    let next = partition_point::<SEARCH_STEPS>((start, end), behind)?;
    let row = if next > first { row_at(next - 1)? } else { return None };
    Some(row as u16)
}

/// The caller's registers, or why there are none.
pub fn step(
    rule: Rule,
    callee: Registers,
    read: impl Fn(u64) -> Option<u64>,
) -> Result<Registers, Stop> {
    let at = |base: u64, offset: i32| base.wrapping_add_signed(i64::from(offset));
    let deref = |base: u64| read(at(base, rule.cfa_offset)).ok_or(Stop::Unreadable);
    let cfa = match rule.cfa {
        kind if kind == Cfa::Sp as u8 => at(callee.sp, rule.cfa_offset),
        kind if kind == Cfa::Fp as u8 => at(callee.fp, rule.cfa_offset),
        kind if kind == Cfa::SpDeref as u8 => at(deref(callee.sp)?, rule.cfa_addend),
        kind if kind == Cfa::FpDeref as u8 => at(deref(callee.fp)?, rule.cfa_addend),
        kind if kind == Cfa::Plt as u8 => {
            let pushed = callee.pc & 15 >= u64::from(rule.cfa_offset.cast_unsigned());
            callee.sp.wrapping_add(if pushed { 16 } else { 8 })
        }
        kind if kind == Cfa::Signal as u8 => return step_signal(callee.sp, read),
        kind if kind == Cfa::End as u8 => return Err(Stop::End),
        kind if kind == Cfa::Unsupported as u8 || kind == Cfa::ReturnInRdi as u8 => {
            return Err(Stop::Unsupported);
        }
        _ => return Err(Stop::NoRow),
    };
    if cfa <= callee.sp {
        return Err(Stop::NoProgress);
    }
    let pc = read(cfa.wrapping_sub(8)).ok_or(Stop::Unreadable)?;
    let fp = match rule.fp {
        kind if kind == Fp::AtCfa as u8 => read(at(cfa, rule.fp_offset)).ok_or(Stop::Unreadable)?,
        kind if kind == Fp::AtFp as u8 => {
            read(at(callee.fp, rule.fp_offset)).ok_or(Stop::Unreadable)?
        }
        _ => callee.fp,
    };
    Ok(Registers { pc, sp: cfa, fp })
}

fn step_signal(ucontext: u64, read: impl Fn(u64) -> Option<u64>) -> Result<Registers, Stop> {
    let register = |offset| read(ucontext.wrapping_add(offset)).ok_or(Stop::Unreadable);
    Ok(Registers {
        pc: register(UCONTEXT_PC)?,
        sp: register(UCONTEXT_SP)?,
        fp: register(UCONTEXT_FP)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROWS: [u32; 3] = [pack_row(0x10, 1), pack_row(0x20, 2), pack_row(0x30, 3)];

    fn read<const N: usize>(stack: [u64; N]) -> impl Fn(u64) -> Option<u64> {
        move |address| stack.get((address as usize).checked_sub(0x100)? / 8).copied()
    }

    #[test]
    fn finds_the_row_covering_the_address() {
        let row_at = |index: u32| ROWS.get(index as usize).copied();
        let search = |pc| find_row(pc, 0, (0, 3), row_at);
        assert_eq!(search(0x0f), None);
        assert_eq!(search(0x10), Some(1));
        assert_eq!(search(0x2f), Some(2));
        assert_eq!(search(0xff), Some(3));
        // The first row is of the page before.
        assert_eq!(find_row(0x1f, 0, (1, 3), row_at), Some(1));
    }

    #[test]
    fn steps_through_a_frame_pointer_prologue() {
        let rule = Rule {
            cfa: Cfa::Fp as u8,
            fp: Fp::AtCfa as u8,
            cfa_offset: 16,
            fp_offset: -16,
            ..Rule::default()
        };
        let callee = Registers { pc: 0x12, sp: 0xf0, fp: 0x100 };
        let caller = step(rule, callee, read([0xf00, 0xcafe]));
        assert_eq!(caller, Ok(Registers { pc: 0xcafe, sp: 0x110, fp: 0xf00 }));
    }

    #[test]
    fn a_realigned_stack_is_found_through_its_saved_pointer() {
        let rule =
            Rule { cfa: Cfa::FpDeref as u8, fp: Fp::AtFp as u8, cfa_offset: -8, ..Rule::default() };
        let callee = Registers { pc: 0, sp: 0xf0, fp: 0x108 };
        let caller = step(rule, callee, read([0x118, 0xbeef, 0xcafe]));
        assert_eq!(caller, Ok(Registers { pc: 0xcafe, sp: 0x118, fp: 0xbeef }));
    }

    #[test]
    fn a_step_towards_the_callee_is_refused() {
        let rule = Rule { cfa: Cfa::Fp as u8, cfa_offset: 16, ..Rule::default() };
        let callee = Registers { pc: 0, sp: 0x200, fp: 0x100 };
        assert_eq!(step(rule, callee, |_| Some(1)), Err(Stop::NoProgress));
    }
}
