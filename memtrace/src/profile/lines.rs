//! Memory by line of Python: each stack counts for the innermost line of the program's own code,
//! not for a line of the package that the program called.

use std::{
    cmp::Reverse,
    collections::{HashMap, HashSet},
};

use super::{
    Amount, Amounts, Frame, Profile, Stack, View,
    allocator::{is_allocator, is_c_library},
    source::{is_installed, package},
};

/// A line of Python and the memory that it, or what it called, allocated.
///
/// It is the innermost line outside installed packages; in a program that is itself installed, the
/// innermost line outside the package that allocates. Stacks without Python count for their innermost native function that is not an allocator's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Index into [`Profile::frames`]; `None`: the stacks hold no frame to blame.
    pub frame: Option<u32>,
    /// The function that allocated most of it on the line's behalf: the Python function that the
    /// line called, else the innermost native function that is not an allocator's.
    pub callee: Option<u32>,
    /// Memory of the line's stacks.
    pub amounts: Amounts,
    /// How many processes ran the line.
    pub processes: usize,
}

impl Profile {
    /// Every line with memory in `view`, most bytes first.
    #[must_use]
    pub fn lines(&self, view: View) -> Vec<Line> {
        let mut lines = self.every_line(view);
        lines.retain(|line| line.amounts.of(view).bytes > 0);
        lines
    }

    /// Every line with memory in any view, most bytes in `view` first.
    #[must_use]
    pub fn every_line(&self, view: View) -> Vec<Line> {
        self.lines_among(&self.stacks, view)
    }

    /// Lines that hold next to nothing any more, a hundredth of what they allocated, and of whose touches
    /// no more is in memory; those that allocated most first, without those that allocated little or
    /// are shown already.
    #[must_use]
    pub fn spent_lines(&self, shown: &[Line]) -> Vec<Line> {
        let least = self.total(View::Allocated).bytes / 100;
        let mut lines = self.every_line(View::Allocated);
        lines.retain(|Line { amounts, .. }| {
            let allocated = amounts.allocated.bytes;
            let little = |view| amounts.of(view).bytes <= allocated / 100;
            allocated > least && little(View::Live) && little(View::Resident)
        });
        lines.retain(|line| shown.iter().all(|shown| shown.frame != line.frame));
        lines
    }

    /// Lines that hold memory, or of whose touches some is in memory; most of either first.
    #[must_use]
    pub fn holding_lines(&self) -> Vec<Line> {
        let most = |line: &Line| line.amounts.live.bytes.max(line.amounts.resident.bytes);
        let mut lines = self.every_line(View::Resident);
        lines.retain(|line| most(line) > 0);
        lines.sort_by_key(|line| Reverse(most(line)));
        lines
    }

    /// As [`Profile::every_line`], of some of the processes.
    #[must_use]
    pub fn lines_of(&self, processes: &[u32], view: View) -> Vec<Line> {
        let stacks = self.stacks.iter();
        self.lines_among(stacks.filter(|stack| processes.contains(&stack.process)), view)
    }

    fn lines_among<'a>(
        &self,
        stacks: impl IntoIterator<Item = &'a Stack>,
        view: View,
    ) -> Vec<Line> {
        let functions = self.functions();
        let mut tallies: HashMap<Option<u32>, Tally> = HashMap::new();
        for stack in stacks {
            let (line, callee) = self.blame(stack, &functions);
            tallies.entry(line).or_default().add(stack, callee, view);
        }
        let mut lines: Vec<Line> =
            tallies.into_iter().map(|(frame, tally)| tally.line(frame)).collect();
        lines.retain(|line| line.amounts != Amounts::default());
        lines.sort_by_key(|line| (Reverse(line.amounts.of(view)), line.frame));
        lines
    }

    /// For each frame, the first one of the same line or native function.
    fn functions(&self) -> Vec<u32> {
        let mut known = HashMap::new();
        let mut function = |frame, index| match frame {
            &Frame::Native { symbol: Some(ref symbol), ref module, .. } => {
                *known.entry((symbol, module)).or_insert(index)
            }
            _ => index,
        };
        self.frames.iter().zip(0..).map(|(frame, index)| function(frame, index)).collect()
    }

    /// The line that a stack counts for, and the function below it.
    fn blame(&self, stack: &Stack, functions: &[u32]) -> (Option<u32>, Option<u32>) {
        if let &[only] = &*stack.frames
            && matches!(self.frames[only as usize], Frame::Origin { .. })
        {
            return (Some(only), None);
        }
        let Some(position) = self.line_of(stack) else {
            return (self.native_callee(&stack.frames, functions), None);
        };
        let inner = &stack.frames[position + 1..];
        let called = inner.iter().copied().find(|&frame| self.file(frame).is_some());
        let callee = called.or_else(|| self.native_callee(inner, functions));
        (Some(stack.frames[position]), callee)
    }

    /// Position of the frame that a stack counts for.
    fn line_of(&self, stack: &Stack) -> Option<usize> {
        let files = stack.frames.iter().enumerate().rev();
        let mut files = files.filter_map(|(position, &frame)| Some((position, self.file(frame)?)));
        let innermost = files.clone().next()?;
        let own = files.clone().find(|(_, file)| !is_installed(file));
        let calling = || files.find(|(_, file)| package(file) != package(innermost.1));
        own.or_else(calling).or(Some(innermost)).map(|(position, _)| position)
    }

    /// The innermost native function that is not an allocator's.
    fn native_callee(&self, frames: &[u32], functions: &[u32]) -> Option<u32> {
        let native = || frames.iter().rev().copied().filter(|&frame| self.is_native(frame));
        let callee = native().find(|&frame| !self.is_allocator(frame)).or_else(|| native().next());
        callee.map(|frame| functions[frame as usize])
    }

    /// The file of a Python frame.
    fn file(&self, frame: u32) -> Option<&str> {
        match &self.frames[frame as usize] {
            Frame::Python { location, .. } => Some(&location.file),
            _ => None,
        }
    }

    /// Whether it is native code of a file. What lies outside has no name, and an address that says
    /// nothing in another process.
    fn is_native(&self, frame: u32) -> bool {
        matches!(self.frames[frame as usize], Frame::Native { module: Some(_), .. })
    }

    fn is_allocator(&self, frame: u32) -> bool {
        match &self.frames[frame as usize] {
            Frame::Native { symbol: Some(symbol), .. } => is_allocator(symbol),
            Frame::Native { symbol: None, module: Some(module), .. } => is_c_library(module),
            _ => false,
        }
    }
}

