//! Attaching the programs to functions of one process, and taking them off again.

use std::{
    io::{self, PipeReader, PipeWriter},
    mem,
    num::NonZeroU32,
    os::fd::{AsRawFd as _, OwnedFd},
    path::Path,
    ptr,
};

use anyhow::{Context as _, Result};
use aya::{
    Ebpf,
    programs::{
        Link as _, UProbe,
        uprobe::{UProbeAttachLocation, UProbeAttachPoint, UProbeLink, UProbeScope},
    },
};

use super::inherited::Inherited;
use crate::attach::plan::Program;

/// The program's name in the object.
pub(super) const fn program_name(program: Program) -> &'static str {
    match program {
        Program::AllocationEnter => "allocation_enter",
        Program::AllocationReturn => "allocation_return",
        Program::Release => "release_enter",
        Program::LibrariesChanged => "libraries_changed",
    }
}

/// The name of the program that does nothing where `program` would run.
pub(super) const fn empty_program_name(program: Program) -> &'static str {
    match program {
        Program::AllocationReturn => "empty_return",
        _ => "empty_enter",
    }
}

/// Where a probe goes.
#[derive(Clone, Copy, Debug)]
pub struct Point<'file> {
    /// The only process in which the probe fires.
    pub process_id: u32,
    /// The file; best a path that names an open file, so that it is that very one.
    pub file: &'file Path,
    /// Bytes into the file.
    pub offset: u64,
    /// What the program is told.
    pub cookie: u64,
}

/// A probe; it is taken off when this is dropped.
#[derive(Default)]
pub struct Probe {
    link: Option<UProbeLink>,
    /// What children inherit of it. While there is any, they stand in line with whoever attaches or
    /// detaches probes when they begin and end; so it goes first.
    inherited: Vec<OwnedFd>,
    /// What else there is of an inherited probe.
    _carriers: Option<[OwnedFd; 2]>,
}

impl From<UProbeLink> for Probe {
    fn from(link: UProbeLink) -> Self {
        Self { link: Some(link), inherited: Vec::new(), _carriers: None }
    }
}

impl From<Inherited> for Probe {
    fn from(probe: Inherited) -> Self {
        let (inherited, carriers) = probe.into_files();
        Self { inherited, _carriers: Some(carriers), link: None }
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        if let Some(link) = self.link.take() {
            // Closing the file descriptor is all it does; there is nothing to be done on failure.
            let _ = link.detach();
        }
    }
}

/// Attaches one probe, by the program's name.
pub(super) fn attach(ebpf: &mut Ebpf, name: &str, point: Point<'_>) -> Result<Probe> {
    let program: &mut UProbe = ebpf
        .program_mut(name)
        .with_context(|| format!("no program {name} in the object"))?
        .try_into()
        .with_context(|| format!("program {name} is not a uprobe"))?;
    let process_id = NonZeroU32::new(point.process_id).context("process 0 cannot be probed")?;
    let location = UProbeAttachLocation::AbsoluteOffset(point.offset);
    let link = program.attach(
        UProbeAttachPoint { location, cookie: Some(point.cookie) },
        point.file,
        UProbeScope::OneProcess(process_id),
    )?;
    let link = program.take_link(link).context("take the new link")?;
    Ok(link.into())
}

/// Processes that take probes off at the same time.
const CLOSERS: usize = 4;

/// Probes that are being taken off by a process of their own. To drop it is to wait for the end.
#[must_use]
pub struct Detaching {
    closer: libc::pid_t,
}

impl Detaching {
    /// Whether the end has come, so that nobody waits who drops this.
    #[must_use]
    pub fn is_over(&mut self) -> bool {
        // SAFETY: the status is not asked for.
        let ended = unsafe { libc::waitpid(self.closer, ptr::null_mut(), libc::WNOHANG) } != 0;
        if ended {
            self.closer = 0;
        }
        ended
    }
}

impl Drop for Detaching {
    fn drop(&mut self) {
        if self.closer == 0 {
            return;
        }
        // It may be interrupted by a signal; nothing else can go wrong with a child of our own.
        // SAFETY: the status is not asked for.
        while unsafe { libc::waitpid(self.closer, ptr::null_mut(), 0) } < 0
            && io::Error::last_os_error().kind() == io::ErrorKind::Interrupted
        {}
    }
}

