//! What Linux does with the instruction under a uprobe on x86-64: `arch/x86/kernel/uprobes.c`,
//! linux 5.17 to 6.18. Where these kernels differ, the worst of them counts.

/// How a probed instruction is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stepping {
    /// By the kernel, within the trap.
    Emulated,
    /// By the processor from a copy, with a second trap behind it: twenty times slower.
    Copied,
    /// Not at all: the kernel refuses the probe, or is known to carry it out wrongly.
    Refused,
}

const OPERAND_SIZE: u8 = 0x66;
/// ES, CS, SS, DS and LOCK: `is_prefix_bad`.
const BAD_PREFIXES: [u8; 5] = [0x26, 0x2e, 0x36, 0x3e, 0xf0];
/// FS, GS, operand size, address size, REPNE (also BND) and REP.
const OTHER_PREFIXES: [u8; 6] = [0x64, 0x65, OPERAND_SIZE, 0x67, 0xf2, 0xf3];

/// How the kernel carries out the instruction that `bytes` hold, no more and no less.
#[must_use]
pub fn stepping(bytes: &[u8]) -> Stepping {
    let is_prefix = |byte: &u8| BAD_PREFIXES.contains(byte) || OTHER_PREFIXES.contains(byte);
    let prefix_count = bytes.iter().take_while(|byte| is_prefix(byte)).count();
    let (prefixes, rest) = bytes.split_at(prefix_count);
    let (rex, opcode) = match rest {
        [rex @ 0x40..=0x4f, opcode @ ..] => (Some(*rex), opcode),
        opcode => (None, opcode),
    };
    if prefixes.iter().any(|prefix| BAD_PREFIXES.contains(prefix)) {
        return Stepping::Refused;
    }
    match opcode {
        [0x50..=0x57] => push(prefixes, rex),
        [0x90] => nop(prefixes, rex),
        [0x70..=0x7f | 0xe8 | 0xe9 | 0xeb, ..] | [0x0f, 0x80..=0x8f, ..] => branch(prefixes),
        _ if is_refused(opcode) => Stepping::Refused,
        _ => Stepping::Copied,
    }
}

/// `push_setup_xol_ops`: alone, or behind the REX prefix of `r8` to `r15`.
fn push(prefixes: &[u8], rex: Option<u8>) -> Stepping {
    match (prefixes, rex) {
        ([], None | Some(0x41)) => Stepping::Emulated,
        _ => Stepping::Copied,
    }
}

/// `branch_setup_xol_ops`. With the operand size prefix older kernels refuse it, with REP it is
/// `pause`, and with REX an exchange of registers that is taken for a nop. Longer nops have
/// another opcode; they are emulated by the newest of these kernels only.
fn nop(prefixes: &[u8], rex: Option<u8>) -> Stepping {
    match (prefixes, rex) {
        ([], None) => Stepping::Emulated,
        _ => Stepping::Refused,
    }
}

/// `branch_setup_xol_ops`: relative jumps and calls, near and short.
fn branch(prefixes: &[u8]) -> Stepping {
    if prefixes.contains(&OPERAND_SIZE) { Stepping::Refused } else { Stepping::Emulated }
}

/// The gaps in `good_insns_64` and `good_2byte_insns`, moves to segment registers, and all of VEX
/// and EVEX, of which the kernel takes the opcode for one of the legacy map.
fn is_refused(opcode: &[u8]) -> bool {
    let is_input_or_output = matches!(opcode, [0x6c..=0x6f | 0xe4..=0xe7 | 0xec..=0xef, ..]);
    let is_interrupt = matches!(opcode, [0xcc..=0xcf | 0xf1 | 0xf4 | 0xfa | 0xfb, ..]);
    let is_vector = matches!(opcode, [0x62 | 0xc4 | 0xc5, ..]);
    let is_system = matches!(
        opcode,
        [0x0f, 0x00 | 0x01 | 0x05..=0x0c | 0x30 | 0x34 | 0x35 | 0x37 | 0x78 | 0x79 | 0xae, ..]
    );
    let is_segment = matches!(opcode, [0x8e, ..]);
    opcode.is_empty() || is_input_or_output || is_interrupt || is_vector || is_system || is_segment
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pushes_nops_and_relative_branches_are_emulated() {
        let emulated: [&[u8]; 10] = [
            &[0x55],                   // push rbp
            &[0x41, 0x57],             // push r15
            &[0x90],                   // nop
            &[0x74, 0x10],             // je
            &[0x0f, 0x84, 0, 1, 0, 0], // je, near
            &[0xeb, 0x10],             // jmp
            &[0xe9, 0, 1, 0, 0],       // jmp, near
            &[0xe8, 0, 1, 0, 0],       // call
            &[0xf2, 0xe9, 0, 1, 0, 0], // bnd jmp
            &[0x67, 0xe8, 0, 1, 0, 0], // addr32 call, as linkers write
        ];
        for bytes in emulated {
            assert_eq!(stepping(bytes), Stepping::Emulated, "{bytes:02x?}");
        }
    }

    #[test]
    fn everything_else_that_is_allowed_is_copied() {
        let copied: [&[u8]; 7] = [
            &[0xf3, 0x0f, 0x1e, 0xfa], // endbr64
            &[0x48, 0x85, 0xff],       // test rdi, rdi
            &[0x48, 0x83, 0xec, 0x18], // sub rsp, 0x18
            &[0x0f, 0x1f, 0x44, 0, 0], // nop of five bytes
            &[0x48, 0x55],             // push rbp with a useless REX.W
            &[0xff, 0x25, 0, 0, 0, 0], // jmp [rip]
            &[0xc3],                   // ret
        ];
        for bytes in copied {
            assert_eq!(stepping(bytes), Stepping::Copied, "{bytes:02x?}");
        }
    }

    #[test]
    fn what_the_kernel_refuses_or_mistakes_is_refused() {
        let refused: [&[u8]; 9] = [
            &[0xf0, 0x48, 0xff, 0x07], // lock inc [rdi]
            &[0x2e, 0x74, 0x10],       // je with a branch hint
            &[0x66, 0xe8, 0, 0],       // callw
            &[0x66, 0x90],             // nop of two bytes
            &[0x41, 0x90],             // xchg r8, rax
            &[0xcc],                   // int3
            &[0x0f, 0x05],             // syscall
            &[0xc5, 0xf9, 0xeb, 0xc1], // vpor, whose opcode is that of jmp
            &[],
        ];
        for bytes in refused {
            assert_eq!(stepping(bytes), Stepping::Refused, "{bytes:02x?}");
        }
    }
}