#[derive(Default)]
struct Tally {
    amounts: Amounts,
    callees: HashMap<u32, Amount>,
    processes: HashSet<u32>,
}

impl Tally {
    fn add(&mut self, stack: &Stack, callee: Option<u32>, view: View) {
        self.amounts += stack.amounts;
        self.processes.insert(stack.process);
        if let Some(callee) = callee {
            *self.callees.entry(callee).or_default() += stack.amounts.of(view);
        }
    }

    fn line(self, frame: Option<u32>) -> Line {
        let most =
            self.callees.into_iter().max_by_key(|&(callee, amount)| (amount, Reverse(callee)));
        Line {
            frame,
            callee: most.map(|(callee, _)| callee),
            amounts: self.amounts,
            processes: self.processes.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Builder, Process, example},
        *,
    };

    fn texts(profile: &Profile, lines: &[Line]) -> Vec<(String, Option<String>)> {
        let text = |frame: u32| profile.frames[frame as usize].text();
        let texts =
            |line: &Line| (line.frame.map_or_else(String::new, text), line.callee.map(text));
        lines.iter().map(texts).collect()
    }

    #[test]
    fn a_line_is_blamed_with_the_callee_that_allocates_most() {
        let profile = example::profile();
        let lines = profile.lines(View::Live);
        let (line, callee) = &texts(&profile, &lines)[0];
        assert_eq!(line, "Cache.coordinates (cache.py:77)");
        assert_eq!(callee.as_deref(), Some("PyArray_NewFromDescr_int (_multiarray_umath.so)"));
        assert_eq!(lines[0].processes, 2);
    }

    #[test]
    fn native_stacks_count_for_their_innermost_function_outside_allocators() {
        let profile = example::profile();
        let texts = texts(&profile, &profile.lines(View::Live));
        assert!(
            texts.contains(&("blas_memory_alloc (libopenblas.so.0)".into(), None)),
            "{texts:?}"
        );
    }

    #[test]
    fn code_of_the_c_library_without_a_name_is_not_blamed() {
        let mut builder = Builder::new(example::session());
        let process = builder.add_process(Process::default());
        let native = |symbol: Option<&str>, module: &str| Frame::Native {
            symbol: symbol.map(Into::into),
            module: Some(module.into()),
            address: 1,
            location: None,
        };
        let stack = [native(Some("fill"), "/srv/worker"), native(None, "/lib/libc.so.6")];
        let frames = stack.map(|frame| builder.intern(frame)).to_vec();
        let live = Amount { bytes: 1, objects: 1 };
        builder.add_stack(process, frames, Amounts { live, ..Amounts::default() });
        let profile = builder.finish();
        let texts = texts(&profile, &profile.lines(View::Live));
        assert_eq!(texts, [("fill (worker)".to_owned(), None)]);
    }

    #[test]
    fn a_line_that_has_released_all_is_spent() {
        let mut builder = Builder::new(example::session());
        let process = builder.add_process(Process::default());
        let mut add = |name: &str, live, allocated| {
            let [live, allocated] = [live, allocated].map(|bytes| Amount { bytes, objects: 1 });
            let frame = builder.intern(Frame::Origin { what: name.to_owned() });
            builder.add_stack(
                process,
                vec![frame],
                Amounts { live, allocated, ..Amounts::default() },
            );
        };
        add("keeps", 20, 1000);
        add("little", 0, 5);
        add("much", 7, 700);
        add("more", 0, 800);
        let profile = builder.finish();
        let spent = texts(&profile, &profile.spent_lines(&[]));
        assert_eq!(spent, [("[more]".into(), None), ("[much]".into(), None)]);
    }

    #[test]
    fn lines_add_up_to_the_total() {
        let profile = example::profile();
        for view in View::ALL {
            let sum: Amount = profile.lines(view).iter().map(|line| line.amounts.of(view)).sum();
            assert_eq!(sum, profile.total(view), "{view:?}");
        }
    }
}
