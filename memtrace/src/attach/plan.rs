//! The probe plan of a file, as data: which programs to attach at which offsets. Refuses to know
//! how to attach and to whom.

use super::{
    allocators::{self, LIBRARIES_CHANGED, Named},
    site::{self, Function, Site},
    symbols::{Kind, Symbol, Symbols},
};
use anyhow::{Context as _, Result, ensure};
use memtrace_abi::probe::Meaning;
use std::fmt;

/// Symbols of interest in one file; more than this is no allocator that a linker has made.
const MAX_SYMBOLS: usize = 256;

/// What the caller numbers a file's part of the plan with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numbers {
    /// The file.
    pub object: u32,
    /// The first probed function; the others follow on.
    pub first_function: u16,
}

/// What runs at a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Program {
    /// Memory is asked for: the arguments are in their registers.
    AllocationEnter,
    /// The answer is in. Attached at the same offset: the kernel finds the return address there.
    AllocationReturn,
    /// Memory is given back.
    Release,
    /// The dynamic linker has changed the list of loaded libraries.
    LibrariesChanged,
}

/// A program at an offset of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The file's number.
    pub object: u32,
    /// What to run.
    pub program: Program,
    /// Where.
    pub site: Site,
    /// The function's number, the same for its entry and its return.
    pub function: u16,
}

/// A function that cannot be probed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Symbol name.
    pub function: &'static str,
    /// What is in the way, as a sentence about the function.
    pub reason: &'static str,
}

/// The part of the plan that one file stands for; empty for most files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// In the order to attach in: releases before allocations, returns before entries.
    pub probes: Vec<Probe>,
    /// Functions of the allocator that go unseen.
    pub skipped: Vec<Skipped>,
}

impl Plan {
    /// What to probe in an ELF file for x86-64, given its bytes.
    ///
    /// Fails if the symbols cannot be read and if the function numbers run out.
    pub fn of(bytes: &[u8], numbers: Numbers) -> Result<Self> {
        let symbols = Symbols::read(bytes)?;
        let exports = known_exports(&symbols)?;
        let mut plan = Self::default();
        let wanted = wanted(&symbols, &exports)?;
        for Wanted { name, meaning, symbol, .. } in &wanted {
            if releases_by_another(&symbols, symbol, *meaning, &wanted) {
                continue;
            }
            match function(&symbols, symbol, (name, *meaning)).and_then(|f| site::pick(&f)) {
                Ok(site) => plan.add(site, numbers)?,
                Err(reason) => plan.skip(Skipped { function: name, reason }),
            }
        }
        if is_allocator(&exports) {
            plan.skipped.extend(operator_new(&symbols, &exports, &wanted));
        } else if wanted.len() <= 1
            && let Some(function) = allocators::trace(bytes)
        {
            plan.skip(Skipped { function, reason: "the symbols of this allocator were stripped" });
        }
        Ok(plan)
    }

    /// How many functions are probed: what the caller's next first number grows by.
    #[must_use]
    pub fn function_count(&self) -> usize {
        self.entries().count()
    }

    /// How cheap the probes of allocator functions are.
    #[must_use]
    pub fn speed(&self) -> Speed {
        let is_allocator = |probe: &&Probe| probe.program != Program::LibrariesChanged;
        let (slow, fast): (Vec<_>, Vec<_>) =
            self.entries().filter(is_allocator).partition(|probe| probe.site.slow);
        Speed { fast: fast.len(), slow: slow.iter().map(|probe| probe.site.function).collect() }
    }

    fn entries(&self) -> impl Iterator<Item = &Probe> {
        self.probes.iter().filter(|probe| probe.program != Program::AllocationReturn)
    }

