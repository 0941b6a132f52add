//! Which class the pages of a mapping belong to.

use memtrace_abi::mapping::Range;

use crate::{
    process::{
        mappings::{Kind, Mapping},
        memory::PAGE_BYTES,
        residency::{Residency, Resident},
    },
    profile::Measured,
};

/// The largest guard below a thread's stack that is taken for one. glibc's is a page unless the
/// program asks for more.
const MAX_GUARD: u64 = 1 << 20;
/// Heaps of glibc's arenas begin at multiples of this (`HEAP_MAX_SIZE` in malloc/arena.c); an
/// unused end of the one before is no guard.
const ARENA_ALIGNMENT: u64 = 64 << 20;

/// Resident bytes by class; live memory is not known here. `count` tells how many bytes of a range
/// are resident, `segment_end` where the segment of a program or library ends that is mapped, and
/// `stack_end` where the stack of a thread ends that a mapping begins with.
pub(super) fn measure(
    residency: &Residency,
    count: impl Fn(Range) -> u64,
    segment_end: impl Fn(&Mapping) -> Option<u64>,
    stack_end: impl Fn(Range) -> Option<u64>,
) -> Measured {
    let mut measured = Measured { resident: residency.total.resident, ..Measured::default() };
    let mut previous: Option<&Resident> = None;
    for resident in &residency.mappings {
        let below =
            previous.filter(|below| below.mapping.range.end == resident.mapping.range.start);
        let others = resident.bytes.saturating_sub(resident.anonymous);
        *held(&mut measured, resident) += others;
        let stack = stack_bytes(residency, below, resident, (&count, &stack_end));
        let end = below.filter(|below| is_image(&below.mapping));
        let end = end.and_then(|below| segment_end(&below.mapping));
        let data = end.map_or(0, |end| zeroed_data(resident, end, &count));
        let data = data.min(resident.anonymous - stack);
        measured.stacks += stack;
        measured.data += data;
        *private(&mut measured, resident) += resident.anonymous - stack - data;
        previous = Some(resident);
    }
    measured
}

/// The loader puts zeroed data right behind the data in the file, up to the end of their segment.
/// Other memory may have come to lie above it, in the same mapping.
fn zeroed_data(resident: &Resident, end: u64, count: impl Fn(Range) -> u64) -> u64 {
    let Range { start, end: mapping_end } = resident.mapping.range;
    match end {
        _ if !is_plain(&resident.mapping) || end <= start => 0,
        _ if end >= mapping_end => resident.anonymous,
        _ => count(Range { start, end: end.next_multiple_of(PAGE_BYTES) }),
    }
}

/// Where pages count that a file or shared memory holds.
fn held<'a>(measured: &'a mut Measured, resident: &Resident) -> &'a mut u64 {
    match resident.mapping.kind() {
        _ if resident.is_shared_memory => &mut measured.shared,
        Kind::File => &mut measured.file,
        _ => &mut measured.other,
    }
}

/// Where pages count that nothing else holds.
fn private<'a>(measured: &'a mut Measured, resident: &Resident) -> &'a mut u64 {
    match resident.mapping.kind() {
        Kind::Vdso | Kind::Special => &mut measured.other,
        Kind::File | Kind::SharedMemory => &mut measured.data,
        _ => &mut measured.heap,
    }
}

/// Whether it is a part of a program or library as the loader maps it.
fn is_image(mapping: &Mapping) -> bool {
    mapping.kind() == Kind::File && !mapping.permissions.is_shared()
}

/// Private memory for data, without a name.
fn is_plain(mapping: &Mapping) -> bool {
    let permissions = mapping.permissions;
    mapping.kind() == Kind::Anonymous
        && mapping.path.as_os_str().is_empty()
        && permissions.is_readable()
        && permissions.is_writable()
        && !permissions.is_executable()
        && !permissions.is_shared()
}

/// The part of the anonymous pages that is a stack. Linux does not tell which mappings are stacks
/// of threads: glibc puts a guard that nobody may touch below them (nptl/allocatestack.c), and
/// since Linux 6.7 they are known not to have huge pages. From 2.42 on glibc puts the guard within the
/// mapping where it can, and those of several threads are one. Above the stacks of musl, and of a
/// program that brings the memory for them, may lie other memory in the same mapping.
fn stack_bytes(
    residency: &Residency,
    below: Option<&Resident>,
    resident: &Resident,
    (count, stack_end): (impl Fn(Range) -> u64, impl Fn(Range) -> Option<u64>),
) -> u64 {
    let mapping = &resident.mapping;
    if mapping.kind() == Kind::Stack {
        return resident.anonymous;
    }
    let size = mapping.range.end - mapping.range.start;
    let has_guard = below.is_some_and(|below| is_guard(&below.mapping))
        && !mapping.range.start.is_multiple_of(ARENA_ALIGNMENT);
    let fits = size <= residency.stack_limit;
    match (is_plain(mapping), has_guard, resident.never_huge) {
        (true, _, true) if has_guard || resident.guarded => resident.anonymous,
        (true, false, true) if fits => resident.anonymous,
        (true, true, false) => {
            let Range { start, end } = mapping.range;
            // Its thread's data may be swapped out.
            match stack_end(mapping.range).or(fits.then_some(end)) {
                Some(top) if top < end => count(Range { start, end: top }).min(resident.anonymous),
                Some(_) => resident.anonymous,
                None => 0,
            }
        }
        _ => 0,
    }
}

