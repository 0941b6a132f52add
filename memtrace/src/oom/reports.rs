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

    /// Whether somebody may mean it: by the beginning of its name, or by the process id in it.
    fn fits(&self, word: &str) -> bool {
        let name = self.name();
        let pid = name.strip_suffix(AHEAD).unwrap_or(&name).rsplit('-').next();
        name.starts_with(word) || pid == Some(word)
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
            let mut line = Vec::new();
            BufReader::new(file.take(MAX_SUMMARY)).read_until(b'\n', &mut line).ok()?;
            Some(harmless(line.trim_ascii()))
        });
        line.unwrap_or_default()
    }
}

/// The reports in a folder, the oldest first; of the same second, a kill after the danger of one. Other
/// things there are left alone.
pub(super) fn stored(folder: &Path) -> Vec<Stored> {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let folders = entries.map(|entry| entry.path());
    let reports = folders.filter(|path| is_report(path)).map(|folder| Stored { folder });
    let mut reports: Vec<_> = reports.collect();
    reports.sort_by_cached_key(|report| {
        let name = report.name();
        (time(&name).to_owned(), !report.is_ahead(), name)
    });
    reports
}

fn time(name: &str) -> &str {
    name.split('-').next().unwrap_or_default()
}

/// Text of a file that may come from anywhere, without what a terminal would obey.
fn harmless(text: &[u8]) -> String {
    let is_bad = |c: char| c.is_control() && c != '\n' && c != '\t';
    String::from_utf8_lossy(text).replace(is_bad, "\u{FFFD}")
}

/// `TIME-COMM-PID` with a summary in it.
fn is_report(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let time = time(&name);
    let is_time = time.len() == 16 && time.ends_with('Z') && time.as_bytes()[8] == b'T';
    is_time && path.join(SUMMARY).is_file()
}

/// Prints the reports, the newest first: name, and what each says.
pub fn list(folder: &Path, mut to: impl Write) -> Result<()> {
    fs::read_dir(folder).with_context(|| format!("list the reports in {}", folder.display()))?;
    say(&stored(folder), &mut to)
}

fn say(reports: &[Stored], to: &mut impl Write) -> Result<()> {
    for report in reports.iter().rev() {
        let name = harmless(report.name().as_bytes());
        writeln!(to, "{name}\n    {}", report.headline()).context("print the list")?;
    }
    to.flush().context("print the list")
}

/// Prints the summary of a report, the newest if none is named: by its name or the beginning of it, its
/// folder, or the process id.
pub fn show(folder: &Path, name: Option<&str>, mut to: impl Write) -> Result<()> {
    let name = name.map(|name| name.trim_end_matches('/'));
    let named = name.map(Path::new).filter(|path| path.components().count() > 1 && is_report(path));
    if let Some(folder) = named {
        return print(&Stored { folder: folder.to_owned() }, to);
    }
    fs::read_dir(folder).with_context(|| format!("list the reports in {}", folder.display()))?;
    let mut reports = stored(folder);
    reports.retain(|report| name.is_none_or(|name| report.fits(name)));
    let exact = reports.iter().find(|report| Some(&*report.name()) == name);
    match (exact, &*reports, name) {
        (Some(report), ..) | (None, [.., report], None) | (None, [report], _) => print(report, to),
        (None, [], _) => bail!("no report {} in {}", name.unwrap_or("yet"), folder.display()),
        (None, many, Some(name)) => {
            say(many, &mut to)?;
            bail!("{} reports fit {name}: name one of them", many.len())
        }
    }
}

fn print(report: &Stored, mut to: impl Write) -> Result<()> {
    let path = report.folder.join(SUMMARY);
    let mut summary = Vec::new();
    let read =
        fs::File::open(&path).and_then(|file| file.take(MAX_SUMMARY).read_to_end(&mut summary));
    read.with_context(|| format!("read {}", path.display()))?;
    let folder = harmless(report.folder.as_os_str().as_encoded_bytes());
    write!(to, "{folder}\n\n{}", harmless(&summary)).context("print the summary")?;
    to.flush().context("print the summary")
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

    #[test]
    fn a_report_is_found_by_what_tells_it_from_the_others() {
        let folder = tempfile::tempdir().unwrap();
        let names =
            ["20261126T055338Z-a-17", "20261126T055338Z-a-17-ahead", "20261127T000000Z-b-2"];
        for name in names {
            stored_with(folder.path(), name, name.as_bytes());
        }
        let found = |word: &str| {
            let mut shown = Vec::new();
            let result =
                show(folder.path(), Some(word), &mut shown).map_err(|error| error.to_string());
            (result.map(|()| String::from_utf8(shown.clone()).unwrap()), shown)
        };
        let is_b = |word: &str| found(word).0.unwrap().ends_with(names[2]);
        let path = folder.path().join(names[2]);
        let path = path.to_str().unwrap();
        assert!(["20261127", "20261127T000000Z-b", names[2]].iter().all(|word| is_b(word)));
        assert!(is_b(&format!("{}/", names[2])) && is_b(path) && is_b(&format!("{path}/")));
        assert!(found(names[0]).0.unwrap().ends_with(names[0]), "a name is exact");
        let (error, listed) = found("20261126");
        assert_eq!(error.unwrap_err(), "2 reports fit 20261126: name one of them");
        assert_eq!(String::from_utf8(listed).unwrap().matches("-a-17").count(), 4);
    }

    fn stored_with(folder: &Path, name: &str, summary: &[u8]) {
        fs::create_dir(folder.join(name)).unwrap();
        fs::write(folder.join(name).join(SUMMARY), summary).unwrap();
    }

    fn shown(folder: &Path) -> String {
        let mut shown = Vec::new();
        show(folder, None, &mut shown).unwrap();
        String::from_utf8(shown).unwrap()
    }

    #[test]
    fn a_kill_is_newer_than_the_danger_of_it_in_the_same_second() {
        let folder = tempfile::tempdir().unwrap();
        stored_with(folder.path(), "20261126T055338Z-a-1", b"a died");
        stored_with(folder.path(), "20261126T055338Z-a-1-ahead", b"a is in danger");
        assert!(shown(folder.path()).ends_with("\n\na died"));
        stored_with(folder.path(), "20261126T055339Z-a-1-ahead", b"again");
        assert!(shown(folder.path()).ends_with("\n\nagain"));
    }

    #[test]
    fn what_a_terminal_would_obey_is_not_printed() {
        let folder = tempfile::tempdir().unwrap();
        let name = "20261126T055338Z-\x1b[2J-1";
        stored_with(folder.path(), name, b"a \x1b]0;died\x07\n\tmore\x9b\xff\r\n");
        let mut listed = Vec::new();
        list(folder.path(), &mut listed).unwrap();
        let texts = [String::from_utf8(listed).unwrap(), shown(folder.path())];
        let is_bad = |c: char| c.is_control() && c != '\n' && c != '\t';
        assert!(
            texts.iter().all(|text| text.contains("a \u{FFFD}]0;died") && !text.contains(is_bad))
        );
        assert!(texts[1].contains("\n\tmore"), "{}", texts[1]);
    }
}