    /// Adds the probes of a function, unless another name has brought them in.
    fn add(&mut self, site: Site, numbers: Numbers) -> Result<()> {
        if self.probes.iter().any(|probe| probe.site.entry == site.entry) {
            return Ok(());
        }
        let function = u16::try_from(self.function_count())
            .ok()
            .and_then(|count| numbers.first_function.checked_add(count))
            .with_context(|| format!("number the function {}: none left", site.function))?;
        let Numbers { object, .. } = numbers;
        self.probes.extend(programs(site.meaning).iter().map(|program| Probe {
            object,
            program: *program,
            site: site.clone(),
            function,
        }));
        Ok(())
    }

    /// Notes a function once, though both symbol tables may name it.
    fn skip(&mut self, skipped: Skipped) {
        if !self.skipped.contains(&skipped) {
            self.skipped.push(skipped);
        }
    }
}

/// How many allocator functions are probed at an instruction that the kernel emulates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Speed {
    /// Functions at half a microsecond per call.
    pub fast: usize,
    /// Names of the functions at ten microseconds per call.
    pub slow: Vec<&'static str>,
}

impl fmt::Display for Speed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} fast probe sites, {} slow", self.fast, self.slow.len())?;
        if self.slow.is_empty() { Ok(()) } else { write!(out, " ({})", self.slow.join(", ")) }
    }
}

impl fmt::Display for Skipped {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} is not traced: {}", self.function, self.reason)
    }
}

type Export<'data> = (&'static str, Symbol<'data>);

/// A function to probe.
struct Wanted<'data> {
    name: &'static str,
    meaning: Meaning,
    rank: usize,
    symbol: Symbol<'data>,
}

impl<'data> Wanted<'data> {
    fn new(named: Named<'_>, symbol: Symbol<'data>) -> Self {
        Self { name: named.function, meaning: named.meaning, rank: named.rank, symbol }
    }
}

fn known_exports<'data>(symbols: &Symbols<'data>) -> Result<Vec<Export<'data>>> {
    let known = |symbol: Symbol<'data>| {
        let plain = allocators::named(symbol.name).filter(|named| named.prefix.is_empty());
        let name = plain.map(|named| named.function).or_else(|| allocators::other(symbol.name));
        Some((name?, symbol))
    };
    let exports: Vec<_> = symbols.exports().filter_map(known).take(MAX_SYMBOLS + 1).collect();
    ensure!(exports.len() <= MAX_SYMBOLS, "too many symbols carry names of allocator functions");
    Ok(exports)
}

fn is_allocator(exports: &[Export<'_>]) -> bool {
    allocators::is_allocator(|name| exports.iter().any(|(export, _)| *export == name))
}

/// The functions to look for in a file, in the order to attach in.
fn wanted<'data>(
    symbols: &Symbols<'data>,
    exports: &[Export<'data>],
) -> Result<Vec<Wanted<'data>>> {
    let libraries_changed = exports.iter().filter(|(name, _)| *name == LIBRARIES_CHANGED);
    let libraries_changed = libraries_changed.map(|(name, symbol)| Wanted {
        name,
        meaning: Meaning::LibrariesChanged,
        rank: 0,
        symbol: *symbol,
    });
    let plain = exports
        .iter()
        .filter(|_| is_allocator(exports))
        .filter_map(|(_, symbol)| Some(Wanted::new(allocators::named(symbol.name)?, *symbol)));
    let mut functions: Vec<_> = plain.chain(prefixed(symbols)?).collect();
    functions.sort_by_key(|wanted| wanted.rank);
    Ok(libraries_changed.chain(functions).collect())
}

/// The functions of allocators that are linked into something, whoever may see their symbols.
fn prefixed<'data>(symbols: &Symbols<'data>) -> Result<Vec<Wanted<'data>>> {
    let named = |symbol: Symbol<'data>| {
        let named = allocators::named(symbol.name).filter(|named| !named.prefix.is_empty())?;
        Some((named, symbol))
    };
    let found: Vec<_> = symbols.all().filter_map(named).take(MAX_SYMBOLS + 1).collect();
    ensure!(found.len() <= MAX_SYMBOLS, "too many symbols carry names of allocator functions");
    let is_complete = |prefix: &[u8]| {
        let family = found.iter().filter(|(named, _)| named.prefix == prefix);
        allocators::is_complete(family.map(|(named, _)| named.meaning))
    };
    let complete = found.iter().filter(|(named, _)| is_complete(named.prefix));
    Ok(complete.map(|(named, symbol)| Wanted::new(*named, *symbol)).collect())
}

