//! What a process has mapped where, as `/proc/PID/maps` tells it. Refuses to know the files.

use std::{
    collections::HashMap, ffi::OsString, os::unix::ffi::OsStringExt as _, path::Path, sync::Arc,
};

use memtrace_abi::mapping::Range;

const DELETED: &str = " (deleted)";

/// All mappings of a process, in the order of their addresses.
#[derive(Clone, Debug, Default)]
pub struct Mappings {
    /// The mappings.
    pub list: Vec<Mapping>,
    /// Lines that could not be read: mappings that `list` lacks.
    pub odd_lines: usize,
}

/// One mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// Addresses in the process.
    pub range: Range,
    /// What the process may do there.
    pub permissions: Permissions,
    /// Offset in the file, bytes.
    pub offset: u64,
    /// Device of the file as `stat` numbers it; btrfs and overlayfs may give another one there.
    pub device: u64,
    /// Number of the file on its device, or 0.
    pub inode: u64,
    /// Path or name, or empty. The kernel writes a line break in it the same way as `\012`.
    pub path: Arc<Path>,
    /// Whether the path does not lead to the file any more.
    pub deleted: bool,
}

/// What a process may do with a mapping, in the four letters of `r-xp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permissions([u8; 4]);

/// What a mapping holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Memory without a file, named (`[anon:...]`) or not.
    Anonymous,
    /// What `brk` moves.
    Heap,
    /// Stack of the main thread.
    Stack,
    /// A file.
    File,
    /// Memory for several processes: memfd, System V, shared anonymous.
    SharedMemory,
    /// Code that the kernel lends to every process.
    Vdso,
    /// The kernel's own: `[vvar]`, `[vsyscall]`, `[uprobes]` and the like.
    Special,
}

impl Mappings {
    /// Reads the text of `/proc/PID/maps`. The kernel writes it in the order of addresses.
    #[must_use]
    pub fn parse(text: &[u8]) -> Self {
        let mut mappings = Self::default();
        let mut paths = Paths::default();
        for line in text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            match parse_line(line, &mut paths) {
                Some(mapping) => mappings.list.push(mapping),
                None => mappings.odd_lines += 1,
            }
        }
        mappings.list.sort_by_key(|mapping| mapping.range.start);
        mappings
    }

    /// The mapping that holds the address.
    #[must_use]
    pub fn at(&self, address: u64) -> Option<&Mapping> {
        let behind = self.list.partition_point(|mapping| mapping.range.start <= address);
        self.list[..behind].last().filter(|mapping| mapping.range.contains(address))
    }

    /// Executable mappings of files and of the vDSO, those of one file together; no group is empty.
    #[must_use]
    pub fn executables(&self) -> Vec<Vec<&Mapping>> {
        let mut groups: Vec<Vec<&Mapping>> = Vec::new();
        let mut numbers = HashMap::new();
        for mapping in self.list.iter().filter(|mapping| mapping.is_code_of_object()) {
            let file = (mapping.device, mapping.inode, &mapping.path);
            let number = *numbers.entry(file).or_insert(groups.len());
            match groups.get_mut(number) {
                Some(group) => group.push(mapping),
                None => groups.push(vec![mapping]),
            }
        }
        groups
    }
}

impl Mapping {
    /// What the mapping holds.
    #[must_use]
    pub fn kind(&self) -> Kind {
        let name = self.path.as_os_str().as_encoded_bytes();
        match name {
            b"[heap]" => Kind::Heap,
            b"[stack]" => Kind::Stack,
            b"[vdso]" => Kind::Vdso,
            _ if name.starts_with(b"[anon_shmem:") => Kind::SharedMemory,
            _ if name.is_empty() || name.starts_with(b"[anon:") => Kind::Anonymous,
            _ if name.starts_with(b"[") && self.inode == 0 => Kind::Special,
            _ if self.is_unnamed_memory(name) && self.permissions.is_shared() => Kind::SharedMemory,
            b"/anon_hugepage" | b"/dev/zero" if self.is_unnamed_memory(name) => Kind::Anonymous,
            _ => Kind::File,
        }
    }

