//! Folds what the kernel counted, in numbers, into a profile, in names.

use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
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
    codes::Codes,
    fragmentation::{Fragmentation, Owner},
    target::Target,
};
use crate::{
    kernel::{Kernel, Stacks},
    objects::Objects,
    process::host,
    profile::{Amount, Amounts, Builder, Calls, Cost, Frame, Loss, Process, Profile, Session},
    report::units::Size,
    symbolize::Resolver,
};

/// What the session knows besides the kernel's numbers.
pub struct Context {
    /// The mapped files.
    pub objects: Objects,
    /// The traced processes.
    pub targets: Vec<Target>,
    /// The Python functions.
    pub codes: Codes,
    /// What else the reader must know.
    pub notes: Vec<String>,
    /// Who pins free memory, by process slot.
    pub heaps: Vec<(u32, Fragmentation)>,
    /// What tracing cost.
    pub cost: Cost,
    /// Bytes between samples.
    pub sample_interval: u64,
    /// How long tracing lasted.
    pub duration: Duration,
    /// When it began.
    pub started: SystemTime,
}

/// The kernel's numbers, and what gives them names.
pub struct Recorded {
    context: Context,
    totals: Vec<(StackKey, Totals)>,
    stacks: Stacks,
    processes: Vec<ProcessTotals>,
    losses: Vec<(Counted, u64)>,
}

/// Addresses of one object that need names.
pub struct Unresolved {
    object: u32,
    path: PathBuf,
    addresses: Vec<u64>,
}

/// Names of native functions, by object and address.
pub struct Names(Option<HashMap<u32, HashMap<u64, String>>>);

impl Names {
    /// No names: frames show as addresses.
    #[must_use]
    pub const fn none() -> Self {
        Self(None)
    }

    /// Looks the names up. Takes a while for large libraries.
    #[must_use]
    pub fn resolve(unresolved: Vec<Unresolved>) -> Self {
        let resolver = Resolver::default();
        let names = unresolved.into_iter().map(|Unresolved { object, path, addresses }| {
            (object, resolver.names(&path, &addresses))
        });
        Self(Some(names.collect()))
    }

    fn name(&self, object: u32, address: u64) -> Option<String> {
        self.0.as_ref()?.get(&object)?.get(&address).cloned()
    }
}

impl Recorded {
    /// Reads everything from the kernel.
    pub fn read(kernel: &Kernel, context: Context) -> Result<Self> {
        let processes: Result<_> =
            context.targets.iter().map(|target| kernel.process_totals(target.slot)).collect();
        Ok(Self {
            totals: kernel.totals()?,
            stacks: kernel.stacks()?,
            processes: processes?,
            losses: kernel.losses()?,
            context,
        })
    }

    /// The native addresses in all stacks.
    #[must_use]
    pub fn unresolved(&self) -> Vec<Unresolved> {
        let mut addresses: HashMap<u32, HashSet<u64>> = HashMap::new();
        let stacks = self.totals.iter().filter_map(|(key, _)| self.stacks.frames(key.stack));
        for frame in stacks.flatten() {
            if let Packed::Native { object, address, .. } = Packed::unpack(frame) {
                addresses.entry(object).or_default().insert(address);
            }
        }
        let with_path = addresses.into_iter().filter_map(|(object, addresses)| {
            let path = self.context.objects.known(object)?.open_path()?;
            Some(Unresolved { object, path, addresses: addresses.into_iter().collect() })
        });
        with_path.collect()
    }

    /// The profile.
    #[must_use]
    pub fn into_profile(self, names: &Names) -> Profile {
        let mut builder = Builder::new(self.session(names));
        for (target, totals) in self.context.targets.iter().zip(&self.processes) {
            builder.add_process(self.process(target, totals));
        }
        for (key, totals) in &self.totals {
            let Some(process) = self.processes.get(key.process as usize) else { continue };
            let frames = self.frames(key.stack, names);
            let frames = frames.into_iter().map(|frame| builder.intern(frame)).collect();
            builder.add_stack(key.process, frames, amounts(totals, process.epoch()));
        }
        for (process, heap) in &self.context.heaps {
            for (owner, amount) in &heap.owners {
                let frames = self.owner(*owner, names);
                let frames = frames.into_iter().map(|frame| builder.intern(frame)).collect();
                let amounts = Amounts { fragmentation: *amount, ..Amounts::default() };
                builder.add_stack(*process, frames, amounts);
            }
        }
        let mut profile = builder.finish();
        profile.losses = self.losses.iter().map(|(loss, count)| explain(*loss, *count)).collect();
        profile.notes = self.notes();
        profile
    }