/// Whether a releasing function calls one that is probed itself: the block is released there.
fn releases_by_another(
    symbols: &Symbols<'_>,
    symbol: &Symbol<'_>,
    meaning: Meaning,
    others: &[Wanted<'_>],
) -> bool {
    let is_other = |target: u64| {
        let mut others = others.iter().filter(|other| other.meaning == Meaning::Free);
        target != symbol.address && others.any(|other| other.symbol.address == target)
    };
    meaning == Meaning::Free && branches(symbols, symbol).any(is_other)
}

/// Where the code of a function jumps to and what it calls.
fn branches<'data>(
    symbols: &Symbols<'data>,
    symbol: &Symbol<'data>,
) -> impl Iterator<Item = u64> + use<'data> {
    let code = symbols.code(symbol).map_or(&[][..], |code| code.bytes);
    let decoder = iced_x86::Decoder::with_ip(64, code, symbol.address, 0);
    decoder.into_iter().map(|instruction| instruction.near_branch_target()).filter(|&to| to != 0)
}

fn function<'data>(
    symbols: &Symbols<'data>,
    symbol: &Symbol<'data>,
    (name, meaning): (&'static str, Meaning),
) -> Result<Function<'data>, &'static str> {
    match symbol.kind {
        Kind::Function => {}
        Kind::Resolver => return Err("its address is chosen when the file is loaded (IFUNC)"),
        Kind::Other => return Err("it is not a function"),
    }
    let code = symbols.code(symbol).ok_or("it lies outside the code in the file")?;
    let entry = symbol.address;
    Ok(Function { name, meaning, entry, file_offset: code.file_offset, code: code.bytes })
}

