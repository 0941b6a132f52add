//! Folds what the kernel counted, in numbers, into a profile, in names.

mod names;
mod notes;
mod pages;

use std::{
    collections::HashMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Result;
use memtrace_abi::{
    allocation::{OBJECT, StackKey, Totals},
    frame::{Frame as Packed, Gap},
    loss::Loss as Counted,
    process::ProcessTotals,
};

use super::{
    Detail,
    codes::Codes,
    fragmentation::{Fragmentation, Owner},
    history::History,
    residence::Settled,
    target::Target,
    tracer::Resident,
};
use crate::{
    kernel::{Kernel, Stacks},
    objects::Objects,
    process::host,
    profile::{
        self, Amount, Amounts, Builder, Calls, Cost, Frame, Group, Loss, Process, Profile, Session,
        Timeline,
    },
    report::units::{Size, Things},
};

pub use self::names::Names;

/// What the session knows besides the kernel's numbers.
pub struct Context<'tracer> {
    /// The mapped files.
    pub objects: &'tracer Objects,
    /// The processes that the profile is about, in its order.
    pub targets: Vec<&'tracer Target>,
    /// The Python functions.
    pub codes: &'tracer Codes,
    /// What was seen of them while they were traced.
    pub history: &'tracer History,
    /// Memory over time.
    pub timeline: Timeline,
    /// What they had in memory at the end.
    pub resident: Resident,
    /// Whose that is, by process slot.
    pub pages: Vec<(u32, Settled)>,
    /// The control groups of the processes, with their places in the profile.
    pub groups: Vec<Group>,
    /// What else the reader must know.
    pub notes: Vec<String>,
    /// Who pins free memory, by process slot.
    pub heaps: Vec<(u32, Fragmentation)>,
    /// What tracing cost.
    pub cost: Cost,
    /// How much was recorded.
    pub detail: Detail,
    /// Bytes between samples.
    pub sample_interval: u64,
    /// How long tracing lasted.
    pub duration: Duration,
    /// When it began.
    pub started: SystemTime,
    /// How long the tracer had been running then.
    pub since: Duration,
}

/// The kernel's numbers, and what gives them names.
pub struct Recorded<'tracer> {
    context: Context<'tracer>,
    /// Places of the processes in the profile, by slot.
    indices: HashMap<u32, u32>,
    totals: Vec<(StackKey, Totals)>,
    stacks: Stacks,
    processes: HashMap<u32, ProcessTotals>,
    losses: Vec<(Counted, u64)>,
}

/// Frames by name. Many stacks share few, and to name one costs far more than to look it up.
struct Frames<'recorded> {
    recorded: &'recorded Recorded<'recorded>,
    names: &'recorded Names,
    /// Their numbers in the profile; `None`: others stand for it.
    known: HashMap<u64, Option<u32>>,
}

impl Frames<'_> {
    /// Those of a stack of the process in a slot, outermost first; `None` if it was not recorded.
    fn of(&mut self, builder: &mut Builder, slot: u32, stack: u64) -> Option<Vec<u32>> {
        let target = self.recorded.target(slot)?;
        let packed = self.recorded.stacks.frames(stack)?;
        let index = |packed| {
            let frame = locate(target, Packed::unpack(packed));
            let name = || self.recorded.frame(frame, self.names);
            let known = self.known.entry(frame.pack());
            *known.or_insert_with(|| name().map(|frame| builder.intern(frame)))
        };
        Some(packed.into_iter().rev().filter_map(index).collect())
    }
}

impl<'tracer> Recorded<'tracer> {
    /// Reads everything about the processes from the kernel.
    pub fn read(kernel: &Kernel, context: Context<'tracer>) -> Result<Self> {
        let totals_of = |target: &&Target| Ok((target.slot, kernel.process_totals(target.slot)?));
        let processes: Result<_> = context.targets.iter().map(totals_of).collect();
        let indices: HashMap<_, _> =
            context.targets.iter().map(|target| target.slot).zip(0..).collect();
        let mut totals = Vec::new();
        kernel.visit_totals(|key, of_stack| {
            if indices.contains_key(&key.process) {
                totals.push((key, of_stack));
            }
        })?;
        Ok(Self {
            totals,
            indices,
            stacks: kernel.stacks()?,
            processes: processes?,
            losses: kernel.losses()?,
            context,
        })
    }

    /// The profile.
    #[must_use]
    pub fn into_profile(mut self, names: &Names) -> Profile {
        let mut builder = Builder::new(self.session(names));
        for target in &self.context.targets {
            let totals = self.processes.get(&target.slot).copied().unwrap_or_default();
            builder.add_process(self.process(target, &totals));
        }
        let mut frames = Frames { recorded: &self, names, known: HashMap::new() };
        self.fold_stacks(&mut builder, &mut frames);
        self.fold_inheritances(&mut builder, &mut frames);
        self.fold_pages(&mut builder, &mut frames);
        self.fold_heaps(&mut builder, &mut frames);
        let mut profile = builder.finish();
        profile.losses = self.losses.iter().map(|(loss, count)| explain(*loss, *count)).collect();
        profile.notes = self.notes(names);
        profile.segments = std::mem::take(&mut self.context.resident.segments);
        profile.groups = self.context.groups;
        profile.timeline = self.context.timeline;
        profile
    }

