//! The threads of a process: what each is called, what it is doing, and what it waits for, as the
//! kernel tells it.

use std::{fs, io, time::Duration};

use anyhow::Context as _;

use super::{
    Process,
    directory::{Directory, parse_stat},
    status::{printable, ticks_to_time},
};

/// Threads that are listed. `/proc/sys/kernel/threads-max` may allow more.
const MAX_THREADS: usize = 1 << 16;
/// One line of numbers, or the name of one kernel function.
const LINE_LIMIT: u64 = 4096;

/// A thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thread {
    /// Thread id.
    pub id: u32,
    /// Its name, at most 15 bytes; what is not UTF-8 or not printable is replaced.
    pub name: String,
    /// State letter: `R`, `S`, `D`, `T`, `t`, `Z`, `X`, `I`.
    pub state: char,
    /// CPU time that it has used so far.
    pub cpu_time: Duration,
}

/// What a thread waits for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wait {
    /// The kernel function in which it waits; `None` if it does not wait, or the kernel hides it.
    pub channel: Option<String>,
    /// The system call that it is in, and its registers in user space.
    pub system_call: Option<SystemCall>,
}

/// A system call that a thread is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SystemCall {
    /// Which; `None` for an exception, such as a page fault.
    pub number: Option<u32>,
    /// Its first argument.
    pub argument: u64,
    /// Stack pointer in user space.
    pub sp: u64,
    /// Where it will go on in user space.
    pub pc: u64,
}

impl Process {
    /// Its threads, by id. Takes no lock that a stuck process holds.
    pub fn threads(&self) -> anyhow::Result<Vec<Thread>> {
        self.ask(list).with_context(|| format!("list the threads of {}", self.identity()))
    }

    /// How often its threads have been given a processor so far; `None` while one of them runs or is
    /// about to. If the number is the same later, none of them has run in between.
    pub fn turns_at_rest(&self) -> anyhow::Result<Option<u64>> {
        self.ask(turns_at_rest)
            .with_context(|| format!("look whether threads of {} run", self.identity()))
    }

    /// What each of the threads waits for, in their order. The kernel tells this only while it may
    /// look at the process's memory, which can take as long as a call of exec.
    pub fn waits(&self, threads: &[u32]) -> anyhow::Result<Vec<Wait>> {
        let threads = threads.to_vec();
        self.ask(move |directory| {
            Ok(threads.iter().map(|thread| Wait::read(directory, *thread)).collect())
        })
        .with_context(|| format!("read what the threads of {} wait for", self.identity()))
    }
}

/// How often the threads have been given a processor so far (`/proc/PID/task/TID/schedstat`).
fn turns(directory: &Directory) -> io::Result<u64> {
    let mut turns = 0_u64;
    for thread in list(directory)? {
        let line = directory.read(&format!("task/{}/schedstat", thread.id), LINE_LIMIT)?;
        let last = line.trim_ascii().rsplit(|byte| *byte == b' ').next();
        let count = last.and_then(|word| std::str::from_utf8(word).ok()?.parse::<u64>().ok());
        turns = turns.wrapping_add(count.ok_or(io::ErrorKind::InvalidData)?);
    }
    Ok(turns)
}

/// The turns if no thread runs or is about to: one that has begun to in between has had one more.
fn turns_at_rest(directory: &Directory) -> io::Result<Option<u64>> {
    let before = turns(directory)?;
    let is_at_rest = list(directory)?.iter().all(|thread| thread.state != 'R');
    let is_same = turns(directory)? == before;
    Ok((is_at_rest && is_same).then_some(before))
}

fn list(directory: &Directory) -> io::Result<Vec<Thread>> {
    let entries = fs::read_dir(directory.path("task"))?.take(MAX_THREADS);
    let ids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    // A thread may end between the list and the look at it.
    let mut threads: Vec<Thread> = ids.filter_map(|id| thread(directory, id).ok()).collect();
    threads.sort_unstable_by_key(|thread| thread.id);
    Ok(threads)
}

