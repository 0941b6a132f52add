//! The functions that an ELF file exports, and where their code is in the file. Refuses to know
//! which of them matter.

use anyhow::{Context as _, Result, ensure};
use memtrace_abi::mapping::Range;
use object::{
    LittleEndian,
    elf::{
        EM_X86_64, FileHeader64, PF_X, PT_DYNAMIC, PT_LOAD, ProgramHeader64, SHN_UNDEF, STB_LOCAL,
        STT_FUNC, STT_GNU_IFUNC, Sym64,
    },
    read::elf::{ElfFile64, FileHeader as _, ProgramHeader as _, Sym as _, SymbolTable},
};

const ENDIAN: LittleEndian = LittleEndian;
/// How much code is taken for a function's when its symbol has no size.
const UNSIZED_FUNCTION: u64 = 4 << 10;

/// An ELF file for x86-64.
pub struct Symbols<'data> {
    bytes: &'data [u8],
    file: ElfFile64<'data, LittleEndian>,
}

/// What a symbol stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Code.
    Function,
    /// Code that returns the address of the function when the file is loaded (IFUNC).
    Resolver,
    /// Anything else, such as a variable.
    Other,
}

/// A defined symbol.
#[derive(Clone, Copy, Debug)]
pub struct Symbol<'data> {
    /// Without its version.
    pub name: &'data [u8],
    /// What it stands for.
    pub kind: Kind,
    /// Virtual address in the file.
    pub address: u64,
    /// Bytes, as the file claims; 0 if unknown.
    pub size: u64,
}

/// The code of a function as it lies in the file.
#[derive(Clone, Copy, Debug)]
pub struct Code<'data> {
    /// Bytes from the start of the file.
    pub file_offset: u64,
    /// The function, cut at the end of its segment.
    pub bytes: &'data [u8],
}

impl<'data> Symbols<'data> {
    /// Reads the tables of a file.
    ///
    /// Fails if the file is not ELF for x86-64, if a symbol table lies outside it, and if it has
    /// dynamic symbols but no section headers to find them by.
    pub fn read(bytes: &'data [u8]) -> Result<Self> {
        let header = FileHeader64::<LittleEndian>::parse(bytes).context("read the ELF header")?;
        ensure!(header.e_machine(ENDIAN) == EM_X86_64, "not an ELF file for x86-64");
        let file = ElfFile64::parse(bytes).context("read the symbol tables")?;
        let is_dynamic = file.elf_program_headers().iter().any(|s| s.p_type(ENDIAN) == PT_DYNAMIC);
        let has_sections = !file.elf_section_table().is_empty();
        ensure!(has_sections || !is_dynamic, "symbols need section headers, which were stripped");
        Ok(Self { bytes, file })
    }

    /// The symbols that other files can see, from both symbol tables; of a statically linked file,
    /// which other files never see, all symbols. Names whose bytes lie outside the file are left
    /// out.
    ///
    /// Hidden symbols are local in linked files, and static linking with PIE makes `malloc` local.
    pub fn exports(&self) -> impl Iterator<Item = Symbol<'data>> {
        let tables = [self.file.elf_dynamic_symbol_table(), self.file.elf_symbol_table()];
        // The first entry of a symbol table stands for no symbol.
        let is_static = tables[0].len() <= 1;
        let is_visible =
            move |entry: &&Sym64<LittleEndian>| is_static || entry.st_bind() != STB_LOCAL;
        tables.into_iter().flat_map(move |table| {
            table.iter().filter(is_visible).filter_map(|entry| definition(table, entry))
        })
    }

    /// The defined symbols of both tables, also those that other files cannot see.
    pub fn all(&self) -> impl Iterator<Item = Symbol<'data>> {
        let tables = [self.file.elf_dynamic_symbol_table(), self.file.elf_symbol_table()];
        tables
            .into_iter()
            .flat_map(|table| table.iter().filter_map(move |entry| definition(table, entry)))
    }

    /// The code of a function; `None` if its address lies outside the code in the file.
    #[must_use]
    pub fn code(&self, symbol: &Symbol<'_>) -> Option<Code<'data>> {
        let within = |segment: &&ProgramHeader64<LittleEndian>| {
            let distance = symbol.address.checked_sub(segment.p_vaddr(ENDIAN));
            distance.is_some_and(|distance| distance < segment.p_filesz(ENDIAN))
        };
        let segment = self.executable_segments().find(within)?;
        let distance = symbol.address - segment.p_vaddr(ENDIAN);
        let size = if symbol.size == 0 { UNSIZED_FUNCTION } else { symbol.size };
        let size = size.min(segment.p_filesz(ENDIAN) - distance);
        let start = segment.p_offset(ENDIAN).checked_add(distance)?;
        let end = start.checked_add(size)?.min(self.bytes.len() as u64);
        let bytes = self.bytes.get(usize::try_from(start).ok()?..usize::try_from(end).ok()?)?;
        Some(Code { file_offset: start, bytes })
    }

    /// Virtual addresses from the first executable segment to the end of the last.
    #[must_use]
    pub fn executable_range(&self) -> Option<Range> {
        let start = self.executable_segments().map(|s| s.p_vaddr(ENDIAN)).min()?;
        let end_of = |segment: &ProgramHeader64<LittleEndian>| {
            segment.p_vaddr(ENDIAN).saturating_add(segment.p_memsz(ENDIAN))
        };
        let end = self.executable_segments().map(end_of).max()?;
        Some(Range { start, end })
    }

    fn executable_segments(&self) -> impl Iterator<Item = &'data ProgramHeader64<LittleEndian>> {
        let is_code = |segment: &&ProgramHeader64<LittleEndian>| {
            segment.p_type(ENDIAN) == PT_LOAD && segment.p_flags(ENDIAN) & PF_X != 0
        };
        self.file.elf_program_headers().iter().filter(is_code)
    }
}

