//! A process at one moment, read from outside: nothing is attached to it and it is never stopped.
//! Whatever cannot be read is missing in its place, with the reason; the rest is there.

mod arenas;
mod memory;
mod model;
mod names;
mod stacks;
mod threads;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Result, bail};

pub use self::arenas::ArenaGroup;
pub use self::model::{
    ArrayUse, Cost, Glibc, GlibcArena, Moment, Part, PythonObjects, Session, Snapshot, Stack,
    Subject, Thread, Usage, Use,
};
use crate::{
    objects::Objects,
    process::{Process, host, mappings::Mappings, status::Status},
};

/// Takes a snapshot of a process, for at most about `limit`; learns the files that it has mapped.
pub fn take(process: &Process, objects: &mut Objects, limit: Duration) -> Result<Snapshot> {
    let begin = Instant::now();
    let before = process.status()?;
    let scene = Scene::look(process, objects, begin + limit);
    let mut snapshot = Snapshot { subject: subject(process, &before), ..Snapshot::default() };
    scene.describe(&mut snapshot);
    let after = process.status().ok();
    let resident = after.map(|after| (before.memory.resident, after.memory.resident));
    snapshot.cost.resident = resident;
    snapshot.session = session(begin.elapsed());
    Ok(snapshot)
}

/// What every part of a snapshot is read with.
struct Scene<'process> {
    process: &'process Process,
    mappings: Result<Mappings>,
    objects: &'process Objects,
    deadline: Instant,
}

impl<'process> Scene<'process> {
    fn look(process: &'process Process, objects: &'process mut Objects, deadline: Instant) -> Self {
        let mappings = process.mappings();
        if let Ok(mappings) = &mappings {
            objects.learn(process, mappings);
        }
        Self { process, mappings, objects, deadline }
    }

    fn describe(&self, snapshot: &mut Snapshot) {
        let doubts = self.objects.iter().flat_map(|known| &known.doubts);
        snapshot.notes.extend(doubts.cloned());
        if let Ok(mappings) = &self.mappings {
            let interpreter = self.objects.interpreter(mappings);
            snapshot.subject.python = interpreter.version();
            snapshot.notes.extend(interpreter.refusals);
        }
        snapshot.threads = threads::read(self, snapshot).into();
        memory::read(self, snapshot);
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
