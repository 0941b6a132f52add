//! A running process and what can be seen of it. The only module that reads `/proc` and the memory
//! of other processes; it refuses to know what the bytes mean.

use std::{
    fmt, io,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use anyhow::{Context as _, ensure};

use self::{
    deadline::{Unanswered, is_limited, with_deadline},
    directory::Directory,
    mappings::{Mapping, Mappings},
    object::Object,
    status::{Status, printable},
    unusable::{Reason, Unusable, inspect, refuse_dead},
};

mod cgroup;
pub mod deadline;
mod directory;
pub mod groups;
pub mod host;
pub mod kernel_log;
pub mod mappings;
pub mod memory;
mod mounts;
pub mod namespaces;
pub mod object;
pub mod pressure;
pub mod residency;
pub mod rights;
pub mod selection;
pub mod sharing;
pub mod status;
pub mod survey;
pub mod survival;
pub mod threads;
pub mod unusable;
#[cfg(test)]
pub(crate) mod workload;

/// How long the kernel may take for one answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// A million mappings with paths of a hundred bytes.
const MAPS_LIMIT: u64 = 128 << 20;
const COMMAND_LIMIT: u64 = 4096;
const CGROUP_LIMIT: u64 = 1 << 20;

/// Tells a process from all others since boot, those with the same id included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity {
    /// Process id, in memtrace's pid namespace.
    pub pid: u32,
    /// When it started, in hundredths of a second since boot.
    pub start_time: u64,
}

impl Identity {
    /// When it started, since boot.
    #[must_use]
    pub const fn started(&self) -> Duration {
        Duration::from_millis(self.start_time.saturating_mul(10))
    }
}

/// A 64-bit user space process whose memory may be read. Clones are the same process.
///
/// Questions that may wait for the process's memory map go to a thread of their own and get
/// [`Unanswered`] after two seconds; until the late answer comes, further ones fail at once.
#[derive(Clone, Debug)]
pub struct Process {
    identity: Identity,
    directory: Arc<Directory>,
    /// Alive as long as the question that was abandoned.
    late: Arc<Mutex<Weak<()>>>,
}

impl Process {
    /// Opens the process that has this id now.
    pub fn open(pid: u32) -> Result<Self, Unusable> {
        let inspected = with_deadline(PATIENCE, move || inspect(pid));
        let (directory, start_time) = inspected
            .unwrap_or_else(|unanswered| Err(Reason::Unanswered(unanswered)))
            .map_err(|reason| Unusable { pid, reason })?;
        Ok(Self {
            identity: Identity { pid, start_time },
            directory: Arc::new(directory),
            late: Arc::default(),
        })
    }

    /// Opens the process again, unless its id was given to another one in the meantime.
    pub fn reopen(identity: Identity) -> Result<Self, Unusable> {
        let process = Self::open(identity.pid)?;
        if process.identity == identity {
            return Ok(process);
        }
        Err(Unusable { pid: identity.pid, reason: Reason::Replaced })
    }