fn thread(directory: &Directory, id: u32) -> io::Result<Thread> {
    let stat = parse_stat(&directory.read(&format!("task/{id}/stat"), LINE_LIMIT)?)?;
    let time = ticks_to_time(stat.utime.saturating_add(stat.stime));
    Ok(Thread { id, name: printable(stat.comm.as_bytes()), state: stat.state, cpu_time: time })
}

impl Wait {
    /// What cannot be read is left out: the thread may have ended.
    fn read(directory: &Directory, thread: u32) -> Self {
        let text = |name| {
            let bytes = directory.read(&format!("task/{thread}/{name}"), LINE_LIMIT).ok()?;
            Some(printable(bytes.trim_ascii()))
        };
        let channel = text("wchan").filter(|channel| !matches!(&**channel, "" | "0"));
        Self { channel, system_call: text("syscall").as_deref().and_then(SystemCall::parse) }
    }
}

impl SystemCall {
    /// `NUMBER ARGUMENTS... SP PC`, or `-1 SP PC` outside a call; `running` says nothing.
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let number = words.next()?.parse::<i64>().ok()?;
        let words: Option<Vec<u64>> = words.map(hexadecimal).collect();
        let words = words?;
        let [.., sp, pc] = *words else { return None };
        let argument = if words.len() > 2 { words[0] } else { 0 };
        Some(Self { number: u32::try_from(number).ok(), argument, sp, pc })
    }
}

fn hexadecimal(word: &str) -> Option<u64> {
    u64::from_str_radix(word.strip_prefix("0x")?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::{super::workload::Workload, *};

    #[test]
    fn a_line_names_the_call_and_where_it_was_made() {
        let call = SystemCall::parse("202 0x561691b8e720 0x189 0x0 0x0 0x0 0x1 0x7f50 0x7f16");
        let expected =
            SystemCall { number: Some(202), argument: 0x5616_91b8_e720, sp: 0x7f50, pc: 0x7f16 };
        assert_eq!(call, Some(expected));
        let fault = SystemCall::parse("-1 0x7f50 0x7f16").unwrap();
        assert_eq!((fault.number, fault.argument, fault.sp, fault.pc), (None, 0, 0x7f50, 0x7f16));
        for line in ["running", "", "202", "202 0x1", "x 0x1 0x2", "1 0x1 2"] {
            assert_eq!(SystemCall::parse(line), None, "{line}");
        }
    }

    #[test]
    fn a_process_at_rest_has_had_no_turn_since() {
        let python = Workload::python("");
        python.wait_for_state('S');
        let process = Process::open(python.pid()).unwrap();
        let turns = process.turns_at_rest().unwrap();
        assert!(turns.is_some());
        assert_eq!(process.turns_at_rest().unwrap(), turns);
        let spinning = Workload::python("print(flush=True)\nwhile True: pass");
        spinning.first_line();
        let process = Process::open(spinning.pid()).unwrap();
        assert_eq!(process.turns_at_rest().unwrap(), None);
    }

    #[test]
    fn threads_tell_their_names_and_what_they_wait_for() {
        let script = "import threading, time, ctypes
def work():
    ctypes.CDLL(None).prctl(15, b'odd\\x1bname')
    print('named', flush=True)
    ctypes.CDLL(None).pause()
threading.Thread(target=work, daemon=True).start()";
        let python = Workload::python(script);
        python.wait_for_state('S');
        let process = Process::open(python.pid()).unwrap();
        let threads = process.threads().unwrap();
        assert_eq!(threads.len(), 2);
        assert_eq!(threads[0].id, python.pid());
        assert_eq!((&*threads[1].name, threads[1].state), ("odd\u{FFFD}name", 'S'));
        let waits = process.waits(&[threads[0].id, threads[1].id, 1 << 30]).unwrap();
        assert!(waits[1].channel.as_deref().is_some_and(|name| name.contains("pause")));
        let call = waits[1].system_call.unwrap();
        assert_eq!(call.number, Some(libc::SYS_pause as u32));
        assert!(process.mappings().unwrap().at(call.pc).unwrap().permissions.is_executable());
        assert_eq!(waits[2], Wait::default(), "there is no such thread");
    }
}
