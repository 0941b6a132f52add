//! What forked children have from their parents: memory that was live when they began, and that
//! both use until one of them writes to it.

use std::{collections::HashMap, rc::Rc};

use anyhow::Result;
use memtrace_abi::allocation::Totals;

use crate::kernel::Kernel;

/// Live memory by stack, at the first moment at which memtrace looked after a fork.
#[derive(Default)]
pub struct Inheritance {
    /// Live bytes and objects by stack.
    pub stacks: HashMap<u64, (u64, u64)>,
}

/// The looks of one moment. Children that are forked one after the other need only one.
#[derive(Default)]
pub struct Estates(HashMap<u32, Rc<Inheritance>>);

impl Estates {
    /// What a child has from the process in `parent`'s slot, which has `inherited` some itself.
    pub fn of(
        &mut self,
        kernel: &Kernel,
        parent: u32,
        inherited: Option<&Inheritance>,
    ) -> Result<Rc<Inheritance>> {
        if let Some(known) = self.0.get(&parent) {
            return Ok(Rc::clone(known));
        }
        let mut stacks = inherited.map(|inherited| inherited.stacks.clone()).unwrap_or_default();
        kernel.visit_totals(|key, totals: Totals| {
            if key.process == parent && totals.live_bytes > 0 {
                let (bytes, objects) = stacks.entry(key.stack).or_default();
                *bytes = bytes.wrapping_add(totals.live_bytes);
                *objects = objects.wrapping_add(totals.live_objects);
            }
        })?;
        let inheritance = Rc::new(Inheritance { stacks });
        self.0.insert(parent, Rc::clone(&inheritance));
        Ok(inheritance)
    }
}
