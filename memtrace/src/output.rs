//! Report files: never overwritten unasked, never left half-written, readable by their owner only.

mod unwritable;

use std::{
    collections::HashSet,
    env, fmt,
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, IsTerminal, Write as _},
    os::{
        fd::AsFd,
        unix::fs::{OpenOptionsExt as _, chown},
    },
    path::{Path, PathBuf},
};

use anyhow::{Error, Result};
use tempfile::NamedTempFile;

pub use self::unwritable::{Reason, Unwritable};
use crate::{
    profile::{Profile, View},
    recording,
    report::{
        self, Content, Format,
        summary::{self, Screen},
    },
    snapshot::Snapshot,
};

/// What to write where.
#[derive(Clone, Debug, Default)]
pub struct Outputs {
    /// Files; the kind of report follows from the name.
    pub files: Vec<PathBuf>,
    /// What reports show. A recording holds everything.
    pub content: Content,
    /// Whether existing files may be overwritten.
    pub force: bool,
}

impl Outputs {
    /// Finds out before any work is done whether the files can be written.
    pub fn check(&self) -> Result<()> {
        let mut seen = HashSet::new();
        for path in &self.files {
            self.content.check(Format::of(path)?)?;
            self.check_place(path, seen.insert(place(path)))
                .map_err(|reason| unwritable(path, reason))?;
        }
        Ok(())
    }

    fn check_place(&self, path: &Path, is_first: bool) -> Result<(), Reason> {
        if !is_first {
            return Err(Reason::NamedTwice);
        }
        match path.symlink_metadata() {
            Ok(_) if !self.force => return Err(Reason::Exists),
            Ok(_) if path.is_dir() => return Err(Reason::Folder),
            _ => {}
        }
        // Removed again at once: nothing is left behind, however memtrace ends.
        new_file_beside(path).map(drop).map_err(Reason::Refused)
    }

    /// Whether the heaps of processes matter to what will be written.
    #[must_use]
    pub fn need_heaps(&self) -> bool {
        let is_recording = |path: &PathBuf| matches!(Format::of(path), Ok(Format::Recording));
        matches!(self.content, Content::Memory(View::Fragmentation))
            || self.files.iter().any(is_recording)
    }

    /// Writes every file, also when one of them fails; [`SeveralErrors`] if more than one does.
    pub fn write(&self, profile: &Profile) -> Result<()> {
        self.write_all(|format, to| report::write(profile, self.content, format, to))
    }

    /// As [`Outputs::write`], of a snapshot.
    pub fn write_snapshot(&self, snapshot: &Snapshot) -> Result<()> {
        self.write_all(|format, to| report::snapshot::write(snapshot, format, to))
    }

    fn write_all(&self, draw: impl Fn(Format, &mut dyn io::Write) -> Result<()>) -> Result<()> {
        let written = self.files.iter().map(|path| self.write_one(path, &draw));
        let mut errors: Vec<_> = written.filter_map(Result::err).collect();
        match errors.len() {
            0 => Ok(()),
            1 => Err(errors.remove(0)),
            _ => Err(SeveralErrors(errors).into()),
        }
    }

    fn write_one(
        &self,
        path: &Path,
        draw: impl Fn(Format, &mut dyn io::Write) -> Result<()>,
    ) -> Result<()> {
        let refused = |error| unwritable(path, Reason::Refused(error));
        let format = Format::of(path)?;
        let file = new_file_beside(path).map_err(refused)?;
        let mut buffer = BufWriter::new(Watched { file: file.as_file(), failure: None });
        let drawn = draw(format, &mut buffer);
        let flushed = buffer.flush();
        let (Watched { failure, .. }, _unwritten) = buffer.into_parts();
        failure.map_or(flushed, Err).map_err(refused)?;
        drawn?;
        file.as_file().sync_all().map_err(refused)?;
        give_to_caller(file.path());
        let written = if self.force { file.persist(path) } else { file.persist_noclobber(path) };
        written.map(drop).map_err(|error| refused(error.error).into())
    }
}

/// Reports that could not be written, each with its own reason.
#[derive(Debug)]
pub struct SeveralErrors(pub Vec<Error>);

impl fmt::Display for SeveralErrors {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<_> = self.0.iter().map(|error| format!("{error:#}")).collect();
        out.write_str(&texts.join("; "))
    }
}

impl std::error::Error for SeveralErrors {}

/// Keeps the reason when writing fails: not every library that writes passes it on.
struct Watched<'file> {
    file: &'file File,
    failure: Option<io::Error>,
}

impl io::Write for Watched<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes);
        if let Err(error) = &written {
            self.failure = error.raw_os_error().map(io::Error::from_raw_os_error);
        }
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn unwritable(path: &Path, reason: Reason) -> Unwritable {
    Unwritable { path: path.into(), reason }
}

/// Draws reports from a recording.
pub fn from_recording(recording: &Path, outputs: &Outputs) -> Result<Profile> {
    outputs.check()?;
    let profile = recording::open(recording)?;
    outputs.write(&profile)?;
    Ok(profile)
}

