//! The loaded kernel object: the only module that knows aya, and the names of programs and maps.

mod batch;
mod btf;
mod calibration;
mod counts;
mod event;
mod faults;
mod features;
mod inherited;
pub mod inventory;
mod kills;
mod log;
mod memory;
mod pages;
mod probes;
mod programs;
mod recycle;
mod tables;
mod threads;
mod times;

use std::{fs, mem, os::fd::AsFd as _, process};

use anyhow::{Context as _, Result, anyhow};
use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, HashMap, Map, MapData, Queue},
};
use aya_log::EbpfLogger;
use memtrace_abi::{
    allocation::{Allocation, Place, StackKey, Totals},
    loss::Loss,
    mapping::Mapping,
    pages::{Event as PageEvent, Faults as FaultCounts},
    process::{Process, ProcessTotals, state},
};

use self::{
    batch::Entries, btf::Btf, counts::Counts, inherited::Definitions, log::Printer, pages::Pages,
    tables::Tables,
};
pub use self::{
    calibration::Calibration,
    counts::Stacks,
    event::{Event, Events},
    faults::Faults,
    features::{Feature, State, Unsupported, probe as probe_features, require as require_features},
    inherited::{Inherited, is_kept as children_keep_probes, set_apart},
    kills::{Kills, tracepoints as kill_tracepoints},
    log::Log,
    probes::{Detaching, Point, Probe, detach},
    tables::Full,
    threads::Threads,
    times::ProgramTimes,
};
use crate::{attach::plan::Program, unwind::UnwindTable};

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/memtrace-ebpf"));
const BTF: &str = "/sys/kernel/btf/vmlinux";
const TYPES: &str = "type information (BTF)";
const TYPES_REMEDY: &str = "a kernel built with CONFIG_DEBUG_INFO_BTF=y";

/// How large the maps are, and what is recorded.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Live allocations that can be told apart.
    pub max_live: u32,
    /// Distinct stacks, roughly: chunks of stacks, and totals.
    pub max_stacks: u32,
    /// Rows of unwind tables.
    pub max_rows: u32,
    /// Bytes between samples; 0 records every allocation.
    pub sample_interval: u64,
}

/// The programs and maps live as long as this does; so do the attached probes, at most.
pub struct Kernel {
    ebpf: Ebpf,
    tables: Tables,
    counts: Counts,
    allocations: Entries<Place, Allocation>,
    processes: Array<MapData, Process>,
    slots: HashMap<MapData, u32, u32>,
    free_slots: Queue<MapData, u32>,
    definitions: Option<Definitions>,
    caught_up: Array<MapData, u64>,
    /// How often code was given up, and where.
    given_up: Array<MapData, [u64; 3]>,
    pages: Pages,
    /// Probes that have measured what they were to measure.
    spent: Vec<Probe>,
}

impl Kernel {
    /// Loads the object and starts watching the lives of processes; no process is traced yet.
    pub fn load(options: &Options) -> Result<Self> {
        let structures = Structures::read()
            .context(Unsupported::Missing { feature: TYPES, remedy: TYPES_REMEDY })?;
        let mut ebpf = EbpfLoader::new()
            .map_max_entries("LIVE", options.max_live)
            .map_max_entries("TOTALS", options.max_stacks)
            .map_max_entries("STACKS", options.max_stacks.saturating_mul(2))
            .map_max_entries("ROWS", options.max_rows.div_ceil(2))
            .load(OBJECT)
            .context("load the kernel object")?;
        write(&mut ebpf, "SAMPLE_INTERVAL", options.sample_interval)?;
        write(&mut ebpf, "FS_BASE_OFFSET", structures.fs_base)?;
        write(&mut ebpf, "TASK_OFFSETS", structures.task)?;
        write(&mut ebpf, "LOADER", process::id())?;
        programs::load(&mut ebpf)?;
        programs::watch_all(&mut ebpf)?;
        Ok(Self {
            tables: Tables::take(&mut ebpf)?,
            counts: Counts::take(&mut ebpf)?,
            allocations: Entries::take(&mut ebpf, "LIVE")?,
            processes: take(&mut ebpf, "PROCESSES")?,
            slots: take(&mut ebpf, "PROCESS_SLOTS")?,
            free_slots: all_slots(&mut ebpf)?,
            definitions: None,
            caught_up: take(&mut ebpf, "CAUGHT_UP")?,
            given_up: take(&mut ebpf, "GIVEN_UP")?,
            pages: Pages::take(&mut ebpf)?,
            spent: Vec::new(),
            ebpf,
        })
    }

    /// The events. Can be taken once.
    pub fn events(&mut self) -> Result<Events> {
        take(&mut self.ebpf, "EVENTS").map(Events)
    }

    /// What the programs themselves have to say. Can be taken once.
    pub fn log(&mut self, verbose: bool) -> Result<Log> {
        let log = EbpfLogger::init_with_logger(&mut self.ebpf, Printer { verbose });
        log.map(Log).context("read the kernel programs' log")
    }

