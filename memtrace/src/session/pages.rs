//! Follows what the targets do to their memory, and keeps the cost of it bounded.

use std::{
    cell::RefCell,
    collections::{HashMap, VecDeque},
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use memtrace_abi::pages::{BURST, Event, kind};

use super::{residence, target::Target};
use crate::{
    kernel::{Faults, Kernel},
    pages::Owners,
    process::{Process, mappings::Kind, status::MemoryUse},
};

/// Faults that may be recorded in addition at every look, ten times a second.
const REFILL: u64 = 128;
/// Looks without too many faults after which each is told of again.
const CALM: u32 = 10;
/// Passes over the threads of a process: some may be created while others are being watched.
const PASSES: usize = 3;
/// Events of processes of which nothing is known yet.
const MAX_EARLY: usize = 1 << 16;
/// Events of a target that wait to be taken in; of more, all are at once.
const MAX_SINCE: usize = 1 << 16;
/// Before it ends a process may free all that it had. What is told of it then is how it was when it had
/// most within this time.
const LAST: Duration = Duration::from_secs(2);

/// What is known of the pages of the targets, by slot.
#[derive(Default)]
pub struct Pages {
    targets: HashMap<u32, Followed>,
    early: Vec<Event>,
}

/// Whom to follow.
pub struct Subject<'a> {
    /// The target.
    pub target: &'a Target,
    /// The slot of the process that it was, or was forked from.
    pub before: Option<u32>,
    /// Whether its children are followed, too.
    pub follows: bool,
}

/// A target.
struct Followed {
    /// As of the oldest of the looks.
    owners: Owners,
    /// What has happened since, oldest first.
    since: VecDeque<Event>,
    /// The last looks at its RSS.
    looks: VecDeque<Seen>,
    /// Faults that the kernel has told of.
    told: u64,
    /// Faults since the last look, seen or stood for by those that were.
    recent: u64,
    /// Looks in a row at which there were few.
    calm: u32,
    /// The events of its threads and of those that it has them from; `None` after its end. They
    /// are taken off with the last process that has them.
    faults: Option<Rc<RefCell<Faults>>>,
}

/// A look at the RSS of a target.
struct Seen {
    at: Instant,
    memory: MemoryUse,
    /// How much of what waits had happened.
    events: usize,
}

impl Followed {
    fn new(owners: Owners, faults: Option<Rc<RefCell<Faults>>>) -> Self {
        Self {
            owners,
            since: VecDeque::new(),
            looks: VecDeque::new(),
            told: 0,
            recent: 0,
            calm: 0,
            faults,
        }
    }

    fn catch_up(&mut self) {
        self.take_in_first(self.since.len());
        self.looks.clear();
    }

    /// Takes in the oldest of what waits.
    fn take_in_first(&mut self, count: usize) {
        self.since.drain(..count).for_each(|event| self.owners.apply(&event));
        for look in &mut self.looks {
            look.events = look.events.saturating_sub(count);
        }
    }

    fn note_look(&mut self, memory: MemoryUse) {
        let at = Instant::now();
        self.looks.push_back(Seen { at, memory, events: self.since.len() });
        while let [first, _, ..] = self.looks.make_contiguous()
            && at.duration_since(first.at) > LAST
        {
            let count = first.events;
            self.looks.pop_front();
            self.take_in_first(count);
        }
    }

    /// Forgets what has happened since it had most; returns how much that was.
    fn go_back(&mut self) -> Option<MemoryUse> {
        let most = self.looks.iter().max_by_key(|look| look.memory.resident)?;
        let (memory, count) = (most.memory, most.events);
        self.take_in_first(count);
        self.since.clear();
        self.looks.clear();
        Some(memory)
    }
}

impl Pages {
    /// Begins to follow a target that is being recorded.
    pub fn follow(
        &mut self,
        kernel: &mut Kernel,
        subject: &Subject<'_>,
        deadline: Instant,
    ) -> Result<()> {
        let (slot, process) = (subject.target.slot, &subject.target.process);
        let mappings = process.mappings()?.list;
        let heap_end = mappings
            .iter()
            .find_map(|mapping| (mapping.kind() == Kind::Heap).then_some(mapping.range.end));
        kernel.set_heap_end(slot, heap_end.unwrap_or_default())?;
        kernel.allow_faults(slot, BURST)?;
        let faults = if let Some(inherited) = subject.before.and_then(|slot| self.faults_of(slot)) {
            inherited
        } else {
            Rc::new(RefCell::new(watched(kernel, process, subject.follows)?))
        };
        self.begin(slot, Followed::new(Owners::default(), Some(faults)));
        // What was touched meanwhile is told of, and is not from before.
        self.read(kernel);
        let mut before = Owners::default();
        let is_complete = residence::note_before(process, &mut before, deadline)?;
        self.read(kernel);
        if let Some(followed) = self.targets.get_mut(&slot) {
            followed.catch_up();
            before.recorded().for_each(|(range, _)| followed.owners.note_before(range));
            let has_file = |kind| matches!(kind, Kind::File | Kind::SharedMemory);
            let shared = mappings.iter().filter(|mapping| has_file(mapping.kind()));
            shared.for_each(|mapping| followed.owners.note_shared(mapping.range));
        }
        ensure!(is_complete, "there was too much to look at in time");
        Ok(())
    }

