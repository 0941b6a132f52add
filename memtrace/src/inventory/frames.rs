//! The frames of all threads, and the local variables in them.

use super::{edge::Edge, kind::Kind, reader::Reader, references::Reference};
use crate::python::Locals;

/// Bounds against lists that lead in circles.
const MAX_INTERPRETERS: usize = 1000;
const MAX_THREADS: usize = 20_000;
const MAX_FRAMES: usize = 20_000;
/// Frames of all threads.
const MAX_ACTIVATIONS: usize = 200_000;
const MAX_LOCALS: u64 = 10_000;
const MAX_NAME: usize = 200;

/// In a `PyThreadState`: the next one, and the interpreter it belongs to.
const THREAD_NEXT: u64 = 8;
/// In glibc's `struct pthread`: its own address, and the kernel's thread id.
const PTHREAD_SELF: u64 = 16;
const PTHREAD_TID: u64 = 720;

/// Frames from this `owner` on run no Python code (3.12 and later).
const OWNER_SHIM: u8 = 3;

/// A run of a function.
#[derive(Clone, Debug)]
pub(super) struct Activation {
    pub(super) frame: u64,
    pub(super) code: u64,
    pub(super) thread: u32,
}

impl Reader<'_> {
    /// Addresses of the interpreters' states.
    pub(super) fn interpreters(&mut self) -> Vec<u64> {
        let structures = self.interpreter.structures;
        let head = self.interpreter.runtime.start.wrapping_add(structures.interpreters_head);
        self.list(head, structures.interpreter_next, MAX_INTERPRETERS)
    }

    /// Frames of Python functions, of all threads, the innermost of each first.
    pub(super) fn activations(&mut self) -> Vec<Activation> {
        let head = self.interpreter.structures.threads_head;
        let mut threads = Vec::new();
        for interpreter in self.interpreters() {
            threads.extend(self.list(interpreter.wrapping_add(head), THREAD_NEXT, MAX_THREADS));
        }
        let mut activations = Vec::new();
        for thread in threads {
            if activations.len() >= MAX_ACTIVATIONS || self.view.is_late() {
                break;
            }
            self.push_frames(thread, &mut activations);
        }
        activations
    }

    /// What a list goes through that starts with a pointer at `head`.
    fn list(&mut self, head: u64, next: u64, limit: usize) -> Vec<u64> {
        let mut found = Vec::new();
        let mut at = self.view.word(head).unwrap_or(0);
        while at != 0 && found.len() < limit {
            found.push(at);
            at = self.view.word(at.wrapping_add(next)).unwrap_or(0);
        }
        found
    }

    fn push_frames(&mut self, thread: u64, activations: &mut Vec<Activation>) {
        let layout = self.interpreter.frames;
        let id = self.thread_id(thread).unwrap_or(0);
        let mut at = self.view.word(thread.wrapping_add(layout.thread_frame.into())).unwrap_or(0);
        if layout.cframe_frame != u16::MAX {
            at = self.view.word(at.wrapping_add(layout.cframe_frame.into())).unwrap_or(0);
        }
        for _ in 0..MAX_FRAMES {
            if at == 0 {
                break;
            }
            if !self.is_shim(at)
                && let Some(code) = self.code(at)
            {
                activations.push(Activation { frame: at, code, thread: id });
            }
            at = self.view.word(at.wrapping_add(layout.frame_previous.into())).unwrap_or(0);
        }
    }

    fn is_shim(&mut self, frame: u64) -> bool {
        let owner = u64::from(self.interpreter.frames.frame_owner);
        self.interpreter.structures.minor >= 12
            && self.view.byte(frame.wrapping_add(owner)).is_none_or(|owner| owner >= OWNER_SHIM)
    }

    /// The code object of a frame.
    pub(super) fn code(&mut self, frame: u64) -> Option<u64> {
        let layout = self.interpreter.frames;
        let code = self.view.word(frame.wrapping_add(layout.frame_code.into()))?;
        let code = code & layout.pointer_mask;
        let of = self.view.word(code.wrapping_add(8))?;
        (of == layout.code_type).then_some(code)
    }

    /// The kernel's id of a thread.
    fn thread_id(&mut self, thread: u64) -> Option<u32> {
        let structures = self.interpreter.structures;
        if let Some(member) = structures.native_thread {
            return Some(self.view.word(thread.wrapping_add(member))? as u32);
        }
        let descriptor = self.view.word(thread.wrapping_add(structures.thread))?;
        let itself = self.view.word(descriptor.wrapping_add(PTHREAD_SELF))?;
        (itself == descriptor).then(|| self.view.half(descriptor.wrapping_add(PTHREAD_TID)))?
    }

    /// The tuples of names of a code object's local variables, each with its length.
    pub(super) fn local_names(&mut self, code: u64) -> Option<Vec<(u64, u64)>> {
        let (members, count) = match self.interpreter.structures.locals {
            Locals::Three(members, _) => (members, 3),
            Locals::One(member, _) => ([member, 0, 0], 1),
        };
        members.into_iter().take(count).map(|member| self.names(code, member)).collect()
    }

    fn names(&mut self, code: u64, member: u64) -> Option<(u64, u64)> {
        let names = self.view.word(code.wrapping_add(member))?;
        let id = self.type_of(names)?;
        (self.described(id).kind == Kind::Tuple).then_some(())?;
        let length = self.size(names);
        (length <= MAX_LOCALS).then_some((names, length))
    }

    /// References from the local variables of a frame.
    pub(super) fn locals(&mut self, activation: &Activation) -> Vec<Reference> {
        let start = activation.frame.wrapping_add(self.interpreter.structures.frame_locals);
        let names = self.local_names(activation.code).unwrap_or_default();
        let count = names.iter().map(|(_, length)| *length).sum::<u64>();
        let mut locals = Vec::new();
        for number in 0..count {
            let place = start.wrapping_add(number * 8);
            self.visit_at(place, Edge::Local(number as u32), &mut |_, local| locals.push(local));
        }
        locals
    }

    /// The name of a local variable, a `str`, by its number.
    pub(super) fn local_name(&mut self, activation: &Activation, number: u32) -> Option<u64> {
        let items = self.interpreter.structures.tuple_items;
        let mut index = u64::from(number);
        for (names, length) in self.local_names(activation.code)? {
            if index < length {
                return self.view.word(names.wrapping_add(items + index * 8));
            }
            index -= length;
        }
        None
    }

    /// A reference to the dict that a frame has for its local variables instead, in classes and
    /// `exec`.
    pub(super) fn locals_dict(&mut self, activation: &Activation) -> Option<Reference> {
        let structures = self.interpreter.structures;
        let between = if structures.minor >= 11 { 16 } else { 8 };
        let globals = activation.frame.wrapping_add(structures.frame_globals);
        let place = globals.wrapping_add(between);
        let target = self.view.word(place)?;
        let is_own = target != 0 && target != self.view.word(globals)?;
        is_own.then_some(Reference { edge: Edge::Locals, place, target })
    }

    /// Name and file of a function.
    pub(super) fn function(&mut self, code: u64) -> (String, String) {
        let layout = self.interpreter.frames;
        let mut text = |member: u16| {
            let string = self.view.word(code.wrapping_add(member.into()))?;
            self.string(string, MAX_NAME)
        };
        let mut text = |member| text(member).unwrap_or_else(|| "[unreadable]".to_owned());
        (text(layout.code_name), text(layout.code_filename))
    }
}
