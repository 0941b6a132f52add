//! Call frame information of one address, as a [`Rule`].

use gimli::{
    CfaRule, EndianSlice, LittleEndian, Register, RegisterRule, UnwindContextStorage,
    UnwindExpression, UnwindSection, UnwindTableRow, X86_64,
};
use memtrace_abi::unwind::{Cfa, Fp, Rule};

use super::expression::Value;

type Slice<'data> = EndianSlice<'data, LittleEndian>;

/// No call frame information.
pub(super) const UNKNOWN: Rule = bare(Cfa::Unknown);
/// Needs what is not tracked.
pub(super) const UNSUPPORTED: Rule = bare(Cfa::Unsupported);
/// The kernel's frame below a signal handler.
pub(super) const SIGNAL: Rule = bare(Cfa::Signal);
const END: Rule = bare(Cfa::End);

const fn bare(cfa: Cfa) -> Rule {
    Rule { cfa: cfa as u8, fp: 0, reserved: 0, cfa_offset: 0, cfa_addend: 0, fp_offset: 0 }
}

/// Whether the bytes of a rule that was stored mean something.
pub(super) fn is_valid(rule: &Rule) -> bool {
    rule.cfa <= Cfa::ReturnInRdi as u8 && rule.fp <= Fp::AtFp as u8 && rule.reserved == 0
}

/// The rule of a row, [`UNSUPPORTED`] if it needs registers that are not tracked.
pub(super) fn of<'data, S, Storage>(section: &S, row: &UnwindTableRow<usize, Storage>) -> Rule
where
    S: UnwindSection<Slice<'data>>,
    Storage: UnwindContextStorage<usize>,
{
    let recognise =
        |expression: UnwindExpression<usize>| Value::recognise(expression.get(section).ok()?);
    match row.register(X86_64::RA) {
        Some(RegisterRule::Undefined) => return END,
        Some(RegisterRule::Offset(-8)) => {}
        Some(RegisterRule::Register(X86_64::RDI)) => return in_rdi(row.cfa()),
        _ => return UNSUPPORTED,
    }
    // The caller's stack pointer is the CFA unless a rule of its own says otherwise.
    if row.register(X86_64::RSP).is_some_and(|rule| rule != RegisterRule::ValOffset(0)) {
        return UNSUPPORTED;
    }
    let frame_pointer = row.register(X86_64::RBP);
    cfa(row.cfa(), recognise)
        .and_then(|cfa| with_frame_pointer(cfa, frame_pointer, recognise))
        .unwrap_or(UNSUPPORTED)
}

/// The return address is in `rdi`.
fn in_rdi(cfa: &CfaRule<usize>) -> Rule {
    match *cfa {
        CfaRule::RegisterAndOffset { register: X86_64::RSP, offset } => i32::try_from(offset)
            .map_or(UNSUPPORTED, |cfa_offset| Rule { cfa_offset, ..bare(Cfa::ReturnInRdi) }),
        _ => UNSUPPORTED,
    }
}

fn cfa(
    rule: &CfaRule<usize>,
    recognise: impl Fn(UnwindExpression<usize>) -> Option<Value>,
) -> Option<Rule> {
    let value = match *rule {
        CfaRule::RegisterAndOffset { register, offset } => {
            Value::Sum { register, offset: i32::try_from(offset).ok()? }
        }
        CfaRule::Expression(expression) => recognise(expression)?,
    };
    Some(match value {
        Value::Sum { register, offset } => {
            Rule { cfa_offset: offset, ..bare(by_register(register, Cfa::Sp, Cfa::Fp)?) }
        }
        Value::Deref { register, offset, addend } => Rule {
            cfa_offset: offset,
            cfa_addend: addend,
            ..bare(by_register(register, Cfa::SpDeref, Cfa::FpDeref)?)
        },
        Value::Plt { threshold } => Rule { cfa_offset: threshold.into(), ..bare(Cfa::Plt) },
    })
}

fn by_register(register: Register, sp: Cfa, fp: Cfa) -> Option<Cfa> {
    match register {
        X86_64::RSP => Some(sp),
        X86_64::RBP => Some(fp),
        _ => None,
    }
}

fn with_frame_pointer(
    cfa: Rule,
    rule: Option<RegisterRule<usize>>,
    recognise: impl Fn(UnwindExpression<usize>) -> Option<Value>,
) -> Option<Rule> {
    let (fp, fp_offset) = match rule {
        // Undefined: nobody above may rely on it, as in the first frame of a thread.
        None | Some(RegisterRule::SameValue | RegisterRule::Undefined) => (Fp::Same, 0),
        Some(RegisterRule::Offset(offset)) => (Fp::AtCfa, i32::try_from(offset).ok()?),
        Some(RegisterRule::Expression(expression)) => match recognise(expression)? {
            Value::Sum { register: X86_64::RBP, offset } => (Fp::AtFp, offset),
            _ => return None,
        },
        Some(RegisterRule::ValExpression(expression)) => match recognise(expression)? {
            Value::Sum { register: X86_64::RBP, offset: 0 } => (Fp::Same, 0),
            Value::Deref { register: X86_64::RBP, offset, addend: 0 } => (Fp::AtFp, offset),
            _ => return None,
        },
        Some(_) => return None,
    };
    Some(Rule { fp: fp as u8, fp_offset, ..cfa })
}