/// Takes probes off in the background. The kernel takes a tenth of a second for each, to be sure
/// that nobody runs it, and a part of that for several at a time.
///
/// What children inherit has its order, so such probes are taken off one after the other.
#[must_use]
pub fn detach(mut probes: Vec<Probe>) -> Vec<Detaching> {
    let is_ordered = probes.iter().any(|probe| !probe.inherited.is_empty());
    let most = if is_ordered { probes.len() } else { probes.len().div_ceil(CLOSERS) };
    let mut detaching = Vec::new();
    while !probes.is_empty() {
        let rest = probes.split_off(most.min(probes.len()));
        detaching.extend(detach_in_turn(mem::replace(&mut probes, rest)));
    }
    detaching
}

/// Takes probes off one after the other.
///
/// A task that is killed while it closes a probe leaves the breakpoint in the code (Linux 6.18,
/// `uprobe_unregister_nosync`, which gives up when the page cannot be pinned). A task that closes
/// it by exiting does not, because whoever exits cannot be killed any more. So the last to hold the
/// probes is a child that does nothing but exit; or another such child, which was forked earlier and
/// has them as well.
///
/// `None` if they are off already, because no child could be had.
fn detach_in_turn(probes: Vec<Probe>) -> Option<Detaching> {
    let (reader, writer) = io::pipe().ok()?;
    // SAFETY: the child makes system calls only, and never returns.
    match unsafe { libc::fork() } {
        0 => exit_as_the_last(probes, &reader, &writer),
        -1 => None,
        closer => {
            drop(probes);
            drop(writer);
            Some(Detaching { closer })
        }
    }
}

/// Waits until the parent has closed its `writer`, lets a child of its own take off what is
/// inherited, and exits. Async-signal-safe.
fn exit_as_the_last(mut probes: Vec<Probe>, reader: &PipeReader, writer: &PipeWriter) -> ! {
    wait_for_end(reader, writer);
    if probes.iter().any(|probe| !probe.inherited.is_empty()) {
        take_off_inherited(&mut probes);
    }
    // SAFETY: without `atexit`, which is the parent's business.
    unsafe { libc::_exit(0) }
}

/// Waits until a child, the last to have them, has exited. Without a child nothing is lost but the
/// order.
fn take_off_inherited(probes: &mut [Probe]) {
    let mut ends = [0; 2];
    // SAFETY: there is room for two descriptors.
    if unsafe { libc::pipe(ends.as_mut_ptr()) } != 0 {
        return;
    }
    let close = |fd: &libc::c_int| {
        // SAFETY: this process's own copy, which it does not use any more.
        unsafe { libc::close(*fd) };
    };
    // SAFETY: the child makes system calls only, and never returns.
    match unsafe { libc::fork() } {
        0 => {
            close(&ends[1]);
            let mut byte = 0_u8;
            // SAFETY: there is room for the one byte that is asked for.
            unsafe { libc::read(ends[0], (&raw mut byte).cast(), 1) };
            // SAFETY: as above.
            unsafe { libc::_exit(0) }
        }
        -1 => {}
        child => {
            let inherited = probes.iter().flat_map(|probe| &probe.inherited);
            inherited.for_each(|file| close(&file.as_raw_fd()));
            ends.iter().for_each(close);
            // SAFETY: the status is not asked for.
            unsafe { libc::waitpid(child, ptr::null_mut(), 0) };
        }
    }
}

/// Waits until the parent has closed its `writer`. Async-signal-safe.
fn wait_for_end(reader: &PipeReader, writer: &PipeWriter) {
    let mut byte = 0_u8;
    // SAFETY: this process's own copy, which nobody uses any more.
    unsafe { libc::close(writer.as_raw_fd()) };
    // SAFETY: there is room for the one byte that is asked for.
    while unsafe { libc::read(reader.as_raw_fd(), (&raw mut byte).cast(), 1) } < 0
        && io::Error::last_os_error().kind() == io::ErrorKind::Interrupted
    {}
}
