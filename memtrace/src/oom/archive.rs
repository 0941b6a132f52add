//! The folder of reports. A report is a folder of files that are opened before they are needed,
//! since a machine without memory opens none; it gets its name when all of it is on the disk.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError},
    io::{self, BufWriter, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

use super::reports::{Stored, stored};
use crate::{
    profile::{Profile, View},
    report::{self, Content, Format, summary},
};

/// The files of a report.
const FILES: [&str; 5] = ["report.json", "live.folded", "live.svg", TIMELINE, "recording.memtrace"];
const TIMELINE: &str = "timeline.svg";
/// For people; the first line says it all.
pub(super) const SUMMARY: &str = "summary.txt";
/// The next report until it is complete; a leading dot keeps it out of lists.
const NEXT: &str = ".next";
const LOCK: &str = ".lock";
/// Bytes that are enough for a report.
const ROOM: u64 = 8 << 20;

/// How much is kept.
#[derive(Clone, Copy, Debug)]
pub struct Rotation {
    /// Reports.
    pub count: usize,
    /// Bytes of all of them together. The newest report stays, whatever its size.
    pub bytes: u64,
}

/// The folder, which belongs to one recorder as long as this lives.
pub struct Archive {
    folder: PathBuf,
    rotation: Rotation,
    next: Option<Next>,
    _lock: File,
}

/// The files of the next report, open.
struct Next {
    files: Vec<(&'static str, File)>,
    summary: File,
}

impl Archive {
    /// Opens or makes the folder, and what the first report needs.
    pub fn open(folder: &Path, rotation: Rotation) -> Result<Self> {
        let context = || format!("keep reports in {}", folder.display());
        DirBuilder::new().recursive(true).mode(0o700).create(folder).with_context(context)?;
        let lock = owned(&folder.join(LOCK)).with_context(context)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                bail!("another memtrace writes its reports to {}", folder.display())
            }
            Err(TryLockError::Error(error)) => return Err(error).with_context(context),
        }
        let mut archive = Self { folder: folder.to_owned(), rotation, next: None, _lock: lock };
        archive.prepare().with_context(context)?;
        Ok(archive)
    }

    /// Opens the files of the next report. What a recorder left behind that did not live to
    /// complete it is removed.
    fn prepare(&mut self) -> io::Result<()> {
        let folder = self.folder.join(NEXT);
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        DirBuilder::new().mode(0o700).create(&folder)?;
        let open = |name| Ok((name, owned(&folder.join(name))?));
        let files: io::Result<Vec<_>> = FILES.into_iter().map(open).collect();
        self.next = Some(Next { files: files?, summary: owned(&folder.join(SUMMARY))? });
        Ok(())
    }

    /// Writes a report; returns its folder. Older reports make room for it.
    pub fn write(&mut self, name: &str, profile: &Profile) -> Result<PathBuf> {
        let folder = self.folder.clone();
        let context = || format!("write the report {name} in {}", folder.display());
        if let Err(error) = self.fill_or_make_room(profile) {
            self.abandon();
            return Err(error).with_context(context);
        }
        let place = self.free_place(name);
        fs::rename(self.folder.join(NEXT), &place).with_context(context)?;
        sync(&self.folder).with_context(context)?;
        self.rotate(&place);
        // It is tried again when the next report is due; this one is written.
        let _ = self.prepare();
        Ok(place)
    }

    /// Writes the next report's files, at the cost of older reports if the disk is full. For the danger
    /// of a kill no report of a kill is given up.
    fn fill_or_make_room(&mut self, profile: &Profile) -> Result<()> {
        let is_ahead = profile.incident.as_ref().is_some_and(|one| !one.cause.is_kill());
        match self.fill(profile) {
            Err(error) if !is_ahead && is_full(&error) && self.make_room() => self.fill(profile),
            filled => filled,
        }
    }

    /// Writes the next report's files.
    fn fill(&mut self, profile: &Profile) -> Result<()> {
        if self.next.is_none() {
            self.prepare()?;
        }
        self.next.take().context("no files for the report")?.write(profile)
    }

    /// Removes what was written of a report in vain, and has the next one's files open if that can be.
    fn abandon(&mut self) {
        let _ = self.prepare();
    }

    /// Removes old reports so that a new one fits on the disk; whether there were any.
    fn make_room(&mut self) -> bool {
        self.abandon();
        let mut reports = stored(&self.folder);
        let mut freed = 0;
        while freed < ROOM
            && let Some(report) = take_least(&mut reports)
        {
            let bytes = report.bytes();
            freed += if fs::remove_dir_all(&report.folder).is_ok() { bytes } else { 0 };
        }
        freed > 0
    }

    /// The name, or with a number behind it if it is taken.
    fn free_place(&self, name: &str) -> PathBuf {
        let numbered = (2..).map(|number| self.folder.join(format!("{name}-{number}")));
        let mut places = std::iter::once(self.folder.join(name)).chain(numbered);
        places.find(|place| !place.exists()).unwrap_or_else(|| self.folder.join(name))
    }

    /// Removes the oldest reports until the others are few and small enough.
    fn rotate(&self, newest: &Path) {
        let mut reports = stored(&self.folder);
        let mut bytes: u64 = reports.iter().map(Stored::bytes).sum();
        reports.retain(|report| report.folder != newest);
        while reports.len() >= self.rotation.count || bytes > self.rotation.bytes {
            let Some(report) = take_least(&mut reports) else { break };
            bytes = bytes.saturating_sub(report.bytes());
            // What cannot be removed stays; the new report is written already.
            let _ = fs::remove_dir_all(&report.folder);
        }
    }
}

