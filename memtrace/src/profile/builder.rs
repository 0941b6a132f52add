//! Fills a profile, with each frame and each stack once.

use std::collections::HashMap;

use super::{Amounts, Frame, Process, Profile, Session, Stack};

/// Fills a profile.
#[derive(Debug, Default)]
pub struct Builder {
    profile: Profile,
    frames: HashMap<Frame, u32>,
    stacks: HashMap<(u32, Vec<u32>), usize>,
}

impl Builder {
    /// A profile without processes.
    #[must_use]
    pub fn new(session: Session) -> Self {
        Self { profile: Profile { session, ..Profile::default() }, ..Self::default() }
    }

    /// Adds a process; returns its index for [`Builder::add_stack`].
    pub fn add_process(&mut self, process: Process) -> u32 {
        self.profile.processes.push(process);
        self.profile.processes.len() as u32 - 1
    }

    /// The index of `frame`, for [`Builder::add_stack`]; equal frames get the same.
    pub fn intern(&mut self, frame: Frame) -> u32 {
        let frames = &mut self.profile.frames;
        *self.frames.entry(frame).or_insert_with_key(|frame| {
            frames.push(frame.clone());
            frames.len() as u32 - 1
        })
    }

    /// Adds memory to the stack of `process` with these `frames`, outermost first.
    ///
    /// # Panics
    ///
    /// If an index did not come from this builder.
    pub fn add_stack(&mut self, process: u32, frames: Vec<u32>, amounts: Amounts) {
        let Profile { processes, frames: known, stacks, .. } = &mut self.profile;
        assert!((process as usize) < processes.len(), "process {process} was not added");
        assert!(
            frames.iter().all(|&frame| (frame as usize) < known.len()),
            "frames come from intern"
        );
        let index =
            *self.stacks.entry((process, frames)).or_insert_with_key(|(process, frames)| {
                let (process, frames) = (*process, frames.clone());
                stacks.push(Stack { process, frames, amounts: Amounts::default() });
                stacks.len() - 1
            });
        stacks[index].amounts += amounts;
    }

    /// The profile; losses and notes are the caller's to add.
    #[must_use]
    pub fn finish(self) -> Profile {
        self.profile
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Amount, *};

    #[test]
    fn equal_stacks_of_a_process_are_merged() {
        let mut builder = Builder::new(Session::default());
        let gap = Frame::Gap { reason: "x".into() };
        let [first, second] = [(); 2].map(|()| builder.add_process(Process::default()));
        let frames = vec![builder.intern(gap.clone()), builder.intern(gap)];
        let live = Amount { bytes: 10, objects: 1 };
        for process in [first, second, first] {
            let amounts = Amounts { live, ..Amounts::default() };
            builder.add_stack(process, frames.clone(), amounts);
        }
        let profile = builder.finish();
        assert_eq!(profile.frames.len(), 1);
        let bytes = profile.stacks.iter().map(|stack| stack.amounts.live.bytes);
        assert_eq!(bytes.collect::<Vec<_>>(), [20, 10]);
    }
}