    /// Which process this is.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.identity.pid
    }

    /// A path to the program that it runs, for people and other tools.
    #[must_use]
    pub fn program(&self) -> PathBuf {
        format!("/proc/{}/exe", self.pid()).into()
    }

    /// Whether the process still runs: neither gone, nor a zombie, nor replaced.
    pub fn check(&self) -> Result<(), Unusable> {
        let unusable = |reason| Unusable { pid: self.pid(), reason };
        let stat = self.directory.stat().map_err(|error| unusable(error.into()))?;
        if stat.starttime != self.identity.start_time {
            return Err(unusable(Reason::Replaced));
        }
        refuse_dead(stat.state, stat.num_threads).map_err(unusable)
    }

    /// An address that tells the program that runs from those that ran before and will run after it
    /// in the same process: where its stack starts, which is chosen anew by `execve`
    /// (`fs/binfmt_elf.c`). 0 for those who may not know it.
    pub fn program_mark(&self) -> anyhow::Result<u64> {
        let stat = self.directory.stat();
        Ok(stat.with_context(|| format!("look at {}", self.identity))?.startstack)
    }

    /// What the process is doing and how much it uses, now. Takes no lock that a stuck process holds.
    pub fn status(&self) -> anyhow::Result<Status> {
        Status::read(&self.directory)
            .with_context(|| format!("read the status of {}", self.identity))
    }

    /// The command line, words separated by spaces, cut after 4 KiB; empty if the process cleared
    /// it. What is not UTF-8 or not printable is replaced.
    pub fn command(&self) -> anyhow::Result<String> {
        let words = self
            .ask(|directory| directory.read("cmdline", COMMAND_LIMIT))
            .with_context(|| format!("read the command line of {}", self.identity))?;
        let words = words.strip_suffix(b"\0").unwrap_or(&words).split(|&byte| byte == 0);
        Ok(words.map(printable).collect::<Vec<_>>().join(" "))
    }

    /// What is mapped now. The kernel gathers it page by page while the process may go on mapping.
    pub fn mappings(&self) -> anyhow::Result<Mappings> {
        let text = self
            .ask(|directory| directory.read("maps", MAPS_LIMIT))
            .with_context(|| format!("read the mappings of {}", self.identity))?;
        let is_whole = (text.len() as u64) < MAPS_LIMIT;
        ensure!(is_whole, "the mappings of {} take over {MAPS_LIMIT} bytes", self.identity);
        Ok(Mappings::parse(&text))
    }

    /// Opens the file behind a mapping of the process, or the vDSO.
    pub fn object(&self, mapping: &Mapping) -> anyhow::Result<Object> {
        let wanted = mapping.clone();
        self.ask(move |directory| Object::open(directory, &wanted)).with_context(|| {
            format!("open {} as {} has it mapped", mapping.path.display(), self.identity)
        })
    }

    /// Does work that asks many questions, under one time limit for all of them: a question of its
    /// own takes turns with another thread, so that much can change between two of them.
    pub fn at_length<T: Send + 'static>(
        &self,
        limit: Duration,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> Result<T, Unanswered> {
        let process = self.clone();
        self.job(limit.saturating_add(PATIENCE), move || work(&process))
    }

    /// Asks about this process and no other, with a time limit.
    fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Directory) -> io::Result<T> + Send + 'static,
    ) -> anyhow::Result<T> {
        Ok(self.question(question)??)
    }

    fn question<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Directory) -> T + Send + 'static,
    ) -> Result<T, Unanswered> {
        if is_limited() {
            return Ok(question(&self.directory));
        }
        let directory = Arc::clone(&self.directory);
        self.job(PATIENCE, move || question(&directory))
    }

    fn job<T: Send + 'static>(
        &self,
        limit: Duration,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Unanswered> {
        if self.late().strong_count() > 0 {
            return Err(Unanswered::Stuck);
        }
        let running = Arc::new(());
        let handle = Arc::downgrade(&running);
        let job = move || {
            let answer = job();
            drop(running);
            answer
        };
        with_deadline(limit, job).inspect_err(|_| *self.late() = handle)
    }

    fn late(&self) -> MutexGuard<'_, Weak<()>> {
        self.late.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {}", self.pid)
    }
}

#[cfg(test)]
mod tests {
    use std::{thread, time::Instant};

    use super::{
        workload::{Workload, fork_with_pid},
        *,
    };

    #[test]
    fn a_sleeping_process_tells_about_itself() {
        let sleep = Workload::spawn("sleep", &["1000", "--"]);
        let process = Process::open(sleep.pid()).unwrap();
        let status = process.status().unwrap();
        assert_eq!((&status.comm[..], status.thread_count), ("sleep", 1));
        assert!(!status.is_blocked() && status.cpu_time < Duration::from_secs(1));
        assert_eq!(process.command().unwrap(), "sleep 1000 --");
        assert_eq!(process.mappings().unwrap().odd_lines, 0);
        process.check().unwrap();
    }

