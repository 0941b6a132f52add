//! Symbols, bytes and function ranges of an x86-64 ELF file, by its own virtual addresses. Knows
//! nothing about Python.

use std::iter;

use gimli::{BaseAddresses, CieOrFde, EhFrame, LittleEndian, UnwindSection as _};
use memtrace_abi::mapping::Range;
use object::{
    Architecture, Object as _, ObjectSection as _, ObjectSegment as _, ObjectSymbol as _,
    SegmentFlags, elf::PF_W,
};

/// A parsed file. Missing or malformed parts read as absent.
pub struct Elf<'data> {
    file: object::File<'data>,
}

impl<'data> Elf<'data> {
    /// `None` unless the bytes are an x86-64 ELF file.
    pub fn parse(bytes: &'data [u8]) -> Option<Self> {
        let file = object::File::parse(bytes).ok()?;
        (file.format() == object::BinaryFormat::Elf && file.architecture() == Architecture::X86_64)
            .then_some(Self { file })
    }

    /// Defined symbols and what they cover, the dynamic ones first.
    pub fn symbols(&self) -> impl Iterator<Item = (&'data [u8], Range)> {
        self.file
            .dynamic_symbols()
            .chain(self.file.symbols())
            .filter(|symbol| symbol.is_definition() && symbol.address() != 0)
            .filter_map(|symbol| {
                let end = symbol.address().checked_add(symbol.size())?;
                Some((symbol.name_bytes().ok()?, Range { start: symbol.address(), end }))
            })
    }

    /// What the symbol covers.
    pub fn symbol(&self, name: &str) -> Option<Range> {
        self.symbols().find(|(symbol, _)| *symbol == name.as_bytes()).map(|(_, range)| range)
    }

    /// The bytes of a range, as they are before relocation.
    pub fn read(&self, range: Range) -> Option<&'data [u8]> {
        let size = range.end.checked_sub(range.start)?;
        self.file.segments().find_map(|segment| segment.data_range(range.start, size).ok()?)
    }

    /// What the writable segments cover in memory, zero-initialised data included.
    pub fn writable(&self) -> Vec<Range> {
        self.file
            .segments()
            .filter(|segment| {
                matches!(segment.flags(), SegmentFlags::Elf { p_flags } if p_flags & PF_W != 0)
            })
            .filter_map(|segment| {
                let end = segment.address().checked_add(segment.size())?;
                Some(Range { start: segment.address(), end })
            })
            .collect()
    }

    /// The bytes of the section, unless it is compressed.
    pub fn section(&self, name: &str) -> Option<&'data [u8]> {
        self.file.section_by_name(name)?.data().ok()
    }

    /// What each entry of `.eh_frame` covers, sorted: functions, or parts of split functions.
    pub fn functions(&self) -> Vec<Range> {
        let Some(section) = self.file.section_by_name(".eh_frame") else { return Vec::new() };
        let frames = EhFrame::new(section.data().unwrap_or_default(), LittleEndian);
        let bases = BaseAddresses::default().set_eh_frame(section.address());
        let mut entries = frames.entries(&bases);
        let mut functions: Vec<Range> = iter::from_fn(|| entries.next().ok().flatten())
            .filter_map(|entry| match entry {
                CieOrFde::Cie(_) => None,
                CieOrFde::Fde(fde) => fde.parse(EhFrame::cie_from_offset).ok(),
            })
            .map(|fde| Range { start: fde.initial_address(), end: fde.end_address() })
            .collect();
        functions.retain(|function| function.start < function.end);
        functions.sort_by_key(|function| function.start);
        functions
    }
}