    /// Adds the unwind table of an object.
    pub fn add_table(&mut self, object: u32, table: &UnwindTable) -> Result<(), Full> {
        self.tables.add(object, table)
    }

    /// Unwind rows in use, and room for them.
    #[must_use]
    pub fn row_usage(&self) -> (usize, usize) {
        self.tables.row_usage()
    }

    /// Writes the executable mappings of a slot, sorted by address; returns
    /// [`Process::mappings`].
    pub fn write_mappings(&mut self, slot: u32, mappings: &[Mapping]) -> Result<u64> {
        self.tables.write_mappings(slot, mappings)
    }

    /// How often the process in a slot has given up code; to be asked before its mappings are read.
    pub fn code_given_up(&self, slot: u32) -> Result<u64> {
        let [times, ..] =
            self.given_up.get(&slot, 0).context("read how often code was given up")?;
        Ok(times)
    }

    /// Writes what the programs are to know about a slot.
    pub fn write_process(&mut self, slot: u32, process: &Process) -> Result<()> {
        self.processes.set(slot, process, 0).context("write a process slot")
    }

    /// Lets the thread go on that has changed the libraries of a slot for the nth time.
    pub fn catch_up(&mut self, slot: u32, change: u64) -> Result<()> {
        self.caught_up.set(slot, change, 0).context("let a thread go on")
    }

    /// Stops the recording of a slot, at once and for good.
    pub fn stop(&mut self, slot: u32) -> Result<()> {
        let mut process = self.processes.get(&slot, 0).context("read a process slot")?;
        let is_frozen = process.state == state::FROZEN;
        process.state = if is_frozen { state::FROZEN } else { state::IDLE };
        self.write_process(slot, &process)
    }

    /// Stops the recording of live memory of a slot; what happens to its pages is still recorded.
    pub fn stop_live(&mut self, slot: u32) -> Result<()> {
        let mut process = self.processes.get(&slot, 0).context("read a process slot")?;
        process.state = state::SHED;
        self.write_process(slot, &process)
    }

    /// From now on the kernel tells of every process that executes a program.
    pub fn tell_of_programs(&mut self) -> Result<()> {
        write(&mut self.ebpf, "SEARCHES", 1_u32)
    }

    /// Lets the end of a process be seen.
    pub fn watch_process(&mut self, process_id: u32, slot: u32) -> Result<()> {
        self.slots.insert(process_id, slot, 0).context("write a process id")
    }

    /// The slot of a process, if it has one.
    #[must_use]
    pub fn watched(&self, process_id: u32) -> Option<u32> {
        self.slots.get(&process_id, 0).ok()
    }

    /// Whether a process is still what it was when [`Kernel::watch_process`] was called.
    #[must_use]
    pub fn is_watched(&self, process_id: u32, slot: u32) -> bool {
        self.watched(process_id) == Some(slot)
    }

    /// A slot for a process.
    pub fn take_slot(&mut self) -> Result<u32> {
        // The only reason, and the map's words for it say less.
        self.free_slots.pop(0).map_err(|_| anyhow!("no room for another process"))
    }

    /// Takes note of where a forked child's mappings are, which are its parent's.
    pub fn adopt_mappings(&mut self, slot: u32) -> Result<()> {
        let process = self.processes.get(&slot, 0).context("read a process slot")?;
        self.tables.adopt_mappings(slot, process.mappings);
        Ok(())
    }

    /// Gives up the mappings of a process that has ended.
    pub fn forget_mappings(&mut self, slot: u32) {
        self.tables.forget_mappings(slot);
    }

    /// Makes [`Kernel::attach_inherited`] possible.
    pub fn prepare_inheritance(&mut self) -> Result<()> {
        self.definitions = Some(Definitions::open()?);
        Ok(())
    }

    /// Attaches a probe that children inherit.
    pub fn attach_inherited(&mut self, program: Program, point: Point<'_>) -> Result<Inherited> {
        let name = probes::program_name(program);
        let loaded = self.ebpf.program(name).with_context(|| format!("no program {name}"))?;
        let fd = loaded.fd().context("find the program")?.as_fd();
        let definitions = self.definitions.as_mut().context("probes cannot be inherited")?;
        definitions.attach(fd, program == Program::AllocationReturn, point)
    }

    /// Attaches one probe.
    pub fn attach(&mut self, program: Program, point: Point<'_>) -> Result<Probe> {
        probes::attach(&mut self.ebpf, probes::program_name(program), point)
    }

    /// Attaches a program that does nothing where `program` would run: for benchmarks.
    pub fn attach_empty(&mut self, program: Program, point: Point<'_>) -> Result<Probe> {
        probes::attach(&mut self.ebpf, probes::empty_program_name(program), point)
    }

    /// Measures what probes cost on this machine.
    pub fn calibrate(&mut self) -> Result<Calibration> {
        let (calibration, probes) =
            calibration::measure(&mut self.ebpf).context("measure the cost of probes")?;
        self.spent.extend(probes);
        Ok(calibration)
    }

