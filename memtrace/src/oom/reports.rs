//! Reports that have been written: which there are, and what each says.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

use super::archive::SUMMARY;

/// A summary is a few screens long.
const MAX_SUMMARY: u64 = 1 << 20;

/// In the names of reports about a process that was not killed.
pub const AHEAD: &str = "-ahead";

/// A report.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Its folder.
    pub folder: PathBuf,
}

impl Stored {
    /// The name of its folder: when, who.
    #[must_use]
    pub fn name(&self) -> String {
        self.folder.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Bytes of its files.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().filter_map(Result::ok);
        entries.filter_map(|entry| Some(entry.metadata().ok()?.len())).sum()
    }

    /// Whether it is about a danger, and not about a kill.
    #[must_use]
    pub fn is_ahead(&self) -> bool {
        self.name().contains(AHEAD)
    }

    /// Whether it is about a kill by another process.
    #[must_use]
    pub fn is_by_signal(&self) -> bool {
        let headline = self.headline();
        headline.contains(" was killed by ") && !headline.contains(" was killed by the kernel: ")
    }

    /// What it says, in a line.
    #[must_use]
    pub fn headline(&self) -> String {
        let file = fs::File::open(self.folder.join(SUMMARY));
        let line = file.ok().and_then(|file| {
            let mut line = String::new();
            BufReader::new(file.take(MAX_SUMMARY)).read_line(&mut line).ok()?;
            Some(line)
        });
        line.unwrap_or_default().trim().to_owned()
    }
}

/// The reports in a folder, the oldest first. Other things there are left alone.
pub(super) fn stored(folder: &Path) -> Vec<Stored> {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let folders = entries.map(|entry| entry.path());
    let mut reports: Vec<_> = folders.filter(|path| is_report(path)).collect();
    reports.sort();
    reports.into_iter().map(|folder| Stored { folder }).collect()
}

/// `TIME-COMM-PID` with a summary in it.
fn is_report(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let time = name.split('-').next().unwrap_or_default();
    let is_time = time.len() == 16 && time.ends_with('Z') && time.as_bytes()[8] == b'T';
    is_time && path.join(SUMMARY).is_file()
}

/// Prints the reports, the newest first: name, and what each says.
pub fn list(folder: &Path, mut to: impl Write) -> Result<()> {
    fs::read_dir(folder).with_context(|| format!("list the reports in {}", folder.display()))?;
    for report in stored(folder).iter().rev() {
        writeln!(to, "{}\n    {}", report.name(), report.headline()).context("print the list")?;
    }
    to.flush().context("print the list")
}

/// Prints the summary of a report, the newest if none is named.
pub fn show(folder: &Path, name: Option<&str>, mut to: impl Write) -> Result<()> {
    fs::read_dir(folder).with_context(|| format!("list the reports in {}", folder.display()))?;
    let mut reports = stored(folder);
    let chosen = match name {
        None => reports.pop(),
        Some(name) => reports.into_iter().find(|report| report.name() == name),
    };
    let Some(report) = chosen else {
        bail!("no report {} in {}", name.unwrap_or("yet"), folder.display());
    };
    let path = report.folder.join(SUMMARY);
    let summary = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
    writeln!(to, "{}\n", report.folder.display()).context("print the summary")?;
    to.write_all(&summary).and_then(|()| to.flush()).context("print the summary")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_comes_first() {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in
            [("20261126T055338Z-a-1", "a died\nmore"), ("20261127T000000Z-b-2", "b")]
        {
            fs::create_dir(folder.path().join(name)).unwrap();
            fs::write(folder.path().join(name).join(SUMMARY), text).unwrap();
        }
        let mut listed = Vec::new();
        list(folder.path(), &mut listed).unwrap();
        let wanted = "20261127T000000Z-b-2\n    b\n20261126T055338Z-a-1\n    a died\n";
        assert_eq!(String::from_utf8(listed).unwrap(), wanted);
        let mut shown = Vec::new();
        show(folder.path(), Some("20261126T055338Z-a-1"), &mut shown).unwrap();
        assert!(String::from_utf8(shown).unwrap().ends_with("-a-1\n\na died\nmore"));
        let error = show(folder.path(), Some("../x"), Vec::new()).unwrap_err();
        assert!(error.to_string().starts_with("no report ../x in "), "{error}");
    }
}
