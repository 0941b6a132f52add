//! The disk of a suite: Python, NumPy, and the compilers and tools that the tests use.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use super::{archive::Archive, catalog::Suite, system::System};
use crate::{command, say};

const PACKAGES: [&str; 15] = [
    "base-files",
    "bash",
    "bsdutils",
    "coreutils",
    "dash",
    "file",
    "g++",
    "gdb",
    "grep",
    "libc-bin",
    "mount",
    "procps",
    "python3-numpy",
    "sed",
    "util-linux",
];

/// Links that the packages' scripts would make.
const LINKS: [(&str, &str); 6] = [
    ("dash", "usr/bin/sh"),
    ("gcc", "usr/bin/cc"),
    ("g++", "usr/bin/c++"),
    ("blas/libblas.so.3", "usr/lib/x86_64-linux-gnu/libblas.so.3"),
    ("lapack/liblapack.so.3", "usr/lib/x86_64-linux-gnu/liblapack.so.3"),
    ("/proc/self/fd", "dev/fd"),
];

const ACCOUNTS: &str = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n";

/// Room for what the tests write.
const FREE: u64 = 1 << 30;

/// Makes the image of a disk, unless that was done before; returns its path.
pub fn prepare(folder: &Path, suite: &Suite, tools: &System) -> Result<PathBuf> {
    let image = folder.join(format!("disk-{}.ext4", suite.name));
    if image.exists() {
        return Ok(image);
    }
    say(&format!("Debian {}: downloading, and making a disk of it", suite.name));
    make(folder, suite, tools, &image).with_context(|| format!("prepare Debian {}", suite.name))?;
    Ok(image)
}

fn make(folder: &Path, suite: &Suite, tools: &System, image: &Path) -> Result<()> {
    let archive = Archive::open(folder.join("apt"), &[suite.name])?;
    let pythons = suite.pythons.iter().chain(suite.unsupported_pythons);
    let packages: Vec<&str> =
        PACKAGES.iter().chain(pythons).chain(suite.packages).copied().collect();
    let system = System::unpack(folder.join("system.partial"), &archive, &packages)?;
    archive.remove()?;
    set_up(&system)?;
    for python in suite.pythons.iter().chain(suite.unsupported_pythons) {
        compile(&system, python);
    }
    let partial = folder.join("disk.partial");
    format(tools, &system, &partial)?;
    system.remove()?;
    fs::rename(&partial, image).with_context(|| format!("make {}", image.display()))
}

/// Does what the packages' scripts would have done.
fn set_up(system: &System) -> Result<()> {
    for folder in ["dev", "proc", "sys", "run", "tmp", "root"] {
        system.make_folder(folder)?;
    }
    for (to, below) in LINKS {
        system.link(to, below)?;
    }
    system.write("etc/passwd", ACCOUNTS)
}

/// Compiles the modules that the tests import: an emulated machine would take seconds for it at
/// each start of Python.
fn compile(system: &System, python: &str) {
    let library = system.path("usr/lib").join(python);
    let packages = system.path("usr/lib/python3/dist-packages");
    let mut command = system.command(&format!("usr/bin/{python}"));
    command.args(["-m", "compileall", "-q", "-s"]).arg(system.path("")).arg(&library);
    command.arg(packages.join("numpy"));
    command.env("PYTHONHOME", system.path("usr")).env("PYTHONPATH", packages);
    // A few files of NumPy are for other versions and compile with none.
    if let Err(error) = command::run_quietly(&mut command) {
        say(&format!("{python}: not every module was compiled: {error:#}"));
    }
}

/// Copies the system onto a disk.
fn format(tools: &System, system: &System, image: &Path) -> Result<()> {
    let size = occupied(&system.path(""))? * 5 / 4 + FREE;
    let mut mke2fs = tools.command("usr/sbin/mke2fs");
    // Linux 5.10 knows all of these features, and a journal would be written for nobody.
    mke2fs.args(["-q", "-F", "-t", "ext4", "-m", "0", "-O", "^has_journal,^metadata_csum_seed"]);
    mke2fs.args(["-E", "lazy_itable_init=0,root_owner=0:0", "-d"]).arg(system.path(""));
    mke2fs.arg(image).arg(format!("{}k", size / 1024));
    mke2fs.env("MKE2FS_CONFIG", tools.path("etc/mke2fs.conf"));
    command::run_quietly(&mut mke2fs)
}

/// Bytes of the disk that a folder takes.
fn occupied(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))? {
        let entry = entry.with_context(|| format!("list {}", folder.display()))?;
        let metadata =
            entry.metadata().with_context(|| format!("look at {}", entry.path().display()))?;
        bytes += metadata.blocks() * 512;
        if metadata.is_dir() {
            bytes += occupied(&entry.path())?;
        }
    }
    Ok(bytes)
}
