//! Recognises the few DWARF expressions that compilers and linkers write for stack frames.
//!
//! Nothing is evaluated: an expression either has a known form or is refused.

use gimli::{Encoding, EndianSlice, Expression, Format, LittleEndian, Operation, Register, X86_64};

/// Longer expressions are refused: each row of a function evaluates its expression anew.
const MAX_LENGTH: usize = 16;
const ENCODING: Encoding = Encoding { address_size: 8, format: Format::Dwarf32, version: 4 };

type Slice<'data> = EndianSlice<'data, LittleEndian>;

/// What an expression computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// `register + offset`
    Sum { register: Register, offset: i32 },
    /// `*(register + offset) + addend`
    Deref { register: Register, offset: i32, addend: i32 },
    /// `rsp + 8 + (rip & 15 >= threshold ? 8 : 0)`: an entry of the procedure linkage table.
    Plt { threshold: u8 },
}

impl Value {
    /// The value of the expression, or `None` if its form is unknown.
    pub(super) fn recognise(expression: Expression<Slice<'_>>) -> Option<Self> {
        let bytes = expression.0.slice();
        if bytes.len() > MAX_LENGTH {
            return None;
        }
        plt(bytes).or_else(|| address(expression))
    }

    fn add(self, value: i64) -> Option<Self> {
        let sum = |to: i32| i32::try_from(i64::from(to).checked_add(value)?).ok();
        Some(match self {
            Self::Sum { register, offset } => Self::Sum { register, offset: sum(offset)? },
            Self::Deref { register, offset, addend } => {
                Self::Deref { register, offset, addend: sum(addend)? }
            }
            Self::Plt { .. } => return None,
        })
    }

    fn deref(self) -> Option<Self> {
        match self {
            Self::Sum { register, offset } => Some(Self::Deref { register, offset, addend: 0 }),
            _ => None,
        }
    }
}

/// GNU ld and GCC differ in the threshold alone: the pc behind the entry's push.
fn plt(expression: &[u8]) -> Option<Value> {
    // breg7 8, breg16 0, lit15, and, lit<threshold>, ge, lit3, shl, plus
    let [0x77, 8, 0x80, 0, 0x3f, 0x1a, literal @ 0x30..=0x3f, 0x2a, 0x33, 0x24, 0x22] = *expression
    else {
        return None;
    };
    Some(Value::Plt { threshold: literal - 0x30 })
}

/// A tracked register, then constants added and at most one load.
fn address(expression: Expression<Slice<'_>>) -> Option<Value> {
    let mut operations = expression.operations(ENCODING);
    let mut value = match operations.next().ok()?? {
        Operation::RegisterOffset { register, offset, .. } => base(register)?.add(offset)?,
        _ => return None,
    };
    let mut constant = None;
    while let Some(operation) = operations.next().ok()? {
        value = match (operation, constant.take()) {
            (Operation::Deref { size: 8, space: false, .. }, None) => value.deref()?,
            (Operation::PlusConstant { value: add }, None) => value.add(add.cast_signed())?,
            (Operation::Plus, Some(add)) => value.add(add)?,
            (operation, None) => {
                constant = Some(literal(&operation)?);
                value
            }
            _ => return None,
        };
    }
    constant.is_none().then_some(value)
}

fn base(register: Register) -> Option<Value> {
    let tracked = [X86_64::RSP, X86_64::RBP].contains(&register);
    tracked.then_some(Value::Sum { register, offset: 0 })
}

fn literal(operation: &Operation<Slice<'_>>) -> Option<i64> {
    match *operation {
        Operation::UnsignedConstant { value } => i64::try_from(value).ok(),
        Operation::SignedConstant { value } => Some(value),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recognise(bytes: &[u8]) -> Option<Value> {
        Value::recognise(Expression(EndianSlice::new(bytes, LittleEndian)))
    }

    #[test]
    fn plt_entries_of_both_thresholds_are_recognised() {
        let plt = |literal| [0x77, 8, 0x80, 0, 0x3f, 0x1a, literal, 0x2a, 0x33, 0x24, 0x22];
        assert_eq!(recognise(&plt(0x3b)), Some(Value::Plt { threshold: 11 }));
        assert_eq!(recognise(&plt(0x3a)), Some(Value::Plt { threshold: 10 }));
        assert_eq!(recognise(&plt(0x50)), None);
    }

    #[test]
    fn a_realigned_stack_is_a_load_with_an_addend() {
        let (register, offset) = (X86_64::RBP, -8);
        let load = |addend| Some(Value::Deref { register, offset, addend });
        assert_eq!(recognise(&[0x76, 0x78, 0x06]), load(0));
        assert_eq!(recognise(&[0x76, 0x78, 0x06, 0x23, 0x08]), load(8));
        assert_eq!(recognise(&[0x76, 0x78, 0x06, 0x38, 0x22]), load(8));
        assert_eq!(recognise(&[0x76, 0x78, 0x06, 0x09, 0xf0, 0x22]), load(-16));
    }

    #[test]
    fn sums_are_folded() {
        let sum = Value::Sum { register: X86_64::RSP, offset: 24 };
        assert_eq!(recognise(&[0x77, 0x08, 0x23, 0x10]), Some(sum));
    }

    #[test]
    fn other_forms_are_refused() {
        assert_eq!(recognise(&[]), None);
        assert_eq!(recognise(&[0x7a, 0x00]), None, "r10 is not tracked");
        assert_eq!(recognise(&[0x76, 0x78, 0x06, 0x06]), None, "two loads");
        assert_eq!(recognise(&[0x76, 0x78, 0x38]), None, "a constant left on the stack");
        assert_eq!(recognise(&[0x76, 0x78, 0x38, 0x06]), None, "a load of a constant");
        assert_eq!(recognise(&[0x76, 0x78, 0x94, 0x04]), None, "a load of four bytes");
        assert_eq!(recognise(&[0x76, 0x78, 0x22]), None, "a sum of one");
        let mut long = vec![0x77, 0x08];
        long.extend([0x23, 0x01].repeat(8));
        assert_eq!(recognise(&long), None, "longer than any compiler writes");
        assert_eq!(recognise(&[0x77, 0xff, 0xff, 0xff, 0xff, 0xff, 0x1f]), None, "over 32 bits");
    }
}
