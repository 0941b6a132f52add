//! The files of a kernel: what QEMU boots, and the modules without which it sees no disk.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context as _, Result, ensure};

use super::{
    archive::Archive,
    catalog::Kernel,
    system::{self, System},
};
use crate::say;

/// In the order of loading. Newer kernels have most of them built in.
const MODULES: [&str; 6] = [
    "virtio_ring",
    "virtio",
    "virtio_pci_legacy_dev",
    "virtio_pci_modern_dev",
    "virtio_pci",
    "virtio_blk",
];

/// Where the files are.
pub struct KernelFiles {
    folder: PathBuf,
}

impl KernelFiles {
    /// Downloads a kernel, unless that was done before.
    pub fn prepare(folder: &Path, kernel: &Kernel, tools: &System) -> Result<Self> {
        let files = Self { folder: folder.join(format!("kernel-{}", kernel.name)) };
        if files.folder.exists() {
            return Ok(files);
        }
        say(&format!("Linux {}: downloading", kernel.name));
        let archive = Archive::open(folder.join("apt"), kernel.suites)?;
        let partial = folder.join("kernel.partial");
        fetch(&archive, kernel, &partial, tools)
            .with_context(|| format!("prepare Linux {}", kernel.name))?;
        archive.remove()?;
        let whole = &files.folder;
        fs::rename(&partial, whole).with_context(|| format!("make {}", whole.display()))?;
        Ok(files)
    }

    /// What is booted.
    pub fn image(&self) -> PathBuf {
        self.folder.join("vmlinuz")
    }

    /// File name and contents of the modules, in the order of loading.
    pub fn modules(&self) -> Result<Vec<(String, Vec<u8>)>> {
        let names = MODULES.map(|name| format!("{name}.ko"));
        let present = names.into_iter().filter(|name| self.folder.join(name).exists());
        let read = |name: String| {
            let bytes = fs::read(self.folder.join(&name));
            bytes.with_context(|| format!("read {name}")).map(|bytes| (name, bytes))
        };
        present.map(read).collect()
    }
}

fn fetch(archive: &Archive, kernel: &Kernel, into: &Path, tools: &System) -> Result<()> {
    if into.exists() {
        fs::remove_dir_all(into).with_context(|| format!("remove {}", into.display()))?;
    }
    let contents = into.join("contents");
    for package in archive.download(&packages(archive, kernel.package)?)? {
        system::unpack(&package, &contents)?;
    }
    let files = files(&contents)?;
    let image = files.iter().find(|path| name(path).starts_with("vmlinuz"));
    let image = image.context("the packages hold no kernel image")?;
    fs::rename(image, into.join("vmlinuz")).context("keep the kernel image")?;
    for module in MODULES {
        let is_module =
            |path: &&PathBuf| name(path).split_once(".ko").is_some_and(|it| it.0 == module);
        if let Some(file) = files.iter().find(is_module) {
            keep_module(file, &into.join(format!("{module}.ko")), tools)?;
        }
    }
    fs::remove_dir_all(&contents).with_context(|| format!("remove {}", contents.display()))
}

/// The package of the newest build, and those that it is split into since Linux 7.
fn packages(archive: &Archive, newest: &str) -> Result<Vec<String>> {
    let image = archive.dependencies(newest)?.into_iter().find(|it| it.starts_with("linux-image-"));
    let image = image.with_context(|| format!("{newest} depends on no kernel"))?;
    let mut parts = archive.dependencies(&image)?;
    let prefixes = ["linux-binary-", "linux-modules-"];
    parts.retain(|name| prefixes.iter().any(|prefix| name.starts_with(prefix)));
    parts.push(image);
    Ok(parts)
}

/// Every file below a folder.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))? {
        let entry = entry.with_context(|| format!("list {}", folder.display()))?;
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            files.extend(self::files(&entry.path())?);
        } else {
            files.push(entry.path());
        }
    }
    Ok(files)
}

fn name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

/// Copies a module, uncompressed.
fn keep_module(from: &Path, to: &Path, tools: &System) -> Result<()> {
    let program = match from.extension().and_then(|extension| extension.to_str()) {
        Some("xz") => "usr/bin/xz",
        Some("zst") => "usr/bin/zstd",
        _ => return fs::rename(from, to).with_context(|| format!("keep {}", from.display())),
    };
    let file = fs::File::create(to).with_context(|| format!("make {}", to.display()))?;
    let mut command = tools.command(program);
    let command = command.args(["--decompress", "--quiet", "--stdout"]).arg(from);
    let status = command.stdin(Stdio::null()).stdout(file).status().context("start it")?;
    ensure!(status.success(), "uncompress {}", from.display());
    Ok(())
}
