//! What becomes of processes: they load libraries, execute programs, have children, and end.

use std::time::Duration;

use anyhow::{Context as _, Result};
use memtrace_abi::event::{Change, NO_SLOT, kind};

use super::{
    super::{Detail, Options, inheritance::Estates, probes::Probes, target::Target},
    Tracer,
};
use crate::{
    cli,
    kernel::Kernel,
    process::{
        Process,
        namespaces::ensure_initial_pid_namespace,
        survey,
        unusable::{Reason, Unusable},
    },
    report::units::Size,
};

/// Before Linux 6.13.
const MAY_BE_LOST: &str = "This kernel may take probes away from processes that others than the traced \
    one have forked, when one that was forked beside them ends: some of their allocations may be \
    missing (Linux 6.13 does not).";

/// The probes of a session, and what makes it possible that children inherit them. A command is
/// followed if that is possible; it is an error where it was asked for and is not.
pub(super) fn prepare(
    kernel: &mut Kernel,
    options: &Options,
    notes: &mut Vec<String>,
) -> Result<Probes> {
    if !options.follows() {
        return Ok(Probes::new(false));
    }
    match prepare_inheritance(kernel, options.detail) {
        Ok(()) => {
            let probes = Probes::new(true);
            if options.detail == Detail::Full && probes.may_be_lost() {
                notes.push(MAY_BE_LOST.to_owned());
            }
            Ok(probes)
        }
        Err(error) if options.follow.is_some() => Err(error.context("follow children")),
        Err(error) => {
            let note = format!("children are not followed: {error:#}");
            cli::say(&note);
            notes.push(note);
            Ok(Probes::new(false))
        }
    }
}

fn prepare_inheritance(kernel: &mut Kernel, detail: Detail) -> Result<()> {
    ensure_initial_pid_namespace()?;
    // Without probes there are none to inherit.
    if detail == Detail::Rss { Ok(()) } else { kernel.prepare_inheritance() }
}

impl Tracer {
    pub(super) fn handle_change(&mut self, change: Change, estates: &mut Estates) {
        if change.kind == kind::PROGRAM {
            self.search_again(change.pid);
            return;
        }
        let done = match change.kind {
            kind::LIBRARIES => {
                self.refresh(change.process);
                Ok(())
            }
            kind::EXIT => {
                self.probes.forget(change.pid);
                self.end(change.process);
                Ok(())
            }
            kind::FAULTS => {
                self.pages.sample(change.process);
                Ok(())
            }
            // What the kernel has given a slot is recorded, also if what it was had been missed.
            kind::EXEC if self.end(change.process) || change.address != NO_SLOT => {
                self.follow_exec(&change)
            }
            kind::FORK => self.follow_fork(&change, estates),
            kind::SPAWN => self.follow_spawn(&change),
            _ => Ok(()),
        };
        if let Err(error) = done {
            self.note_failure(change.pid, &error);
        }
        if change.kind == kind::LIBRARIES
            && let Err(error) = self.kernel.catch_up(change.process, change.address)
        {
            self.note_failure(change.pid, &error);
        }
        if change.paused != 0 {
            resume(change.pid);
        }
    }

    /// The process is the same, but everything in it is new.
    fn follow_exec(&mut self, change: &Change) -> Result<()> {
        let old = change.process;
        let before = self.targets.get(old).context("a target without a slot")?;
        // What had nothing to probe, as a child that becomes a command, has nothing to report. That may
        // only seem so if it was over before it was read, while the probes were there all the time.
        let is_counted = self.kernel.process_totals(old).is_ok_and(|totals| totals.calls > 0);
        let is_kept = !before.has_nothing() || is_counted;
        let slot = match change.address {
            NO_SLOT if is_kept => self.kernel.take_slot()?,
            NO_SLOT => old,
            next => next as u32,
        };
        let (mut target, refusal) =
            self.successor((change.pid, slot), before, before.is_paused_on_change())?;
        target.parent = before.parent;
        let is_misread = before.executed.is_some_and(|executed| {
            let age = self.began.elapsed().saturating_sub(executed);
            let is_next = age < SETTLED && (refusal.is_some() || target.is_same_program(before));
            !before.is_paused_on_change() && (age < MOMENT || is_next)
        });
        if change.address == NO_SLOT {
            self.kernel.watch_process(change.pid, slot)?;
        } else {
            target.succeed(before);
        }
        if is_misread {
            self.disown(old);
        }
        let is_late = change.address == NO_SLOT && !target.is_paused_on_change();
        let replaced = (!is_kept).then_some(old);
        let begun = self.begin(target, (old, replaced), refusal);
        if let (true, Some(target)) = (is_late, self.targets.get_mut(slot)) {
            target.notes.push(became_another(change.pid, self.can_follow));
        }
        begun
    }

    /// Forgets what a program is called and has mapped: it may be what the next one has, which is in
    /// the process some moments before the kernel tells of it.
    fn disown(&mut self, slot: u32) {
        if let Some(target) = self.targets.get_mut(slot) {
            let reason = Reason::Outrun;
            target.disown(UNREAD, Unusable { pid: target.pid, reason });
        }
    }

