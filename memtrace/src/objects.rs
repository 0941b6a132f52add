//! The files that traced processes have mapped: each is opened, read and understood once, however
//! many processes map it.

mod reading;

use std::{collections::HashMap, path::PathBuf, sync::Arc};

use memtrace_abi::{
    mapping::{Mapping as CodeMapping, Range},
    python::Python,
};
use rayon::prelude::*;

use crate::{
    attach::plan::Plan,
    process::{
        Process,
        mappings::{Kind, Mapping, Mappings},
        object::Object,
    },
    python::{Refusal, Runtime, Specific},
    unwind::{UnwindTable, cache::Cache},
};
use reading::{Understood, understand};

/// One file, and what it means to memtrace.
pub struct Known {
    /// The open file.
    pub object: Object,
    /// Which of its functions to probe. Allocator and function numbers start at 0.
    pub plan: Plan,
    /// The Python interpreter in it.
    pub runtime: Result<Option<Runtime>, Refusal>,
    /// How its C library keeps thread-specific data; only a Python needs that.
    pub thread_specific: Result<Option<Specific>, Refusal>,
    /// What could not be understood, one sentence each.
    pub doubts: Vec<String>,
}

/// The Python of a process.
#[derive(Default)]
pub struct Interpreter<'objects> {
    /// Where the kernel and memtrace find its frames; all zero if there is none that can be read.
    pub layout: Python,
    /// What the file says, and what to add (wrapping) to its addresses.
    pub runtime: Option<(&'objects Runtime, u64)>,
    /// Why an interpreter cannot be read, one sentence each.
    pub refusals: Vec<String>,
}

impl Interpreter<'_> {
    /// Its release.
    #[must_use]
    pub fn version(&self) -> Option<String> {
        self.runtime.map(|(runtime, _)| runtime.version.to_string())
    }

    /// Whether frames of the interpreter can be read.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.layout.thread_key != 0
    }

    fn refuse(&mut self, refusal: String) {
        if !self.refusals.contains(&refusal) {
            self.refusals.push(refusal);
        }
    }

    /// With how the C library keeps thread-specific data, or why that is not known.
    fn complete(mut self, specific: Result<Specific, String>) -> Self {
        match (self.runtime, specific) {
            (Some((runtime, bias)), Ok(specific)) => self.layout = runtime.python(bias, specific),
            (Some(_), Err(refusal)) => self.refuse(refusal),
            (None, _) => {}
        }
        self
    }
}

/// True of every interpreter of which the C library is not mapped yet.
pub const NO_SPECIFIC: &str = "no Python frames: no C library that keeps thread-specific data";

/// Code of files that are read at the same time; the files are some times as large.
const MOST_CODE: u64 = 16 << 20;

/// Where a file is: two mappings with the same key show the same file.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Key {
    File { device: u64, inode: u64 },
    Vdso,
}

/// All files, by the number that frames carry. Number 0 is no file.
///
/// A clone learns for itself; what was known before, both share.
#[derive(Clone)]
pub struct Objects {
    numbers: HashMap<Key, Option<u32>>,
    list: Vec<Arc<Known>>,
    /// How to unwind through the files, until it is taken.
    tables: HashMap<u32, Arc<UnwindTable>>,
    cache: Option<Cache>,
}

impl Objects {
    /// No files yet. Tables are cached on disk where that is possible.
    #[must_use]
    pub fn with_cache() -> Self {
        let cache = Cache::default_directory().and_then(|path| Cache::open(path).ok());
        Self { numbers: HashMap::new(), list: Vec::new(), tables: HashMap::new(), cache }
    }

