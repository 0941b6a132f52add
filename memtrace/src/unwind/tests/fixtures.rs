//! Bytes to read tables from.

use std::{
    fs::{self, File},
    io::Write as _,
    os::unix::fs::FileExt as _,
    process::{Command, Stdio},
};

use procfs::process::{MMPermissions, MMapPath, MemoryMap, Process};
use tempfile::NamedTempFile;

use crate::unwind::UnwindTable;

/// The executable mappings of this process.
pub(super) fn executable_mappings() -> Vec<MemoryMap> {
    let maps = Process::myself().unwrap().maps().unwrap();
    maps.into_iter().filter(|map| map.perms.contains(MMPermissions::EXECUTE)).collect()
}

/// The file behind a mapping, unless another test has removed it, or the memory of the vDSO.
pub(super) fn image(mapping: &MemoryMap) -> Option<Vec<u8>> {
    match &mapping.pathname {
        MMapPath::Path(path) => fs::read(path).ok(),
        MMapPath::Vdso => {
            let (start, end) = mapping.address;
            let mut bytes = vec![0; (end - start) as usize];
            File::open("/proc/self/mem").unwrap().read_exact_at(&mut bytes, start).unwrap();
            Some(bytes)
        }
        _ => None,
    }
}

pub(super) fn libc() -> Vec<u8> {
    let is_libc = |map: &MemoryMap| matches!(&map.pathname, MMapPath::Path(path) if path.ends_with("libc.so.6"));
    image(executable_mappings().iter().find(|map| is_libc(map)).unwrap()).unwrap()
}

pub(super) fn vdso() -> Vec<u8> {
    let mappings = executable_mappings();
    image(mappings.iter().find(|map| map.pathname == MMapPath::Vdso).unwrap()).unwrap()
}

pub(super) fn own_program() -> Vec<u8> {
    fs::read("/proc/self/exe").unwrap()
}

/// A shared library of this source; `language` and further options as for `cc`.
pub(super) fn library(source: &str, language: &str, options: &[&str]) -> NamedTempFile {
    let library = NamedTempFile::new().unwrap();
    let mut compiler = Command::new("cc")
        .args(["-shared", "-fPIC", "-O2", "-x", language, "-o"])
        .arg(library.path())
        .args(options)
        .arg("-")
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    compiler.stdin.take().unwrap().write_all(source.as_bytes()).unwrap();
    assert!(compiler.wait().unwrap().success());
    library
}

pub(super) fn assert_sound(table: &UnwindTable) {
    assert!(table.rows.is_sorted_by(|a, b| a.address < b.address));
    assert!(table.rows.is_sorted_by(|a, b| a.rule != b.rule), "neighbours with one rule");
    assert!(table.rows.iter().all(|row| usize::from(row.rule) < table.rules.len()));
    assert!(table.rules.len() <= 65_535);
    assert!(table.rules.iter().all(|rule| rule.cfa <= 9 && rule.fp <= 2 && rule.reserved == 0));
}
