//! Where a C library keeps its heap: glibc 2.28 to 2.43 on x86-64, as the file itself says. Bytes
//! in, facts out.
//!
//! The allocator's two variables are static and stripped libraries do not name them, but their
//! initial values lie in the file, whoever built it: `main_arena` is zero but for a pointer to
//! itself and a count of one behind it, `mp_` holds the documented defaults. Both must be there
//! once. Source: `struct malloc_state`, `struct malloc_par` and `heap_info` in malloc/malloc.c and
//! malloc/arena.c of each release.

use std::fmt;

use object::{
    Object as _, ObjectSegment as _, ObjectSymbol, RelocationFlags, SegmentFlags,
    elf::{PF_W, R_X86_64_RELATIVE},
};

use super::{Refusal, memory::PAGE, parameters, parameters::Fields};

/// The oldest known minor version.
pub const OLDEST: u8 = 28;
/// The newest known minor version.
pub const NEWEST: u8 = 43;

/// A release of glibc 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// 36 for 2.36.
    pub minor: u8,
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "2.{}", self.minor)
    }
}

/// Where a C library's allocator is and how it is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The release.
    pub version: Version,
    /// Address of `main_arena`.
    pub main_arena: u64,
    /// Address of `mp_`.
    pub parameters: u64,
    pub(super) arena: ArenaFields,
    pub(super) fields: Fields,
}

/// Offsets in `struct malloc_state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ArenaFields {
    /// The ten lists of fastbins, which 2.43 does not have.
    pub(super) fast: Option<u64>,
    pub(super) top: u64,
    pub(super) bins: u64,
    pub(super) next: u64,
    pub(super) system: u64,
    pub(super) size: u64,
}

/// Up to 2.42: mutex, flags, `have_fastchunks`, `fastbinsY[10]`, top, `last_remainder`,
/// `bins[254]`, `binmap[4]`, next, `next_free`, `attached_threads`, `system_mem`, `max_system_mem`.
const WITH_FAST: ArenaFields =
    ArenaFields { fast: Some(16), top: 96, bins: 112, next: 2160, system: 2184, size: 2200 };
/// From 2.43 on: mutex, flags, top and so on.
const WITHOUT_FAST: ArenaFields =
    ArenaFields { fast: None, top: 8, bins: 24, next: 2072, system: 2096, size: 2112 };

/// From `next` to `attached_threads`.
const ATTACHED: u64 = 16;

impl Layout {
    /// Reads the layout off the bytes of a mapped file. `None`: it is no glibc.
    pub fn find(bytes: &[u8]) -> Result<Option<Self>, Refusal> {
        let Ok(file) = object::File::parse(bytes) else { return Ok(None) };
        let Some(version) = version(&file) else {
            // Programs with glibc linked in do without the banner.
            let is_glibc = symbols(&file).any(|name| name == b"malloc_info");
            return if is_glibc { Err(Refusal::NoVersion) } else { Ok(None) };
        };
        // The dynamic loader of old releases carries the banner of its libc, but no allocator.
        let is_allocator = |name: &[u8]| name == b"malloc_info" || name == b"__libc_malloc";
        if !symbols(&file).any(is_allocator) {
            return Ok(None);
        }
        if !(OLDEST..=NEWEST).contains(&version.minor) {
            return Err(Refusal::Version(version));
        }
        let arena = if version.minor < 43 { WITH_FAST } else { WITHOUT_FAST };
        let data = Data::of(&file);
        Ok(Some(Self {
            version,
            main_arena: only(data.arenas(&file, arena)).ok_or(Refusal::Unfound("main_arena"))?,
            parameters: only(data.parameters(version)).ok_or(Refusal::Unfound("mp_"))?,
            arena,
            fields: Fields::of(version),
        }))
    }

    /// The layout in a process, where `bias` (wrapping) turns addresses into the file's.
    #[must_use]
    pub fn in_process(self, bias: u64) -> Self {
        Self {
            main_arena: self.main_arena.wrapping_sub(bias),
            parameters: self.parameters.wrapping_sub(bias),
            ..self
        }
    }

    /// Whether free lists are stored xored with the place they are stored at (safe-linking).
    pub(super) const fn hides_links(&self) -> bool {
        self.version.minor >= 32
    }

    /// Bytes of `heap_info`, padding included: 2.35 added the page size.
    pub(super) const fn heap_info(&self) -> u64 {
        if self.version.minor < 35 { 32 } else { 48 }
    }

    /// What the sum of all mappings is a multiple of: 2.43 counts 16 bytes too many each time that
    /// `mremap_chunk` resizes one.
    pub(super) const fn mapped_unit(&self) -> u64 {
        if self.version.minor < 43 { PAGE } else { 16 }
    }