    /// Reads the executable files among `mappings` that are not known yet, or were written to since:
    /// those are others from now on.
    pub fn learn(&mut self, process: &Process, mappings: &Mappings) {
        let unknown: Vec<_> = mappings
            .executables()
            .into_iter()
            .filter_map(|group| Some((key(group.first()?)?, (*group.first()?).clone())))
            .filter(|(key, _)| !self.is_known(*key))
            .collect();
        let cache = self.cache.as_ref();
        let read = |(key, mapping)| Some((key, understand(process, &mapping, cache)?));
        let most = MOST_CODE / rayon::current_num_threads() as u64;
        let (large, small): (Vec<_>, Vec<_>) =
            unknown.into_iter().partition(|(_, mapping): &(Key, Mapping)| {
                mapping.range.end - mapping.range.start > most
            });
        // A file is in memory as a whole while it is read: the large ones one after the other.
        let (large, small) = rayon::join(
            || large.into_iter().filter_map(read).collect::<Vec<_>>(),
            || small.into_par_iter().filter_map(read).collect::<Vec<_>>(),
        );
        for (key, understood) in large.into_iter().chain(small) {
            self.add(key, understood);
        }
    }

    /// Whether the file there was read, and has not been written to since.
    fn is_known(&self, key: Key) -> bool {
        self.numbers.get(&key).is_some_and(|number| {
            let known = number.and_then(|number| self.known(number));
            known.is_none_or(|known| !known.object.is_written())
        })
    }

    fn add(&mut self, key: Key, understood: Understood) {
        let number = understood.map(|(known, table)| {
            self.list.push(Arc::new(known));
            let number = self.list.len() as u32;
            self.tables.extend(table.map(|table| (number, Arc::new(table))));
            number
        });
        // What was read while somebody wrote it is read again.
        match self.numbers.insert(key, number) {
            Some(Some(_)) if number.is_none() => self.numbers.remove(&key),
            before => before,
        };
    }

    /// The numbers that a file had before it was written to.
    pub fn formers(&self, number: u32) -> impl Iterator<Item = u32> {
        let file = |number| {
            let identity = self.known(number)?.object.identity()?;
            Some((identity.device, identity.inode))
        };
        (1..number).filter(move |former| file(*former).is_some_and(|own| Some(own) == file(number)))
    }

    /// The number of the file behind a mapping, if it is executable code that was learnt.
    #[must_use]
    pub fn number(&self, mapping: &Mapping) -> Option<u32> {
        *self.numbers.get(&key(mapping)?)?
    }

    /// The file with a number.
    #[must_use]
    pub fn known(&self, number: u32) -> Option<&Known> {
        self.shared(number).map(Arc::as_ref)
    }

    /// As [`Objects::known`], for another thread.
    #[must_use]
    pub fn shared(&self, number: u32) -> Option<&Arc<Known>> {
        self.list.get((number as usize).checked_sub(1)?)
    }

    /// The unwind table of a file, unless it was taken.
    #[must_use]
    pub fn table(&self, number: u32) -> Option<&UnwindTable> {
        self.tables.get(&number).map(Arc::as_ref)
    }

    /// Takes the unwind table of a file, to be given to the kernel.
    pub fn take_table(&mut self, number: u32) -> Option<Arc<UnwindTable>> {
        self.tables.remove(&number)
    }

    /// Every file.
    pub fn iter(&self) -> impl Iterator<Item = &Known> {
        self.list.iter().map(Arc::as_ref)
    }

    /// The executable mappings of known files, by address.
    #[must_use]
    pub fn code(&self, mappings: &Mappings) -> Vec<CodeMapping> {
        let mut code: Vec<_> = mappings
            .list
            .iter()
            .filter(|mapping| mapping.permissions.is_executable())
            .filter_map(|mapping| {
                let object = self.number(mapping)?;
                let bias = self.known(object)?.object.bias(mapping)?;
                let Range { start, end } = mapping.range;
                Some(CodeMapping { start, end, bias, object, reserved: 0 })
            })
            .collect();
        code.sort_unstable_by_key(|mapping| mapping.start);
        code
    }

    /// Where the segment of a known file ends in memory, a part of which this mapping shows.
    #[must_use]
    pub fn segment_end(&self, mapping: &Mapping) -> Option<u64> {
        self.known(self.number(mapping)?)?.object.segment_end(mapping)
    }