    /// The path as links in `/proc` show it.
    pub(super) fn path_in_proc(&self) -> OsString {
        let mut path = self.path.as_os_str().to_owned();
        if self.deleted {
            path.push(DELETED);
        }
        path
    }

    /// Whether the path is one that the kernel made up for memory on its internal file systems.
    fn is_unnamed_memory(&self, name: &[u8]) -> bool {
        let made_up = [&b"/memfd:"[..], b"/SYSV", b"/dev/zero", b"/anon_hugepage"];
        libc::major(self.device) == 0
            && self.deleted
            && made_up.iter().any(|start| name.starts_with(start))
    }

    /// A library may be loaded from a memfd: any file counts.
    fn is_code_of_object(&self) -> bool {
        let is_object = self.inode != 0 || matches!(self.kind(), Kind::File | Kind::Vdso);
        self.permissions.is_executable() && is_object
    }
}

impl Permissions {
    /// Whether the process may read.
    #[must_use]
    pub const fn is_readable(self) -> bool {
        self.0[0] == b'r'
    }

    /// Whether the process may write.
    #[must_use]
    pub const fn is_writable(self) -> bool {
        self.0[1] == b'w'
    }

    /// Whether the process may execute.
    #[must_use]
    pub const fn is_executable(self) -> bool {
        self.0[2] == b'x'
    }

    /// Whether others see what is written.
    #[must_use]
    pub const fn is_shared(self) -> bool {
        self.0[3] == b's'
    }
}

/// Mappings of one file mostly follow each other and share one path.
#[derive(Default)]
pub(super) struct Paths {
    latest_text: Vec<u8>,
    latest: Option<Arc<Path>>,
}

impl Paths {
    fn path(&mut self, text: &[u8]) -> Arc<Path> {
        if let Some(path) = self.latest.as_ref().filter(|_| self.latest_text == text) {
            return Arc::clone(path);
        }
        let path: Arc<Path> = Arc::from(Path::new(&OsString::from_vec(unescape(text))));
        self.latest = Some(Arc::clone(&path));
        self.latest_text = text.to_vec();
        path
    }
}

/// `START-END PERMISSIONS OFFSET MAJOR:MINOR INODE     PATH`.
pub(super) fn parse_line(line: &[u8], paths: &mut Paths) -> Option<Mapping> {
    let mut fields = line.splitn(6, |&byte| byte == b' ');
    let (start, end) = pair(fields.next()?, b'-')?;
    let permissions = Permissions(fields.next()?.try_into().ok()?);
    let offset = number(fields.next()?, 16)?;
    let (major, minor) = pair(fields.next()?, b':')?;
    let inode = number(fields.next()?, 10)?;
    let text = fields.next().unwrap_or_default().trim_ascii_start();
    let alive = text.strip_suffix(DELETED.as_bytes());
    Some(Mapping {
        range: (start < end).then_some(Range { start, end })?,
        permissions,
        offset,
        device: libc::makedev(major.try_into().ok()?, minor.try_into().ok()?),
        inode,
        path: paths.path(alive.unwrap_or(text)),
        deleted: alive.is_some(),
    })
}

/// Two hexadecimal numbers.
fn pair(text: &[u8], separator: u8) -> Option<(u64, u64)> {
    let middle = text.iter().position(|&byte| byte == separator)?;
    Some((number(&text[..middle], 16)?, number(&text[middle + 1..], 16)?))
}

pub(super) fn number(text: &[u8], base: u32) -> Option<u64> {
    u64::from_str_radix(std::str::from_utf8(text).ok()?, base).ok()
}