    /// Follows a child, in whom all is as in its parent.
    pub fn fork(&mut self, kernel: &mut Kernel, parent: u32, child: u32) {
        self.read(kernel);
        if let Some(followed) = self.targets.get(&parent) {
            let copy = Followed::new(followed.owners.clone(), followed.faults.clone());
            self.begin(child, Followed { since: followed.since.clone(), ..copy });
        }
    }

    /// The first events of a target may have come before it was known.
    fn begin(&mut self, slot: u32, mut followed: Followed) {
        for event in self.early.extract_if(.., |event| event.process == slot) {
            followed.take_in(&event);
        }
        self.targets.insert(slot, followed);
    }

    fn faults_of(&self, slot: u32) -> Option<Rc<RefCell<Faults>>> {
        self.targets.get(&slot)?.faults.clone()
    }

    /// Takes in what has happened, and adapts to how much that is.
    pub fn look(&mut self, kernel: &mut Kernel) -> Result<()> {
        self.read(kernel);
        let mut calm: HashMap<_, (u32, &Rc<RefCell<Faults>>)> = HashMap::new();
        for (slot, followed) in &mut self.targets {
            followed.adapt(kernel, *slot)?;
            if let Some(faults) = &followed.faults {
                let least = calm.entry(Rc::as_ptr(faults)).or_insert((u32::MAX, faults));
                least.0 = least.0.min(followed.calm);
            }
        }
        for (calm, faults) in calm.into_values() {
            if calm >= CALM {
                faults.borrow_mut().sample(false);
            }
        }
        Ok(())
    }

    /// A target touches more pages than may be recorded one by one.
    pub fn sample(&mut self, slot: u32) {
        if let Some(followed) = self.targets.get_mut(&slot) {
            followed.sample();
        }
    }

    /// Forgets a target that has ended.
    pub fn forget(&mut self, slot: u32) {
        self.targets.remove(&slot);
    }

    /// A target has ended.
    pub fn leave(&mut self, kernel: &mut Kernel, slot: u32) {
        self.read(kernel);
        if let Some(followed) = self.targets.get_mut(&slot) {
            followed.faults = None;
        }
    }

    /// Takes in what has happened.
    pub fn read(&mut self, kernel: &mut Kernel) {
        while let Some(event) = kernel.next_page_event() {
            match self.targets.get_mut(&event.process) {
                Some(followed) => followed.take_in(&event),
                None if self.early.len() < MAX_EARLY => self.early.push(event),
                None => {}
            }
        }
    }

    /// Page faults of a target that were recorded.
    #[must_use]
    pub fn told(&self, slot: u32) -> u64 {
        self.targets.get(&slot).map_or(0, |followed| followed.told)
    }

    /// The RSS of a target has been looked at.
    pub fn note_look(&mut self, slot: u32, memory: MemoryUse) {
        if let Some(followed) = self.targets.get_mut(&slot) {
            followed.note_look(memory);
        }
    }

    /// A target has ended: from now on it is how it was when it had most in its last seconds; returns
    /// how much that was, if it was not known yet.
    pub fn go_back(&mut self, slot: u32) -> Option<MemoryUse> {
        self.targets.get_mut(&slot)?.go_back()
    }

    /// The RSS of a target is known as of now.
    pub fn catch_up(&mut self, slot: u32) {
        if let Some(followed) = self.targets.get_mut(&slot) {
            followed.catch_up();
        }
    }

    /// Whose the pages of a target were when its RSS was looked at.
    #[must_use]
    pub fn owners(&self, slot: u32) -> Option<&Owners> {
        self.targets.get(&slot).map(|followed| &followed.owners)
    }

    /// Whose they are now.
    #[must_use]
    pub fn owners_now(&self, slot: u32) -> Option<Owners> {
        let Followed { owners, since, .. } = self.targets.get(&slot)?;
        let mut owners = owners.clone();
        for event in since {
            owners.apply(event);
        }
        Some(owners)
    }
}

/// The events of all threads of a process.
fn watched(kernel: &mut Kernel, process: &Process, follows: bool) -> Result<Faults> {
    let mut faults = Faults::new(follows);
    for _ in 0..PASSES {
        let threads: Vec<_> = process.threads()?.iter().map(|thread| thread.id).collect();
        kernel.watch_faults(&mut faults, &threads)?;
    }
    Ok(faults)
}

impl Followed {
    fn take_in(&mut self, event: &Event) {
        if event.kind == kind::TOUCHED {
            self.told += 1;
            self.recent = self.recent.saturating_add(event.detail);
        }
        self.since.push_back(*event);
        if self.since.len() >= MAX_SINCE {
            self.catch_up();
        }
    }

    fn adapt(&mut self, kernel: &mut Kernel, slot: u32) -> Result<()> {
        if self.faults.is_none() {
            return Ok(());
        }
        let counts = kernel.faults(slot)?;
        let few = self.recent <= REFILL && counts.skipped == 0;
        self.calm = if few { self.calm.saturating_add(1) } else { 0 };
        self.recent = 0;
        if counts.skipped > 0 {
            // The kernel has said so; this is for the case that it went unheard.
            self.sample();
        }
        kernel.allow_faults(slot, counts.allowed.saturating_add(REFILL).min(BURST))
    }

    fn sample(&mut self) {
        self.calm = 0;
        if let Some(faults) = &self.faults {
            faults.borrow_mut().sample(true);
        }
    }
}
