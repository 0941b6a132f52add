//! How much of each mapping is in memory, as `/proc/PID/smaps` tells it, and what the kernel counts
//! for the whole process at that moment. Refuses to know what the memory is used for.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read as _},
    time::{Duration, Instant},
};

use anyhow::Context as _;

use super::{
    Process,
    directory::Directory,
    mappings::{Kind, Mapping, Paths, number, parse_line},
    mounts::Mounts,
    status::{MemoryUse, Status},
};

/// A mapping takes about 700 bytes, and a process may have a million.
const LIMIT: u64 = 1 << 30;
/// No line is longer than the longest path, written with escapes, and what comes before it.
const LINE_LIMIT: u64 = 32 << 10;
/// Looks at a process whose memory changes while it is looked at.
const TRIES: usize = 3;
/// Looks that take longer than this are not repeated.
const QUICK: Duration = Duration::from_millis(300);
/// `limits` has 17 lines.
const LIMITS_LIMIT: u64 = 64 << 10;
/// What glibc takes where stacks are unlimited (`ARCH_STACK_DEFAULT_SIZE` of x86-64).
const UNLIMITED_STACK: u64 = 2 << 20;

/// All memory of a process that is resident, by mapping.
#[derive(Clone, Debug, Default)]
pub struct Residency {
    /// The mappings, in the order of their addresses.
    pub mappings: Vec<Resident>,
    /// What the kernel counts for the process, read right after the mappings.
    pub total: MemoryUse,
    /// By how many bytes `total.resident` changed while the mappings were read.
    pub moved: u64,
    /// How large the stack of a thread is unless the program says otherwise, in bytes.
    pub stack_limit: u64,
    /// Lines that could not be read: what `mappings` lacks.
    pub odd_lines: usize,
}

/// A mapping and how much of it is in memory, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resident {
    /// The mapping.
    pub mapping: Mapping,
    /// `Rss`: pages in memory, without those of hugetlbfs.
    pub bytes: u64,
    /// `Anonymous`: the part of `bytes` that no file and no shared memory holds, private copies of
    /// pages of files included.
    pub anonymous: u64,
    /// `Swap`.
    pub swapped: u64,
    /// `Shared_Hugetlb` and `Private_Hugetlb`: in memory, but not in the RSS.
    pub huge: u64,
    /// `AnonHugePages`, `ShmemPmdMapped` and `FilePmdMapped`: the part of `bytes` on transparent huge
    /// pages.
    pub transparent: u64,
    /// Whether huge pages are turned off for it (`nh` in `VmFlags`): also by `MAP_STACK`, since
    /// Linux 6.7.
    pub never_huge: bool,
    /// Whether there may be guards within it (`gu` in `VmFlags`, since Linux 6.19).
    pub guarded: bool,
    /// Whether what is not `anonymous` is shared memory: also files on tmpfs.
    pub is_shared_memory: bool,
}

impl Process {
    /// How much of each mapping is resident now.
    ///
    /// The kernel walks the page tables for it, 16 ms for a GiB of small pages, and a thread that
    /// wants to map or unmap waits meanwhile for the mapping that is being walked. Looks again if
    /// that was quick and the process changed its memory by more than a hundredth during it.
    pub fn residency(&self) -> anyhow::Result<Residency> {
        let start = Instant::now();
        let mut latest = self.look()?;
        for _ in 1..TRIES {
            if latest.moved <= latest.total.resident / 100 || start.elapsed() > QUICK {
                break;
            }
            latest = self.look()?;
        }
        Ok(latest)
    }

    fn look(&self) -> anyhow::Result<Residency> {
        self.ask(read).with_context(|| format!("read what is resident of {}", self.identity()))
    }
}

fn read(directory: &Directory) -> io::Result<Residency> {
    let mounts = Mounts::read(directory)?;
    let before = Status::read(directory)?.memory.resident;
    let smaps = File::open(directory.path("smaps"))?;
    let mut residency = parse(BufReader::with_capacity(1 << 16, smaps.take(LIMIT)), &mounts)?;
    residency.total = Status::read(directory)?.memory;
    residency.stack_limit = stack_limit(&directory.read("limits", LIMITS_LIMIT)?);
    residency.moved = residency.total.resident.abs_diff(before);
    Ok(residency)
}

fn parse(mut text: impl BufRead, mounts: &Mounts) -> io::Result<Residency> {
    let mut residency = Residency::default();
    let (mut paths, mut line) = (Paths::default(), Vec::new());
    loop {
        line.clear();
        if text.by_ref().take(LINE_LIMIT).read_until(b'\n', &mut line)? == 0 {
            return Ok(residency);
        }
        let line = line.strip_suffix(b"\n").unwrap_or(&line);
        // Names of fields begin with a capital; the kernel writes addresses in small letters.
        if !line.first().is_some_and(u8::is_ascii_uppercase) {
            match parse_line(line, &mut paths) {
                Some(mapping) => residency.mappings.push(Resident::new(mapping, mounts)),
                None => residency.odd_lines += 1,
            }
        } else if let Some(resident) = residency.mappings.last_mut() {
            resident.note(line);
        }
    }
}

