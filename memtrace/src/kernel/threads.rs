//! Where the threads of a process are, without touching it: the registers of all threads at one
//! moment, and copies of the stacks of those that run.

use std::{
    fs::{self, File},
    io::Read as _,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use aya::{
    Btf as AyaBtf, Ebpf, EbpfLoader,
    maps::{HashMap, MapData, RingBuf},
    programs::{
        Iter, PerfEvent,
        perf_event::{PerfEventConfig, PerfEventScope, SamplePolicy, SoftwareEvent},
    },
};
use memtrace_abi::{
    python::Python,
    thread::{Fields, Sample, Standing, Subject},
};

use super::{BTF, OBJECT, btf::Btf, take, write};

/// Maps that matter only for tracing allocations, made as small as they can be.
const UNUSED: [&str; 18] = [
    "LIVE",
    "TOTALS",
    "STACKS",
    "MAPPINGS",
    "TABLES",
    "PAGES",
    "ROWS",
    "RULES",
    "RULE_CACHE",
    "HINTS",
    "GIVEN_UP",
    "THREADS",
    "CODES",
    "REPORTED",
    "PROCESSES",
    "FAULTS",
    "HEAP_ENDS",
    "MAPPING_ENDS",
];
/// Room for some twenty samples at once.
const SAMPLES_BYTES: u32 = 4 << 20;
/// A thread is sampled after this much time on a CPU; a tenth of it is the least that Linux allows.
const TICK: Duration = Duration::from_micros(100);
/// How often it is looked whether samples are there.
const PAUSE: Duration = Duration::from_micros(500);
/// A machine has fewer threads than this (`/proc/sys/kernel/pid_max` is at most 4 million).
const MAX_BYTES: u64 = (4 << 20) * size_of::<Standing>() as u64;

/// The kernel programs that look at the threads of one process.
pub struct Threads {
    ebpf: Ebpf,
    wanted: HashMap<MapData, u32, u32>,
    samples: RingBuf<MapData>,
}

impl Threads {
    /// Loads the programs for a process and its interpreter.
    pub fn load(process: u32, python: Python) -> Result<Self> {
        let mut loader = EbpfLoader::new();
        for map in UNUSED {
            loader.map_max_entries(map, 1);
        }
        let mut ebpf = loader
            .map_max_entries("EVENTS", 4096)
            .map_max_entries("PAGE_EVENTS", 4096)
            .map_max_entries("SAMPLES", SAMPLES_BYTES)
            .load(OBJECT)
            .context("load the kernel object")?;
        write(
            &mut ebpf,
            "SUBJECT",
            Subject { process: process.into(), fields: fields()?, python },
        )?;
        load_programs(&mut ebpf)?;
        Ok(Self {
            wanted: take(&mut ebpf, "TO_SAMPLE")?,
            samples: take(&mut ebpf, "SAMPLES")?,
            ebpf,
        })
    }

    /// The programs, and the instructions that the verifier looked at, where the kernel counts them.
    pub fn programs(&self) -> impl Iterator<Item = (&str, Option<u32>)> {
        super::verified(&self.ebpf)
    }

    /// Where each thread of the process is now. Takes no lock of the process.
    pub fn look(&mut self) -> Result<Vec<Standing>> {
        let program: &mut Iter = program(&mut self.ebpf, "thread_standings")?.try_into()?;
        let link = program.attach().context("iterate over threads")?;
        let file = program.take_link(link)?.into_file()?;
        read_standings(file).context("read the threads from the kernel")
    }

    /// Copies of the stacks of those of the threads that run within `patience`.
    pub fn sample(&mut self, threads: &[u32], patience: Duration) -> Result<Vec<Box<Sample>>> {
        let until = Instant::now() + patience;
        let mut samples = Vec::new();
        let program: &mut PerfEvent = program(&mut self.ebpf, "sample_thread")?.try_into()?;
        let mut links = Vec::new();
        for thread in threads {
            self.wanted.insert(*thread, 0, 0).context("ask for a sample")?;
            // The thread may have ended by now.
            links.extend(attach(program, *thread));
        }
        while samples.len() < links.len() && Instant::now() < until {
            thread::sleep(PAUSE);
            while let Some(record) = self.samples.next() {
                samples.extend(decode(&record));
            }
        }
        for link in links {
            program.detach(link).context("stop the clock of a thread")?;
        }
        for thread in threads {
            // It is not there any more if it has served.
            let _ = self.wanted.remove(thread);
        }
        Ok(samples)
    }
}

type Link = aya::programs::perf_event::PerfEventLinkId;

fn attach(program: &mut PerfEvent, thread: u32) -> Option<Link> {
    let clock = PerfEventConfig::Software(SoftwareEvent::TaskClock);
    let scope = PerfEventScope::OneProcess { pid: thread, cpu: None };
    let period = SamplePolicy::Period(TICK.as_nanos() as u64);
    program.attach(clock, scope, period, false).ok()
}

fn fields() -> Result<Fields> {
    let types = fs::read(BTF).with_context(|| format!("read {BTF}"))?;
    let types = Btf::parse(&types).with_context(|| format!("parse {BTF}"))?;
    let field = |name| types.offset("task_struct", &[name]);
    Ok(Fields {
        process: field("tgid")?,
        thread: field("pid")?,
        on_cpu: field("on_cpu")?,
        voluntary: field("nvcsw")?,
        involuntary: field("nivcsw")?,
        thread_pointer: types.offset("task_struct", &["thread", "fsbase"])?,
    })
}

fn load_programs(ebpf: &mut Ebpf) -> Result<()> {
    let types = AyaBtf::from_sys_fs().with_context(|| format!("read {BTF}"))?;
    let standings: &mut Iter = program(ebpf, "thread_standings")?.try_into()?;
    standings.load("task", &types).context("load the kernel program thread_standings")?;
    let sample: &mut PerfEvent = program(ebpf, "sample_thread")?.try_into()?;
    sample.load().context("load the kernel program sample_thread")
}

fn program<'ebpf>(ebpf: &'ebpf mut Ebpf, name: &str) -> Result<&'ebpf mut aya::programs::Program> {
    ebpf.program_mut(name).with_context(|| format!("no program {name} in the object"))
}

