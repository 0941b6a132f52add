//! From addresses in objects to names of native functions, and from code objects to those of
//! Python functions.

mod sections;

use std::{cell::OnceCell, collections::HashMap, path::Path};

use blazesym::symbolize::{
    Input, Sym, Symbolized, Symbolizer,
    source::{Elf, Source},
};

use self::sections::Sections;
use crate::{
    profile::{Frame, Location},
    python::CodeObject,
};

/// Longest symbol that is kept; C++ templates make them arbitrarily long.
const MAX_NAME: usize = 512;

/// Resolves addresses of many objects, each of which is read once.
pub struct Resolver {
    symbolizer: Symbolizer,
}

impl Default for Resolver {
    fn default() -> Self {
        let builder = Symbolizer::builder();
        let symbolizer = builder.enable_code_info(false).enable_inlined_fns(false);
        // It would take any name for a mangled one: `h` for `unsigned char`.
        let symbolizer = symbolizer.enable_demangling(false).build();
        Self { symbolizer }
    }
}

impl Resolver {
    /// Names of the functions at virtual addresses of the object at `path`. Addresses without a
    /// symbol, and all addresses of an unreadable file, are left out.
    #[must_use]
    pub fn names(&self, path: &Path, addresses: &[u64]) -> HashMap<u64, String> {
        let mut elf = Elf::new(path);
        elf.debug_syms = false;
        let symbols = self.symbolizer.symbolize(&Source::Elf(elf), Input::VirtOffset(addresses));
        let symbols = symbols.unwrap_or_default();
        let sections = OnceCell::new();
        let mut names = HashMap::new();
        for (address, symbol) in addresses.iter().zip(symbols) {
            let Symbolized::Sym(symbol) = symbol else { continue };
            // A symbol without a size is taken to reach to the next one, over the jumps of `.plt` too.
            let is_sized = symbol.size.is_some_and(|size| size > 0);
            let sections = || sections.get_or_init(|| Sections::of(path));
            if is_sized || sections().are_same(symbol.addr, *address) {
                names.insert(*address, name(&symbol));
            }
        }
        names
    }
}

/// The frame that executes a code object at an instruction, which is a byte offset from the first;
/// `None` if it is the interpreter's own business.
#[must_use]
pub fn python_frame(code: &CodeObject, instruction: i32) -> Option<Frame> {
    if code.is_internal() {
        return None;
    }
    let line = code.line(instruction);
    let location = Location { file: code.filename.clone(), line: (line > 0).then_some(line) };
    Some(Frame::Python { qualname: code.name.clone(), location })
}

fn name(symbol: &Sym<'_>) -> String {
    let mut name = demangled(&symbol.name);
    if name.len() > MAX_NAME {
        name.truncate(name.floor_char_boundary(MAX_NAME));
        name.push('…');
    }
    name
}

/// What the source calls it. Only names that say that they are mangled are taken apart: those of C
/// can be encodings of types.
fn demangled(name: &str) -> String {
    let starts = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
    if !starts(&["_Z", "__Z", "_R"]) {
        return name.to_owned();
    }
    if let Ok(rust) = rustc_demangle::try_demangle(name) {
        return format!("{rust:#}");
    }
    let cpp = cpp_demangle::Symbol::new(name).ok().and_then(|symbol| symbol.demangle().ok());
    cpp.unwrap_or_else(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use object::{Object as _, ObjectSymbol as _};

    use super::*;

    #[test]
    fn names_of_c_are_not_taken_apart() {
        for name in ["h", "i", "f", "St", "a", "ZN3fooE", "main", "_Zebra", "_Reset", ""] {
            assert_eq!(demangled(name), name);
        }
        assert_eq!(demangled("_Znwm"), "operator new(unsigned long)");
        assert_eq!(demangled("_ZN4core3fmt5Write9write_fmt17h0123456789abcdefE"), {
            "core::fmt::Write::write_fmt"
        });
        assert_eq!(demangled("_RNvC6_123foo3bar"), "123foo::bar");
    }

    #[test]
    fn resolves_a_function_of_this_program() {
        let path = std::env::current_exe().unwrap();
        let data = std::fs::read(&path).unwrap();
        let elf: object::File<'_> = object::File::parse(&*data).unwrap();
        let main = elf.symbols().find(|symbol| symbol.name() == Ok("main")).unwrap();
        let names = Resolver::default().names(&path, &[main.address() + 1, 1]);
        assert_eq!(names.get(&(main.address() + 1)).map(String::as_str), Some("main"));
        assert_eq!(names.get(&1), None);
    }
}
