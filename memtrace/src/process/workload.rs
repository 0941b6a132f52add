//! Real processes to test on; each ends with its value.

use std::{
    fs,
    io::{self, BufRead as _, BufReader, Write as _},
    os::unix::fs::PermissionsExt as _,
    process::{Child, ChildStdout, Command, Stdio},
    ptr, thread,
    time::{Duration, Instant},
};

use super::{
    directory::Directory,
    mappings::{Mapping, Mappings},
};

/// A child process that is killed and collected at the end.
pub(crate) struct Workload {
    child: Child,
    first_line: String,
    /// Kept open: a script that prints more would fail.
    _output: Option<BufReader<ChildStdout>>,
}

impl Workload {
    pub(crate) fn spawn(program: &str, arguments: &[&str]) -> Self {
        let child = Command::new(program).args(arguments).spawn().unwrap();
        let workload = Self { child, first_line: String::new(), _output: None };
        workload.wait_for_state('S');
        workload
    }

    /// Runs the script, which waits at its end; returns after its first line of output, which a
    /// script that prints nothing writes at its end.
    pub(crate) fn python(script: &str) -> Self {
        let script = format!("{script}\nprint('end', flush=True)\nimport time\ntime.sleep(1000)");
        let mut python = Command::new("python3");
        let mut child = python.arg("-c").arg(script).stdout(Stdio::piped()).spawn().unwrap();
        let mut first_line = String::new();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        output.read_line(&mut first_line).unwrap();
        assert!(!first_line.is_empty(), "the script fails");
        Self { child, first_line: first_line.trim_end().into(), _output: Some(output) }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn first_line(&self) -> &str {
        &self.first_line
    }

    pub(super) fn directory(&self) -> Directory {
        Directory::open(self.pid()).unwrap()
    }

    /// Kills without collecting: a zombie is left.
    pub(super) fn kill(&self) {
        // SAFETY: the call takes two integers; the child has not been waited for.
        let killed = unsafe { libc::kill(self.pid().cast_signed(), libc::SIGKILL) };
        assert_eq!(killed, 0);
        self.wait_for_state('Z');
    }

    pub(super) fn wait_for_state(&self, state: char) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.directory().stat().unwrap().state != state {
            assert!(Instant::now() < deadline, "no state {state}");
            thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Workload {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(super) fn own_directory() -> Directory {
    Directory::open(std::process::id()).unwrap()
}

pub(super) fn mappings_of(directory: &Directory) -> Mappings {
    Mappings::parse(&directory.read("maps", u64::MAX).unwrap())
}

/// The address of `malloc` in this process, and the mapping that it is in.
pub(crate) fn mapping_of_malloc() -> (u64, Mapping) {
    let malloc = libc::malloc as *const () as u64;
    (malloc, mappings_of(&own_directory()).at(malloc).unwrap().clone())
}

/// A copy of this process that sleeps, with a process id of our choice.
pub(super) struct Fork(libc::pid_t);

pub(super) fn fork_with_pid(pid: u32) -> Fork {
    let exit_signal = libc::SIGCHLD as u64;
    let set_tid = ptr::from_ref(&pid) as u64;
    // `struct clone_args`: exit_signal is the fifth, set_tid and its length the ninth and tenth.
    let arguments = [0, 0, 0, 0, exit_signal, 0, 0, 0, set_tid, 1, 0];
    // SAFETY: without flags this is a fork; the child makes one system call again and again.
    let child =
        unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size_of_val(&arguments)) };
    if child == 0 {
        loop {
            // SAFETY: no memory is involved.
            unsafe { libc::pause() };
        }
    }
    assert_eq!(child, i64::from(pid), "needs root: {}", io::Error::last_os_error());
    Fork(pid.cast_signed())
}

impl Drop for Fork {
    fn drop(&mut self) {
        // SAFETY: no memory is involved; the child is not collected yet.
        unsafe { libc::kill(self.0, libc::SIGKILL) };
        // SAFETY: a null status is not written.
        unsafe { libc::waitpid(self.0, ptr::null_mut(), 0) };
    }
}

/// Runs the test's work on a thread with another user's rights.
pub(super) fn without_privileges<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    let nobody = 65534;
    let thread = thread::spawn(move || {
        // SAFETY: no memory is involved. The raw system call changes this thread alone.
        let changed = unsafe { libc::syscall(libc::SYS_setresuid, nobody, nobody, nobody) };
        assert_eq!(changed, 0, "needs root");
        work()
    });
    thread.join().unwrap()
}

/// A static i386 program that calls `pause` for ever.
pub(super) fn program_32_bit() -> Workload {
    let code = b"\xb8\x1d\0\0\0\xcd\x80\xeb\xf7";
    let (base, headers) = (0x0804_8000_u32, 52 + 32);
    let size = headers + code.len() as u32;
    let mut image = b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x03\0\x01\0\0\0".to_vec();
    image.extend([base + headers, 52, 0, 0].map(u32::to_le_bytes).as_flattened());
    image.extend([52_u16, 32, 1, 0, 0, 0].map(u16::to_le_bytes).as_flattened());
    image.extend([1, 0, base, base, size, size, 5, 4096].map(u32::to_le_bytes).as_flattened());
    image.extend(code);
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&image).unwrap();
    fs::set_permissions(file.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let path = file.into_temp_path();
    Workload::spawn(path.to_str().unwrap(), &[])
}