fn read_standings(file: File) -> Result<Vec<Standing>> {
    let mut bytes = Vec::new();
    file.take(MAX_BYTES).read_to_end(&mut bytes)?;
    let (records, _) = bytes.as_chunks::<{ size_of::<Standing>() }>();
    // SAFETY: a record is as long as a `Standing`, and every byte pattern is one.
    let decode = |record: &[u8; size_of::<Standing>()]| unsafe {
        record.as_ptr().cast::<Standing>().read_unaligned()
    };
    Ok(records.iter().map(decode).collect())
}

fn decode(record: &[u8]) -> Option<Box<Sample>> {
    if record.len() < size_of::<Sample>() {
        return None;
    }
    // SAFETY: all zeros are a valid sample.
    let mut sample: Box<Sample> = unsafe { Box::new_zeroed().assume_init() };
    // SAFETY: `record` is at least as long as a sample, every byte pattern is one, and the two do
    // not overlap.
    unsafe {
        record.as_ptr().copy_to_nonoverlapping((&raw mut *sample).cast(), size_of::<Sample>());
    }
    Some(sample)
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};

    use super::*;

    /// Killed at the end.
    struct Running(Child);

    impl Running {
        fn shell(script: &str) -> Self {
            let mut shell = Command::new("sh");
            let child = shell.args(["-c", script]).stdin(Stdio::piped()).spawn().unwrap();
            // Until it has become the shell, and waits or runs.
            thread::sleep(Duration::from_millis(300));
            Self(child)
        }
    }

    impl Drop for Running {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    #[test]
    fn a_thread_that_waits_is_told_and_not_sampled() {
        let shell = Running::shell("read line");
        let mut threads = Threads::load(shell.0.id(), Python::default()).unwrap();
        let (before, after) = (threads.look().unwrap(), threads.look().unwrap());
        assert_eq!((before.len(), before[0].thread), (1, shell.0.id()));
        assert!(before[0].held_until(&after[0]), "{before:?} {after:?}");
        let syscall = fs::read_to_string(format!("/proc/{}/syscall", shell.0.id())).unwrap();
        let Standing { registers, rdi, .. } = before[0];
        let end = format!("{:#x} {:#x}\n", registers.sp, registers.pc);
        assert!(syscall.ends_with(&end), "{syscall} {end}");
        assert!(syscall.starts_with(&format!("{} {rdi:#x} ", libc::SYS_read)), "{syscall} {rdi}");
        let samples = threads.sample(&[shell.0.id()], Duration::from_millis(50)).unwrap();
        assert_eq!(samples.len(), 0);
    }

    #[test]
    fn a_thread_that_runs_is_sampled_once() {
        let shell = Running::shell("while :; do :; done");
        let id = shell.0.id();
        let mut threads = Threads::load(id, Python::default()).unwrap();
        let samples = threads.sample(&[id], Duration::from_secs(20)).unwrap();
        let [sample] = &*samples else { panic!("{} samples", samples.len()) };
        let Standing { thread, on_cpu, registers, .. } = sample.standing;
        assert_eq!((thread, on_cpu), (id, 1));
        let stack = sample.stack_start..sample.stack_start + sample.stack_size;
        assert!(stack.contains(&registers.sp), "{stack:x?} {registers:x?}");
        assert!(sample.nanoseconds > 0 && sample.nanoseconds < 10_000_000);
    }
}
