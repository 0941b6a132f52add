//! From steps of stacks to frames with names.

use std::collections::{HashMap, HashSet};

use memtrace_abi::python::Python;

use super::stacks::{Pages, Step};
use crate::{
    objects::{Known, Objects},
    process::memory::Memory,
    profile::Frame,
    python::CodeObject,
    symbolize::{Resolver, python_frame},
};

/// The names of all steps of some stacks.
pub struct Names<'objects> {
    objects: &'objects Objects,
    /// By file number and address.
    native: HashMap<u32, HashMap<u64, String>>,
    /// By address.
    codes: HashMap<u64, Option<CodeObject>>,
}

impl<'objects> Names<'objects> {
    /// Looks the names up. Code objects are read from the process now: they live as long as a
    /// frame that executes them.
    pub fn find<'steps>(
        objects: &'objects Objects,
        python: &Python,
        memory: Memory,
        steps: impl Iterator<Item = &'steps Step>,
    ) -> Self {
        let mut addresses: HashMap<u32, HashSet<u64>> = HashMap::new();
        let mut codes = HashMap::new();
        let pages = Pages::new(memory);
        for step in steps {
            match step {
                Step::Native { object, address, .. } => {
                    addresses.entry(*object).or_default().insert(*address);
                }
                Step::Python { code, .. } => {
                    let fill = |address, buffer: &mut [u8]| pages.fill(address, buffer);
                    codes.entry(*code).or_insert_with(|| CodeObject::read(python, *code, fill));
                }
                Step::Unmapped(_) | Step::Gap(_) => {}
            }
        }
        Self { objects, native: native(objects, addresses), codes }
    }

    /// The frames of a stack, outermost first.
    #[must_use]
    pub fn frames(&self, steps: &[Step]) -> Vec<Frame> {
        steps.iter().rev().filter_map(|step| self.frame(*step)).collect()
    }

    fn frame(&self, step: Step) -> Option<Frame> {
        match step {
            // Its Python frames stand for it.
            Step::Native { evaluator: true, .. } => None,
            Step::Native { object, address, .. } => Some(Frame::Native {
                symbol: self.native.get(&object).and_then(|names| names.get(&address)).cloned(),
                module: self.objects.known(object).map(Known::name),
                address,
                location: None,
            }),
            Step::Python { code, instruction } => self.python(code, instruction),
            Step::Unmapped(address) => {
                Some(Frame::Native { symbol: None, module: None, address, location: None })
            }
            Step::Gap(gap) => Some(Frame::Gap { reason: format!("incomplete: {}", gap.what()) }),
        }
    }

    fn python(&self, code: u64, instruction: i32) -> Option<Frame> {
        let Some(Some(code)) = self.codes.get(&code) else {
            let reason = "a Python function that could not be read".to_owned();
            return Some(Frame::Gap { reason });
        };
        python_frame(code, instruction)
    }
}

/// Names of native functions. Takes a while for large libraries.
fn native(
    objects: &Objects,
    addresses: HashMap<u32, HashSet<u64>>,
) -> HashMap<u32, HashMap<u64, String>> {
    let resolver = Resolver::default();
    let names = addresses.into_iter().filter_map(|(object, addresses)| {
        let known = objects.known(object)?;
        let addresses: Vec<u64> = addresses.into_iter().collect();
        let names = resolver.names(&known.open_path()?, &addresses);
        (!known.object.is_another_build()).then_some((object, names))
    });
    names.collect()
}