    /// The Python of a process, as far as the files say that it has mapped.
    #[must_use]
    pub fn interpreter(&self, mappings: &Mappings) -> Interpreter<'_> {
        let mut interpreter = Interpreter::default();
        let (mut specific, mut strange) = (None, None);
        for mapping in &mappings.list {
            let Some(known) = self.number(mapping).and_then(|number| self.known(number)) else {
                continue;
            };
            let Some(bias) = known.object.bias(mapping) else { continue };
            match &known.thread_specific {
                Ok(found) => specific = specific.or(*found),
                Err(refusal) => strange = Some(format!("{}: {refusal}", known.name())),
            }
            match &known.runtime {
                Ok(Some(found)) if interpreter.runtime.is_none() => {
                    interpreter.runtime = Some((found, bias.wrapping_neg()));
                }
                Ok(_) => {}
                Err(refusal) => interpreter.refuse(format!("{}: {refusal}", known.name())),
            }
        }
        interpreter.complete(specific.ok_or_else(|| strange.unwrap_or(NO_SPECIFIC.to_owned())))
    }

    /// Rows of all tables that were not taken.
    #[must_use]
    pub fn row_count(&self) -> usize {
        self.tables.values().map(|table| table.rows.len()).sum()
    }
}

impl Known {
    /// Where the file was when it was mapped.
    #[must_use]
    pub fn name(&self) -> String {
        self.object.path().to_string_lossy().into_owned()
    }

    /// A path that leads to the file for as long as it is known.
    #[must_use]
    pub fn open_path(&self) -> Option<PathBuf> {
        self.object.open_path()
    }
}

fn key(mapping: &Mapping) -> Option<Key> {
    match mapping.kind() {
        Kind::Vdso => Some(Key::Vdso),
        _ if mapping.inode != 0 => Some(Key::File { device: mapping.device, inode: mapping.inode }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;
    use crate::process::workload::{Workload, mapping_of_malloc};

    /// A process that has a file mapped as code, and its mapping.
    fn with_mapped(path: &Path) -> (Workload, Process, Mapping) {
        let script = format!(
            "import mmap; f = open({path:?}, 'rb'); \
             m = mmap.mmap(f.fileno(), 0, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_EXEC)"
        );
        let python = Workload::python(&script);
        let process = Process::open(python.pid()).unwrap();
        let mappings = process.mappings().unwrap();
        let mapping = mappings.list.into_iter().find(|mapping| *mapping.path == *path).unwrap();
        (python, process, mapping)
    }

    fn only(mapping: &Mapping) -> Mappings {
        Mappings { list: vec![mapping.clone()], odd_lines: 0 }
    }

    #[test]
    fn a_file_that_was_unmapped_before_it_was_read_is_read_later() {
        let library = mapping_of_malloc().1.path;
        let (_python, process, mapping) = with_mapped(&library);
        let mut gone = mapping.clone();
        gone.range.end += 0x1000;
        let mut objects = Objects::with_cache();
        objects.learn(&process, &only(&gone));
        assert_eq!(objects.number(&mapping), None);
        objects.learn(&process, &only(&mapping));
        assert_eq!(objects.number(&mapping), Some(1));
    }

    #[test]
    fn a_file_that_is_written_over_is_another_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.so");
        let libc = fs::read(mapping_of_malloc().1.path).unwrap();
        fs::write(&path, &libc).unwrap();
        let (_python, process, mapping) = with_mapped(&path);
        let mut objects = Objects::with_cache();
        let mut number = |contents: Option<&[u8]>| {
            if let Some(contents) = contents {
                fs::write(&path, contents).unwrap();
            }
            objects.learn(&process, &only(&mapping));
            objects.number(&mapping)
        };
        let first = number(None).unwrap();
        assert_eq!(number(None), Some(first));
        assert_eq!(number(Some(b"half-written")), None);
        let second = number(Some(&libc)).unwrap();
        assert_eq!(number(None), Some(second));
        assert_eq!(objects.formers(second).collect::<Vec<_>>(), [first]);
        assert_eq!(objects.formers(first).count(), 0);
        let plan = |number| objects.known(number).unwrap().plan.probes.len();
        assert!(objects.table(second).is_some() && plan(first) == plan(second));
    }
}