fn definition<'data>(
    table: &SymbolTable<'data, FileHeader64<LittleEndian>>,
    entry: &Sym64<LittleEndian>,
) -> Option<Symbol<'data>> {
    if entry.st_shndx(ENDIAN) == SHN_UNDEF {
        return None;
    }
    let kind = match entry.st_type() {
        STT_FUNC => Kind::Function,
        STT_GNU_IFUNC => Kind::Resolver,
        _ => Kind::Other,
    };
    // The full symbol table writes versions into names: `malloc@@GLIBC_2.2.5`.
    let name = table.symbol_name(ENDIAN, entry).ok()?.split(|byte| *byte == b'@').next()?;
    Some(Symbol { name, kind, address: entry.st_value(ENDIAN), size: entry.st_size(ENDIAN) })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// This test: a file with code, symbols and imports.
    fn this_file() -> Vec<u8> {
        std::fs::read("/proc/self/exe").unwrap()
    }

    #[test]
    fn imported_functions_are_not_exports() {
        let bytes = this_file();
        let symbols = Symbols::read(&bytes).unwrap();
        let names: Vec<_> = symbols.exports().map(|symbol| symbol.name).collect();
        assert!(names.contains(&b"main".as_slice()));
        assert!(!names.contains(&b"malloc".as_slice()));
    }

    #[test]
    fn code_is_found_by_its_address() {
        let bytes = this_file();
        let symbols = Symbols::read(&bytes).unwrap();
        let main = symbols.exports().find(|symbol| symbol.name == b"main").unwrap();
        let code = symbols.code(&main).unwrap();
        assert_eq!(code.bytes.len() as u64, main.size);
        assert_eq!(code.bytes, &bytes[code.file_offset as usize..][..code.bytes.len()]);
        let mut decoder = iced_x86::Decoder::new(64, code.bytes, 0);
        assert!(!decoder.decode().is_invalid());
        assert!(symbols.executable_range().unwrap().contains(main.address));
    }

    #[test]
    fn code_ends_with_its_segment_and_nothing_lies_outside() {
        let bytes = this_file();
        let symbols = Symbols::read(&bytes).unwrap();
        let main = symbols.exports().find(|symbol| symbol.name == b"main").unwrap();
        let endless = Symbol { size: u64::MAX, ..main };
        let range = symbols.executable_range().unwrap();
        assert!(symbols.code(&endless).unwrap().bytes.len() as u64 <= range.end - range.start);
        assert!(symbols.code(&Symbol { address: u64::MAX, ..main }).is_none());
        assert!(symbols.code(&Symbol { address: 0, ..main }).is_none());
    }

    #[test]
    fn stripped_section_headers_are_an_error_of_files_that_have_dynamic_symbols() {
        let mut bytes = this_file();
        // `e_shoff` and `e_shnum`.
        bytes[40..48].fill(0);
        bytes[60..62].fill(0);
        let error = Symbols::read(&bytes).err().unwrap();
        assert!(error.to_string().contains("section headers"), "{error}");
    }
}
