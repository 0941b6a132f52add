//! Why a process cannot be traced, and what the user can do about it.

use std::{error::Error, fmt, fs::File, io, os::unix::fs::FileExt as _, process};

use ::object::elf::EM_X86_64;

use super::{
    deadline::Unanswered, directory::Directory, namespaces::proc_is_ours, rights,
    status::process_of_thread,
};

/// Set in `stat`'s flags for kernel threads (`PF_KTHREAD`, include/linux/sched.h).
const KERNEL_THREAD: u32 = 0x0020_0000;

/// A process that cannot be used.
#[derive(Debug)]
pub struct Unusable {
    /// The process id that was asked for.
    pub pid: u32,
    /// What is in the way.
    pub reason: Reason,
}

/// What is in the way of tracing a process.
#[derive(Debug)]
pub enum Reason {
    /// There is no process with this id.
    NoSuchProcess,
    /// The id was given to another process in the meantime.
    Replaced,
    /// The id is that of a thread.
    Thread {
        /// The process that the thread belongs to.
        process: u32,
    },
    /// The kernel's own thread: it has no memory of its own.
    KernelThread,
    /// The program was over before memtrace looked: the process runs another one.
    Outrun,
    /// The process has ended, and its parent has not collected it.
    Zombie,
    /// The main thread has ended while others go on: Linux then hides the memory of the process.
    MainThreadGone,
    /// The program is not a 64-bit x86 program.
    NotX86_64,
    /// The process is memtrace.
    Itself,
    /// The kernel does not let us read the memory of the process.
    NotPermitted,
    /// `/proc` shows the process ids of another namespace than ours.
    ForeignProc,
    /// The kernel did not answer in time.
    Unanswered(Unanswered),
    /// Anything else that `/proc` had to say.
    Unreadable(io::Error),
}

impl Unusable {
    /// Whether the process goes on without its main thread.
    #[must_use]
    pub const fn is_of_main_thread(&self) -> bool {
        matches!(self.reason, Reason::MainThreadGone)
    }

    /// What helps, as a sentence with the exact command where there is one.
    #[must_use]
    pub fn hint(&self) -> String {
        let pid = self.pid;
        match &self.reason {
            Reason::NoSuchProcess | Reason::Replaced => "find it again: pgrep -af python".into(),
            Reason::Thread { process } => format!("trace its process: memtrace --pid {process}"),
            Reason::Outrun => "programs of a few milliseconds are over too soon".into(),
            Reason::KernelThread => "trace a program: pgrep -af python lists some".into(),
            Reason::Zombie => format!("see who should collect it: ps -o ppid= -p {pid}"),
            Reason::MainThreadGone => "start the program with: memtrace -- COMMAND".into(),
            Reason::NotX86_64 => format!("see what it is: file -L /proc/{pid}/exe"),
            Reason::Itself => "trace another process".into(),
            Reason::NotPermitted => rights::remedy(&format!("memtrace --pid {pid}")),
            Reason::ForeignProc => "mount its own: mount -t proc proc /proc".into(),
            Reason::Unanswered(_) => format!("see what it waits for: cat /proc/{pid}/stack"),
            Reason::Unreadable(_) => "see what is missing: memtrace doctor".into(),
        }
    }
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pid = self.pid;
        match &self.reason {
            Reason::NoSuchProcess => write!(f, "process {pid} does not exist"),
            Reason::Replaced => write!(f, "process {pid} is not the process it was before"),
            Reason::Thread { process } => write!(f, "{pid} is a thread of process {process}"),
            Reason::KernelThread => write!(f, "process {pid} is a kernel thread"),
            Reason::Outrun => {
                write!(f, "a program in process {pid} was over before its files could be read")
            }
            Reason::Zombie => write!(f, "process {pid} has ended (zombie)"),
            Reason::MainThreadGone => write!(f, "the main thread of process {pid} has ended"),
            Reason::NotX86_64 => write!(f, "process {pid} does not run a 64-bit x86 program"),
            Reason::Itself => write!(f, "process {pid} is memtrace itself"),
            Reason::NotPermitted => write!(f, "not permitted to read process {pid}"),
            Reason::ForeignProc => {
                write!(f, "process {pid}: /proc belongs to another pid namespace")
            }
            Reason::Unanswered(why) => write!(f, "look at process {pid}: {why}"),
            Reason::Unreadable(error) => write!(f, "look at process {pid}: {error}"),
        }
    }
}

impl Error for Unusable {}

