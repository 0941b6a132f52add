//! Where every thread is: its stack at one moment, proved to be one moment or marked as not.
//!
//! A thread that waits has its registers in the kernel, and its stack does not change. It is read
//! between two looks at the thread; if it did not run from one to the other, what was read is what
//! was. A thread that runs is interrupted by a clock, once, for some microseconds, in which the
//! kernel copies its stack.

mod moment;
mod walk;

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use memtrace_abi::{
    thread::{Sample, Standing},
    unwind::Registers,
};

use self::moment::Copied;
pub use self::{
    moment::Pages,
    walk::{Code, Start, Step, Walked},
};
use crate::{
    kernel::Threads,
    process::{memory::Memory, threads::SystemCall},
    python::frame,
};

/// Threads between two looks: each takes some tenths of a millisecond.
const AT_ONCE: usize = 8;
/// How long threads that run are waited for, one round after the other.
const ROUNDS: [Duration; 4] = [
    Duration::from_millis(5),
    Duration::from_millis(20),
    Duration::from_millis(50),
    Duration::from_millis(100),
];

/// How well a stack is known to be that of one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Certainty {
    /// The thread did not run while it was read.
    Waiting,
    /// Copied by the kernel while the thread ran.
    Running,
    /// The thread ran while it was read: frames may be of different moments.
    Moving,
    /// Read from where a system call was made, without the other registers.
    Partial,
}

/// The stack of a thread.
#[derive(Clone, Debug)]
pub struct Stack {
    /// Frames, innermost first.
    pub steps: Vec<Step>,
    /// See [`Certainty`].
    pub certainty: Certainty,
    /// Its `PyThreadState`, or 0.
    pub thread_state: u64,
}

/// The stacks of a process's threads.
#[derive(Default)]
pub struct Stacks {
    /// By thread id.
    pub by_thread: HashMap<u32, Stack>,
    /// How long threads that run were interrupted, all together.
    pub interrupted: Duration,
    /// How many threads were.
    pub interruptions: u32,
    /// Whether there was no time for all of them.
    pub is_late: bool,
}

/// What stacks are read through.
pub struct Reader<'code> {
    /// The code that they lead through.
    pub code: Code<'code>,
    /// The memory of the process.
    pub memory: Memory,
    /// Whether the frames of a thread may be of another interpreter than its stack. Elsewhere runs of the
    /// interpreter loop without frames are those of greenlets that have begun others.
    pub has_subinterpreters: bool,
    /// When to stop; a few are read all the same.
    pub deadline: Instant,
}

impl Reader<'_> {
    /// Every thread's stack, with the registers that the kernel programs tell.
    pub fn read(&self, kernel: &mut Threads) -> anyhow::Result<Stacks> {
        let mut stacks = Stacks::default();
        for patience in ROUNDS {
            let standings = kernel.look()?;
            let wanted: Vec<_> =
                standings.into_iter().filter(|standing| !stacks.is_settled(standing)).collect();
            for few in wanted.chunks(AT_ONCE) {
                self.read_waiting(kernel, few, &mut stacks)?;
            }
            let unsettled = wanted.iter().filter(|standing| !stacks.is_settled(standing));
            let running: Vec<u32> = unsettled.map(|standing| standing.thread).collect();
            let left = self.deadline.saturating_duration_since(Instant::now());
            stacks.is_late |= !running.is_empty() && left.is_zero();
            if running.is_empty() || left.is_zero() {
                break;
            }
            for sample in kernel.sample(&running, patience.min(left))? {
                stacks.add_sample(&sample, self.walk_sample(&sample));
            }
        }
        Ok(stacks)
    }

    /// Threads' stacks without the help of kernel programs.
    pub fn read_partly(&self, calls: &[(u32, SystemCall)]) -> Stacks {
        let stack = |call: &SystemCall| {
            let registers = Registers { pc: call.pc, sp: call.sp, fp: 0 };
            let pages = Pages::new(self.memory.clone());
            let start = Start { registers, rdi: call.argument, ..Start::default() };
            let Walked { steps, .. } = self.code.walk(start, |address| pages.word(address));
            Stack { steps, certainty: Certainty::Partial, thread_state: 0 }
        };
        let by_thread = calls.iter().map(|(thread, call)| (*thread, stack(call))).collect();
        Stacks { by_thread, ..Stacks::default() }
    }

    fn read_waiting(
        &self,
        kernel: &mut Threads,
        few: &[Standing],
        stacks: &mut Stacks,
    ) -> anyhow::Result<()> {
        if Instant::now() >= self.deadline && !stacks.by_thread.is_empty() {
            stacks.is_late = true;
            return Ok(());
        }
        let before = by_thread(kernel.look()?);
        let waiting = few.iter().filter_map(|standing| before.get(&standing.thread));
        let read: Vec<_> = waiting
            .filter(|standing| standing.on_cpu == 0)
            .map(|standing| (standing, self.walk_waiting(standing)))
            .collect();
        let after = by_thread(kernel.look()?);
        for (standing, mut stack) in read {
            let later = after.get(&standing.thread);
            if !later.is_some_and(|later| standing.held_until(later)) {
                stack.certainty = Certainty::Moving;
            }
            stacks.by_thread.insert(standing.thread, stack);
        }
        Ok(())
    }

    fn walk_waiting(&self, standing: &Standing) -> Stack {
        let pages = Pages::new(self.memory.clone());
        let (python, word) = (&self.code.python, |address| pages.word(address));
        let has_python = python.thread_key != 0;
        let state = has_python
            .then(|| frame::thread_state(python, standing.thread_pointer, word))
            .flatten();
        let innermost = state.and_then(|state| frame::current_frame(python, state, word));
        let start = Start {
            registers: standing.registers,
            rdi: standing.rdi,
            python_frame: innermost.unwrap_or_default(),
            foreign_runs: 0,
        };
        let mut walked = self.code.walk(start, word);
        // Up to 3.11, the state of a thread that waits is that of the interpreter where it began.
        if walked.runs_left > 0 && self.has_subinterpreters && python.current_thread != 0 {
            let foreign_runs = walked.runs_left;
            walked = self.code.walk(Start { foreign_runs, ..start }, word);
        }
        Stack {
            steps: walked.steps,
            certainty: Certainty::Waiting,
            thread_state: state.unwrap_or_default(),
        }
    }

    fn walk_sample(&self, sample: &Sample) -> Stack {
        let copied = Copied::new(sample, Some(self.memory.clone()));
        let Standing { registers, rdi, .. } = sample.standing;
        let python_frame = copied.python_frame();
        let start = Start { registers, rdi, python_frame, foreign_runs: 0 };
        let Walked { steps, .. } = self.code.walk(start, |address| copied.word(address));
        Stack {
            steps,
            certainty: if copied.is_exact() { Certainty::Running } else { Certainty::Moving },
            thread_state: sample.thread_state,
        }
    }
}

impl Stacks {
    /// Whether nothing better can be known of the thread.
    fn is_settled(&self, standing: &Standing) -> bool {
        let stack = self.by_thread.get(&standing.thread);
        stack.is_some_and(|stack| stack.certainty != Certainty::Moving)
    }

    fn add_sample(&mut self, sample: &Sample, stack: Stack) {
        self.interrupted += Duration::from_nanos(sample.nanoseconds);
        self.interruptions += 1;
        self.by_thread.insert(sample.standing.thread, stack);
    }
}

fn by_thread(standings: Vec<Standing>) -> HashMap<u32, Standing> {
    standings.into_iter().map(|standing| (standing.thread, standing)).collect()
}
