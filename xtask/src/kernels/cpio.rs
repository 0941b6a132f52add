//! The archive that a kernel unpacks as its first file system: the "newc" format of the kernel's
//! `Documentation/driver-api/early-userspace/buffer-format.rst`.

use std::collections::BTreeSet;

const FOLDER: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const LAST: &str = "TRAILER!!!";

/// An archive that is being filled. Everything in it belongs to root and can be executed.
#[derive(Default)]
pub struct Cpio {
    bytes: Vec<u8>,
    folders: BTreeSet<String>,
    entries: u32,
}

impl Cpio {
    /// Adds a folder and those above it. The path has no slash at its beginning.
    pub fn folder(&mut self, path: &str) {
        let ends = path.match_indices('/').map(|(index, _)| index).chain([path.len()]);
        for end in ends {
            if self.folders.insert(path[..end].to_owned()) {
                self.entry(&path[..end], FOLDER, &[]);
            }
        }
    }

    /// Adds a file and the folders above it.
    pub fn file(&mut self, path: &str, contents: &[u8]) {
        if let Some((folder, _)) = path.rsplit_once('/') {
            self.folder(folder);
        }
        self.entry(path, PROGRAM, contents);
    }

    /// The whole archive.
    pub fn finish(mut self) -> Vec<u8> {
        self.entry(LAST, 0, &[]);
        self.bytes
    }

    fn entry(&mut self, path: &str, mode: u32, contents: &[u8]) {
        self.entries += 1;
        let links = 1;
        let size = contents.len() as u32;
        let name = path.len() as u32 + 1;
        // Number, mode, owner, group, links, time, size, two devices, length of the name, checksum.
        let fields = [self.entries, mode, 0, 0, links, 0, size, 0, 0, 0, 0, name, 0];
        self.bytes.extend(b"070701");
        for field in fields {
            self.bytes.extend(format!("{field:08x}").bytes());
        }
        self.bytes.extend(path.bytes().chain([0]));
        self.align();
        self.bytes.extend(contents);
        self.align();
    }

    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Paths, modes and contents, read by the format's definition.
    fn read(mut bytes: &[u8]) -> Vec<(String, u32, Vec<u8>)> {
        let mut entries = Vec::new();
        while let Some(header) = bytes.get(..110) {
            assert_eq!(&header[..6], b"070701");
            let field = |index: usize| {
                let digits = &header[6 + 8 * index..14 + 8 * index];
                u32::from_str_radix(str::from_utf8(digits).unwrap(), 16).unwrap()
            };
            let (mode, size, name) = (field(1), field(6) as usize, field(11) as usize);
            let start = (110 + name).next_multiple_of(4);
            let path = str::from_utf8(&bytes[110..110 + name - 1]).unwrap().to_owned();
            entries.push((path, mode, bytes[start..start + size].to_vec()));
            bytes = &bytes[(start + size).next_multiple_of(4)..];
        }
        assert_eq!(bytes, b"");
        entries
    }

    #[test]
    fn files_come_after_their_folders_which_come_once() {
        let mut cpio = Cpio::default();
        cpio.file("a/b/first", b"12345");
        cpio.file("a/second", b"");
        cpio.folder("a/b");
        let entry = |path: &str, mode, contents: &[u8]| (path.to_owned(), mode, contents.to_vec());
        assert_eq!(
            read(&cpio.finish()),
            [
                entry("a", FOLDER, b""),
                entry("a/b", FOLDER, b""),
                entry("a/b/first", PROGRAM, b"12345"),
                entry("a/second", PROGRAM, b""),
                entry(LAST, 0, b""),
            ]
        );
    }
}