    #[test]
    fn a_program_is_told_from_the_one_that_it_becomes() {
        let shell = Workload::spawn("sh", &["-c", "sleep 2; exec sleep 1000"]);
        let process = Process::open(shell.pid()).unwrap();
        let wait_until = |is_so: fn(&Status) -> bool| {
            let deadline = Instant::now() + Duration::from_mins(1);
            while !is_so(&process.status().unwrap()) {
                assert!(Instant::now() < deadline, "{:?}", process.status());
                thread::sleep(Duration::from_millis(2));
            }
        };
        let before = process.program_mark().unwrap();
        assert_eq!(process.program_mark().unwrap(), before);
        assert_eq!(process.status().unwrap().comm, "sh");
        wait_until(|status| status.comm == "sleep" && status.state == 'S');
        assert_ne!(process.program_mark().unwrap(), before);
        assert_eq!(process.check().map_err(|error| error.to_string()), Ok(()));
    }

    #[test]
    fn cpu_time_is_that_of_all_threads() {
        let spin = "import threading; t = threading.Thread(target=lambda: sum(range(30_000_000)));\
                    t.start(); t.join()";
        let python = Workload::python(spin);
        let status = Process::open(python.pid()).unwrap().status().unwrap();
        assert!(status.cpu_time > Duration::from_millis(100), "{status:?}");
        assert!(status.memory.peak_resident >= status.memory.resident);
    }

    #[test]
    fn a_zombie_is_refused_and_noticed() {
        let sleep = Workload::spawn("sleep", &["1000"]);
        let process = Process::open(sleep.pid()).unwrap();
        sleep.kill();
        assert!(matches!(Process::open(sleep.pid()).unwrap_err().reason, Reason::Zombie));
        assert!(matches!(process.check().unwrap_err().reason, Reason::Zombie));
        assert!(
            process.memory().read(0x40_0000, &mut [0; 8]).is_err()
                || process.mappings().unwrap().list.is_empty()
        );
    }

    #[test]
    fn a_process_id_that_is_used_again_is_noticed() {
        let first = Workload::spawn("sleep", &["1000"]);
        let pid = first.pid();
        let process = Process::open(pid).unwrap();
        let identity = process.identity();
        drop(first);
        thread::sleep(Duration::from_millis(20));
        let word = Box::new(0x0123_4567_89ab_cdef_u64);
        let address = std::ptr::from_ref(&*word) as u64;
        let _second = fork_with_pid(pid);
        let again = Process::open(pid).unwrap();
        assert_ne!(again.identity(), identity);
        assert!(matches!(Process::reopen(identity).unwrap_err().reason, Reason::Replaced));
        assert!(process.check().is_err() && process.mappings().is_err());
        assert!(process.directory.check().is_err() && again.directory.check().is_ok());
        let mut copy = [0; 8];
        assert_eq!(again.memory().read(address, &mut copy).unwrap(), 8);
        assert_eq!(u64::from_le_bytes(copy), *word);
        assert!(process.memory().read(address, &mut copy).is_err());
    }

    #[test]
    fn a_wrong_start_time_is_another_process() {
        let sleep = Workload::spawn("sleep", &["1000"]);
        let mut process = Process::open(sleep.pid()).unwrap();
        assert!(Process::reopen(process.identity()).is_ok());
        process.identity.start_time -= 1;
        assert!(matches!(process.check().unwrap_err().reason, Reason::Replaced));
        assert!(matches!(Process::reopen(process.identity).unwrap_err().reason, Reason::Replaced));
    }

    #[test]
    fn a_stuck_process_costs_its_patience_once() {
        let sleep = Workload::spawn("sleep", &["1000"]);
        let process = Process::open(sleep.pid()).unwrap();
        let late = process.question(|_| thread::sleep(PATIENCE + Duration::from_secs(1)));
        assert!(matches!(late, Err(Unanswered::TimedOut(_))));
        let start = Instant::now();
        assert!(process.mappings().unwrap_err().is::<Unanswered>());
        assert_eq!(process.status().unwrap().state, 'S', "no question about the memory map");
        process.check().unwrap();
        assert!(start.elapsed() < PATIENCE, "waited again");
        thread::sleep(Duration::from_millis(1500));
        process.mappings().unwrap();
    }
}
