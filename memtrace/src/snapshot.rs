//! A process at one moment, read from outside: nothing is attached to it and it is never stopped.
//! Whatever cannot be read is missing in its place, with the reason; the rest is there.

mod arenas;
mod memory;
mod model;
mod names;
mod stacks;
mod threads;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Result, bail, ensure};

pub use self::arenas::ArenaGroup;
pub use self::model::{
    Cost, Glibc, GlibcArena, InMemory, Moment, Part, PythonObjects, Session, Snapshot, Stack,
    Subject, Thread, Usage, Use,
};
use crate::{
    objects::Objects,
    process::{
        Process, host,
        mappings::Mappings,
        status::Status,
        unusable::{Reason, Unusable},
    },
};

/// Takes a snapshot of a process, for at most about `limit`; learns the files that it has mapped.
pub fn take(process: &Process, objects: &mut Objects, limit: Duration) -> Result<Snapshot> {
    let begin = Instant::now();
    let taken =
        Scene::look(process, objects, begin + limit).and_then(|scene| scene.snapshot(begin));
    if taken.is_err() {
        // That it has ended explains whatever failed.
        process.check()?;
    }
    taken
}

/// What every part of a snapshot is read with.
struct Scene<'process> {
    process: &'process Process,
    mappings: Result<Mappings>,
    objects: &'process Objects,
    deadline: Instant,
    before: Status,
    /// Tells its program from others.
    mark: u64,
}

impl<'process> Scene<'process> {
    fn look(
        process: &'process Process,
        objects: &'process mut Objects,
        deadline: Instant,
    ) -> Result<Self> {
        let (before, mark) = (process.status()?, process.program_mark()?);
        let mappings = process.mappings();
        if let Ok(mappings) = &mappings {
            objects.learn(process, mappings);
        }
        Ok(Self { process, mappings, objects, deadline, before, mark })
    }

    /// A part that was read; it is whole only if the program is still there.
    fn part<T>(&self, read: Result<T>) -> Part<T> {
        if self.process.program_mark().is_ok_and(|mark| mark == self.mark) {
            return read.into();
        }
        Part::Missing("the process ended, or became another program, before it was read".to_owned())
    }

    /// Whether the process has ended: first of all it loses its memory.
    fn has_ended(&self) -> bool {
        let has_no_memory =
            self.mark != 0 && self.process.program_mark().is_ok_and(|mark| mark == 0);
        let is_there =
            self.process.check().map_or_else(|error| error.is_of_main_thread(), |()| true);
        has_no_memory || !is_there
    }

    /// The snapshot, which was begun at that time.
    fn snapshot(&self, begin: Instant) -> Result<Snapshot> {
        let subject = subject(self.process, &self.before);
        let mut snapshot = Snapshot { subject, ..Snapshot::default() };
        self.describe(&mut snapshot);
        if self.has_ended() {
            let gone = Unusable { pid: self.process.pid(), reason: Reason::Zombie };
            ensure!(snapshot.has_data(), gone);
            snapshot.end();
        }
        let (before, after) = (&self.before, self.process.status().ok());
        let resident = after.map(|after| (before.memory.resident, after.memory.resident));
        snapshot.cost.resident = resident.filter(|_| !snapshot.ended);
        snapshot.session = session(begin.elapsed());
        Ok(snapshot)
    }

    fn describe(&self, snapshot: &mut Snapshot) {
        let doubts = self.objects.iter().flat_map(|known| &known.doubts);
        snapshot.notes.extend(doubts.cloned());
        if let Ok(mappings) = &self.mappings {
            let interpreter = self.objects.interpreter(mappings);
            snapshot.subject.python = interpreter.version();
            snapshot.notes.extend(interpreter.refusals);
        }
        let threads = threads::read(self, snapshot);
        snapshot.threads = threads.into();
        memory::read(self, snapshot);
    }

    /// How much more time it may take.
    fn time_left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// What the process had mapped.
    fn mappings(&self) -> Result<&Mappings> {
        match &self.mappings {
            Ok(mappings) => Ok(mappings),
            Err(error) => bail!("{error:#}"),
        }
    }
}

fn subject(process: &Process, status: &Status) -> Subject {
    Subject {
        pid: process.pid(),
        comm: status.comm.clone(),
        command_line: process.command().unwrap_or_default(),
        python: None,
        state: status.state,
        cpu_time: status.cpu_time,
        resident: status.memory.resident,
        peak_resident: status.memory.peak_resident,
        swapped: status.memory.swapped,
    }
}

fn session(duration: Duration) -> Session {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Session {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        taken: since_epoch.as_secs(),
        duration,
        command_line: std::env::args().collect::<Vec<_>>().join(" "),
        host: host::name(),
        kernel: host::kernel(),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::Read as _,
        process::{Child, Command, Stdio},
    };

    use super::*;

    /// A process that has long begun.
    pub(super) fn sleeper() -> (Child, Process) {
        let script = "import time; print(flush=True); time.sleep(1000)";
        let mut python = Command::new("python3");
        let mut child = python.args(["-c", script]).stdout(Stdio::piped()).spawn().unwrap();
        child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        let process = Process::open(child.id()).unwrap();
        (child, process)
    }

    #[test]
    fn of_a_process_that_ends_first_there_is_no_snapshot() {
        let (mut child, process) = sleeper();
        let mut objects = Objects::with_cache();
        let begin = Instant::now();
        let scene = Scene::look(&process, &mut objects, begin + Duration::from_secs(5)).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        let error = scene.snapshot(begin).unwrap_err();
        assert!(error.is::<Unusable>(), "{error:#}");
        let error = take(&process, &mut Objects::with_cache(), Duration::from_secs(5)).unwrap_err();
        assert!(error.is::<Unusable>(), "{error:#}");
    }

    #[test]
    fn of_a_process_that_ends_meanwhile_nothing_false_is_said() {
        let (mut child, process) = sleeper();
        let mut objects = Objects::with_cache();
        let deadline = Instant::now() + Duration::from_secs(5);
        let scene = Scene::look(&process, &mut objects, deadline).unwrap();
        let mut snapshot = Snapshot::default();
        let read = scene.part(Ok(Vec::new()));
        assert_eq!(read, Part::Read(Vec::new()));
        snapshot.shared = read;
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(scene.has_ended());
        assert_eq!(scene.part(Ok(())).read(), None, "it may be only a part");
        scene.describe(&mut snapshot);
        snapshot.end();
        let reasons =
            [snapshot.glibc.reason(), snapshot.objects.reason(), snapshot.memory.reason()];
        assert_eq!(reasons, [Some("the process had ended"); 3]);
    }
}
