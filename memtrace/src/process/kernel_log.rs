//! What the kernel says of the processes it kills: which limit was hit, and what the victim had.

use std::{
    collections::VecDeque,
    fs::{File, OpenOptions},
    io::{self, ErrorKind, Read as _, Seek as _, SeekFrom},
    os::unix::fs::OpenOptionsExt as _,
};

use super::status::printable;

/// A record is at most this long (`PRINTK_MESSAGE_MAX` and what `/dev/kmsg` adds).
const RECORD: usize = 8 << 10;
/// Lines that are kept. Each kill has three that matter.
const KEPT: usize = 256;
/// What lines about kills have in them.
const WORDS: [&str; 4] =
    ["invoked oom-killer", "oom-kill:", "Killed process", "are going to be killed"];

/// The kernel's log from the moment it was opened.
pub struct KernelLog {
    file: File,
    lines: VecDeque<String>,
}

impl KernelLog {
    /// Opens it. Needs a right that containers seldom have.
    pub fn open() -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let mut file = options.read(true).custom_flags(libc::O_NONBLOCK).open("/dev/kmsg")?;
        file.seek(SeekFrom::End(0))?;
        Ok(Self { file, lines: VecDeque::new() })
    }

    /// Takes in what has been said since the last time. What the kernel has overwritten meanwhile
    /// is missing.
    pub fn read(&mut self) {
        let mut record = [0; RECORD];
        loop {
            match self.file.read(&mut record) {
                Ok(size) => self.note(&record[..size]),
                Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    }

    /// `PRIORITY,NUMBER,TIME,FLAGS;TEXT`, and lines of more.
    fn note(&mut self, record: &[u8]) {
        let text = record.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let Some(start) = text.iter().position(|byte| *byte == b';') else { return };
        let line = printable(&text[start + 1..]);
        if WORDS.iter().any(|word| line.contains(word)) {
            if self.lines.len() == KEPT {
                self.lines.pop_front();
            }
            self.lines.push_back(line);
        }
    }

    /// What was said of the kill of a process, the latest one with that id.
    #[must_use]
    pub fn about(&self, pid: u32) -> Vec<String> {
        let killed = format!("Killed process {pid} (");
        let chosen = format!(",pid={pid},");
        let is_about = |line: &&String| line.contains(&killed) || line.contains(&chosen);
        self.lines.iter().filter(is_about).cloned().collect()
    }
}

/// The control group whose limit was hit, from a line such as `oom-kill:constraint=
/// CONSTRAINT_MEMCG,...,oom_memcg=/a,task_memcg=/a/b,task=python3,pid=1,uid=0`; `Some("/")` where
/// the whole machine was out of memory. The victim chooses its name, so only what comes before it
/// counts.
#[must_use]
pub fn limit_hit(line: &str) -> Option<&str> {
    let facts = line.strip_prefix("oom-kill:")?;
    let facts = facts.split(",task=").next()?;
    let group = facts.split_once(",oom_memcg=").map(|(_, rest)| rest);
    match group {
        Some(rest) => rest.split(",task_memcg=").next(),
        None => Some("/"),
    }
}

/// The control group of the victim, from the same line.
#[must_use]
pub fn group_of_victim(line: &str) -> Option<&str> {
    let facts = line.strip_prefix("oom-kill:")?.split(",task=").next()?;
    facts.split_once(",task_memcg=").map(|(_, path)| path)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: &str = "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,\
        mems_allowed=0,oom_memcg=/jobs,task_memcg=/jobs/1,task=python3,pid=4242,uid=0";

    #[test]
    fn lines_about_a_kill_are_kept() {
        let file = File::open("/dev/null").unwrap();
        let mut log = KernelLog { file, lines: VecDeque::new() };
        log.note(format!("6,1234,567890,-;{LIMIT}\n SUBSYSTEM=x\n").as_bytes());
        log.note(b"3,1235,567891,-;Memory cgroup out of memory: Killed process 4242 (python3) x");
        log.note(b"6,1236,567892,-;eth0: link up, pid=4242,");
        log.note(b"garbage");
        assert_eq!(log.about(4242).len(), 2);
        assert_eq!(log.about(424), Vec::<String>::new());
        (0..1000).for_each(|_| log.note(b"3,1,1,-;Killed process 1 (x)"));
        assert_eq!(log.lines.len(), KEPT);
    }

    #[test]
    fn the_limit_is_in_the_line() {
        assert_eq!(limit_hit(LIMIT), Some("/jobs"));
        let machine = "oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,\
            mems_allowed=0,global_oom,task_memcg=/,task=x,oom_memcg=/evil,pid=1,uid=0";
        assert_eq!(limit_hit(machine), Some("/"));
        assert_eq!(limit_hit("Killed process 1"), None);
        assert_eq!(
            (group_of_victim(LIMIT), group_of_victim(machine)),
            (Some("/jobs/1"), Some("/"))
        );
    }
}
