//! Every row of real files against gimli's interpreter, which knows nothing of our rules.

use gimli::{
    BaseAddresses, CfaRule, CieOrFde, EhFrame, EndianSlice, EvaluationResult, Expression,
    LittleEndian, Location, Register, RegisterRule, UnwindContext, UnwindExpression,
    UnwindSection as _, UnwindTableRow, Value, X86_64,
};
use memtrace_abi::unwind::{Registers, Stop, step};
use object::{Object as _, ObjectSection as _};

use super::fixtures::{libc, own_program, vdso};
use crate::unwind::UnwindTable;

type Slice<'data> = EndianSlice<'data, LittleEndian>;

/// Memory where each word differs, and holds an address above the stack pointer.
#[expect(clippy::unnecessary_wraps, reason = "memory elsewhere may be unreadable")]
fn read(address: u64) -> Option<u64> {
    Some(0x7fff_8000_0000 + address.wrapping_mul(0x9e37_79b9) % (1 << 28))
}

/// Unwinds one row by the book; `Err(Stop::Unsupported)` where it needs further registers.
struct Interpreter<'frames, 'data> {
    section: &'frames EhFrame<Slice<'data>>,
    row: &'frames UnwindTableRow<usize>,
    callee: Registers,
}

impl Interpreter<'_, '_> {
    fn caller(&self) -> Result<Registers, Stop> {
        let cfa = match *self.row.cfa() {
            CfaRule::RegisterAndOffset { register, offset } => {
                self.register(register)?.wrapping_add_signed(offset)
            }
            CfaRule::Expression(expression) => self.evaluate(expression, 0)?,
        };
        if self.row.register(X86_64::RA) == Some(RegisterRule::Undefined) {
            return Err(Stop::End);
        }
        Ok(Registers {
            pc: self.restored(X86_64::RA, cfa, None)?,
            sp: self.restored(X86_64::RSP, cfa, Some(cfa))?,
            fp: self.restored(X86_64::RBP, cfa, Some(self.callee.fp))?,
        })
    }

    fn restored(&self, register: Register, cfa: u64, unsaid: Option<u64>) -> Result<u64, Stop> {
        let load = |address| read(address).ok_or(Stop::Unreadable);
        match self.row.register(register) {
            None => unsaid.ok_or(Stop::Unsupported),
            Some(RegisterRule::SameValue) => self.register(register),
            Some(RegisterRule::Offset(offset)) => load(cfa.wrapping_add_signed(offset)),
            Some(RegisterRule::ValOffset(offset)) => Ok(cfa.wrapping_add_signed(offset)),
            Some(RegisterRule::Register(from)) => self.register(from),
            Some(RegisterRule::Expression(expression)) => load(self.evaluate(expression, cfa)?),
            Some(RegisterRule::ValExpression(expression)) => self.evaluate(expression, cfa),
            Some(rule) => panic!("no known compiler writes {rule:?}"),
        }
    }

    fn register(&self, register: Register) -> Result<u64, Stop> {
        match register {
            X86_64::RSP => Ok(self.callee.sp),
            X86_64::RBP => Ok(self.callee.fp),
            X86_64::RA => Ok(self.callee.pc),
            _ => Err(Stop::Unsupported),
        }
    }

    fn evaluate(&self, expression: UnwindExpression<usize>, initial: u64) -> Result<u64, Stop> {
        let expression: Expression<Slice<'_>> = expression.get(self.section).unwrap();
        let encoding =
            gimli::Encoding { address_size: 8, format: gimli::Format::Dwarf32, version: 4 };
        let mut evaluation = expression.evaluation(encoding);
        evaluation.set_initial_value(initial);
        let mut state = evaluation.evaluate().unwrap();
        loop {
            state = match state {
                EvaluationResult::Complete => break,
                EvaluationResult::RequiresMemory { address, .. } => {
                    evaluation.resume_with_memory(Value::Generic(read(address).unwrap())).unwrap()
                }
                EvaluationResult::RequiresRegister { register, .. } => {
                    let value = Value::Generic(self.register(register)?);
                    evaluation.resume_with_register(value).unwrap()
                }
                other => panic!("no known compiler needs {other:?}"),
            };
        }
        match evaluation.as_result()[0].location {
            Location::Address { address } => Ok(address),
            ref other => panic!("{other:?} is no address"),
        }
    }
}

/// What was compared: rows, functions' addresses.
#[derive(Default)]
struct Comparison {
    rows: usize,
    unsupported: usize,
    functions: Vec<(u64, u64)>,
}

fn compare(bytes: &[u8]) -> Comparison {
    let table = UnwindTable::parse(bytes).unwrap();
    let file = object::File::parse(bytes).unwrap();
    let eh_frame = file.section_by_name(".eh_frame").unwrap();
    let section = EhFrame::new(eh_frame.data().unwrap(), LittleEndian);
    let bases = BaseAddresses::default().set_eh_frame(eh_frame.address());
    let mut context = UnwindContext::new();
    let mut comparison = Comparison::default();
    for entry in section.entries(&bases) {
        let CieOrFde::Fde(partial) = entry.unwrap() else { continue };
        let function = partial.parse(EhFrame::cie_from_offset).unwrap();
        comparison.functions.push((function.initial_address(), function.end_address()));
        let mut rows = function.rows(&section, &bases, &mut context).unwrap();
        while let Some(row) = rows.next_row().unwrap() {
            comparison.compare_row(&table, &section, row);
        }
    }
    comparison
}

impl Comparison {
    fn compare_row(
        &mut self,
        table: &UnwindTable,
        section: &EhFrame<Slice<'_>>,
        row: &UnwindTableRow<usize>,
    ) {
        if row.start_address() == row.end_address() {
            return;
        }
        for pc in [row.start_address(), row.end_address() - 1] {
            let callee = Registers { pc, sp: 0x7fff_0000_1000, fp: 0x7fff_0002_0000 };
            let expected = Interpreter { section, row, callee }.caller();
            let actual = step(table.rule_at(pc).unwrap(), callee, read);
            assert_eq!(actual, expected, "at {pc:#x}: {row:?}");
            self.unsupported += usize::from(actual == Err(Stop::Unsupported));
        }
        self.rows += 1;
    }
}

fn assert_gaps_are_unknown(table: &UnwindTable, mut functions: Vec<(u64, u64)>) {
    functions.sort_unstable();
    assert_eq!(table.rule_at(functions[0].0 - 1), None);
    let starts = functions.iter().skip(1).map(|function| function.0).chain([u64::MAX]);
    for ((_, end), next) in functions.iter().zip(starts) {
        if next.saturating_sub(*end) > 15 {
            let behind = table.rule_at(*end).unwrap();
            assert_eq!(step(behind, Registers::default(), read), Err(Stop::NoRow), "{end:#x}");
        }
    }
}

fn assert_agrees(bytes: &[u8]) {
    let comparison = compare(bytes);
    assert!(comparison.rows > 10_000);
    assert!(comparison.unsupported * 1000 < comparison.rows, "{}", comparison.unsupported);
    assert_gaps_are_unknown(&UnwindTable::parse(bytes).unwrap(), comparison.functions);
}

#[test]
fn every_row_of_the_c_library_agrees_with_the_interpreter() {
    assert_agrees(&libc());
}

#[test]
fn every_row_of_this_program_agrees_with_the_interpreter() {
    assert_agrees(&own_program());
}

#[test]
fn every_row_of_the_vdso_agrees_with_the_interpreter() {
    let comparison = compare(&vdso());
    assert!(comparison.rows > 5);
}