impl Next {
    fn write(self, profile: &Profile) -> Result<()> {
        let mut summary = BufWriter::new(&self.summary);
        summary::write(profile, summary::Screen::default(), &mut summary)?;
        summary.flush().context("write the summary")?;
        drop(summary);
        for (name, file) in &self.files {
            let format = Format::of(Path::new(name))?;
            let mut out = BufWriter::new(file);
            let content = if *name == TIMELINE { Content::Timeline } else { memory(profile) };
            report::write(profile, content, format, &mut out)?;
            out.flush().with_context(|| format!("write {name}"))?;
        }
        let files = self.files.iter().map(|(_, file)| file).chain([&self.summary]);
        files.into_iter().try_for_each(File::sync_all).context("bring it to the disk")
    }
}

/// Whether there is no room on the disk.
fn is_full(error: &anyhow::Error) -> bool {
    let full = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded];
    let mut errors = error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>());
    errors.any(|error| full.contains(&error.kind()))
}

/// Takes out the report that can be missed most easily. Of a kill there is one report, of the danger before
/// it there may be many, and of kills by other processes as well: those know why.
fn take_least(reports: &mut Vec<Stored>) -> Option<Stored> {
    let ahead = reports.iter().filter(|report| report.is_ahead()).count();
    let surplus =
        || reports.iter().position(Stored::is_ahead).filter(|_| ahead * 4 > reports.len());
    let by_signal = || reports.iter().position(Stored::is_by_signal);
    let place = surplus().or_else(by_signal).unwrap_or(0);
    (place < reports.len()).then(|| reports.remove(place))
}

/// What is live, or without probes what is resident.
fn memory(profile: &Profile) -> Content {
    let has_probes = profile.session.detail != "rss";
    Content::Memory(if has_probes { View::Live } else { View::Resident })
}

/// Opens a file for its owner only, new or old.
fn owned(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(false).mode(0o600).open(path)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    Ok(file)
}

