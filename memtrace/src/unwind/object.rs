//! Where an ELF file keeps its call frame information and its code; knows nothing of DWARF.

use std::{borrow::Cow, ops::Range};

use anyhow::{Context as _, Result, ensure};
use gimli::{BaseAddresses, EhFrameHdr, LittleEndian};
use object::{
    LittleEndian as LE,
    elf::{self, FileHeader64, ProgramHeader64, SectionHeader64},
    read::{
        CompressedData, CompressionFormat,
        elf::{CompressionHeader as _, FileHeader as _, ProgramHeader as _, SectionHeader as _},
    },
};

/// Bytes of call frame information that are read of one file; the largest libraries have 20 MB.
const MAX_LENGTH: usize = 128 << 20;
/// Loaded segments looked at; linkers write four or five.
const MAX_SEGMENTS: usize = 64;
/// `mov $15, %rax; syscall`: what a signal handler returns to, `rt_sigreturn`.
const TRAMPOLINE: [u8; 9] = [0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05];
/// Bytes of code that a trampoline's call frame information may cover.
const TRAMPOLINE_LENGTH: u64 = 16;

/// Bytes of call frame information.
pub(super) struct Frames<'data> {
    pub(super) bytes: Cow<'data, [u8]>,
    /// What relative addresses in them are relative to.
    pub(super) bases: BaseAddresses,
}

/// An x86-64 ELF file.
pub(super) struct Object<'data> {
    bytes: &'data [u8],
    headers: &'data [ProgramHeader64<LE>],
    /// Those of the program headers that are loaded.
    loads: Vec<&'data ProgramHeader64<LE>>,
    sections: &'data [SectionHeader64<LE>],
    section_names: &'data [u8],
}

impl<'data> Object<'data> {
    pub(super) fn parse(bytes: &'data [u8]) -> Result<Self> {
        let header = FileHeader64::<LE>::parse(bytes)?;
        header.endian().context("it is big-endian")?;
        ensure!(header.e_machine(LE) == elf::EM_X86_64, "it is not for x86-64");
        let headers = header.program_headers(LE, bytes)?;
        let loads = headers.iter().filter(|header| header.p_type(LE) == elf::PT_LOAD);
        // Sections are for linkers and debuggers: a file that runs may lack them.
        let sections = header.section_headers(LE, bytes).unwrap_or_default();
        let names = header.shstrndx(LE, bytes).ok().and_then(|index| sections.get(index as usize));
        let section_names = names.and_then(|names| names.data(LE, bytes).ok()).unwrap_or_default();
        let loads = loads.take(MAX_SEGMENTS).collect();
        Ok(Self { bytes, headers, loads, sections, section_names })
    }

    /// Whether the addresses lie in one executable segment.
    pub(super) fn has_code(&self, addresses: &Range<u64>) -> bool {
        self.loads.iter().any(|load| {
            let end = load.p_vaddr(LE).saturating_add(load.p_memsz(LE));
            let executable = load.p_flags(LE) & elf::PF_X != 0;
            executable && load.p_vaddr(LE) <= addresses.start && addresses.end <= end
        })
    }

    /// Whether a function is what signal handlers return to. Its call frame information starts
    /// one byte early in glibc: unwinders look up the byte before a return address.
    pub(super) fn is_trampoline(&self, addresses: &Range<u64>) -> bool {
        let starts_at = |address| self.at(address).is_some_and(|at| at.starts_with(&TRAMPOLINE));
        addresses.end.wrapping_sub(addresses.start) <= TRAMPOLINE_LENGTH
            && (starts_at(addresses.start) || starts_at(addresses.start.wrapping_add(1)))
    }

    /// `.eh_frame`, found by its section or through the header that the dynamic loader uses.
    pub(super) fn eh_frame(&self) -> Option<Frames<'data>> {
        self.eh_frame_section().or_else(|| self.eh_frame_segment())
    }

    /// `.debug_frame`, inflated.
    pub(super) fn debug_frame(&self) -> Option<Frames<'data>> {
        let section = self.section(b".debug_frame\0")?;
        let bytes = match section.compression(LE, self.bytes).ok()? {
            None => Cow::Borrowed(limited(section.data(LE, self.bytes).ok()?)),
            Some((header, offset, size)) => {
                let end = offset.checked_add(size)?;
                let data = self.bytes.get(offset as usize..end as usize)?;
                inflate(data, header.ch_type(LE), header.ch_size(LE))?
            }
        };
        Some(Frames { bytes, bases: BaseAddresses::default() })
    }

    fn eh_frame_section(&self) -> Option<Frames<'data>> {
        let section = self.section(b".eh_frame\0")?;
        let bytes = section.data(LE, self.bytes).ok().filter(|bytes| !bytes.is_empty())?;
        Some(self.eh_frame_at(section.sh_addr(LE), bytes))
    }

    fn eh_frame_segment(&self) -> Option<Frames<'data>> {
        let segment = self.headers.iter().find(|it| it.p_type(LE) == elf::PT_GNU_EH_FRAME)?;
        let bases = BaseAddresses::default().set_eh_frame_hdr(segment.p_vaddr(LE));
        let header = EhFrameHdr::new(self.at(segment.p_vaddr(LE))?, LittleEndian);
        let address = header.parse(&bases, 8).ok()?.eh_frame_ptr().direct().ok()?;
        Some(self.eh_frame_at(address, self.at(address)?))
    }

    fn eh_frame_at(&self, address: u64, bytes: &'data [u8]) -> Frames<'data> {
        let text = self.section(b".text\0").map_or(0, |section| section.sh_addr(LE));
        let bases = BaseAddresses::default().set_eh_frame(address).set_text(text);
        Frames { bytes: Cow::Borrowed(limited(bytes)), bases }
    }

    /// The section of this name, which ends in a zero byte.
    fn section(&self, name: &[u8]) -> Option<&'data SectionHeader64<LE>> {
        self.sections.iter().find(|section| {
            let start = section.sh_name(LE) as usize;
            self.section_names.get(start..).is_some_and(|names| names.starts_with(name))
        })
    }

    /// The file's bytes from an address to the end of the segment that holds it.
    fn at(&self, address: u64) -> Option<&'data [u8]> {
        self.loads.iter().find_map(|load| {
            let offset = address.checked_sub(load.p_vaddr(LE))?;
            let bytes = load.data(LE, self.bytes).ok()?;
            bytes.get(usize::try_from(offset).ok()?..).filter(|rest| !rest.is_empty())
        })
    }
}

fn limited(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.len().min(MAX_LENGTH)]
}

fn inflate(data: &[u8], kind: u32, uncompressed_size: u64) -> Option<Cow<'_, [u8]>> {
    // The other kind, Zstandard, is inflated before its size is checked.
    if kind != elf::ELFCOMPRESS_ZLIB || uncompressed_size > MAX_LENGTH as u64 {
        return None;
    }
    let format = CompressionFormat::Zlib;
    CompressedData { format, data, uncompressed_size }.decompress().ok()
}