    /// Bytes of a mapped chunk beyond its size and the bytes before it: 2.43 leaves its header out.
    pub(super) const fn mapped_extra(&self) -> u64 {
        if self.version.minor < 43 { 0 } else { 16 }
    }
}

fn symbols<'data>(file: &object::File<'data>) -> impl Iterator<Item = &'data [u8]> {
    file.dynamic_symbols()
        .chain(file.symbols())
        .filter(ObjectSymbol::is_definition)
        .filter_map(|symbol| symbol.name_bytes().ok())
}

/// From `GNU C Library (...) stable release version 2.36.`, which every libc holds.
fn version(file: &object::File<'_>) -> Option<Version> {
    file.segments().filter(|segment| !is_writable(segment)).find_map(|segment| {
        let bytes = segment.data().ok()?;
        let start = find(bytes, b"GNU C Library ")?;
        let banner = &bytes[start..bytes.len().min(start + 256)];
        let number = find(banner, b" release version 2.")? + b" release version 2.".len();
        let digits = banner[number..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let minor = std::str::from_utf8(&banner[number..number + digits]).ok()?.parse().ok()?;
        Some(Version { minor })
    })
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

fn is_writable(segment: &object::Segment<'_, '_>) -> bool {
    matches!(segment.flags(), SegmentFlags::Elf { p_flags } if p_flags & PF_W != 0)
}

/// The one element, if there is one and no other.
fn only<T>(mut elements: impl Iterator<Item = T>) -> Option<T> {
    let first = elements.next()?;
    elements.next().is_none().then_some(first)
}

/// The initial values of variables, by address.
struct Data<'data>(Vec<(u64, &'data [u8])>);

impl<'data> Data<'data> {
    fn of(file: &object::File<'data>) -> Self {
        let writable = file.segments().filter(is_writable);
        Self(
            writable
                .filter_map(|segment| Some((segment.address(), segment.data().ok()?)))
                .collect(),
        )
    }

    fn words(&self, address: u64, count: u64) -> Option<impl Iterator<Item = u64>> {
        let bytes = self.0.iter().find_map(|(start, bytes)| {
            let from = usize::try_from(address.checked_sub(*start)?).ok()?;
            bytes.get(from..from.checked_add(usize::try_from(count * 8).ok()?)?)
        })?;
        Some(bytes.as_chunks().0.iter().map(|word| u64::from_le_bytes(*word)))
    }

    /// Every aligned address and its word.
    fn all(&self) -> impl Iterator<Item = (u64, u64)> {
        self.0.iter().flat_map(|(start, bytes)| {
            let skipped = start.wrapping_neg() % 8;
            let words = bytes.get(skipped as usize..).unwrap_or_default().as_chunks().0;
            let addresses = (start + skipped..).step_by(8);
            addresses.zip(words.iter().map(|word| u64::from_le_bytes(*word)))
        })
    }

    /// Where `main_arena` may be. The pointer to itself is a relocation with its address, or, in
    /// the packed form (`DT_RELR`), the address in its place.
    fn arenas(&self, file: &object::File<'data>, fields: ArenaFields) -> impl Iterator<Item = u64> {
        let packed = self.all();
        let listed = file.dynamic_relocations().into_iter().flatten();
        let listed = listed.filter_map(|(place, relocation)| {
            let flags = RelocationFlags::Elf { r_type: R_X86_64_RELATIVE };
            (relocation.flags() == flags).then(|| (place, relocation.addend().cast_unsigned()))
        });
        let mut found: Vec<u64> = packed
            .chain(listed)
            .filter(|(place, target)| place.wrapping_sub(*target) == fields.next)
            .map(|(_, target)| target)
            .filter(|arena| self.is_arena(*arena, fields))
            .collect();
        found.dedup();
        found.into_iter()
    }

    fn is_arena(&self, arena: u64, fields: ArenaFields) -> bool {
        let Some(words) = self.words(arena, fields.size / 8) else { return false };
        (0..).step_by(8).zip(words).all(|(offset, word)| match offset {
            _ if offset == fields.next => true,
            _ if offset == fields.next + ATTACHED => word == 1,
            _ => word == 0,
        })
    }

    fn parameters(&self, version: Version) -> impl Iterator<Item = u64> {
        let fields = Fields::of(version);
        self.all()
            .filter(|(_, word)| *word == parameters::TRIM_THRESHOLD)
            .filter(move |(address, _)| {
                let words = self.words(*address, fields.size / 8);
                words.is_some_and(|words| fields.is_initial(&words.collect::<Vec<_>>()))
            })
            .map(|(address, _)| address)
    }
}