impl Resident {
    fn new(mapping: Mapping, mounts: &Mounts) -> Self {
        let of_file = mapping.kind() == Kind::File && mounts.is_in_memory(mapping.device);
        let is_shared_memory = of_file || mapping.kind() == Kind::SharedMemory;
        Self {
            mapping,
            bytes: 0,
            anonymous: 0,
            swapped: 0,
            huge: 0,
            transparent: 0,
            never_huge: false,
            guarded: false,
            is_shared_memory,
        }
    }

    /// Takes in a line such as `Rss:   12 kB`.
    fn note(&mut self, line: &[u8]) {
        let Some(colon) = line.iter().position(|&byte| byte == b':') else { return };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        let bytes = || kib(value).unwrap_or(0);
        match name {
            b"Rss" => self.bytes = bytes(),
            b"Anonymous" => self.anonymous = bytes(),
            b"Swap" => self.swapped = bytes(),
            b"Shared_Hugetlb" | b"Private_Hugetlb" => {
                self.huge = self.huge.saturating_add(bytes());
            }
            b"AnonHugePages" | b"ShmemPmdMapped" | b"FilePmdMapped" => {
                self.transparent = self.transparent.saturating_add(bytes());
            }
            b"VmFlags" => {
                let has = |name| value.split(|&byte| byte == b' ').any(|flag| flag == name);
                (self.never_huge, self.guarded) = (has(b"nh"), has(b"gu"));
            }
            _ => {}
        }
    }
}

/// The soft limit in `Max stack size   8388608   unlimited   bytes`.
fn stack_limit(limits: &[u8]) -> u64 {
    let mut lines = limits.split(|&byte| byte == b'\n');
    let line = lines.find_map(|line| line.strip_prefix(b"Max stack size"));
    let mut words = line.unwrap_or_default().split(|&byte| byte == b' ');
    let soft = words.find(|word| !word.is_empty());
    soft.and_then(|soft| number(soft, 10)).unwrap_or(UNLIMITED_STACK)
}

fn kib(value: &[u8]) -> Option<u64> {
    number(value.strip_suffix(b" kB")?.trim_ascii_end(), 10)?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::{super::workload::Workload, *};

    const SMAPS: &[u8] = b"\
7f0000000000-7f0000021000 rw-p 00000000 00:00 0 \n\
Size:                132 kB\n\
Rss:                  16 kB\n\
Anonymous:            16 kB\n\
Swap:                  8 kB\n\
VmFlags: rd wr mr mw me gu ac sd nh \n\
7f1000000000-7f1004000000 rw-s 00000000 00:1b 2063                       /dev/shm/Rss: 1\n\
Rss:                  12 kB\n\
Anonymous:             4 kB\n\
Private_Hugetlb:    2048 kB\n\
AnonHugePages:         4 kB\n\
ShmemPmdMapped:        8 kB\n\
VmFlags: rd wr sh mr mw me ms ac sd \n\
7f2000000000-7f2000100000 r--p 00000000 fe:00 1312                       /lib/libx.so\n\
Rss: 18446744073709551615 kB\n\
Rss: a lot\n\
not a mapping\n";

    #[test]
    fn fields_belong_to_the_mapping_before_them() {
        let mounts = Mounts::parse(b"25 24 0:27 / /dev/shm rw shared:2 - tmpfs tmpfs rw\n");
        let residency = parse(SMAPS, &mounts).unwrap();
        let [anonymous, shared, file] = &residency.mappings[..] else { panic!("three mappings") };
        assert_eq!((anonymous.bytes, anonymous.anonymous, anonymous.swapped), (16384, 16384, 8192));
        assert!(anonymous.never_huge && anonymous.guarded && !anonymous.is_shared_memory);
        assert_eq!((shared.bytes, shared.anonymous, shared.huge), (12288, 4096, 2 << 20));
        assert!(shared.is_shared_memory && !shared.never_huge && !shared.guarded);
        assert_eq!((shared.transparent, anonymous.transparent), (12288, 0));
        assert_eq!((file.bytes, file.is_shared_memory), (0, false));
        assert_eq!(residency.odd_lines, 1);
    }

    #[test]
    fn stacks_are_as_large_as_their_soft_limit() {
        let limit = |soft: &str| {
            let lines = format!("Max data size  1  2  bytes\nMax stack size  {soft}   7   bytes\n");
            stack_limit(lines.as_bytes())
        };
        assert_eq!((limit("8388608"), limit("unlimited")), (8 << 20, 2 << 20));
        assert_eq!(stack_limit(b""), 2 << 20);
    }

    #[test]
    fn a_line_without_end_is_bounded() {
        let residency = parse(&*b"x".repeat(1 << 20), &Mounts::default()).unwrap();
        assert!(residency.mappings.is_empty() && residency.odd_lines > 1);
    }

    #[test]
    fn mappings_add_up_to_what_the_kernel_counts() {
        let python = Workload::python("x = bytearray(64 << 20)");
        let process = Process::open(python.pid()).unwrap();
        let residency = process.residency().unwrap();
        let sum: u64 = residency.mappings.iter().map(|resident| resident.bytes).sum();
        let rss = residency.total.resident;
        assert!(rss > 64 << 20 && sum.abs_diff(rss) < rss / 50, "{sum} of {rss}");
        assert_eq!(residency.odd_lines, 0);
    }
}