/// Prints the summary to standard output, or to standard error where the output is another's.
pub fn print_summary(profile: &Profile, output_is_ours: bool) -> Result<()> {
    if output_is_ours {
        print_to(profile, io::stdout().lock())
    } else {
        print_to(profile, io::stderr().lock())
    }
}

/// Prints to standard output which limits to set.
pub fn print_advice(profile: &Profile, budget: Option<u64>) -> Result<()> {
    let out = io::stdout().lock();
    summary::write_advice(profile, budget, screen(&out), out)
}

/// Prints a snapshot to standard output; in `brief`, what fits a screen.
pub fn print_snapshot(snapshot: &Snapshot, brief: bool) -> Result<()> {
    let out = io::stdout().lock();
    report::snapshot::print(snapshot, brief, screen(&out), out)
}

fn print_to(profile: &Profile, out: impl io::Write + IsTerminal + AsFd) -> Result<()> {
    summary::write(profile, screen(&out), out)
}

fn screen(out: &(impl IsTerminal + AsFd)) -> Screen {
    let mut screen = Screen { colour: out.is_terminal(), ..Screen::default() };
    if let Some((width, _)) = terminal_size::terminal_size_of(out) {
        screen.width = usize::from(width.0);
    }
    screen
}

/// A new file with an unpredictable name, for its owner only.
fn new_file_beside(path: &Path) -> io::Result<NamedTempFile> {
    let new = |path: &Path| -> io::Result<File> {
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
    };
    tempfile::Builder::new().prefix(".memtrace-").make_in(folder(path), new)
}

fn folder(path: &Path) -> &Path {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or(Path::new("."))
}

/// The same for all paths of a file that need not be there yet. A link is a file of its own: it is
/// replaced.
fn place(path: &Path) -> PathBuf {
    let folder = fs::canonicalize(folder(path)).unwrap_or_else(|_| folder(path).into());
    folder.join(path.file_name().unwrap_or_default())
}

/// Under sudo the file belongs to the user who typed the command.
fn give_to_caller(path: &Path) {
    let id = |name| env::var(name).ok().and_then(|id| id.parse().ok());
    if let Some(user) = id("SUDO_UID") {
        // Some file systems have no owners; a report of root's is better than none.
        let _ = chown(path, Some(user), id("SUDO_GID"));
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

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
        assert!(format!("{refused:#}").ends_with("out.folded exists already"), "{refused:#}");
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
        let refused: Unwritable = refused.downcast().unwrap();
        assert_eq!(refused.path, Path::new("/nowhere/at/all/out.svg"));
        assert_eq!(refused.hint(), "make the folder: mkdir -p /nowhere/at/all");
    }

    #[test]
    fn one_report_that_fails_does_not_cost_the_others() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.svg");
        let files = vec!["/nowhere/out.json".into(), path.clone()];
        let outputs = Outputs { files, ..Outputs::default() };
        assert!(outputs.write(&Profile::default()).unwrap_err().is::<Unwritable>());
        assert!(path.is_file());
    }

    #[test]
    fn every_report_that_fails_is_named() {
        let files = vec!["/nowhere/out.json".into(), "/proc/out.svg".into()];
        let error = Outputs { files, ..Outputs::default() }.write(&Profile::default()).unwrap_err();
        let SeveralErrors(errors) = error.downcast().unwrap();
        let hints = errors.iter().map(|error| error.downcast_ref::<Unwritable>().unwrap().hint());
        let expected =
            ["make the folder: mkdir -p /nowhere", "write to a folder in which you may make files"];
        assert_eq!(hints.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_file_is_the_same_by_all_its_paths() {
        let folder = tempfile::tempdir().unwrap();
        let direct = folder.path().join("out.svg");
        let other = folder.path().join("./../").join(folder.path().file_name().unwrap());
        let files = vec![direct, other.join("out.svg")];
        let refused = Outputs { files, ..Outputs::default() }.check().unwrap_err();
        assert!(format!("{refused:#}").ends_with("out.svg is named twice"), "{refused:#}");
        assert_eq!(place(Path::new("a.svg")), place(Path::new("./a.svg")));
        assert_ne!(place(Path::new("a.svg")), place(Path::new("b.svg")));
    }

    #[test]
    fn a_folder_in_the_place_is_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.svg");
        fs::create_dir(&path).unwrap();
        let refused = outputs(path, true).check().unwrap_err();
        assert!(format!("{refused:#}").ends_with("out.svg is a folder"), "{refused:#}");
    }

    #[test]
    fn a_file_that_is_named_twice_is_found_out_beforehand() {
        let files = vec!["/tmp/twice.svg".into(), "/tmp/twice.svg".into()];
        let refused = Outputs { files, ..Outputs::default() }.check().unwrap_err();
        assert!(format!("{refused:#}").ends_with("/tmp/twice.svg is named twice"), "{refused:#}");
    }
}
