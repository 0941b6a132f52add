//! The probe plan of a file, as data: which programs to attach at which offsets. Refuses to know
//! how to attach and to whom.

use super::{
    allocators,
    site::{self, Function, Site},
    symbols::{Kind, Symbol, Symbols},
    wanted::{Wanted, is_allocator, known_exports, operator_new, releases_by_another, wanted},
};
use anyhow::{Context as _, Result};
use memtrace_abi::probe::Meaning;
use std::fmt;

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

impl Probe {
    /// Whether so many calls go to its function that its site decides what probing costs.
    #[must_use]
    pub fn is_hot(&self) -> bool {
        matches!(self.site.function, "malloc" | "free" | "calloc" | "realloc")
    }
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
    /// Functions that are called often and whose probes the kernel must single-step.
    #[must_use]
    pub fn slow_functions(&self) -> Vec<&'static str> {
        let slow = self.probes.iter().filter(|probe| probe.site.slow && probe.is_hot());
        let mut functions: Vec<_> = slow.map(|probe| probe.site.function).collect();
        functions.sort_unstable();
        functions.dedup();
        functions
    }

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

    /// Whether allocations are probed.
    #[must_use]
    pub fn has_allocator(&self) -> bool {
        self.probes.iter().any(|probe| probe.program == Program::AllocationEnter)
    }

    /// Whether there is a `malloc` in the file: besides one of mimalloc, if it is known that the file
    /// does not use that. CPython has it from 3.13 on.
    #[must_use]
    pub fn brings_malloc(&self, is_mimalloc_unused: bool) -> bool {
        let named = |name| self.entries().filter(move |probe| probe.site.function == name);
        let has_mimalloc = named(allocators::OF_MIMALLOC).next().is_some();
        named("malloc").count() > usize::from(is_mimalloc_unused && has_mimalloc)
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

/// The programs of a function. The return is attached first, so that every call that is seen to
/// enter is seen to return.
const fn programs(meaning: Meaning) -> &'static [Program] {
    match meaning {
        Meaning::Free | Meaning::FreeOwned => &[Program::Release],
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
    fn an_unused_mimalloc_is_no_malloc_of_a_file() {
        let plan = Plan::of(&mapped("libc"), NUMBERS).unwrap();
        assert!(plan.brings_malloc(false) && plan.brings_malloc(true));
        let mut interpreter = Plan::default();
        let mut malloc =
            plan.entries().find(|probe| probe.site.function == "malloc").unwrap().clone();
        malloc.site.entry += 1;
        let mut zalloc = malloc.clone();
        zalloc.site.function = allocators::OF_MIMALLOC;
        interpreter.probes = vec![malloc.clone(), zalloc];
        assert!(interpreter.brings_malloc(false) && !interpreter.brings_malloc(true));
        interpreter.probes.push(malloc);
        assert!(interpreter.brings_malloc(true), "another one is linked in");
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