fn is_guard(mapping: &Mapping) -> bool {
    let permissions = mapping.permissions;
    mapping.kind() == Kind::Anonymous
        && !(permissions.is_readable() || permissions.is_writable() || permissions.is_executable())
        && mapping.range.end - mapping.range.start <= MAX_GUARD
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::mappings::Mappings;

    /// Lines of `/proc/PID/maps`, `#nh` behind those without huge pages, each with its `Rss` and
    /// `Anonymous` in KiB. 5 KiB of the low end of a mapping are resident.
    fn measure_lines(lines: &[(&str, u64, u64)]) -> Measured {
        measure_below(lines, None)
    }

    /// The same where the stack that a mapping begins with is known to end.
    fn measure_below(lines: &[(&str, u64, u64)], stack_end: Option<u64>) -> Measured {
        let mappings = lines.iter().map(|(line, bytes, anonymous)| {
            let (text, flags) = line.split_once('#').unwrap_or((line, ""));
            let mapping = Mappings::parse(text.as_bytes()).list.remove(0);
            let is_shared_memory = mapping.kind() == Kind::SharedMemory;
            let (bytes, anonymous) = (bytes << 10, anonymous << 10);
            let [never_huge, guarded] = ["nh", "gu"].map(|flag| flags.contains(flag));
            Resident {
                mapping,
                bytes,
                anonymous,
                swapped: 0,
                huge: 0,
                transparent: 0,
                never_huge,
                guarded,
                is_shared_memory,
            }
        });
        let residency = Residency {
            mappings: mappings.collect(),
            stack_limit: 8 << 20,
            ..Residency::default()
        };
        measure(&residency, |_| 5 << 10, |_| Some(0x2_4000), |_| stack_end)
    }

    #[test]
    fn a_class_is_known_by_the_mapping_and_its_neighbours() {
        let measured = measure_lines(&[
            ("10000-20000 r-xp 0 fe:00 7 /bin/x", 64, 0),
            ("20000-21000 rw-p 0 fe:00 7 /bin/x", 4, 4),
            ("21000-31000 rw-p 0 00:00 0 ", 60, 60),
            ("40000-50000 rw-p 0 00:00 0 [heap]", 30, 30),
            ("60000-61000 ---p 0 00:00 0 ", 0, 0),
            ("61000-71000 rw-p 0 00:00 0 ", 12, 12),
            ("80000-90000 rw-s 0 00:01 9 /memfd:m (deleted)", 20, 0),
            ("90000-a0000 rw-p 0 00:00 0 ", 50, 50),
            ("7ff000-800000 rw-p 0 00:00 0 [stack]", 3, 3),
            ("801000-802000 r-xp 0 00:00 0 [vdso]", 2, 0),
        ]);
        let kib = |bytes: u64| bytes >> 10;
        // Of what lies behind the data of the file, 5 KiB are before the end of the segment.
        assert_eq!((kib(measured.file), kib(measured.data)), (64, 9));
        assert_eq!((kib(measured.heap), kib(measured.stacks)), (135, 15));
        assert_eq!((kib(measured.shared), kib(measured.other)), (20, 2));
    }

    #[test]
    fn the_unused_end_of_an_arena_is_no_guard() {
        let measured = measure_lines(&[
            ("7f0003fff000-7f0004000000 ---p 0 00:00 0 ", 0, 0),
            ("7f0004000000-7f0004100000 rw-p 0 00:00 0 ", 100, 100),
        ]);
        assert_eq!((measured.heap >> 10, measured.stacks), (100, 0));
    }

    #[test]
    fn of_memory_above_a_stack_only_the_lowest_part_is_looked_at() {
        let guard = ("7f0000fff000-7f0001000000 ---p 0 00:00 0 ", 0, 0);
        let small = ("7f0001000000-7f0001700000 rw-p 0 00:00 0 ", 100, 100);
        let large = ("7f0001000000-7f0011000000 rw-p 0 00:00 0 ", 100, 100);
        let cases = [
            (small, Some(0x7f00_0110_0000), 5),
            (small, Some(0x7f00_0170_0000), 100),
            (small, None, 100),
            (large, Some(0x7f00_0110_0000), 5),
            (large, None, 0),
        ];
        for (line, end, stack) in cases {
            let measured = measure_below(&[guard, line], end);
            assert_eq!((measured.heap >> 10, measured.stacks >> 10), (100 - stack, stack));
        }
    }

    #[test]
    fn large_memory_without_huge_pages_is_no_stack() {
        let [stack, large] = ["7f0000000000-7f0000100000", "7f1000000000-7f1010000000"];
        let [stack, large] = [stack, large].map(|range| format!("{range} rw-p 0 00:00 0 "));
        let measured = measure_lines(&[(&stack, 7, 7), (&large, 100, 100)]);
        assert_eq!((measured.heap >> 10, measured.stacks), (107, 0));
        let [stack, large] = [stack, large].map(|line| format!("{line}#nh"));
        let measured = measure_lines(&[(&stack, 7, 7), (&large, 100, 100)]);
        assert_eq!((measured.heap >> 10, measured.stacks >> 10), (100, 7));
    }

    #[test]
    fn stacks_of_many_threads_with_guards_in_between_are_one_mapping() {
        let large = |flags| format!("7f1000000000-7f1010000000 rw-p 0 00:00 0 #{flags}");
        for (flags, stacks) in [("gu nh", 100), ("nh", 0), ("gu", 0)] {
            let measured = measure_lines(&[(&large(flags), 100, 100)]);
            assert_eq!((measured.heap >> 10, measured.stacks >> 10), (100 - stacks, stacks));
        }
    }
}
