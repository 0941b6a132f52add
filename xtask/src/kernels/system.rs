//! A Debian system unpacked into a folder. Its programs run from there with its own libraries,
//! whatever the machine's own are, and without root.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};

use super::archive::Archive;

/// Where libraries are, below the root.
const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";

/// Parts of packages that no program reads.
const LEFT_OUT: [&str; 4] =
    ["./usr/share/doc", "./usr/share/info", "./usr/share/locale", "./usr/share/man"];

/// The root folder of an unpacked system.
pub struct System {
    root: PathBuf,
}

impl System {
    /// One that was unpacked before.
    pub fn at(root: PathBuf) -> Self {
        Self { root }
    }

    /// Unpacks packages with all that they depend on. Nothing of them is executed, so what their
    /// scripts would have set up is missing.
    pub fn unpack(root: PathBuf, archive: &Archive, packages: &[&str]) -> Result<Self> {
        if root.exists() {
            fs::remove_dir_all(&root).with_context(|| format!("remove {}", root.display()))?;
        }
        let packages = archive.download_with_dependencies(packages)?;
        let system = Self { root };
        // Older packages still have files in /bin and /lib.
        for folder in ["bin", "sbin", "lib", "lib64"] {
            system.make_folder(&format!("usr/{folder}"))?;
            system.link(&format!("usr/{folder}"), folder)?;
        }
        for package in &packages {
            unpack(package, &system.root)?;
        }
        Ok(system)
    }

    /// A path below the root.
    pub fn path(&self, below: &str) -> PathBuf {
        self.root.join(below)
    }

    /// A program of the system, named by its path below the root.
    pub fn command(&self, program: &str) -> Command {
        let libraries = ["", "/blas", "/lapack", "/pulseaudio"]
            .map(|part| format!("{}{part}", self.path(LIBRARIES).display()));
        let mut command = Command::new(self.path(LIBRARIES).join("ld-linux-x86-64.so.2"));
        command.arg("--library-path").arg(libraries.join(":")).arg(self.path(program));
        command
    }

    /// Makes a folder below the root, unless it is there.
    pub fn make_folder(&self, below: &str) -> Result<()> {
        let path = self.path(below);
        fs::create_dir_all(&path).with_context(|| format!("make {}", path.display()))
    }

    /// Makes a symbolic link below the root, unless something is there.
    pub fn link(&self, to: &str, below: &str) -> Result<()> {
        let path = self.path(below);
        if path.symlink_metadata().is_ok() {
            return Ok(());
        }
        symlink(to, &path).with_context(|| format!("make {}", path.display()))
    }

    /// Writes a file below the root.
    pub fn write(&self, below: &str, text: &str) -> Result<()> {
        let path = self.path(below);
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))
    }

    /// Frees the disk space.
    pub fn remove(self) -> Result<()> {
        let root = &self.root;
        fs::remove_dir_all(root).with_context(|| format!("remove {}", root.display()))
    }
}

/// Unpacks one package. Links to folders stay what they are, as dpkg does it.
pub fn unpack(package: &Path, into: &Path) -> Result<()> {
    fs::create_dir_all(into).with_context(|| format!("make {}", into.display()))?;
    let mut reader = Command::new("dpkg-deb");
    reader.arg("--fsys-tarfile").arg(package).stdout(Stdio::piped());
    let mut reader = reader.spawn().context("start dpkg-deb")?;
    let files = reader.stdout.take().context("read what dpkg-deb writes")?;
    let mut tar = Command::new("tar");
    tar.arg("--directory").arg(into).args(["--keep-directory-symlink", "--no-same-permissions"]);
    tar.args(LEFT_OUT.map(|part| format!("--exclude={part}"))).args(["--extract", "--file=-"]);
    let unpacked = tar.stdin(files).status().context("start tar")?;
    let read = reader.wait().context("wait for dpkg-deb")?;
    ensure!(unpacked.success() && read.success(), "unpack {}", package.display());
    Ok(())
}