/// The kernel escapes line breaks and nothing else (`show_map_vma`).
fn unescape(mut text: &[u8]) -> Vec<u8> {
    let mut path = Vec::with_capacity(text.len());
    while let Some((&first, rest)) = text.split_first() {
        let escaped = text.strip_prefix(b"\\012");
        path.push(if escaped.is_some() { b'\n' } else { first });
        text = escaped.unwrap_or(rest);
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPS: &[u8] = b"\
55d0c0a00000-55d0c0a01000 r-xp 00002000 fe:00 1311 /usr/bin/my program\\012x (deleted)
55d0c1000000-55d0c1021000 rw-p 00000000 00:00 0                          [heap]
7f0000000000-7f0000021000 rw-p 00000000 00:00 0 
7f0000021000-7f0000022000 rw-p 00000000 00:00 0                          [anon:arena 1]
7f1000000000-7f1004000000 rw-s 00000000 00:01 2063                       /memfd:a b (deleted)
7f1004000000-7f1004001000 r-xp 00000000 00:01 2064                       /memfd:code (deleted)
7f1004001000-7f1004002000 rw-s 00000000 00:01 7                          /dev/zero (deleted)
not a mapping
7f2000000000-7f2000100000 r--p 00000000 fe:00 1312                       /lib/libx.so
7f2000100000-7f2000200000 r-xp 00100000 fe:00 1312                       /lib/libx.so
7f2000200000-7f2000300000 r-xp 00200000 fe:00 1312                       /lib/libx.so
7f3000000000-7f3000001000 r-xp 00000000 00:00 0                          [uprobes]
7ffd00000000-7ffd00021000 rw-p 00000000 00:00 0                          [stack]
7ffd00030000-7ffd00034000 r--p 00000000 00:00 0                          [vvar]
7ffd00034000-7ffd00036000 r-xp 00000000 00:00 0                          [vdso]
ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]
";

    #[test]
    fn every_line_but_the_odd_one_is_a_mapping() {
        use Kind::{Anonymous, File, Heap, SharedMemory, Special, Stack, Vdso};
        let mappings = Mappings::parse(MAPS);
        assert_eq!(mappings.odd_lines, 1);
        let kinds: Vec<_> = mappings.list.iter().map(Mapping::kind).collect();
        let shared = [SharedMemory, File, SharedMemory];
        let rest = [File, File, File, Special, Stack, Special, Vdso, Special];
        assert_eq!(kinds, [&[File, Heap, Anonymous, Anonymous][..], &shared, &rest].concat());
    }

    #[test]
    fn a_path_may_hold_spaces_and_line_breaks() {
        let first = &Mappings::parse(MAPS).list[0];
        assert_eq!(&*first.path, Path::new("/usr/bin/my program\nx"));
        assert!(first.deleted);
        assert_eq!((first.offset, first.inode), (0x2000, 1311));
        assert_eq!(first.device, libc::makedev(0xfe, 0));
        assert!(first.permissions.is_readable() && !first.permissions.is_writable());
    }

    #[test]
    fn code_is_grouped_by_file() {
        let mappings = Mappings::parse(MAPS);
        let groups = mappings.executables();
        let lengths: Vec<_> = groups.iter().map(Vec::len).collect();
        assert_eq!(lengths, [1, 1, 2, 1], "program, memfd, library, vDSO");
        assert!(Arc::ptr_eq(&groups[2][0].path, &groups[2][1].path));
    }

    #[test]
    fn an_address_finds_its_mapping() {
        let mappings = Mappings::parse(MAPS);
        let inode = |address| mappings.at(address).map(|mapping| mapping.inode);
        assert_eq!(inode(0x7f20_0010_0000), Some(1312));
        assert_eq!(inode(0x7f20_002f_ffff), Some(1312));
        assert_eq!(inode(0x7f20_0030_0000), None);
        assert_eq!(inode(0), None);
    }

    #[test]
    fn numbers_out_of_range_are_odd() {
        let lines = b"2-1 r-xp 0 0:0 0\n-1 r-xp 0 0:0 0\n1-2 r 0 0:0 0\n1-2 r-xp 0 100000000:0 0\n\
            1-10000000000000000 r-xp 0 0:0 0\n1-2 r-xp 0 0:0 0\n";
        let mappings = Mappings::parse(lines);
        assert_eq!((mappings.list.len(), mappings.odd_lines), (1, 5));
    }

    #[test]
    fn sixty_thousand_lines_are_all_read() {
        let mappings = Mappings::parse(&MAPS.repeat(4096));
        assert_eq!(mappings.list.len(), 15 * 4096);
    }
}