    /// Probes that are of no use any more, to be detached with the others.
    pub fn spent_probes(&mut self) -> Vec<Probe> {
        mem::take(&mut self.spent)
    }

    /// Begins to time the programs.
    pub fn time_programs(&self) -> Result<ProgramTimes> {
        ProgramTimes::start()
    }

    /// What is counted for a process slot.
    pub fn process_totals(&self, slot: u32) -> Result<ProcessTotals> {
        self.counts.process(slot)
    }

    /// Losses that happened so far.
    pub fn losses(&self) -> Result<Vec<(Loss, u64)>> {
        let mut losses = self.counts.losses()?;
        let skipped = programs::skipped(&self.ebpf)?;
        losses.extend((skipped > 0).then_some((Loss::ProgramSkipped, skipped)));
        Ok(losses)
    }

    /// Calls `visit` with the totals of every stack of every process.
    pub fn visit_totals(&self, visit: impl FnMut(StackKey, Totals)) -> Result<()> {
        self.counts.visit_totals(visit)
    }

    /// Calls `visit` with every live allocation of every process.
    pub fn visit_live(&self, visit: impl FnMut(Place, Allocation)) -> Result<()> {
        self.allocations.visit(visit).context("read the live allocations")
    }

    /// Puts the event of a page fault on threads that do not have it yet.
    pub fn watch_faults(&mut self, faults: &mut Faults, threads: &[u32]) -> Result<()> {
        faults.watch(&self.ebpf, threads)
    }

    /// The next thing that has happened to the memory of a process.
    pub fn next_page_event(&mut self) -> Option<PageEvent> {
        self.pages.next()
    }

    /// Page faults of a slot since more were allowed.
    pub fn faults(&self, slot: u32) -> Result<FaultCounts> {
        self.pages.faults(slot)
    }

    /// Lets as many more page faults of a slot be recorded.
    pub fn allow_faults(&mut self, slot: u32, allowed: u64) -> Result<()> {
        self.pages.allow(slot, allowed)
    }

    /// Says where the heap of a slot ends.
    pub fn set_heap_end(&mut self, slot: u32, end: u64) -> Result<()> {
        self.pages.set_heap_end(slot, end)
    }

    /// All stacks.
    pub fn stacks(&self) -> Result<Stacks> {
        self.counts.stacks()
    }

    /// Every program with the instructions that the verifier looked at.
    pub fn programs(&self) -> impl Iterator<Item = (&str, Option<u32>)> {
        verified(&self.ebpf)
    }
}

/// The loaded programs of an object, and the instructions that the verifier looked at, where the
/// kernel counts them (Linux 5.16).
fn verified(ebpf: &Ebpf) -> impl Iterator<Item = (&str, Option<u32>)> {
    ebpf.programs().filter_map(|(name, program)| {
        let info = program.info().ok()?;
        Some((name, info.verified_instruction_count()))
    })
}

/// Where the running kernel's structures have what the programs read.
struct Structures {
    fs_base: u64,
    /// Of a thread: `signal`, `real_parent`, `tgid`, `mm`; of its `signal`: `live`, `flags`.
    task: [u64; 6],
}

impl Structures {
    fn read() -> Result<Self> {
        let types = fs::read(BTF).with_context(|| format!("read {BTF}"))?;
        let types = Btf::parse(&types).with_context(|| format!("parse {BTF}"))?;
        let task = |field| types.offset("task_struct", &[field]);
        let signal = |field| types.offset("signal_struct", &[field]);
        Ok(Self {
            fs_base: types.offset("task_struct", &["thread", "fsbase"])?,
            task: [
                task("signal")?,
                task("real_parent")?,
                task("tgid")?,
                task("mm")?,
                signal("live")?,
                signal("flags")?,
            ],
        })
    }
}

/// The slots, none of which is in use.
fn all_slots(ebpf: &mut Ebpf) -> Result<Queue<MapData, u32>> {
    let map = ebpf.take_map("FREE_SLOTS").context("no map FREE_SLOTS in the object")?;
    let mut slots = Queue::try_from(map).context("open FREE_SLOTS")?;
    for slot in 0..memtrace_abi::process::MAX_PROCESSES {
        slots.push(slot, 0).context("fill FREE_SLOTS")?;
    }
    Ok(slots)
}

/// Sets the only entry of an array.
fn write<T: aya::Pod>(ebpf: &mut Ebpf, name: &str, value: T) -> Result<()> {
    let map = ebpf.map_mut(name).with_context(|| format!("no map {name} in the object"))?;
    let mut array: Array<_, T> = Array::try_from(map).with_context(|| format!("open {name}"))?;
    array.set(0, value, 0).with_context(|| format!("write {name}"))
}

fn take<M>(ebpf: &mut Ebpf, name: &str) -> Result<M>
where
    M: TryFrom<Map, Error = aya::maps::MapError>,
{
    let map = ebpf.take_map(name).with_context(|| format!("no map {name} in the object"))?;
    M::try_from(map).with_context(|| format!("map {name} has another type than expected"))
}
