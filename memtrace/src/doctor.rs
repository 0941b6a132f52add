//! `memtrace doctor`: what this kernel and user can do, what it is for, and what is missing.

mod recorder;

use std::io::{self, Write as _};

use anyhow::Result;

use crate::{
    cli::Exit,
    kernel::{self, State},
    process::{memory, namespaces, rights},
};

const DOCTOR: &str = "memtrace doctor";

/// Prints the findings; the exit says whether tracing can work.
pub fn run() -> Result<Exit> {
    let mut out = io::stdout().lock();
    let features = kernel::probe_features();
    for feature in &features {
        match feature.state {
            State::Present => writeln!(out, "ok       {}", feature.name)?,
            State::Missing(remedy) => {
                let word = if feature.is_optional() { "LIMITED" } else { "MISSING" };
                writeln!(out, "{word}  {}: needs {remedy}", feature.name)?;
            }
            State::Denied => {
                writeln!(out, "DENIED   {}: {}", feature.name, rights::remedy(DOCTOR))?;
            }
            State::LockedDown => {
                writeln!(out, "LOCKED   {}: boot without lockdown=confidentiality", feature.name)?;
            }
        }
        writeln!(out, "         for: {}", feature.purpose)?;
        writeln!(out, "         without: {}", feature.without)?;
    }
    write_scan(&mut out)?;
    let rights = write_rights(&mut out)?;
    write_namespace(&mut out)?;
    recorder::write(&mut out)?;
    let features = verdict(
        features.iter().filter(|feature| !feature.is_optional()).map(|feature| &feature.state),
    );
    let exit = if features == Exit::Success { rights } else { features };
    writeln!(out, "\n{}", sentence(exit))?;
    Ok(exit)
}

fn write_scan(out: &mut impl io::Write) -> io::Result<()> {
    let state = if memory::can_scan() { "ok     " } else { "LIMITED" };
    writeln!(out, "{state}  resident pages listed by the kernel (PAGEMAP_SCAN, Linux 6.7)")?;
    writeln!(out, "         for: finds what is resident in terabytes of address space at once")?;
    writeln!(out, "         without: each page is asked for; what there was no time for is told")
}

/// What memtrace may do to processes; no kernel feature tells.
fn write_rights(out: &mut impl io::Write) -> io::Result<Exit> {
    let missing = match rights::missing() {
        Ok(missing) => missing,
        Err(error) => {
            writeln!(out, "MISSING  {} ({error})", rights::MOUNT_PROC)?;
            writeln!(out, "         for: everything that is known of processes")?;
            writeln!(out, "         without: memtrace does not start")?;
            return Ok(Exit::Failure);
        }
    };
    for capability in &rights::NEEDED {
        if missing.contains(&capability) {
            let remedy = rights::remedy(DOCTOR);
            writeln!(out, "DENIED   capability CAP_{}: {remedy}", capability.name)?;
        } else {
            writeln!(out, "ok       capability CAP_{}", capability.name)?;
        }
        writeln!(out, "         for: {}", capability.purpose)?;
        writeln!(out, "         without: processes cannot be traced")?;
    }
    Ok(if missing.is_empty() { Exit::Success } else { Exit::NotPermitted })
}

fn write_namespace(out: &mut impl io::Write) -> io::Result<()> {
    match namespaces::in_initial_pid_namespace() {
        Ok(true) => writeln!(out, "ok       process ids are those of the whole machine"),
        Ok(false) => {
            writeln!(out, "LIMITED  memtrace runs in a container's pid namespace")?;
            writeln!(
                out,
                "         without: no commands (memtrace -- COMMAND), no children (--follow), stacks of waiting threads without Python, and the end of a process is noticed late"
            )?;
            writeln!(out, "         hint: run on the host, or with --pid=host")
        }
        Err(error) => writeln!(out, "UNKNOWN  pid namespace: {error}"),
    }
}

fn verdict<'a>(states: impl Iterator<Item = &'a State>) -> Exit {
    states.fold(Exit::Success, |exit, state| match (exit, state) {
        (_, State::Missing(_) | State::LockedDown) => Exit::KernelLacksFeature,
        (Exit::Success, State::Denied) => Exit::NotPermitted,
        (exit, _) => exit,
    })
}

const fn sentence(exit: Exit) -> &'static str {
    match exit {
        Exit::Success => "memtrace can trace on this machine.",
        Exit::NotPermitted => "memtrace may not trace: see what is DENIED.",
        Exit::Failure => "memtrace cannot trace here: see what is MISSING.",
        _ => "memtrace cannot trace on this kernel.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_feature_outweighs_a_missing_right() {
        let states = [State::Present, State::Denied, State::Missing("x"), State::Denied];
        assert_eq!(verdict(states.iter()), Exit::KernelLacksFeature);
        assert_eq!(verdict(states[..2].iter()), Exit::NotPermitted);
        assert_eq!(verdict(states[..1].iter()), Exit::Success);
    }
}
