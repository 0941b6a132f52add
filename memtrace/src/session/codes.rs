//! Python code objects as the kernel announced them, by the number that frames carry.

use std::collections::HashMap;

use bytes::Bytes;
use memtrace_abi::event::Code;

use crate::{profile::Frame, python::CodeObject, symbolize::python_frame};

/// All code objects seen so far.
#[derive(Default)]
pub struct Codes(HashMap<u32, CodeObject>);

impl Codes {
    /// Keeps an announced code object.
    pub fn add(&mut self, code: &Code, lines: &Bytes) {
        self.0.insert(code.code, CodeObject::decode(code, lines));
    }

    /// Forgets code objects that no frame refers to any more.
    pub fn forget(&mut self, numbers: &[u32]) {
        for number in numbers {
            self.0.remove(number);
        }
    }

    /// The frame that executes a code object at an instruction; `None` if it is the interpreter's
    /// own business.
    #[must_use]
    pub fn frame(&self, number: u32, instruction: i32) -> Option<Frame> {
        let Some(code) = self.0.get(&number) else {
            let reason = format!("Python function {number}: its name was lost");
            return Some(Frame::Gap { reason });
        };
        python_frame(code, instruction)
    }
}
