//! Unwind tables kept on disk by build id, so that a library is walked once per machine.
//!
//! A cache only saves time: what it does not trust it does not use, and callers go on without.

mod format;

use std::{
    env,
    fs::{self, DirBuilder, File, Metadata, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::SystemTime,
};

use anyhow::{Context as _, Result, ensure};

use super::UnwindTable;

/// Bytes of all tables together; the oldest are dropped.
const MAX_TOTAL: u64 = 256 << 20;
/// Build ids are 16 or 20 bytes; linkers take any length.
const MAX_BUILD_ID: usize = 64;
const SUFFIX: &str = ".unwind";

/// A directory of tables that belongs to this user alone.
#[derive(Clone, Debug)]
pub struct Cache {
    directory: PathBuf,
    max_total: u64,
}

impl Cache {
    /// Where tables are kept: in `$MEMTRACE_CACHE` if that is set, else in `/var/cache/memtrace`
    /// for root and in `$XDG_CACHE_HOME/memtrace` or `~/.cache/memtrace` for others; `None` without
    /// a home.
    #[must_use]
    pub fn default_directory() -> Option<PathBuf> {
        let absolute =
            |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        if let Some(chosen) = absolute("MEMTRACE_CACHE") {
            return Some(chosen);
        }
        if current_user() == 0 {
            return Some("/var/cache/memtrace".into());
        }
        let caches = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")));
        Some(caches?.join("memtrace"))
    }

    /// Opens the directory, made if missing; an error if others could have written to it.
    pub fn open(directory: impl Into<PathBuf>) -> Result<Self> {
        let directory = directory.into();
        let cache = Self { directory, max_total: MAX_TOTAL };
        cache.check().with_context(|| format!("open the cache {}", cache.directory.display()))?;
        Ok(cache)
    }

    /// The table of this build id, if there is a sound one.
    ///
    /// A build id is whatever its file claims: a file that the target's user could have written
    /// should neither be stored nor looked up, or it speaks for the library whose id it copied.
    #[must_use]
    pub fn load(&self, build_id: &[u8]) -> Option<UnwindTable> {
        format::decode(&read(&self.path(build_id)?)?)
    }

    /// Keeps the table of this build id, dropping the oldest tables if the cache is full.
    pub fn store(&self, build_id: &[u8], table: &UnwindTable) -> Result<()> {
        let path = self.path(build_id).context("keep a table without a usable build id")?;
        let bytes = format::encode(table).context("keep a table over the cache's limits")?;
        self.replace(&path, &bytes).with_context(|| format!("write {}", path.display()))?;
        self.drop_oldest().with_context(|| format!("tidy the cache {}", self.directory.display()))
    }

    fn check(&self) -> Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.directory)?;
        let metadata = fs::symlink_metadata(&self.directory)?;
        ensure!(metadata.is_dir(), "it is not a directory");
        ensure!(is_private(&metadata), "other users can write to it");
        Ok(())
    }

    fn path(&self, build_id: &[u8]) -> Option<PathBuf> {
        if build_id.is_empty() || build_id.len() > MAX_BUILD_ID {
            return None;
        }
        let digits: Vec<String> = build_id.iter().map(|byte| format!("{byte:02x}")).collect();
        Some(self.directory.join(digits.concat() + SUFFIX))
    }

    /// Whoever reads meanwhile sees the old file or the new one, never a part.
    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        // The suffix lets a file that a crash left behind age away like the others.
        let mut file = tempfile::Builder::new().suffix(SUFFIX).tempfile_in(&self.directory)?;
        file.write_all(bytes)?;
        file.persist(path)?;
        Ok(())
    }

    fn drop_oldest(&self) -> io::Result<()> {
        let mut tables = self.tables()?;
        tables.sort_by_key(|table| table.modified);
        let mut total: u64 = tables.iter().map(|table| table.size).sum();
        for table in tables {
            if total <= self.max_total {
                break;
            }
            total -= table.size;
            fs::remove_file(table.path)?;
        }
        Ok(())
    }

    fn tables(&self) -> io::Result<Vec<Stored>> {
        let entries = fs::read_dir(&self.directory)?.filter_map(Result::ok);
        let ours =
            entries.filter(|it| it.file_name().as_encoded_bytes().ends_with(SUFFIX.as_bytes()));
        // A file that another process has just dropped has no metadata any more.
        Ok(ours.filter_map(|entry| Stored::new(entry.path(), &entry.metadata().ok()?)).collect())
    }
}

