//! What the headers of a 64-bit ELF file say about where it is loaded and which build it is.

use memtrace_abi::mapping::Range;
use object::{
    LittleEndian, elf,
    read::{
        ReadRef,
        elf::{FileHeader as _, NoteIterator, ProgramHeader as _, SectionHeader as _},
    },
};

use super::super::{mappings::Mapping, memory::PAGE_BYTES};

type FileHeader = elf::FileHeader64<LittleEndian>;

/// Of headers and of notes, whatever the file says it has.
const MAX_HEADERS: u64 = 4096;
const MAX_NOTE_BYTES: u64 = 1 << 20;

/// Linkers write 8 to 32 bytes; `--build-id=0x...` may write more.
const MAX_BUILD_ID_BYTES: usize = 64;

/// The headers that matter for tracing.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(super) struct Headers {
    segments: Vec<Segment>,
    pub(super) build_id: Option<Vec<u8>>,
}

/// A `PT_LOAD` segment with bytes in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Segment {
    /// Offsets in the file.
    offsets: Range,
    /// ELF virtual address of the first byte.
    address: u64,
    /// Bytes in memory: what the file does not hold is zeroed.
    memory_bytes: u64,
    is_executable: bool,
}

impl Headers {
    /// `None` when the bytes are not a 64-bit little-endian ELF file.
    pub(super) fn parse<'data>(data: impl ReadRef<'data>) -> Option<Self> {
        let header = FileHeader::parse(data).ok()?;
        header.endian().ok()?;
        let segments = program_headers(header, data).iter().filter_map(Segment::new).collect();
        let build_id = noted_build_id(header, data).or_else(|| section_build_id(header, data));
        Some(Self { segments, build_id })
    }

    /// See [`memtrace_abi::mapping::Mapping::bias`]; `None` when no segment holds the mapping.
    ///
    /// Segments may share a page of the file, which is then mapped once for each of them.
    pub(super) fn bias(&self, mapping: &Mapping) -> Option<u64> {
        self.segment(mapping).map(|segment| segment.bias(mapping))
    }

    /// Where the segment that holds the mapping's start ends in the process's memory.
    pub(super) fn segment_end(&self, mapping: &Mapping) -> Option<u64> {
        let segment = self.segment(mapping)?;
        let end = segment.address.wrapping_add(segment.memory_bytes);
        Some(end.wrapping_sub(segment.bias(mapping)))
    }

    fn segment(&self, mapping: &Mapping) -> Option<&Segment> {
        let segments = self.segments.iter();
        let holders = segments.filter(|segment| segment.pages().contains(mapping.offset));
        holders.max_by_key(|segment| segment.likeness(mapping))
    }
}

impl Segment {
    fn new(header: &elf::ProgramHeader64<LittleEndian>) -> Option<Self> {
        let (start, size) = header.file_range(LittleEndian);
        let is_loaded = header.p_type(LittleEndian) == elf::PT_LOAD && size > 0;
        is_loaded.then_some(Self {
            offsets: Range { start, end: start.checked_add(size)? },
            address: header.p_vaddr(LittleEndian),
            memory_bytes: header.p_memsz(LittleEndian),
            is_executable: header.p_flags(LittleEndian) & elf::PF_X != 0,
        })
    }

    fn bias(&self, mapping: &Mapping) -> u64 {
        let file_to_address = self.address.wrapping_sub(self.offsets.start);
        file_to_address.wrapping_add(mapping.offset).wrapping_sub(mapping.range.start)
    }

    /// What is mapped: whole pages of the file.
    fn pages(&self) -> Range {
        Range { start: self.offsets.start & !(PAGE_BYTES - 1), end: self.offsets.end }
    }

    /// Order of preference among the segments that share the mapping's first page.
    fn likeness(&self, mapping: &Mapping) -> (bool, bool) {
        let permission_agrees = self.is_executable == mapping.permissions.is_executable();
        (permission_agrees, self.pages().start == mapping.offset)
    }
}

fn program_headers<'data>(
    header: &FileHeader,
    data: impl ReadRef<'data>,
) -> &'data [elf::ProgramHeader64<LittleEndian>] {
    let is_bounded =
        header.phnum(LittleEndian, data).is_ok_and(|count| count <= MAX_HEADERS as usize);
    let headers = is_bounded.then(|| header.program_headers(LittleEndian, data).ok());
    headers.flatten().unwrap_or_default()
}

