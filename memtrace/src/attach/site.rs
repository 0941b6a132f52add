//! Which instruction of a function to probe: the first that the kernel emulates while the
//! arguments and the stack pointer are still as the caller left them. Refuses to know files.

use super::stepping::{Stepping, stepping};
use iced_x86::{
    Decoder, DecoderOptions, FlowControl, Instruction, InstructionInfoFactory, OpAccess, Register,
    UsedRegister,
};
use memtrace_abi::probe::Meaning;

/// Instructions looked at from the entry on.
const MAX_PROLOGUE: usize = 64;
/// Bytes of code in a function that is searched for loops.
const MAX_CODE: usize = 256 << 10;

/// A function in the bytes of a file.
#[derive(Clone, Copy, Debug)]
pub struct Function<'data> {
    /// Symbol name.
    pub name: &'static str,
    /// What it does with memory.
    pub meaning: Meaning,
    /// Virtual address of its first instruction.
    pub entry: u64,
    /// Bytes from the start of the file to that instruction.
    pub file_offset: u64,
    /// All of its code.
    pub code: &'data [u8],
}

/// Where to put the probe of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// The function's symbol name.
    pub function: &'static str,
    /// What the function does with memory.
    pub meaning: Meaning,
    /// Bytes from the start of the file to the probed instruction.
    pub file_offset: u64,
    /// Virtual address of the probed instruction.
    pub address: u64,
    /// Virtual address of the function's first instruction.
    pub entry: u64,
    /// Bytes of code in the function.
    pub size: u64,
    /// Whether the kernel has to run a copy of the instruction, which is twenty times slower.
    pub slow: bool,
}

/// The place to probe a function, or why there is none.
///
/// A program at the site finds the arguments in their registers and the return address at the
/// stack pointer, once per call.
pub fn pick(function: &Function<'_>) -> Result<Site, &'static str> {
    if function.code.len() > MAX_CODE {
        return Err("it is too large to be searched for loops");
    }
    let once = first_target(function);
    let candidates: Vec<_> =
        candidates(function).into_iter().filter(|(address, _)| *address < once).collect();
    let with = |wanted| candidates.iter().find(|(_, stepping)| *stepping == wanted);
    with(Stepping::Emulated)
        .or_else(|| with(Stepping::Copied))
        .map(|(address, stepping)| site(function, *address, *stepping))
        .ok_or("the kernel refuses probes on its first instructions")
}

fn site(function: &Function<'_>, address: u64, stepping: Stepping) -> Site {
    Site {
        function: function.name,
        meaning: function.meaning,
        file_offset: function.file_offset.wrapping_add(address.wrapping_sub(function.entry)),
        address,
        entry: function.entry,
        size: function.code.len() as u64,
        slow: stepping != Stepping::Emulated,
    }
}

/// The instructions, from the entry on, before which neither arguments nor stack pointer change
/// and nothing branches.
fn candidates(function: &Function<'_>) -> Vec<(u64, Stepping)> {
    let arguments = arguments(function.meaning);
    let mut effects = InstructionInfoFactory::new();
    let mut found = Vec::new();
    let mut rest = function.code;
    for instruction in &mut decoder(function) {
        let Some((bytes, behind)) = rest.split_at_checked(instruction.len()) else { break };
        if instruction.is_invalid() || found.len() == MAX_PROLOGUE {
            break;
        }
        found.push((instruction.ip(), stepping(bytes)));
        if !goes_on(&instruction, arguments, &mut effects) {
            break;
        }
        rest = behind;
    }
    found
}

/// Whether the next instruction is always reached, with the arguments and stack pointer kept.
fn goes_on(
    instruction: &Instruction,
    arguments: &[Register],
    effects: &mut InstructionInfoFactory,
) -> bool {
    let changes = |used: &UsedRegister| {
        let register = used.register().full_register();
        let is_kept = register == Register::RSP || arguments.contains(&register);
        is_kept && may_write(used.access())
    };
    instruction.flow_control() == FlowControl::Next
        && !effects.info(instruction).used_registers().iter().any(changes)
}

fn may_write(access: OpAccess) -> bool {
    use OpAccess::{CondWrite, ReadCondWrite, ReadWrite, Write};
    matches!(access, Write | CondWrite | ReadWrite | ReadCondWrite)
}

/// The lowest address behind the entry that the function itself branches to: from there on, an
/// instruction may run more than once per call.
fn first_target(function: &Function<'_>) -> u64 {
    decoder(function)
        .iter()
        .map(|instruction| instruction.near_branch_target())
        .filter(|target| *target > function.entry)
        .min()
        .unwrap_or(u64::MAX)
}

fn decoder<'data>(function: &Function<'data>) -> Decoder<'data> {
    Decoder::with_ip(64, function.code, function.entry, DecoderOptions::NONE)
}