/// A table on disk.
struct Stored {
    path: PathBuf,
    size: u64,
    modified: SystemTime,
}

impl Stored {
    fn new(path: PathBuf, metadata: &Metadata) -> Option<Self> {
        let modified = metadata.modified().ok()?;
        metadata.is_file().then_some(Self { path, size: metadata.len(), modified })
    }
}

fn read(path: &Path) -> Option<Vec<u8>> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW).open(path).ok()?;
    let metadata = file.metadata().ok()?;
    let sound = metadata.is_file() && is_private(&metadata) && metadata.len() <= format::MAX_LENGTH;
    if !sound {
        return None;
    }
    read_whole(file, metadata.len()).ok()
}

fn read_whole(file: File, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(length as usize);
    file.take(length).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Whether only the current user can have written it.
fn is_private(metadata: &Metadata) -> bool {
    metadata.uid() == current_user() && metadata.mode() & 0o022 == 0
}

fn current_user() -> u32 {
    // SAFETY: the call takes nothing, touches no memory and always succeeds.
    unsafe { libc::geteuid() }
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::PermissionsExt as _, time::Duration};

    use tempfile::TempDir;

    use super::*;

    fn cache() -> (TempDir, Cache) {
        let home = tempfile::tempdir().unwrap();
        let cache = Cache::open(home.path().join("new/memtrace")).unwrap();
        (home, cache)
    }

    fn table() -> UnwindTable {
        UnwindTable::parse(&fs::read("/proc/self/exe").unwrap()).unwrap()
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    #[test]
    fn a_stored_table_comes_back_unchanged_and_is_private() {
        let (_home, cache) = cache();
        assert_eq!(cache.load(&[0xab, 1]), None);
        cache.store(&[0xab, 1], &table()).unwrap();
        assert_eq!(cache.load(&[0xab, 1]).unwrap(), table());
        assert_eq!(mode(&cache.directory), 0o700);
        assert_eq!(mode(&cache.directory.join("ab01.unwind")), 0o600);
    }

    #[test]
    fn what_others_could_write_is_not_trusted() {
        let (_home, cache) = cache();
        cache.store(&[1], &table()).unwrap();
        let path = cache.directory.join("01.unwind");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o620)).unwrap();
        assert_eq!(cache.load(&[1]), None);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(cache.load(&[1]).is_some());
        fs::set_permissions(&cache.directory, fs::Permissions::from_mode(0o702)).unwrap();
        assert!(Cache::open(&cache.directory).is_err());
    }

    #[test]
    fn symbolic_links_are_not_followed() {
        let (home, cache) = cache();
        cache.store(&[1], &table()).unwrap();
        let link = |from: &Path, to: PathBuf| std::os::unix::fs::symlink(from, to).unwrap();
        link(&cache.directory.join("01.unwind"), cache.directory.join("02.unwind"));
        assert_eq!(cache.load(&[2]), None);
        link(&cache.directory, home.path().join("link"));
        assert!(Cache::open(home.path().join("link")).is_err());
    }

    #[test]
    fn the_oldest_tables_make_room() {
        let (_home, mut cache) = cache();
        let now = SystemTime::now();
        for (age, build_id) in [(30, 1), (10, 2), (20, 3)] {
            cache.store(&[build_id], &table()).unwrap();
            let file = File::open(cache.path(&[build_id]).unwrap()).unwrap();
            file.set_modified(now - Duration::from_secs(age)).unwrap();
        }
        cache.max_total = 2 * fs::metadata(cache.path(&[1]).unwrap()).unwrap().len();
        fs::write(cache.directory.join("notes"), "not a table").unwrap();
        cache.store(&[4], &table()).unwrap();
        let kept = [1, 2, 3, 4].map(|build_id| cache.load(&[build_id]).is_some());
        assert_eq!(kept, [false, true, false, true]);
        assert!(cache.directory.join("notes").exists());
    }

    #[test]
    fn build_ids_that_are_no_names_are_refused() {
        let (_home, cache) = cache();
        assert!(cache.store(&[], &table()).is_err());
        assert!(cache.store(&[0; 65], &table()).is_err());
        assert_eq!(cache.load(&[0; 65]), None);
    }
}