fn noted_build_id<'data>(header: &FileHeader, data: impl ReadRef<'data>) -> Option<Vec<u8>> {
    program_headers(header, data)
        .iter()
        .filter(|segment| segment.file_range(LittleEndian).1 <= MAX_NOTE_BYTES)
        .filter_map(|segment| segment.notes(LittleEndian, data).ok().flatten())
        .find_map(find_build_id)
}

/// Files without `PT_NOTE` may still have the section.
fn section_build_id<'data>(header: &FileHeader, data: impl ReadRef<'data>) -> Option<Vec<u8>> {
    let is_bounded =
        header.shnum(LittleEndian, data).is_ok_and(|count| count <= MAX_HEADERS as usize);
    let sections = is_bounded.then(|| header.section_headers(LittleEndian, data).ok()).flatten()?;
    sections
        .iter()
        .filter(|section| section.sh_size(LittleEndian) <= MAX_NOTE_BYTES)
        .filter_map(|section| section.notes(LittleEndian, data).ok().flatten())
        .find_map(find_build_id)
}

fn find_build_id(mut notes: NoteIterator<'_, FileHeader>) -> Option<Vec<u8>> {
    while let Ok(Some(note)) = notes.next() {
        let length = note.desc().len();
        let is_build_id =
            note.name() == elf::ELF_NOTE_GNU && note.n_type(LittleEndian) == elf::NT_GNU_BUILD_ID;
        if is_build_id && (1..=MAX_BUILD_ID_BYTES).contains(&length) {
            return Some(note.desc().to_vec());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::{fs, iter};

    use super::{super::vdso::read_vdso, *};
    use crate::process::mappings::Mappings;

    fn mapping(line: &str) -> Mapping {
        Mappings::parse(line.as_bytes()).list.remove(0)
    }

    fn segment(offsets: (u64, u64), address: u64, is_executable: bool) -> Segment {
        let offsets = Range { start: offsets.0, end: offsets.1 };
        let memory_bytes = offsets.end - offsets.start + 0x700;
        Segment { offsets, address, memory_bytes, is_executable }
    }

    #[test]
    fn segments_that_share_a_page_are_told_by_permission_and_start() {
        let segments = vec![
            segment((0, 0x1234), 0, false),
            segment((0x1234, 0x3456), 0x2234, true),
            segment((0x3456, 0x3800), 0x5456, false),
            segment((0x8000, 0x8100), 0x8000, false),
            segment((0x8100, 0x8800), 0x9100, true),
        ];
        let headers = Headers { segments, build_id: None };
        let bias = |line| headers.bias(&mapping(line)).map(|bias| bias.wrapping_add(0x7000_0000));
        assert_eq!(bias("70000000-70002000 r--p 00000000 0:0 1 /x"), Some(0));
        assert_eq!(bias("70000000-70003000 r-xp 00001000 0:0 1 /x"), Some(0x2000));
        assert_eq!(bias("70000000-70001000 rw-p 00003000 0:0 1 /x"), Some(0x5000));
        assert_eq!(bias("70000000-70001000 r-xp 00002000 0:0 1 /x"), Some(0x3000), "a part");
        assert_eq!(bias("70000000-70001000 r--p 00008000 0:0 1 /x"), Some(0x8000));
        assert_eq!(bias("70000000-70001000 r-xp 00008000 0:0 1 /x"), Some(0x9000));
        assert_eq!(bias("70000000-70001000 r-xp 00004000 0:0 1 /x"), None);
    }

    #[test]
    fn no_bytes_are_too_odd() {
        let image = read_vdso().unwrap();
        let whole = Headers::parse(&image[..]).unwrap();
        assert_eq!(whole.build_id.as_ref().map(Vec::len), Some(20));
        let mut parsed = 0;
        for index in 0..image.len() {
            let _ = Headers::parse(&image[..index]);
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut image = image.to_vec();
                image[index] = value;
                parsed += usize::from(Headers::parse(&image[..]).is_some());
            }
        }
        assert!(parsed > image.len());
    }

    #[test]
    fn what_a_file_claims_to_have_is_bounded() {
        let mut image = read_vdso().unwrap().to_vec();
        image.extend(iter::repeat_n(0, 8 << 20));
        image[56..58].copy_from_slice(&u16::MAX.to_le_bytes());
        let headers = Headers::parse(&image[..]).unwrap();
        assert_eq!(headers.segments, []);
    }

    #[test]
    fn files_of_other_kinds_have_no_headers() {
        for bytes in
            [&b""[..], b"#!/bin/sh\n", &[0xff; 4096], &fs::read("/proc/self/maps").unwrap()]
        {
            assert_eq!(Headers::parse(bytes), None);
        }
    }
}
