//! An emulated machine: what QEMU is started with, and what comes back over the serial lines.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};

use super::{
    archive::Archive, console, cpio::Cpio, guest, kernel::KernelFiles, outcome::Outcome,
    system::System,
};
use crate::say;

/// The suite that QEMU is taken from.
const SUITE: &str = "bookworm";
const PACKAGES: [&str; 5] = ["qemu-system-x86", "busybox-static", "e2fsprogs", "xz-utils", "zstd"];
const EMULATOR: &str = "usr/bin/qemu-system-x86_64";

const MEMORY_MIB: &str = "2048";
/// Emulation of more threads than one has crashed kernels while they patched their own code.
const ACCELERATOR: &str = "tcg,thread=single";
/// Time passes with the instructions, four nanoseconds each, and is skipped while the processors wait: a
/// machine that gets little of this one's processors, or none for a while, does not notice.
const CLOCK: &str = "shift=2,sleep=off";
/// Messages on the first serial line; the end of process 1 is the end of the machine.
const KERNEL_ARGUMENTS: &str = "console=ttyS0 panic=-1 quiet loglevel=4 mitigations=off";

/// A machine that says nothing for longer hangs: it tells of the beginning and the end of each test,
/// and the longest one takes a fifth of this.
const LONGEST_SILENCE: Duration = Duration::from_mins(20);
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// What to boot with.
pub struct Machine<'a> {
    /// QEMU.
    pub tools: &'a System,
    /// The kernel.
    pub kernel: &'a KernelFiles,
    /// Whether its time passes with the instructions.
    pub counts_time: bool,
    /// The disk. It is never written to.
    pub image: &'a Path,
}

/// Downloads QEMU and what else is needed, unless that was done before.
pub fn tools(folder: &Path) -> Result<System> {
    let root = folder.join("tools");
    if !root.exists() {
        say("QEMU: downloading");
        let archive = Archive::open(folder.join("apt"), &[SUITE])?;
        let partial = folder.join("tools.partial");
        System::unpack(partial.clone(), &archive, &PACKAGES).context("prepare QEMU")?;
        archive.remove()?;
        fs::rename(&partial, &root).with_context(|| format!("make {}", root.display()))?;
    }
    Ok(System::at(root))
}

impl Machine<'_> {
    /// Boots, waits until the machine has turned itself off, and reads what it has sent. All of it
    /// stays in the folder.
    pub fn run(&self, folder: &Path, payload: Cpio) -> Result<Outcome> {
        fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
        let initramfs = folder.join("initramfs.cpio");
        fs::write(&initramfs, self.initramfs(payload)?).context("write the initramfs")?;
        let mut emulator = self.emulator(folder, &initramfs)?.spawn().context("start QEMU")?;
        let events = folder.join("events");
        wait(&mut emulator, &events, LONGEST_SILENCE)?;
        fs::remove_file(&initramfs).context("remove the initramfs")?;
        let events = fs::read(events).context("read the tests' events")?;
        let console = fs::read(folder.join("console")).context("read the console")?;
        let faults = console::complaints(&String::from_utf8_lossy(&console));
        Ok(Outcome { faults, ..Outcome::parse(&String::from_utf8_lossy(&events)) })
    }

    fn initramfs(&self, mut cpio: Cpio) -> Result<Vec<u8>> {
        let busybox = self.tools.path("usr/bin/busybox");
        let busybox = fs::read(&busybox).with_context(|| format!("read {}", busybox.display()))?;
        cpio.file("busybox", &busybox);
        cpio.file("bin/sh", &busybox);
        cpio.file("init", guest::INIT.as_bytes());
        let mut order = Vec::new();
        for (name, module) in self.kernel.modules()? {
            cpio.file(&format!("modules/{name}"), &module);
            order.push(name);
        }
        cpio.file("modules/order", order.join("\n").as_bytes());
        Ok(cpio.finish())
    }

    fn emulator(&self, folder: &Path, initramfs: &Path) -> Result<Command> {
        let disk =
            format!("file={},if=virtio,format=raw,snapshot=on,cache=unsafe", option(self.image));
        let log = |name: &str| fs::File::create(folder.join(name)).context("make a log");
        let mut qemu = self.tools.command(EMULATOR);
        qemu.arg("-L").arg(self.tools.path("usr/share/qemu"));
        qemu.arg("-L").arg(self.tools.path("usr/share/seabios"));
        qemu.args(["-machine", "q35", "-cpu", "max", "-accel", ACCELERATOR, "-smp", "2"]);
        if self.counts_time {
            qemu.args(["-icount", CLOCK]);
        }
        qemu.args(["-m", MEMORY_MIB, "-append", KERNEL_ARGUMENTS, "-drive", &disk, "-kernel"]);
        qemu.arg(self.kernel.image()).arg("-initrd").arg(initramfs);
        qemu.args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"]);
        qemu.args(["-monitor", "none", "-serial", "file:console", "-serial", "file:events"]);
        qemu.env("QEMU_MODULE_DIR", self.tools.path("usr/lib/x86_64-linux-gnu/qemu"));
        qemu.env("TMPDIR", folder).current_dir(folder);
        qemu.stdin(Stdio::null()).stdout(log("qemu")?).stderr(log("qemu-errors")?);
        Ok(qemu)
    }
}

/// In a list of options commas are written twice.
fn option(path: &Path) -> String {
    path.to_string_lossy().replace(',', ",,")
}

/// Waits for the end, or brings it about when the machine has written nothing for so long. That is not
/// told by a clock: who stops QEMU for a while stops this as well.
fn wait(emulator: &mut Child, events: &Path, longest_silence: Duration) -> Result<()> {
    let (mut written, mut silence) = (0, Duration::ZERO);
    while emulator.try_wait().context("wait for QEMU")?.is_none() {
        let now = fs::metadata(events).map_or(0, |file| file.len());
        if now != written {
            (written, silence) = (now, Duration::ZERO);
        }
        if silence > longest_silence {
            emulator.kill().context("end QEMU")?;
        }
        thread::sleep(LOOK_INTERVAL);
        silence += LOOK_INTERVAL;
    }
    Ok(())
}
