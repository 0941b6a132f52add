//! Collapsed stacks: `root;frame;frame bytes`, one stack a line, for other flame graph tools.

use std::io::{BufWriter, Write};

use anyhow::{Context as _, Result};

use crate::profile::{Frame, Process, Profile, View};

/// Writes the stacks that hold memory in `view`; the numbers are bytes.
///
/// Frames that differ only in their address read the same, so a line may occur twice; the
/// format's readers add them up.
pub(super) fn write(profile: &Profile, view: View, to: impl Write) -> Result<()> {
    let mut to = BufWriter::new(to);
    let roots: Vec<String> = profile.processes.iter().map(Process::text).collect();
    let frames: Vec<String> = profile.frames.iter().map(Frame::text).collect();
    for stack in &profile.stacks {
        let bytes = stack.amounts.of(view).bytes;
        if bytes > 0 {
            let path = stack.frames.iter().map(|&frame| &*frames[frame as usize]);
            let path: String = path.flat_map(|text| [";", text]).collect();
            let root = &roots[stack.process as usize];
            writeln!(to, "{root}{path} {bytes}").context("write folded stacks")?;
        }
    }
    to.flush().context("write folded stacks")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::example;

    #[test]
    fn lines_add_up_to_the_view() {
        let profile = example::profile();
        for view in View::ALL {
            let mut folded = Vec::new();
            write(&profile, view, &mut folded).unwrap();
            let folded = String::from_utf8(folded).unwrap();
            let bytes = |line: &str| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap();
            assert!(folded.lines().all(|line| bytes(line) > 0));
            let sum: u64 = folded.lines().map(bytes).sum();
            assert_eq!(sum, profile.total(view).bytes, "{view:?}");
        }
    }
}