impl From<io::Error> for Reason {
    fn from(error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::ENOENT | libc::ESRCH) => Self::NoSuchProcess,
            Some(libc::EACCES | libc::EPERM) => Self::NotPermitted,
            _ => Self::Unreadable(error),
        }
    }
}

/// Directory and start time of a process, if it can be traced.
pub(super) fn inspect(pid: u32) -> Result<(Directory, u64), Reason> {
    if !proc_is_ours()? {
        return Err(Reason::ForeignProc);
    }
    let directory = Directory::open(pid)?;
    let stat = directory.stat()?;
    match process_of_thread(&directory)? {
        Some(owner) if owner == process::id() => return Err(Reason::Itself),
        Some(owner) if owner != pid => return Err(Reason::Thread { process: owner }),
        _ => {}
    }
    if stat.flags & KERNEL_THREAD != 0 {
        return Err(Reason::KernelThread);
    }
    refuse_dead(stat.state, stat.num_threads)?;
    refuse_foreign_program(&directory)?;
    // Opening takes the same permission as reading through system calls.
    File::open(directory.path("mem"))?;
    Ok((directory, stat.starttime))
}

pub(super) fn refuse_dead(state: char, thread_count: i64) -> Result<(), Reason> {
    match state {
        'Z' if thread_count > 1 => Err(Reason::MainThreadGone),
        'Z' | 'X' | 'x' => Err(Reason::Zombie),
        _ => Ok(()),
    }
}

fn refuse_foreign_program(directory: &Directory) -> Result<(), Reason> {
    let mut header = [0; 20];
    File::open(directory.path("exe"))?.read_exact_at(&mut header, 0)?;
    if is_x86_64(&header) { Ok(()) } else { Err(Reason::NotX86_64) }
}

/// 64-bit class and x86-64 machine: x32 programs have the one without the other.
fn is_x86_64(header: &[u8; 20]) -> bool {
    header.starts_with(b"\x7fELF\x02") && header.ends_with(&EM_X86_64.to_le_bytes())
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            Process,
            workload::{Workload, program_32_bit, without_privileges},
        },
        *,
    };

    fn refusal(pid: u32) -> Reason {
        let unusable = Process::open(pid).unwrap_err();
        let message = unusable.to_string();
        assert!(message.contains(&pid.to_string()) && !message.contains('\n'), "{message}");
        assert!(!unusable.hint().is_empty());
        unusable.reason
    }

    #[test]
    fn ids_without_a_process_and_our_own_are_refused() {
        for pid in [0, i32::MAX as u32, u32::MAX] {
            assert!(matches!(refusal(pid), Reason::NoSuchProcess));
        }
        assert!(matches!(refusal(process::id()), Reason::Itself));
    }

    #[test]
    fn kernel_threads_are_refused() {
        let is_kernel_thread = |pid: &u32| {
            let stat = Directory::open(*pid).and_then(|directory| directory.stat());
            stat.is_ok_and(|stat| stat.flags & KERNEL_THREAD != 0)
        };
        let pid = (2..1000).find(is_kernel_thread).expect("this test needs /proc of the host");
        assert!(matches!(refusal(pid), Reason::KernelThread));
    }

    #[test]
    fn threads_and_processes_without_main_thread_are_refused() {
        let script = "import ctypes, threading, time; threading.Thread(target=time.sleep, \
                      args=(1000,)).start(); print(threading.enumerate()[1].native_id, flush=True); \
                      ctypes.CDLL(None).pthread_exit(None)";
        let python = Workload::python(script);
        let owner = python.pid();
        let thread = python.first_line().parse().unwrap();
        assert!(matches!(refusal(thread), Reason::Thread { process } if process == owner));
        python.wait_for_state('Z');
        assert!(matches!(refusal(owner), Reason::MainThreadGone));
    }

    #[test]
    fn programs_of_other_architectures_are_refused() {
        let mut header = *b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\x3e\0";
        assert!(is_x86_64(&header));
        header[18] = 0xb7;
        assert!(!is_x86_64(&header), "aarch64");
        header[4] = 1;
        header[18] = 0x3e;
        assert!(!is_x86_64(&header), "x32");
        let program = program_32_bit();
        assert!(matches!(refusal(program.pid()), Reason::NotX86_64));
    }

    #[test]
    fn processes_of_others_are_not_permitted() {
        let sleep = Workload::spawn("sleep", &["1000"]);
        let pid = sleep.pid();
        let reason = without_privileges(move || inspect(pid).map(drop).unwrap_err());
        assert!(matches!(reason, Reason::NotPermitted), "{reason:?}");
    }
}
