//! Walks a stack as it was at one moment: native frames by unwind tables, and at each run of the
//! interpreter loop the Python frames that it executes. What the kernel programs do for
//! allocations, here over whatever reads words.

use memtrace_abi::{
    frame::{Gap, MAX_FRAMES},
    mapping::Mapping,
    python::Python,
    unwind::{Cfa, Registers, Stop, step},
};

use crate::{objects::Objects, python::frame::Executed, unwind::UnwindTable};

/// A frame, before it has names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Native code.
    Native {
        /// Number of the file.
        object: u32,
        /// Virtual address within it; for a return address, that of the call's last byte.
        address: u64,
        /// Whether this is the interpreter loop that ran the Python frames before it.
        evaluator: bool,
    },
    /// A Python function.
    Python {
        /// Address of the code object.
        code: u64,
        /// Bytes from the first instruction; negative before the first one ran.
        instruction: i32,
    },
    /// Native code outside every known file, at this address.
    Unmapped(u64),
    /// Frames are missing here.
    Gap(Gap),
}

/// The code that stacks lead through.
pub struct Code<'code> {
    /// Executable mappings, by address.
    pub mappings: &'code [Mapping],
    /// The files behind them.
    pub objects: &'code Objects,
    /// The interpreter; all zero if there is none.
    pub python: Python,
}

/// Where a thread is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Start {
    /// Its registers.
    pub registers: Registers,
    /// Its register `rdi`.
    pub rdi: u64,
    /// Its innermost Python frame, or 0.
    pub python_frame: u64,
    /// So many of the innermost runs of the interpreter loop are of another interpreter, whose frames are
    /// not known.
    pub foreign_runs: usize,
}

/// What a walk came by.
#[derive(Clone, Debug, Default)]
pub struct Walked {
    /// Frames, innermost first.
    pub steps: Vec<Step>,
    /// Runs of the interpreter loop for which no Python frame was left.
    pub runs_left: usize,
}

impl Code<'_> {
    /// The frames of a stack.
    pub fn walk(&self, start: Start, word: impl Fn(u64) -> Option<u64>) -> Walked {
        let mut walk = Walk {
            code: self,
            word,
            registers: start.registers,
            rdi: start.rdi,
            returned: false,
            python_frame: start.python_frame,
            has_python: start.python_frame != 0,
            foreign_runs: start.foreign_runs,
            walked: Walked::default(),
        };
        if let Err(gap) = walk.native() {
            walk.walked.steps.push(Step::Gap(gap));
            // Then at least the rest of these.
            while walk.python_frame != 0 && walk.run_of_python().is_some() {}
        }
        if walk.is_full() {
            walk.walked.steps.truncate(MAX_FRAMES as usize - 1);
            walk.walked.steps.push(Step::Gap(Gap::TooDeep));
        }
        walk.walked
    }

    fn mapping(&self, pc: u64) -> Option<&Mapping> {
        let behind = self.mappings.partition_point(|mapping| mapping.start <= pc);
        self.mappings[..behind].last().filter(|mapping| pc < mapping.end)
    }

    fn table(&self, object: u32) -> Option<&UnwindTable> {
        self.objects.table(object)
    }
}

struct Walk<'code, Word> {
    code: &'code Code<'code>,
    word: Word,
    registers: Registers,
    /// Of the innermost frame.
    rdi: u64,
    /// `registers.pc` is a return address, so the call is at the byte before it.
    returned: bool,
    python_frame: u64,
    /// Whether there were frames at the start.
    has_python: bool,
    foreign_runs: usize,
    walked: Walked,
}

impl<Word: Fn(u64) -> Option<u64>> Walk<'_, Word> {
    fn is_full(&self) -> bool {
        self.walked.steps.len() >= MAX_FRAMES as usize
    }

    /// Walks to the first frame of the thread, or to a gap.
    fn native(&mut self) -> Result<(), Gap> {
        while !self.is_full() {
            let pc = self.registers.pc.wrapping_sub(self.returned.into());
            let Some(mapping) = self.code.mapping(pc) else {
                self.walked.steps.push(Step::Unmapped(pc));
                return Err(Gap::Unmapped);
            };
            let evaluator = self.code.python.is_evaluator(pc) && self.evaluator();
            let (object, address) = (mapping.object, pc.wrapping_add(mapping.bias));
            self.walked.steps.push(Step::Native { object, address, evaluator });
            match self.caller(object, address) {
                Ok(()) => {}
                Err(Stop::End) => break,
                Err(stop) => return Err(stop.into()),
            }
        }
        Ok(())
    }

    /// What a run of the interpreter loop executes; whether that is known.
    fn evaluator(&mut self) -> bool {
        let gap = Step::Gap(Gap::Python);
        if self.foreign_runs > 0 {
            self.foreign_runs -= 1;
            if !self.walked.steps.contains(&gap) {
                self.walked.steps.push(gap);
            }
            return false;
        }
        if self.python_frame == 0 {
            self.walked.runs_left += usize::from(self.has_python);
            return false;
        }
        self.run_of_python();
        true
    }

    /// The frames of one run of the interpreter loop; `None` if no further ones can be found.
    fn run_of_python(&mut self) -> Option<()> {
        while self.python_frame != 0 && !self.is_full() {
            let python = &self.code.python;
            let Some(executed) = Executed::read(python, self.python_frame, &self.word) else {
                self.python_frame = 0;
                self.walked.steps.push(Step::Gap(Gap::Python));
                return None;
            };
            let Executed { code, instruction, .. } = executed;
            if !executed.is_internal {
                self.walked.steps.push(Step::Python { code, instruction });
            }
            self.python_frame = executed.previous;
            if executed.ends_run {
                return Some(());
            }
        }
        None
    }

    /// Moves on to the caller of the frame at `address` in its file.
    fn caller(&mut self, object: u32, address: u64) -> Result<(), Stop> {
        let table = self.code.table(object).ok_or(Stop::NoRow)?;
        let rule = table.rule_at(address).ok_or(Stop::NoRow)?;
        // A rule may ask where within its code the frame is.
        let callee = Registers { pc: address, ..self.registers };
        let is_innermost = self.walked.steps.len() == 1;
        let caller = if rule.cfa == Cfa::ReturnInRdi as u8 && is_innermost {
            let sp = callee.sp.wrapping_add_signed(rule.cfa_offset.into());
            Registers { pc: self.rdi, sp, fp: callee.fp }
        } else {
            step(rule, callee, &self.word)?
        };
        if caller.pc == 0 {
            return Err(Stop::End);
        }
        self.returned = rule.cfa != Cfa::Signal as u8;
        self.registers = caller;
        Ok(())
    }
}
