//! `mp_`, the settings and counts of the whole allocator (`struct malloc_par`, malloc/malloc.c).

use super::{
    Layout, Refusal, Version,
    memory::{Memory, patiently, read_words},
};

/// Default of `trim_threshold`, `top_pad` and `mmap_threshold`.
pub(super) const TRIM_THRESHOLD: u64 = 128 << 10;
/// Default of `n_mmaps_max`.
const MAX_MAPPED: u64 = 65536;
/// Default of `arena_test`.
const ARENA_TEST: u64 = 8;
/// Bins of a thread's cache for chunks of one size each.
const CACHE_BINS: u64 = 64;
/// No default of `tcache_count` was larger: 7, since 2.43 16.
const MAX_CACHE_COUNT: u64 = 127;

/// Offsets in `struct malloc_par` that differ between releases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fields {
    /// The page size asked for by `glibc.malloc.hugetlb=1`, from 2.35 on; `hp_pagesize` follows.
    thp: Option<u64>,
    /// `n_mmaps`, an int; `n_mmaps_max`, `max_n_mmaps` and `no_dyn_threshold` follow.
    mapped_count: u64,
    /// `mmapped_mem`; `max_mmapped_mem` and `sbrk_base` follow, then those of the thread caches:
    /// bins, largest size, count of each bin, limit.
    mapped_bytes: u64,
    pub(super) size: u64,
}

impl Fields {
    pub(super) const fn of(version: Version) -> Self {
        match version.minor {
            ..35 => Self { thp: None, mapped_count: 40, mapped_bytes: 56, size: 112 },
            35..43 => Self { thp: Some(40), mapped_count: 60, mapped_bytes: 80, size: 136 },
            // `thp_mode` comes before `thp_pagesize`.
            _ => Self { thp: Some(48), mapped_count: 68, mapped_bytes: 88, size: 144 },
        }
    }

    /// Whether these are the values that the C library starts with.
    pub(super) fn is_initial(self, words: &[u64]) -> bool {
        let values = Values { words, fields: self };
        values.words[..5] == [TRIM_THRESHOLD, TRIM_THRESHOLD, TRIM_THRESHOLD, ARENA_TEST, 0]
            && values.int(0) == 0
            && values.int(1) == MAX_MAPPED
            && (values.int(2), values.int(3)) == (0, 0)
            && (values.after(0), values.after(1), values.after(2)) == (0, 0, 0)
            && values.after(3) == CACHE_BINS
            && (1..=MAX_CACHE_COUNT).contains(&values.after(5))
    }
}

/// The words of an `mp_`.
struct Values<'w> {
    words: &'w [u64],
    fields: Fields,
}

impl Values<'_> {
    fn word(&self, offset: u64) -> u64 {
        self.words.get(offset as usize / 8).copied().unwrap_or_default()
    }

    /// One of the ints from `n_mmaps` on.
    fn int(&self, index: u64) -> u64 {
        let offset = self.fields.mapped_count + 4 * index;
        self.word(offset) >> (offset % 8 * 8) & u64::from(u32::MAX)
    }

    /// One of the words from `mmapped_mem` on.
    fn after(&self, index: u64) -> u64 {
        self.word(self.fields.mapped_bytes + 8 * index)
    }
}

/// Settings and counts of an allocator. Sizes are in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parameters {
    /// Chunks of this size or more get a mapping of their own.
    pub mmap_threshold: u64,
    /// Whether the program has fixed that or another threshold, so that they do not move.
    pub fixed_thresholds: bool,
    /// Free memory at the end of the main arena that is kept.
    pub trim_threshold: u64,
    /// Most arenas, 0 for eight for each processor.
    pub arena_max: u64,
    /// The page size that `glibc.malloc.hugetlb=1` works in, or 0.
    pub thp_bytes: u64,
    /// The page size of `glibc.malloc.hugetlb=2`, or 0.
    pub huge_bytes: u64,
    /// Chunks with a mapping of their own.
    pub mapped_count: u64,
    /// What those mappings cover. glibc 2.43 forgets to count a header each time that it resizes
    /// one (`mremap_chunk`), so that this may be some multiples of 16 too large.
    pub mapped_bytes: u64,
    /// Where the main arena began to grow; 0: nowhere yet.
    pub start: u64,
    /// Most chunks in a bin of a thread's cache.
    pub cache_count: u64,
}

impl Parameters {
    pub(super) fn read(memory: &impl Memory, layout: &Layout) -> Result<Self, Refusal> {
        let words = || read_words(memory, layout.parameters, layout.fields.size as usize / 8);
        words().ok_or(Refusal::Unreadable("mp_"))?;
        patiently(memory, || Self::sane(layout, &words()?)).ok_or(Refusal::Inconsistent("mp_"))
    }

    /// What the words of an `mp_` say, if they do not contradict each other.
    fn sane(layout: &Layout, words: &[u64]) -> Option<Self> {
        let fields = layout.fields;
        let values = Values { words, fields };
        let huge = |index: u64| fields.thp.map_or(0, |thp| values.word(thp + 8 * index));
        let parameters = Self {
            trim_threshold: values.word(0),
            mmap_threshold: values.word(16),
            arena_max: values.word(32),
            thp_bytes: huge(0),
            huge_bytes: huge(1),
            mapped_count: values.int(0),
            fixed_thresholds: values.int(3) != 0,
            mapped_bytes: values.after(0),
            start: values.after(2),
            cache_count: values.after(5),
        };
        let is_power = |bytes: u64| bytes == 0 || bytes.is_power_of_two() && bytes >= 4096;
        let holds = is_power(parameters.thp_bytes)
            && is_power(parameters.huge_bytes)
            && parameters.mapped_bytes.is_multiple_of(layout.mapped_unit())
            && parameters.mapped_bytes <= values.after(1)
            && values.after(3) <= CACHE_BINS
            && u16::try_from(parameters.cache_count).is_ok();
        holds.then_some(parameters)
    }

    /// The size and alignment of the address ranges that thread arenas are made of
    /// (`heap_max_size`): 64 MiB; with huge pages four of them, in 2.35 to 2.41.
    pub(super) fn heap_bytes(&self, version: Version) -> u64 {
        match self.huge_bytes {
            huge @ 1.. if (35..42).contains(&version.minor) => huge.saturating_mul(4),
            _ => 64 << 20,
        }
    }
}
