//! Why a report cannot be written, and what the user can do about it.

use std::{
    error::Error,
    fmt,
    io::{self, ErrorKind},
    path::PathBuf,
};

use super::folder;

/// A report that cannot be written.
#[derive(Debug)]
pub struct Unwritable {
    /// The file.
    pub path: PathBuf,
    /// What is in the way.
    pub reason: Reason,
}

/// What is in the way of writing a report.
#[derive(Debug)]
pub enum Reason {
    /// There is something with this name, and it is not to be overwritten.
    Exists,
    /// There is a folder with this name.
    Folder,
    /// Two reports have this name.
    NamedTwice,
    /// The operating system does not let us.
    Refused(io::Error),
}

impl Unwritable {
    /// What helps, as a sentence.
    #[must_use]
    pub fn hint(&self) -> String {
        match &self.reason {
            Reason::Exists => "choose another name, or add --force".into(),
            Reason::Folder => "choose another name".into(),
            Reason::NamedTwice => "give each report a name of its own".into(),
            Reason::Refused(error) => self.hint_about(error),
        }
    }

    fn hint_about(&self, error: &io::Error) -> String {
        match error.kind() {
            // Some file systems, such as /proc, say so of what they will not hold.
            ErrorKind::NotFound if !folder(&self.path).exists() => {
                format!("make the folder: mkdir -p {}", folder(&self.path).display())
            }
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
                "free some space, or write to another file system".into()
            }
            _ => "write to a folder in which you may make files".into(),
        }
    }
}

impl fmt::Display for Unwritable {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.reason {
            Reason::Exists => write!(out, "{path} exists already"),
            Reason::Folder => write!(out, "{path} is a folder"),
            Reason::NamedTwice => write!(out, "{path} is named twice"),
            Reason::Refused(error) => write!(out, "write {path}: {error}"),
        }
    }
}

impl Error for Unwritable {}