    fn fold_stacks(&self, builder: &mut Builder, frames: &mut Frames<'_>) {
        for (key, totals) in &self.totals {
            let Some(process) = self.processes.get(&key.process) else { continue };
            let Some(index) = self.index(key.process) else { continue };
            let frames = frames
                .of(builder, key.process, key.stack)
                .unwrap_or_else(|| vec![builder.intern(unrecorded())]);
            let absent = self.context.resident.absent.get(&key.process);
            let absent = absent.and_then(|stacks| stacks.get(&key.stack));
            let absent = absent.copied().unwrap_or_default();
            let amounts = Amounts { absent, ..amounts(totals, process.epoch()) };
            builder.add_stack(index, frames, amounts);
        }
    }

    /// The index in the profile of the process in a slot.
    fn index(&self, slot: u32) -> Option<u32> {
        self.indices.get(&slot).copied()
    }

    /// The process in a slot.
    fn target(&self, slot: u32) -> Option<&Target> {
        self.context.targets.get(self.index(slot)? as usize).copied()
    }

    fn fold_inheritances(&self, builder: &mut Builder, frames: &mut Frames<'_>) {
        let inherited = |amount| Amounts { inherited: amount, ..Amounts::default() };
        for (index, target) in self.context.targets.iter().enumerate() {
            let Some(inheritance) = &target.inheritance else { continue };
            for (stack, (bytes, objects)) in &inheritance.stacks {
                let frames = frames
                    .of(builder, target.slot, *stack)
                    .unwrap_or_else(|| vec![builder.intern(unrecorded())]);
                builder.add_stack(index as u32, frames, inherited(amount(*bytes, *objects)));
            }
        }
    }

    fn fold_heaps(&self, builder: &mut Builder, frames: &mut Frames<'_>) {
        let heaps = self.context.heaps.iter();
        for (slot, (owner, amount)) in
            heaps.flat_map(|(slot, heap)| heap.owners.iter().map(move |owner| (*slot, owner)))
        {
            let Some(index) = self.index(slot) else { continue };
            let frames = match owner {
                Owner::Stack(stack) => frames.of(builder, slot, *stack),
                _ => None,
            };
            let frames = frames.unwrap_or_else(|| vec![builder.intern(self.origin(*owner))]);
            let amounts = Amounts { fragmentation: *amount, ..Amounts::default() };
            builder.add_stack(index, frames, amounts);
        }
    }

    /// The frame that stands for memory without a stack.
    fn origin(&self, owner: Owner) -> Frame {
        let unseen = match self.context.sample_interval {
            0 => "before attach",
            _ => "before attach or not sampled",
        };
        let what = match owner {
            Owner::Stack(_) => "stack not recorded: the table was full".to_owned(),
            Owner::Unseen(size) => {
                format!("{unseen}: blocks of {} to {}", Size(size), Size(2 * size))
            }
            Owner::Allocator => "malloc's own data".to_owned(),
        };
        Frame::Origin { what }
    }

    /// A frame; `None` if others stand for it.
    fn frame(&self, packed: Packed, names: &Names) -> Option<Frame> {
        match packed {
            // Its Python frames stand for it.
            Packed::Native { evaluator: true, .. } => None,
            Packed::Native { object, address, .. } => Some(self.native(object, address, names)),
            Packed::Python { code, instruction } => self.context.codes.frame(code, instruction),
            Packed::Unmapped { address } => {
                Some(Frame::Native { symbol: None, module: None, address, location: None })
            }
            Packed::Incomplete(gap) => Some(Frame::Gap { reason: reason(gap) }),
        }
    }

    fn native(&self, object: u32, address: u64, names: &Names) -> Frame {
        Frame::Native {
            symbol: names.name(object, address),
            module: names.module(self.context.objects, object),
            address,
            location: None,
        }
    }

    fn session(&self, names: &Names) -> Session {
        let since_epoch = self.context.started.duration_since(UNIX_EPOCH).unwrap_or_default();
        Session {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started: since_epoch.as_secs(),
            duration: self.context.duration,
            command_line: std::env::args().collect::<Vec<_>>().join(" "),
            host: host::name(),
            kernel: host::kernel(),
            detail: self.context.detail.name().to_owned(),
            sample_interval_bytes: self.context.sample_interval,
            symbolized: names.by_object.is_some(),
            cost: self.context.cost.clone(),
        }
    }