/// The registers of the arguments that [`Meaning`] names.
const fn arguments(meaning: Meaning) -> &'static [Register] {
    match meaning {
        Meaning::Allocate | Meaning::Free => &[Register::RDI],
        Meaning::AllocateArray
        | Meaning::AllocateAligned
        | Meaning::Reallocate
        | Meaning::FreeOwned => &[Register::RDI, Register::RSI],
        Meaning::AllocateInto | Meaning::ReallocateArray => {
            &[Register::RDI, Register::RSI, Register::RDX]
        }
        Meaning::LibrariesChanged => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRY: u64 = 0x1000;

    fn pick_in(meaning: Meaning, code: &[u8]) -> Result<(u64, bool), &'static str> {
        let function =
            Function { name: "function", meaning, entry: ENTRY, file_offset: 0x400, code };
        let site = pick(&function)?;
        assert_eq!(site.file_offset - 0x400, site.address - ENTRY);
        Ok((site.address - ENTRY, site.slow))
    }

    #[test]
    fn a_push_at_the_entry_is_probed_there() {
        let code = [0x55, 0x53, 0xc3]; // push rbp; push rbx; ret
        assert_eq!(pick_in(Meaning::Allocate, &code), Ok((0, false)));
    }

    #[test]
    fn a_test_is_skipped_for_the_jump_behind_it() {
        let code = [0x48, 0x85, 0xff, 0x74, 0x02, 0x55, 0xc3]; // test rdi, rdi; je; push rbp; ret
        assert_eq!(pick_in(Meaning::Free, &code), Ok((3, false)));
    }

    #[test]
    fn endbr64_is_skipped() {
        let code = [0xf3, 0x0f, 0x1e, 0xfa, 0x41, 0x54, 0xc3]; // endbr64; push r12; ret
        assert_eq!(pick_in(Meaning::Allocate, &code), Ok((4, false)));
    }

    #[test]
    fn an_argument_must_not_be_overwritten_before_the_site() {
        let code = [0x89, 0xf7, 0x55, 0xc3]; // mov edi, esi; push rbp; ret
        assert_eq!(pick_in(Meaning::Allocate, &code), Ok((0, true)));
        assert_eq!(pick_in(Meaning::LibrariesChanged, &code), Ok((2, false)));
        let code = [0x48, 0x0f, 0x44, 0xd0, 0x55, 0xc3]; // cmove rdx, rax; push rbp; ret
        assert_eq!(pick_in(Meaning::AllocateInto, &code), Ok((0, true)));
        assert_eq!(pick_in(Meaning::Reallocate, &code), Ok((4, false)));
    }

    #[test]
    fn the_stack_pointer_must_not_move_before_the_site() {
        let code = [0x48, 0x83, 0xec, 0x08, 0x55, 0xc3]; // sub rsp, 8; push rbp; ret
        assert_eq!(pick_in(Meaning::Allocate, &code), Ok((0, true)));
        let code = [0x48, 0x55, 0x53, 0xc3]; // push rbp in a form that is copied; push rbx; ret
        assert_eq!(pick_in(Meaning::Allocate, &code), Ok((0, true)));
    }

    #[test]
    fn what_a_loop_of_the_function_reaches_again_is_not_probed() {
        // test rdi, rdi; push rbp; dec rdi; jne back to the push; ret
        let code = [0x48, 0x85, 0xff, 0x55, 0x48, 0xff, 0xcf, 0x75, 0xfa, 0xc3];
        assert_eq!(pick_in(Meaning::Free, &code), Ok((0, true)));
        // The same, with the jump back to the instruction behind the push.
        let code = [0x48, 0x85, 0xff, 0x55, 0x48, 0xff, 0xcf, 0x75, 0xfb, 0xc3];
        assert_eq!(pick_in(Meaning::Free, &code), Ok((3, false)));
    }

    #[test]
    fn a_jump_that_comes_first_is_the_site_and_nothing_behind_it_is() {
        let code = [0x74, 0x01, 0x55, 0xc3]; // je; push rbp; ret
        assert_eq!(pick_in(Meaning::Free, &code), Ok((0, false)));
        let code = [0x66, 0x74, 0x01, 0x55, 0xc3]; // je as the kernel refuses it; push rbp; ret
        assert!(pick_in(Meaning::Free, &code).is_err());
    }

    #[test]
    fn an_entry_that_the_kernel_refuses_is_skipped() {
        let code = [0x66, 0x90, 0x48, 0x89, 0xf8, 0xc3]; // nop of two bytes; mov rax, rdi; ret
        assert_eq!(pick_in(Meaning::Free, &code), Ok((2, true)));
    }

    #[test]
    fn bytes_that_are_no_code_have_no_site() {
        assert!(pick_in(Meaning::Free, &[]).is_err());
        assert!(pick_in(Meaning::Free, &[0x06, 0x55]).is_err());
        assert!(pick_in(Meaning::Free, &[0x48]).is_err());
        assert!(pick_in(Meaning::Free, &vec![0x90; MAX_CODE + 1]).is_err());
    }
}
