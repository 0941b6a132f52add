//! The probes of a session: how their functions are numbered, and whether children inherit them.

use std::{
    collections::{BTreeSet, HashMap, hash_map::Entry},
    os::fd::OwnedFd,
    path::Path,
};

use anyhow::{Context as _, Result};
use memtrace_abi::probe::Cookie;

use crate::{
    attach::plan::Probe as Planned,
    kernel::{self, Inherited, Kernel, Point, Probe},
    objects::{Known, Objects},
    process::Process,
};

/// Looks for threads that began while the others were being looked at.
const MAX_LOOKS: usize = 8;

/// Which functions are probed, in all processes.
pub struct Probes {
    follows: bool,
    /// The number of the first function, by object.
    numbers: HashMap<u32, u16>,
    next_number: u16,
    /// Probes that children inherit, by object.
    inherited: HashMap<u32, Vec<Inherited>>,
    /// What sets forked processes apart, by process id, on kernels that would mix up their probes.
    apart: Option<HashMap<u32, OwnedFd>>,
}

impl Probes {
    /// None yet. To follow is to let children inherit them.
    #[must_use]
    pub fn new(follows: bool) -> Self {
        let is_mixed_up = follows && kernel::children_keep_probes().is_ok_and(|kept| !kept);
        Self {
            follows,
            numbers: HashMap::new(),
            next_number: 0,
            inherited: HashMap::new(),
            apart: is_mixed_up.then(HashMap::new),
        }
    }

    /// Whether the kernel may take a child's probes away when another child ends.
    #[must_use]
    pub fn may_be_lost(&self) -> bool {
        self.apart.is_some()
    }

    /// From now on, the probes of a forked process are not mixed up with those of others.
    pub fn set_apart(&mut self, pid: u32) {
        if let Some(apart) = &mut self.apart
            && let Ok(event) = kernel::set_apart(pid)
        {
            apart.insert(pid, event);
        }
    }

    /// Forgets a process that has ended.
    pub fn forget(&mut self, pid: u32) {
        if let Some(apart) = &mut self.apart {
            apart.remove(&pid);
        }
    }

    /// Whether children inherit the probes.
    #[must_use]
    pub fn follow(&self) -> bool {
        self.follows
    }

    /// The probes of a file, numbered.
    pub fn plan(&mut self, object: u32, known: &Known) -> Vec<Planned> {
        let first = *self.numbers.entry(object).or_insert_with(|| {
            let first = self.next_number;
            // Those that share a number after so many could only be taken for each other if one
            // tail-called the other.
            self.next_number = first.wrapping_add(known.plan.function_count() as u16);
            first
        });
        let number = |probe: &Planned| Planned {
            function: probe.function.wrapping_add(first),
            ..probe.clone()
        };
        known.plan.probes.iter().map(number).collect()
    }

    /// Attaches a file's probes to a process in a slot; returns those that are of this process alone.
    pub fn attach(
        &mut self,
        kernel: &mut Kernel,
        objects: &Objects,
        (object, planned): (u32, &[Planned]),
        (process, slot): (&Process, u32),
    ) -> Result<Vec<Probe>> {
        let known = objects.known(object).context("a planned object is known")?;
        let file = known.open_path().context("a planned object is a file")?;
        let what =
            |planned: &Planned| format!("attach to {} in {}", planned.site.function, known.name());
        if !self.follows {
            let attach = |planned: &Planned| {
                let point = point(&file, planned, process.pid(), slot);
                kernel.attach(planned.program, point).with_context(|| what(planned))
            };
            return planned.iter().map(attach).collect();
        }
        if let Entry::Vacant(place) = self.inherited.entry(object) {
            let attach = |planned: &Planned| {
                let point = point(&file, planned, process.pid(), Cookie::CURRENT);
                kernel.attach_inherited(planned.program, point).with_context(|| what(planned))
            };
            place.insert(planned.iter().map(attach).collect::<Result<_>>()?);
        }
        self.hand_on(object, process)?;
        Ok(Vec::new())
    }

    /// Lets the children of every thread of a process inherit a file's probes.
    fn hand_on(&mut self, object: u32, process: &Process) -> Result<()> {
        let Some(probes) = self.inherited.get_mut(&object) else { return Ok(()) };
        let mut done = BTreeSet::new();
        for _ in 0..MAX_LOOKS {
            let threads = process.threads()?;
            let new = threads.iter().map(|thread| thread.id).filter(|id| done.insert(*id));
            let new: Vec<_> = new.collect();
            if new.is_empty() {
                break;
            }
            for id in new {
                let handed_on = probes.iter_mut().try_for_each(|probe| probe.hand_on(id));
                let failure = handed_on.err().filter(|_| id == process.pid());
                // Another thread may have ended.
                failure.map_or(Ok(()), Err)?;
            }
        }
        Ok(())
    }

    /// The inherited probes; there are none any more.
    pub fn take(&mut self) -> Vec<Probe> {
        self.inherited.drain().flat_map(|(_, probes)| probes).map(Probe::from).collect()
    }
}

fn point<'file>(file: &'file Path, planned: &Planned, process_id: u32, slot: u32) -> Point<'file> {
    let cookie =
        Cookie { process: slot, meaning: planned.site.meaning as u8, function: planned.function };
    Point { process_id, file, offset: planned.site.file_offset, cookie: cookie.pack() }
}