    fn process(&self, target: &Target, totals: &ProcessTotals) -> Process {
        let status = target.status.as_ref();
        let decomposition = self.context.resident.decompositions.get(&target.slot);
        let seen = status.map(|status| status.memory.resident);
        let consisted = decomposition.filter(|_| target.ended.is_none());
        let resident = consisted.map(|known| known.resident).or(seen);
        // They are read one after the other, and the process may have grown in between.
        let highest = status.map(|status| status.memory.peak_resident).max(resident);
        let peak_at = (totals.peak_time > 0).then(|| self.since_start(totals.peak_time));
        Process {
            pid: target.pid,
            parent: target.parent,
            role: profile::role(&target.command, target.forked_from.as_deref()),
            place: target.place.clone(),
            comm: target.comm.clone(),
            command_line: target.command.clone(),
            python: target.python.clone(),
            amounts: self.counted(target.slot, totals),
            heap: self.heap(target.slot).map(|heap| heap.heap.clone()),
            residence: self.settled(target.slot).map(|settled| settled.residence),
            peak_at,
            calls: Calls {
                allocations: totals.allocations,
                releases: totals.releases,
                unknown_releases: totals.unknown_releases,
                failures: totals.failures,
            },
            rss_bytes: resident,
            highest_rss_bytes: highest,
            sharing: self.context.history.sharing(target.slot),
            usual_rss_bytes: self.context.history.usual(target.slot),
            decomposition: decomposition.cloned(),
            at_peak: self.context.history.at_peak(target.slot, totals),
            shed: target.shed.map(|shed| shed.since(self.context.since)),
            began: target.began.saturating_sub(self.context.since),
            ended: target.ended.map(|time| time.saturating_sub(self.context.since)),
        }
    }

    /// What a process has, without regard to stacks.
    fn counted(&self, slot: u32, totals: &ProcessTotals) -> Amounts {
        let (peak_bytes, peak_objects) = totals.peak();
        let settled = self.settled(slot);
        let absent = self.context.resident.absent.get(&slot).into_iter().flatten();
        Amounts {
            live: amount(totals.live_bytes, totals.live_objects),
            peak: amount(peak_bytes, peak_objects),
            allocated: amount(totals.allocated_bytes, totals.allocated_objects),
            absent: absent.map(|(_, amount)| *amount).sum(),
            resident: settled.map(Settled::total).unwrap_or_default(),
            shared: settled.map(Settled::shared).unwrap_or_default(),
            fragmentation: self.heap(slot).map_or_else(Amount::default, pinned),
            inherited: amount(totals.inherited_bytes, totals.inherited_objects),
        }
    }

    fn heap(&self, slot: u32) -> Option<&Fragmentation> {
        self.context.heaps.iter().find(|(process, _)| *process == slot).map(|(_, heap)| heap)
    }

    /// From a time since boot to one since tracing began.
    fn since_start(&self, boot_nanoseconds: u64) -> Duration {
        let now = host::time_since_boot();
        let ago = now.saturating_sub(Duration::from_nanos(boot_nanoseconds));
        let elapsed = self.context.started.elapsed().unwrap_or_default();
        elapsed.saturating_sub(ago)
    }

    fn notes(&self, names: &Names) -> Vec<String> {
        let doubts = self.context.objects.iter().flat_map(|known| &known.doubts);
        let of_targets = self.context.targets.iter().flat_map(|target| &target.notes);
        notes::once_each(
            self.context.notes.iter().chain(of_targets).chain(doubts).chain(&names.notes),
        )
    }
}

/// A frame of code that nobody knew yet is in a file that became known later.
fn locate(target: &Target, frame: Packed) -> Packed {
    match frame {
        Packed::Unmapped { address } => target.code_at(address).map_or(frame, |mapping| {
            let address = address.wrapping_add(mapping.bias);
            Packed::Native { object: mapping.object, address, evaluator: false }
        }),
        _ => frame,
    }
}

/// Stands for the frames of a stack that was not stored.
fn unrecorded() -> Frame {
    Frame::Gap { reason: "stack not recorded: the table was full".to_owned() }
}

fn amounts(totals: &Totals, epoch: u64) -> Amounts {
    let (peak_bytes, peak_objects) = totals.at_peak(epoch);
    Amounts {
        live: amount(totals.live_bytes, totals.live_objects),
        peak: amount(peak_bytes, peak_objects),
        allocated: amount(totals.allocated_bytes, totals.allocated_objects),
        ..Amounts::default()
    }
}

/// Everything that is pinned in a heap.
fn pinned(heap: &Fragmentation) -> Amount {
    heap.owners.iter().map(|(_, amount)| *amount).sum()
}

fn amount(bytes: u64, objects: u64) -> Amount {
    Amount { bytes, objects: objects.saturating_add(OBJECT / 2) / OBJECT }
}

fn explain(loss: Counted, count: u64) -> Loss {
    let (noun, rest) = loss.what();
    let what = format!("{} {rest}", Things(count, noun).name());
    Loss { what, count, advice: loss.advice().to_owned() }
}

fn reason(gap: u32) -> String {
    let gap = Gap::ALL.into_iter().find(|known| *known as u32 == gap);
    format!("incomplete: {}", gap.map_or("unknown reason", Gap::what))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_told_in_the_right_number() {
        let what = |count| explain(Counted::ReturnWithoutCall, count).what;
        assert_eq!(what(1), "return from allocator calls that began before tracing");
        assert_eq!(what(2), "returns from allocator calls that began before tracing");
        assert!(explain(Counted::ProcessesFull, 3).what.starts_with("processes not"));
    }
}
