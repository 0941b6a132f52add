//! What tracing adds to a pair of malloc and free, next to what empty programs add.

use std::{fs, path::Path, thread};

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::empty::{Empty, Place, What};
use crate::{Arguments, SETTLED, tracing::Tracing, worker::Worker};

/// Everything is measured this often, in turn.
pub const ROUNDS: usize = 5;
/// Measurements in a round.
const TRIALS: usize = 20;
/// Pairs in a measurement: few enough for some measurements to go undisturbed.
const PAIRS: u32 = 3_000;
/// More than the kernel programs remember of a thread.
pub const MANY_STACKS: u32 = 64;
/// So few are sampled that none is unwound.
const NO_SAMPLE: [&str; 2] = ["--sample", "64GiB"];
/// What is done to the workload while it is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Treatment {
    /// Nothing.
    None,
    /// Empty programs.
    Empty(Place, What),
    /// memtrace, which follows every call but records none.
    Followed,
    /// memtrace, which records every allocation; so many stacks take turns.
    Recorded(u32),
}

/// Nanoseconds of a pair under each treatment: the best over all rounds, since everything that
/// disturbs adds.
pub struct Pairs {
    best: Vec<(Treatment, f64)>,
    /// Python and native frames of the stack.
    pub frames: (usize, usize),
}

impl Pairs {
    /// What a treatment adds to a pair.
    pub fn added(&self, treatment: Treatment) -> f64 {
        self.of(treatment) - self.base()
    }

    /// A pair without any treatment.
    pub fn base(&self) -> f64 {
        self.of(Treatment::None)
    }

    /// What a treatment adds, in units of what empty programs at memtrace's own places add.
    pub fn ratio(&self, treatment: Treatment) -> f64 {
        self.added(treatment) / self.added(Treatment::Empty(Place::Site, What::Plan))
    }

    fn of(&self, treatment: Treatment) -> f64 {
        let found = self.best.iter().find(|(measured, _)| *measured == treatment);
        found.map_or(f64::NAN, |(_, time)| *time)
    }
}

/// Every treatment, in the order in which a round measures them.
fn treatments() -> Vec<Treatment> {
    let what = [What::Free, What::Entry, What::EntryAndReturn, What::Plan];
    let empty = |place| what.map(|what| Treatment::Empty(place, what));
    let mut all = vec![Treatment::None];
    all.extend([empty(Place::Site), empty(Place::Symbol)].concat());
    all.push(Treatment::Followed);
    all.extend([1, MANY_STACKS].map(Treatment::Recorded));
    all
}

/// Measures; takes about two minutes.
pub fn measure(arguments: &Arguments) -> Result<Pairs> {
    let folder = tempfile::tempdir().context("make a folder for a cache")?;
    let mut workload = Workload(Worker::start(&mut arguments.pairs())?);
    let mut empty = Empty::prepare(workload.0.pid())?;
    let frames = workload.frames(arguments, folder.path())?;
    let mut best: Vec<_> = treatments().into_iter().map(|it| (it, f64::INFINITY)).collect();
    for _ in 0..ROUNDS {
        for (treatment, time) in &mut best {
            *time = workload.treat(*treatment, arguments, &mut empty, folder.path())?.min(*time);
        }
    }
    Ok(Pairs { best, frames })
}

/// The process that makes the pairs.
struct Workload(Worker);

impl Workload {
    /// Nanoseconds of a pair, at best.
    fn time(&mut self, stacks: u32) -> Result<f64> {
        let mut best = f64::INFINITY;
        for _ in 0..TRIALS {
            best = self.0.ask(&format!("{PAIRS} {stacks} 0 0"))?.min(best);
        }
        Ok(best)
    }

    fn treat(
        &mut self,
        treatment: Treatment,
        arguments: &Arguments,
        empty: &mut Empty,
        cache: &Path,
    ) -> Result<f64> {
        let (options, stacks): (&[&str], u32) = match treatment {
            Treatment::None => return self.time(1),
            Treatment::Empty(place, what) => {
                let _probes = empty.attach(place, what)?;
                return self.time(1);
            }
            Treatment::Followed => (&NO_SAMPLE, 1),
            Treatment::Recorded(stacks) => (&[], stacks),
        };
        let tracing = Tracing::attach(&arguments.memtrace, &[self.0.pid()], cache, options)?;
        thread::sleep(SETTLED);
        let time = self.time(stacks)?;
        tracing.stop()?;
        Ok(time)
    }

    /// Python and native frames of the pairs' stack, as memtrace itself sees them.
    fn frames(&mut self, arguments: &Arguments, folder: &Path) -> Result<(usize, usize)> {
        let report = folder.join("frames.json");
        let output = report.to_str().context("name a report")?;
        let options = ["--output", output];
        let tracing = Tracing::attach(&arguments.memtrace, &[self.0.pid()], folder, &options)?;
        self.time(1)?;
        tracing.stop()?;
        let report = fs::read(&report).context("read memtrace's report")?;
        count(&serde_json::from_slice(&report).context("parse memtrace's report")?)
            .context("find the pairs in memtrace's report")
    }
}

/// Frames of the stack that allocated most often.
fn count(report: &Value) -> Option<(usize, usize)> {
    let allocations = |stack: &&Value| stack["amounts"]["allocated"]["objects"].as_u64();
    let stack = report["stacks"].as_array()?.iter().max_by_key(allocations)?;
    let frames = report["frames"].as_array()?;
    let kinds = stack["frames"].as_array()?.iter();
    let kinds = kinds.filter_map(|index| frames.get(index.as_u64()? as usize)?["kind"].as_str());
    let kinds: Vec<_> = kinds.collect();
    let of = |kind| kinds.iter().filter(|it| **it == kind).count();
    Some((of("python"), of("native")))
}
