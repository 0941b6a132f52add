//! Report files: never overwritten unasked, never left half-written, readable by their owner only.

use std::{
    env,
    error::Error,
    fmt,
    io::{self, BufWriter, IsTerminal as _, Write as _},
    os::unix::fs::chown,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use tempfile::NamedTempFile;

use crate::{
    profile::{Profile, View},
    recording,
    report::{
        self, Format,
        summary::{self, Screen},
    },
};

/// What to write where.
#[derive(Clone, Debug, Default)]
pub struct Outputs {
    /// Files; the kind of report follows from the name.
    pub files: Vec<PathBuf>,
    /// Which memory reports show. A recording holds every view.
    pub view: View,
    /// Whether existing files may be overwritten.
    pub force: bool,
}

/// A file that exists and is not to be overwritten.
#[derive(Debug)]
pub struct Exists(PathBuf);

impl fmt::Display for Exists {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} exists already", self.0.display())
    }
}

impl Error for Exists {}

impl Outputs {
    /// Finds out before any work is done whether the files can be written.
    pub fn check(&self) -> Result<()> {
        for path in &self.files {
            Format::of(path)?;
            if !self.force && path.symlink_metadata().is_ok() {
                return Err(Exists(path.clone()).into());
            }
            // Removed again at once: nothing is left behind, however memtrace ends.
            new_file_beside(path)?;
        }
        Ok(())
    }

    /// Writes every file.
    pub fn write(&self, profile: &Profile) -> Result<()> {
        self.files.iter().try_for_each(|path| self.write_one(profile, path))
    }

    fn write_one(&self, profile: &Profile, path: &Path) -> Result<()> {
        let doing = || format!("write {}", path.display());
        let format = Format::of(path)?;
        let file = new_file_beside(path)?;
        let mut buffer = BufWriter::new(file.as_file());
        report::write(profile, self.view, format, &mut buffer).with_context(doing)?;
        buffer.flush().with_context(doing)?;
        drop(buffer);
        file.as_file().sync_all().with_context(doing)?;
        give_to_caller(file.path()).with_context(doing)?;
        let written = if self.force { file.persist(path) } else { file.persist_noclobber(path) };
        written.map(drop).map_err(|error| error.error).with_context(doing)
    }
}

/// Draws reports from a recording.
pub fn from_recording(recording: &Path, outputs: &Outputs) -> Result<Profile> {
    outputs.check()?;
    let profile = recording::open(recording)?;
    outputs.write(&profile)?;
    Ok(profile)
}

/// Prints the summary to standard output.
pub fn print_summary(profile: &Profile) -> Result<()> {
    let out = io::stdout().lock();
    let mut screen = Screen { colour: out.is_terminal(), ..Screen::default() };
    if let Some((width, _)) = terminal_size::terminal_size_of(&out) {
        screen.width = usize::from(width.0);
    }
    summary::write(profile, screen, out)
}

/// A new file with an unpredictable name and mode 0600.
fn new_file_beside(path: &Path) -> Result<NamedTempFile> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    tempfile::Builder::new()
        .prefix(".memtrace-")
        .tempfile_in(folder)
        .with_context(|| format!("write {}", path.display()))
}

/// Under sudo the file belongs to the user who typed the command.
fn give_to_caller(path: &Path) -> Result<()> {
    let id = |name| env::var(name).ok().and_then(|id| id.parse().ok());
    if let Some(user) = id("SUDO_UID") {
        chown(path, Some(user), id("SUDO_GID")).context("give it to the user of sudo")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;

    fn outputs(path: PathBuf, force: bool) -> Outputs {
        Outputs { files: vec![path], force, ..Outputs::default() }
    }

    #[test]
    fn an_existing_file_stays_unless_forced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.folded");
        fs::write(&path, "precious").unwrap();
        let refused = outputs(path.clone(), false).check().unwrap_err();
        assert!(refused.is::<Exists>(), "{refused:#}");
        assert!(outputs(path.clone(), false).write(&Profile::default()).is_err());
        assert_eq!(fs::read(&path).unwrap(), b"precious");
        outputs(path.clone(), true).write(&Profile::default()).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"");
    }

    #[test]
    fn a_report_is_for_its_owner_only_and_nothing_else_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.memtrace");
        let outputs = outputs(path.clone(), false);
        outputs.check().unwrap();
        outputs.write(&Profile::default()).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_folder_that_is_not_there_is_found_out_beforehand() {
        let refused = outputs("/nowhere/at/all/out.svg".into(), false).check().unwrap_err();
        assert!(format!("{refused:#}").contains("/nowhere/at/all/out.svg"));
    }
}