    /// The frames that stand for who pins memory.
    fn owner(&self, owner: Owner, names: &Names) -> Vec<Frame> {
        let origin = |what: String| Frame::Origin { what };
        let unseen = match self.context.sample_interval {
            0 => "before attach",
            _ => "before attach or not sampled",
        };
        match owner {
            Owner::Stack(stack) => self.frames(stack, names),
            Owner::Unseen(size) => {
                let (from, to) = (Size(size), Size(2 * size));
                vec![origin(format!("{unseen}: blocks of {from} to {to}"))]
            }
            Owner::Allocator => vec![origin("malloc's own data".to_owned())],
        }
    }

    /// The frames of a stack, outermost first.
    fn frames(&self, stack: u64, names: &Names) -> Vec<Frame> {
        let Some(packed) = self.stacks.frames(stack) else {
            return vec![Frame::Gap {
                reason: "stack not recorded: the table was full".to_owned(),
            }];
        };
        let frames = packed.into_iter().filter_map(|packed| match Packed::unpack(packed) {
            // Its Python frames stand for it.
            Packed::Native { evaluator: true, .. } => None,
            Packed::Native { object, address, .. } => Some(self.native(object, address, names)),
            Packed::Python { code, instruction } => self.context.codes.frame(code, instruction),
            Packed::Unmapped { address } => {
                Some(Frame::Native { symbol: None, module: None, address, location: None })
            }
            Packed::Incomplete(gap) => Some(Frame::Gap { reason: reason(gap) }),
        });
        let mut frames: Vec<_> = frames.collect();
        frames.reverse();
        frames
    }

    fn native(&self, object: u32, address: u64, names: &Names) -> Frame {
        Frame::Native {
            symbol: names.name(object, address),
            module: self.context.objects.known(object).map(crate::objects::Known::name),
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
            detail: "full".to_owned(),
            sample_interval_bytes: self.context.sample_interval,
            symbolized: names.0.is_some(),
            cost: self.context.cost.clone(),
        }
    }

    fn process(&self, target: &Target, totals: &ProcessTotals) -> Process {
        let status = target.status.as_ref();
        let (peak_bytes, peak_objects) = totals.peak();
        let peak_at = (totals.peak_time > 0).then(|| self.since_start(totals.peak_time));
        Process {
            pid: target.pid(),
            comm: target.comm.clone(),
            command_line: target.command.clone(),
            python: target.python.clone(),
            amounts: Amounts {
                live: amount(totals.live_bytes, totals.live_objects),
                peak: amount(peak_bytes, peak_objects),
                allocated: amount(totals.allocated_bytes, totals.allocated_objects),
                fragmentation: self.heap(target.slot).map_or_else(Amount::default, pinned),
            },
            heap: self.heap(target.slot).map(|heap| heap.heap.clone()),
            peak_at,
            calls: Calls {
                allocations: totals.allocations,
                releases: totals.releases,
                unknown_releases: totals.unknown_releases,
                failures: totals.failures,
            },
            // What it had when last seen says nothing about its end.
            rss_bytes: status.filter(|_| target.ended.is_none()).map(|s| s.memory.resident),
            ended: target.ended,
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

    fn notes(&self) -> Vec<String> {
        let doubts = self.context.objects.iter().flat_map(|known| &known.doubts);
        let of_targets = self.context.targets.iter().flat_map(|target| &target.notes);
        self.context.notes.iter().chain(of_targets).chain(doubts).cloned().collect()
    }
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
    Loss { what: loss.what().to_owned(), count, advice: loss.advice().to_owned() }
}

fn reason(gap: u32) -> String {
    let reason = match Gap::ALL.into_iter().find(|known| *known as u32 == gap) {
        Some(Gap::TooDeep) => "the stack is deeper than 512 frames",
        Some(Gap::NoRow) => "no unwind information",
        Some(Gap::Unsupported) => "unwind information of an unsupported kind",
        Some(Gap::Unreadable) => "stack memory could not be read",
        Some(Gap::NoProgress) => "unwind information leads nowhere",
        Some(Gap::Python) => "a Python frame could not be read",
        Some(Gap::Unmapped) => "code outside every known file",
        None => "unknown reason",
    };
    format!("incomplete: {reason}")
}
