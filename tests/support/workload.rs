//! Real processes with known answers. A workload prints `ready`, waits for a line on its standard
//! input, does its work, prints `done`, and waits for another line before it ends.

use std::{
    collections::HashMap,
    env, fs,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{self, Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

/// A running workload; killed when dropped.
pub struct Workload {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Workload {
    /// Starts a command and waits until it is ready.
    pub fn start(command: &mut Command) -> Self {
        Self::start_and_read(command).0
    }

    /// As [`Workload::start`]; also returns what it said before that.
    pub fn start_and_read(command: &mut Command) -> (Self, Vec<String>) {
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("starts");
        let input = child.stdin.take().expect("was piped");
        let output = BufReader::new(child.stdout.take().expect("was piped"));
        let mut workload = Self { child, input, output };
        let said = workload.expect("ready");
        (workload, said)
    }

    /// Compiles `tests/workloads/NAME.c` and starts it.
    pub fn c(name: &str) -> Self {
        Self::start(&mut Command::new(compile(name, &[])))
    }

    /// Starts `tests/workloads/NAME.py` with an interpreter.
    pub fn python(interpreter: &Path, name: &str) -> Self {
        Self::start(Command::new(interpreter).arg(source(&format!("{name}.py"))))
    }

    /// Reads the next line.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("it writes");
        line.trim_end().to_owned()
    }

    /// Writes a line to it.
    pub fn say(&mut self, line: &str) {
        writeln!(self.input, "{line}").and_then(|()| self.input.flush()).expect("it reads");
    }

    /// Waits for its end, after it has read all of its input.
    pub fn end(mut self) -> ExitStatus {
        self.go();
        self.child.wait().expect("it can be waited for")
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Lets it work, and waits until it is done.
    pub fn work(&mut self) {
        self.go();
        self.expect("done");
    }

    /// Lets it work; returns what it says of itself in lines `sum NAME VALUE ...`.
    pub fn work_and_sum(&mut self) -> Sums {
        self.go();
        Sums::parse(&self.expect("done"))
    }

    /// Lets it go on.
    pub fn go(&mut self) {
        self.input.write_all(b"go\n").expect("it reads");
        self.input.flush().expect("it reads");
    }

    /// Reads lines up to the one that is wanted; returns those before it.
    pub fn expect(&mut self, wanted: &str) -> Vec<String> {
        let mut before = Vec::new();
        loop {
            let mut line = String::new();
            let size = self.output.read_line(&mut line).expect("it writes");
            assert!(size > 0, "the workload ended without saying {wanted}: {before:?}");
            if line.trim_end() == wanted {
                return before;
            }
            before.push(line.trim_end().to_owned());
        }
    }

    /// Whether it has not ended.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("it can be waited for").is_none()
    }
}

impl Drop for Workload {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Numbers that a workload knows of itself, by the name of the function that they are about.
pub struct Sums(HashMap<String, Vec<u64>>);

impl Sums {
    fn parse(lines: &[String]) -> Self {
        let sums = lines.iter().filter_map(|line| line.strip_prefix("sum ")).map(|line| {
            let mut words = line.split(' ');
            let name = words.next().expect("a name").to_owned();
            (name, words.map(|word| word.parse().expect("a number")).collect())
        });
        Self(sums.collect())
    }

    /// The values of a name.
    pub fn values(&self, name: &str) -> &[u64] {
        self.0.get(name).unwrap_or_else(|| panic!("the workload says nothing of {name}"))
    }

    /// The values of a name in pairs: bytes and objects.
    pub fn amounts(&self, name: &str) -> Vec<(u64, u64)> {
        self.values(name).chunks_exact(2).map(|pair| (pair[0], pair[1])).collect()
    }
}

/// A file of `tests/workloads`.
pub fn source(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/workloads").join(file)
}

/// Compiles `tests/workloads/NAME.c` (or `.cpp`) without frame pointers; returns the program.
pub fn compile(name: &str, flags: &[&str]) -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    // Several test programs run at the same time.
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(process::id().to_string());
    fs::create_dir_all(&folder).expect("a folder for programs");
    let program = folder.join(format!("{name}-{number}"));
    let cpp = source(&format!("{name}.cpp"));
    let (compiler, source) =
        if cpp.exists() { ("c++", cpp) } else { ("cc", source(&format!("{name}.c"))) };
    let status = Command::new(compiler)
        .args(["-O1", "-g", "-fomit-frame-pointer", "-fno-builtin", "-pthread", "-o"])
        .arg(&program)
        .arg(source)
        .args(flags)
        .status()
        .expect("the compiler starts");
    assert!(status.success(), "{name} compiles");
    program
}

/// The interpreter with NumPy that the set-up made.
pub fn main_python() -> PathBuf {
    env::var_os("MEMTRACE_TEST_PYTHON").expect("run by: cargo xtask test").into()
}

/// The interpreter with allocators in its packages that the set-up made.
pub fn wheels_python() -> PathBuf {
    env::var_os("MEMTRACE_TEST_WHEELS").expect("run by: cargo xtask test").into()
}

/// The interpreter with packages for pools and clusters that the set-up made.
pub fn scenario_python() -> PathBuf {
    env::var_os("MEMTRACE_TEST_SCENARIOS").expect("run by: cargo xtask test").into()
}

/// One interpreter with NumPy for every version that stands on the machine.
pub fn pythons() -> Vec<PathBuf> {
    let list = env::var_os("MEMTRACE_TEST_PYTHONS").expect("run by: cargo xtask test");
    env::split_paths(&list).collect()
}

/// Interpreters that memtrace has no layouts for, as far as there are any.
pub fn unsupported_pythons() -> Vec<PathBuf> {
    let list = env::var_os("MEMTRACE_TEST_UNSUPPORTED_PYTHONS").unwrap_or_default();
    env::split_paths(&list).filter(|path| !path.as_os_str().is_empty()).collect()
}
