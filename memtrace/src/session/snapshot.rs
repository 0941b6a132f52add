//! One snapshot of one process: check the outputs, look, report.

use std::{future::pending, thread, time::Duration};

use anyhow::Result;
use rayon::ThreadPoolBuilder;
use tokio::sync::oneshot;

use crate::{
    cli::Exit,
    objects::Objects,
    output::{self, Outputs},
    process::Process,
    report,
    snapshot::{self, Snapshot},
};

/// How long what is printed first may take. Only the end of a very short tracing waits for it.
const PATIENCE: Duration = Duration::from_secs(5);
/// How much the processors are left to others meanwhile: they get ten times as much.
const NICE: libc::c_int = 10;

/// What the user wants.
pub struct SnapshotOptions {
    /// The process.
    pub pid: u32,
    /// How long it may take.
    pub limit: Duration,
    /// Reports to write; without any, the snapshot is printed.
    pub outputs: Outputs,
}

/// Takes a snapshot and reports it.
pub fn run_snapshot(options: &SnapshotOptions) -> Result<Exit> {
    for path in &options.outputs.files {
        report::snapshot::check(path)?;
    }
    options.outputs.check()?;
    let process = Process::open(options.pid)?;
    let snapshot = snapshot::take(&process, &mut Objects::with_cache(), options.limit)?;
    options.outputs.write_snapshot(&snapshot)?;
    if options.outputs.files.is_empty() {
        output::print_snapshot(&snapshot, false)?;
    }
    Ok(Exit::Success)
}

/// Snapshots of processes that are traced, taken when tracing has begun: it does not wait for them.
/// Those that cannot be looked at are left to tracing, which says so.
#[derive(Default)]
pub struct First(Option<oneshot::Receiver<Vec<Snapshot>>>);

impl First {
    /// Begins to take them, of processes whose files are known.
    pub fn begin(pids: &[u32], objects: Objects) -> Self {
        let pids = pids.to_vec();
        let (sender, receiver) = oneshot::channel();
        // If tracing fails, nobody waits for them any more.
        thread::spawn(move || sender.send(take_all_nicely(&pids, objects)));
        Self(Some(receiver))
    }

    /// Whether they are still to come.
    pub fn is_awaited(&self) -> bool {
        self.0.is_some()
    }

    /// Waits for them; for ever if none are to come.
    pub async fn taken(&mut self) -> Vec<Snapshot> {
        let Some(receiver) = &mut self.0 else { return pending().await };
        let snapshots = receiver.await;
        self.0 = None;
        snapshots.unwrap_or_default()
    }
}

/// Takes them with threads that give way to all others; what is traced may need the processors.
fn take_all_nicely(pids: &[u32], objects: Objects) -> Vec<Snapshot> {
    // SAFETY: the call takes three integers; 0 is the calling thread, from which others inherit it.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICE) };
    let threads = ThreadPoolBuilder::new().build();
    threads.map_or_else(|_| Vec::new(), |threads| threads.install(|| take_all(pids, objects)))
}

fn take_all(pids: &[u32], mut objects: Objects) -> Vec<Snapshot> {
    let limit = PATIENCE / pids.len().try_into().unwrap_or(u32::MAX).max(1);
    let mut take = |pid: &u32| {
        let process = Process::open(*pid).ok()?;
        snapshot::take(&process, &mut objects, limit).ok()
    };
    pids.iter().filter_map(&mut take).collect()
}