/// A name is on the disk once its folder is.
fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::profile::{Cause, Incident, example};

    const ROOMY: Rotation = Rotation { count: 3, bytes: u64::MAX };

    fn names(folder: &Path) -> Vec<String> {
        let name = |report: Stored| report.name();
        stored(folder).into_iter().map(name).collect()
    }

    #[test]
    fn a_report_is_complete_when_it_has_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let mut archive = Archive::open(folder.path(), ROOMY).unwrap();
        assert_eq!(names(folder.path()), Vec::<String>::new());
        let place = archive.write("20261126T055338Z-python3-1", &example::profile()).unwrap();
        for name in FILES.into_iter().chain([SUMMARY]) {
            assert!(fs::metadata(place.join(name)).unwrap().len() > 0, "{name}");
        }
        let again = archive.write("20261126T055338Z-python3-1", &example::profile()).unwrap();
        assert!(again.ends_with("20261126T055338Z-python3-1-2"));
    }

    #[test]
    fn the_oldest_make_room() {
        let folder = tempfile::tempdir().unwrap();
        let mut archive = Archive::open(folder.path(), ROOMY).unwrap();
        fs::create_dir(folder.path().join("20200101T000000Z-of-somebody-else")).unwrap();
        for second in 1..=5 {
            let name = format!("20261126T05533{second}Z-x-1");
            archive.write(&name, &example::profile()).unwrap();
        }
        let kept = [3, 4, 5].map(|second| format!("20261126T05533{second}Z-x-1"));
        assert_eq!(names(folder.path()), kept);
        archive.rotation.bytes = 1;
        archive.write("20261126T055336Z-x-1", &example::profile()).unwrap();
        assert_eq!(names(folder.path()), ["20261126T055336Z-x-1"]);
        assert!(folder.path().join("20200101T000000Z-of-somebody-else").exists());
    }

    #[test]
    fn kills_by_processes_go_before_those_by_the_kernel() {
        let folder = tempfile::tempdir().unwrap();
        let mut archive = Archive::open(folder.path(), ROOMY).unwrap();
        let signal = Cause::Signal { pid: 1, comm: "systemd".into() };
        for (second, cause) in
            [Cause::OutOfMemory, signal.clone(), Cause::OutOfMemory, signal, Cause::OutOfMemory]
                .into_iter()
                .enumerate()
        {
            let incident = Some(Incident { cause, ..Incident::default() });
            let profile = Profile { incident, ..example::profile() };
            archive.write(&format!("20261126T05533{second}Z-x-1"), &profile).unwrap();
        }
        let kept = [0, 2, 4].map(|second| format!("20261126T05533{second}Z-x-1"));
        assert_eq!(names(folder.path()), kept);
    }

    #[test]
    fn on_a_full_disk_old_reports_make_room() {
        let disk = Disk::of(32 << 20);
        let mut archive = Archive::open(disk.0.path(), ROOMY).unwrap();
        for second in 1..=3 {
            let old = disk.0.path().join(format!("20261126T05533{second}Z-x-1"));
            fs::create_dir(&old).unwrap();
            fs::write(old.join(SUMMARY), vec![b'x'; 9 << 20]).unwrap();
        }
        // The rest belongs to somebody else.
        fs::write(disk.0.path().join("filler"), vec![b'x'; 9 << 20]).unwrap_err();
        archive.write("20261126T055334Z-x-1", &example::profile()).unwrap();
        let kept = [2, 3, 4].map(|second| format!("20261126T05533{second}Z-x-1"));
        assert_eq!(names(disk.0.path()), kept);
        fs::write(disk.0.path().join("filler"), "").unwrap();
        archive.write("20261126T055335Z-x-1", &example::profile()).unwrap();
    }

    #[test]
    fn a_full_disk_without_old_reports_is_an_error_and_not_the_end() {
        let disk = Disk::of(1 << 20);
        let mut archive = Archive::open(disk.0.path(), ROOMY).unwrap();
        let filler = disk.0.path().join("filler");
        fs::write(&filler, vec![b'x'; 2 << 20]).unwrap_err();
        let error = archive.write("20261126T055334Z-x-1", &example::profile()).unwrap_err();
        assert!(is_full(&error), "{error:#}");
        assert_eq!(names(disk.0.path()), Vec::<String>::new());
        fs::remove_file(&filler).unwrap();
        archive.write("20261126T055335Z-x-1", &example::profile()).unwrap();
    }

    /// A disk of its own.
    struct Disk(tempfile::TempDir);

    impl Disk {
        fn of(bytes: u64) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let size = format!("size={bytes}");
            let mut mount = Command::new("mount");
            mount.args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(folder.path());
            assert!(mount.status().unwrap().success());
            Self(folder)
        }
    }

    impl Drop for Disk {
        fn drop(&mut self) {
            let unmounted = Command::new("umount").arg("--lazy").arg(self.0.path()).status();
            assert!(unmounted.unwrap().success());
        }
    }

    #[test]
    fn a_folder_has_one_owner_and_what_the_last_one_left_half_done_goes() {
        let folder = tempfile::tempdir().unwrap();
        let archive = Archive::open(folder.path(), ROOMY).unwrap();
        assert!(Archive::open(folder.path(), ROOMY).is_err());
        fs::write(folder.path().join(NEXT).join("live.svg"), "half").unwrap();
        drop(archive);
        Archive::open(folder.path(), ROOMY).unwrap();
        assert_eq!(fs::read(folder.path().join(NEXT).join("live.svg")).unwrap(), b"");
    }
}