/// The `operator new` of an allocator, unless it takes its memory from one of the probed functions,
/// as that of the C++ library does when it is linked statically with them.
fn operator_new(
    symbols: &Symbols<'_>,
    exports: &[Export<'_>],
    probed: &[Wanted<'_>],
) -> Option<Skipped> {
    let (_, operator) = exports.iter().find(|(name, _)| *name == allocators::OPERATOR_NEW)?;
    symbols.code(operator)?;
    let is_probed = |target| probed.iter().any(|wanted| wanted.symbol.address == target);
    (!branches(symbols, operator).any(is_probed)).then_some(Skipped {
        function: "operator new",
        reason: "it is the allocator's own, and exceptions could not pass the probe of its return",
    })
}

/// The programs of a function. The return is attached first, so that every call that is seen to
/// enter is seen to return.
const fn programs(meaning: Meaning) -> &'static [Program] {
    match meaning {
        Meaning::Free => &[Program::Release],
        Meaning::LibrariesChanged => &[Program::LibrariesChanged],
        _ => &[Program::AllocationReturn, Program::AllocationEnter],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attach::stepping::{Stepping, stepping};

    const NUMBERS: Numbers = Numbers { object: 7, first_function: 10 };

    /// The bytes of the first file of this process whose name starts like this.
    fn mapped(prefix: &str) -> Vec<u8> {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let paths = maps.lines().filter_map(|line| line.split_whitespace().nth(5));
        let is_wanted = |path: &&str| path.rsplit('/').next().unwrap().starts_with(prefix);
        std::fs::read(paths.into_iter().find(is_wanted).unwrap()).unwrap()
    }

    #[test]
    fn every_allocator_function_of_this_libc_is_probed_once() {
        let plan = Plan::of(&mapped("libc"), NUMBERS).unwrap();
        assert_eq!(plan.skipped, []);
        let names = ["free", "malloc", "calloc", "realloc", "posix_memalign", "aligned_alloc"];
        for name in &names {
            let entries = plan.entries().filter(|probe| probe.site.function == *name);
            assert_eq!(entries.count(), 1, "{name}");
        }
        let numbers: Vec<_> = plan.entries().map(|probe| usize::from(probe.function)).collect();
        assert_eq!(numbers, (10..10 + plan.function_count()).collect::<Vec<_>>());
    }

    #[test]
    fn sites_of_this_libc_are_emulated_instructions_within_its_code() {
        let bytes = mapped("libc");
        let plan = Plan::of(&bytes, NUMBERS).unwrap();
        let code = Symbols::read(&bytes).unwrap().executable_range().unwrap();
        for Probe { site, .. } in &plan.probes {
            assert!(code.contains(site.address), "{site:?}");
            let probed = &bytes[site.file_offset as usize..][..15];
            let mut decoder = iced_x86::Decoder::new(64, probed, 0);
            let length = decoder.decode().len();
            let expected = if site.slow { Stepping::Copied } else { Stepping::Emulated };
            assert_eq!(stepping(&probed[..length]), expected, "{site:?}");
        }
        assert!(plan.speed().fast >= 8, "{}", plan.speed());
    }

    #[test]
    fn an_allocation_has_two_programs_at_one_offset() {
        let plan = Plan::of(&mapped("libc"), NUMBERS).unwrap();
        let of = |name| plan.probes.iter().filter(move |probe| probe.site.function == name);
        let programs: Vec<_> = of("malloc").map(|probe| probe.program).collect();
        assert_eq!(programs, [Program::AllocationReturn, Program::AllocationEnter]);
        let offsets: Vec<_> = of("malloc").map(|probe| probe.site.file_offset).collect();
        assert_eq!(offsets[0], offsets[1]);
        assert_eq!(of("free").map(|probe| probe.program).collect::<Vec<_>>(), [Program::Release]);
    }

    #[test]
    fn the_dynamic_linker_is_no_allocator_but_tells_of_libraries() {
        let plan = Plan::of(&mapped("ld-"), NUMBERS).unwrap();
        let programs: Vec<_> = plan.probes.iter().map(|probe| probe.program).collect();
        assert_eq!(programs, [Program::LibrariesChanged]);
        assert_eq!(plan.speed(), Speed::default());
    }

    #[test]
    fn a_file_without_an_allocator_has_an_empty_plan() {
        assert_eq!(Plan::of(&mapped("libgcc_s"), NUMBERS).unwrap(), Plan::default());
    }

    #[test]
    fn damaged_files_are_errors_or_plans_but_never_panics() {
        let bytes = mapped("libc");
        assert!(Plan::of(b"no ELF file", NUMBERS).is_err());
        assert!(Plan::of(&bytes[..bytes.len() / 2], NUMBERS).is_err());
        let headers = 0..1024;
        let section_headers = bytes.len() - 4096..bytes.len();
        let mut damaged = bytes;
        let mut plans = 0;
        for index in headers.chain(section_headers).step_by(11) {
            damaged[index] ^= 0xff;
            plans += usize::from(Plan::of(&damaged, NUMBERS).is_ok());
            damaged[index] ^= 0xff;
        }
        assert!(plans > 0, "the damage never reached the plan");
    }

    #[test]
    fn running_out_of_function_numbers_is_an_error() {
        let numbers = Numbers { first_function: u16::MAX - 5, ..NUMBERS };
        let error = Plan::of(&mapped("libc"), numbers).unwrap_err();
        assert!(error.to_string().starts_with("number the function"), "{error}");
    }

    #[test]
    fn slow_sites_are_named() {
        let speed = Speed { fast: 8, slow: vec!["free", "realloc"] };
        assert_eq!(speed.to_string(), "8 fast probe sites, 2 slow (free, realloc)");
        assert_eq!(Speed { fast: 10, slow: vec![] }.to_string(), "10 fast probe sites, 0 slow");
    }
}