    /// A child that shared its parent's memory has executed a program.
    fn follow_spawn(&mut self, change: &Change) -> Result<()> {
        let parent = self.targets.get(change.address as u32).context("a parent without a slot")?;
        let (mut target, refusal) = self.successor((change.pid, change.process), parent, false)?;
        target.parent = Some(parent.pid);
        target.succeed(parent);
        self.begin(target, (change.address as u32, None), refusal)
    }

    /// Everything in a child is as in its parent.
    fn follow_fork(&mut self, change: &Change, estates: &mut Estates) -> Result<()> {
        self.kernel.adopt_mappings(change.process)?;
        let slot = change.address as u32;
        let parent = self.targets.get(slot).context("a parent without a slot")?;
        self.probes.set_apart(change.pid);
        let process = Process::open(change.pid).ok();
        let has_ended = process.is_none();
        let mut child = Target::forked(parent, process, (change.pid, change.process));
        child.inheritance = estates.of(&self.kernel, slot, parent.inheritance.as_deref()).ok();
        child.ended = has_ended.then(|| self.began.elapsed());
        self.targets.put(child);
        self.pages.fork(&mut self.kernel, slot, change.process);
        Ok(())
    }

    /// The program in a process that was something else before. If it cannot be used, or has ended
    /// already, why not: what the kernel has counted of it can be told all the same.
    fn successor(
        &self,
        (pid, slot): (u32, u32),
        before: &Target,
        paused_on_change: bool,
    ) -> Result<(Target, Option<Unusable>)> {
        let refusal = match Process::open(pid) {
            Ok(process) => {
                let target = Target::new(process.clone(), slot, paused_on_change, self.detail);
                match target {
                    // What was read is another program's, which has a slot of its own.
                    _ if self.is_outrun((pid, slot)) => Unusable { pid, reason: Reason::Outrun },
                    Ok(mut target) => {
                        target.begins(self.began.elapsed());
                        target.executed = Some(target.began);
                        return Ok((target, None));
                    }
                    Err(error) => process.check().err().ok_or(error)?,
                }
            }
            Err(refusal) => refusal,
        };
        // It may have ended already.
        let seen = survey::one(pid).filter(|_| !self.is_outrun((pid, slot)));
        let comm = seen.map_or_else(|| UNREAD.to_owned(), |seen| seen.comm);
        Ok((Target::unread(before, (pid, slot), comm), Some(refusal)))
    }

    /// Whether the kernel has given another slot to the process, as it does when a followed one
    /// executes a program.
    fn is_outrun(&self, (pid, slot): (u32, u32)) -> bool {
        self.kernel.watched(pid).is_some_and(|current| current != slot)
    }

    /// Learns what a program has mapped that has just begun.
    fn begin(
        &mut self,
        mut target: Target,
        (before, replaced): (u32, Option<u32>),
        refusal: Option<Unusable>,
    ) -> Result<()> {
        let slot = target.slot;
        let attached = if refusal.is_some() { Ok(()) } else { self.attach_anew(&mut target) };
        if refusal.is_none() && target.has_changed() {
            let reason = Reason::Outrun;
            target.disown(UNREAD, Unusable { pid: target.pid, reason });
        }
        match refusal {
            Some(refusal) => {
                let is_outrun = matches!(refusal.reason, Reason::Outrun);
                if target.parent.is_none() && !is_outrun {
                    cli::complain(&refusal, &refusal.hint());
                }
                target.refusal = Some(refusal);
            }
            None if target.parent.is_none() => {
                if let (Ok(()), Err(blind)) = (&attached, target.check_plan()) {
                    cli::complain(&blind, &blind.hint());
                }
            }
            // Many short programs may run in a tree; at the end it is told how many.
            None => {}
        }
        match replaced {
            Some(old) => self.targets.replace(old, target),
            None => self.targets.put(target),
        }
        self.follow_pages(slot, Some(before));
        self.announce(slot);
        attached
    }

    fn attach_anew(&mut self, target: &mut Target) -> Result<()> {
        target.refresh(&mut self.kernel, &mut self.objects, &mut self.probes)?;
        if target.is_recorded() {
            return Ok(());
        }
        // Twice: libraries may be loaded before the first look has put a probe on the loading.
        target.refresh(&mut self.kernel, &mut self.objects, &mut self.probes)?;
        target.start(&mut self.kernel, &self.objects, &self.probes)
    }
}

/// To execute a program takes less than this. Whoever was read earlier was no program that came next, unless
/// memtrace was slow.
const MOMENT: Duration = Duration::from_millis(20);
const SETTLED: Duration = Duration::from_millis(100);

/// What a program is called of which nobody has read the name.
const UNREAD: &str = "over too soon";

/// A program that has no more has only begun.
const MUCH: u64 = 32 << 20;

/// To be told when its probes are in place.
fn became_another(pid: u32, can_follow: bool) -> String {
    let help = if can_follow { " (--follow records it)" } else { "" };
    let had = survey::one(pid).filter(|seen| !seen.is_dead && seen.resident >= MUCH);
    let had = had.map(|seen| format!(" It had {} resident by then.", Size(seen.resident)));
    format!(
        "Process {pid} became another program: what that allocated before memtrace had read its files \
         is not recorded{help}.{}",
        had.unwrap_or_default()
    )
}

/// Lets a process go on that was paused for memtrace.
fn resume(pid: u32) {
    // SAFETY: the call takes two integers; the process is memtrace's own child.
    unsafe { libc::kill(pid.cast_signed(), libc::SIGCONT) };
}
