//! `cargo xtask test --kernel NAME|all`: the end-to-end tests on Debian's own kernels, with the
//! Pythons of Debian's suites, each pair in a machine that QEMU emulates in software.
//!
//! Nothing is installed: packages are downloaded with apt into `target/kernels`, unpacked there, and
//! run from there. What is there is used again; `rm -r target/kernels` fetches the newest of all.

mod archive;
mod catalog;
mod console;
mod cpio;
mod dependence;
mod guest;
mod host;
mod image;
mod kernel;
mod machine;
mod outcome;
mod program;
mod system;
mod table;

use std::{
    collections::BTreeMap,
    fs, iter,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Mutex,
    thread::{self, ScopedJoinHandle},
    time::Instant,
};

use anyhow::{Context as _, Result, anyhow};

use self::{
    catalog::{Choice, Pair},
    kernel::KernelFiles,
    machine::Machine,
    outcome::Outcome,
    program::TestProgram,
    system::System,
    table::Column,
};
use crate::{command, say};

/// Everything that the machines have in common.
struct Laboratory {
    folder: PathBuf,
    tools: System,
    kernels: BTreeMap<&'static str, KernelFiles>,
    images: BTreeMap<&'static str, PathBuf>,
}

/// Runs the tests whose names contain one of the words, or all; the last thing printed is a table.
pub fn run(name: &str, words: &[&str]) -> Result<ExitCode> {
    let choice = Choice::of(name)?;
    let folder = std::path::absolute(command::target_dir().join("kernels"))?;
    fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
    let laboratory = Laboratory::prepare(folder.clone(), &choice.pairs)?;
    let program = TestProgram::build(&folder.join("build"), &choice.pairs)?;
    let wanted = chosen(program.tests()?, words)?;
    let mut columns = Vec::new();
    if choice.host {
        columns.push(host::test(&program, &wanted, &folder)?);
    }
    columns.extend(laboratory.test(&program, &choice.pairs, &wanted)?);
    let passed = columns.iter().all(Column::passed);
    say(&table::failures(&columns));
    say(&table::render(&wanted, &columns));
    say(catalog::REMARK);
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn chosen(mut tests: Vec<String>, words: &[&str]) -> Result<Vec<String>> {
    tests.retain(|test| words.is_empty() || words.iter().any(|word| test.contains(word)));
    if tests.is_empty() {
        return Err(anyhow!("no test is called anything like {}", words.join(" or ")));
    }
    Ok(tests)
}

impl Laboratory {
    /// Fetches what is not there yet.
    fn prepare(folder: PathBuf, pairs: &[Pair]) -> Result<Self> {
        let tools = machine::tools(&folder)?;
        let (mut kernels, mut images) = (BTreeMap::new(), BTreeMap::new());
        for Pair { kernel, suite, .. } in pairs {
            if !kernels.contains_key(kernel.name) {
                kernels.insert(kernel.name, KernelFiles::prepare(&folder, kernel, &tools)?);
            }
            if !images.contains_key(suite.name) {
                images.insert(suite.name, image::prepare(&folder, suite, &tools)?);
            }
        }
        Ok(Self { folder, tools, kernels, images })
    }

    /// Two processors emulate two machines at a time: QEMU takes one for each.
    fn test(
        &self,
        program: &TestProgram,
        pairs: &[Pair],
        wanted: &[String],
    ) -> Result<Vec<Column>> {
        let waiting = Mutex::new(pairs.iter().enumerate());
        let next = || waiting.lock().ok()?.next();
        let test = |(index, pair)| (index, self.test_pair(program, pair, wanted));
        let work = || iter::from_fn(next).map(test).collect::<Vec<_>>();
        let mut finished = thread::scope(|scope| {
            let processors = thread::available_parallelism().map_or(1, usize::from);
            let threads: Vec<_> = (0..processors).map(|_| scope.spawn(work)).collect();
            let finished = threads.into_iter().map(ScopedJoinHandle::join);
            finished
                .collect::<Result<Vec<_>, _>>()
                .map(|columns| columns.into_iter().flatten().collect::<Vec<_>>())
        })
        .map_err(|_| anyhow!("a thread that runs machines has panicked"))?;
        finished.sort_by_key(|(index, _)| *index);
        Ok(finished.into_iter().map(|(_, column)| column).collect())
    }

    fn test_pair(&self, program: &TestProgram, pair: &Pair, wanted: &[String]) -> Column {
        let name = pair.to_string();
        let (tests, left_out) = pair.divide(wanted);
        let folder = self.folder.join("runs").join(name.replace('/', "-"));
        say(&format!("{name}: {} tests", tests.len()));
        let begin = Instant::now();
        // What an earlier run has left; where there was none, there is nothing to remove.
        let _ = fs::remove_dir_all(&folder);
        let outcome = Outcome::of_machines(&tests, |number, tests| {
            let payload = guest::payload(program, pair.suite, tests)?;
            self.machine(pair)?.run(&folder.join(number.to_string()), payload)
        });
        let column = Column { name, folder, tests, left_out, outcome };
        say(&format!("{} in {} s", column.summary(), begin.elapsed().as_secs()));
        column
    }

    fn machine(&self, pair: &Pair) -> Result<Machine<'_>> {
        let Pair { kernel, suite, .. } = pair;
        Ok(Machine {
            tools: &self.tools,
            kernel: self.kernels.get(kernel.name).context("a kernel that was not prepared")?,
            counts_time: kernel.takes_counted_time,
            image: self.images.get(suite.name).map(Path::new).context("a suite without image")?,
        })
    }
}
