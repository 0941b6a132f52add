//! Threads as people read them: those with the same stack together.

use std::collections::HashMap;

use super::super::units::Elapsed;
use crate::{
    profile::{Frame, printable},
    snapshot::{Moment, Part, Thread},
};

/// Threads that stand at the same place.
pub(super) struct Group<'snapshot> {
    /// At least one; the main thread, or the one with the lowest id, first.
    pub(super) threads: Vec<&'snapshot Thread>,
}

/// All threads, in the order of the first of each group.
pub(super) fn groups(threads: &[Thread]) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    let mut places = HashMap::new();
    for thread in threads {
        let place = (doing(thread), frames(thread));
        let index = *places.entry(place).or_insert(groups.len());
        match groups.get_mut(index) {
            Some(group) => group.threads.push(thread),
            None => groups.push(Group { threads: vec![thread] }),
        }
    }
    groups
}

impl Group<'_> {
    /// The threads' names and ids.
    pub(super) fn name(&self) -> String {
        let first = self.threads[0];
        let name = format!("{} ({})", printable(&first.task.name), first.task.id);
        match self.threads.len() - 1 {
            0 => name,
            1 => format!("{name} and {}", self.threads[1].task.id),
            more => format!("{name} and {more} like it"),
        }
    }

    /// What they are doing.
    pub(super) fn doing(&self) -> String {
        doing(self.threads[0])
    }

    /// Their frames, innermost first.
    pub(super) fn frames(&self) -> Vec<String> {
        frames(self.threads[0])
    }

    /// So many of them that tell most: the innermost one, and where Python is; without Python, the
    /// innermost ones.
    pub(super) fn main_frames(&self, most: usize) -> Vec<String> {
        let Part::Read(stack) = &self.threads[0].stack else { return self.frames() };
        let frames = stack.frames.iter().rev().enumerate();
        let has_python = stack.frames.iter().any(is_python);
        let chosen = frames.filter(|(depth, frame)| *depth == 0 || !has_python || is_python(frame));
        chosen.take(most).map(|(_, frame)| frame.text()).collect()
    }
}

/// State, wait channel and what else matters, in a line.
fn doing(thread: &Thread) -> String {
    let mut parts = vec![state(thread)];
    if thread.holds_lock == Some(true) {
        parts.push("holds the interpreter lock".to_owned());
    }
    if let Part::Read(stack) = &thread.stack {
        parts.extend(doubt(stack.moment).map(str::to_owned));
    }
    parts.join(", ")
}

fn state(thread: &Thread) -> String {
    let state = match thread.task.state {
        'R' => "running",
        'S' => "waiting",
        'D' => "waiting, uninterruptible",
        'T' => "stopped",
        't' => "stopped by a debugger",
        'Z' => "ended, not collected",
        'X' | 'x' => "ended",
        'I' => "idle",
        _ => "in an unknown state",
    };
    let channel = thread.wait_channel.as_deref().map(printable);
    let place = match (&thread.system_call, channel) {
        (Some(call), Some(channel)) => format!(" in {call}, at {channel}"),
        (Some(call), None) => format!(" in {call}"),
        (None, Some(channel)) => format!(" at {channel}"),
        (None, None) => String::new(),
    };
    format!("{state}{place}")
}

/// What is uncertain about the stack.
pub(super) const fn doubt(moment: Moment) -> Option<&'static str> {
    match moment {
        Moment::Waiting | Moment::Running => None,
        Moment::Moving => Some("ran while it was read: frames of several moments"),
        Moment::Partial => Some("only partly read"),
    }
}

const fn is_python(frame: &Frame) -> bool {
    matches!(frame, Frame::Python { .. })
}

fn frames(thread: &Thread) -> Vec<String> {
    match &thread.stack {
        Part::Read(stack) => stack.frames.iter().rev().map(Frame::text).collect(),
        Part::Missing(reason) => vec![format!("[no stack: {}]", printable(reason))],
    }
}

/// CPU time of a thread.
pub(super) fn cpu_time(thread: &Thread) -> String {
    Elapsed(thread.task.cpu_time).to_string()
}
