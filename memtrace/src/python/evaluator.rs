//! Where the interpreter loop is: `_PyEval_EvalFrameDefault` and the parts that compilers split
//! off it, which may hold nearly all of the loop.
//!
//! The handlers of 3.14's tail-call interpreter (`_TAIL_CALL_*`) are left out on purpose: one of
//! them always runs above the native frame of `_PyEval_EvalFrameDefault`, so counting both would
//! count each run of the loop twice.

use std::cmp::Reverse;

use iced_x86::{Decoder, DecoderOptions, FlowControl};
use memtrace_abi::{mapping::Range, python::MAX_EVALUATORS};

use super::elf::Elf;

const NAME: &[u8] = b"_PyEval_EvalFrameDefault";
/// Code is searched for jumps up to this many bytes; the largest known has 84 kB.
const MAX_SIZE: u64 = 512 << 10;
/// Functions that the loop jumps to and that are looked into as possible parts of it.
const MAX_CANDIDATES: usize = 64;
/// Parts that are looked into; the largest of them are kept.
const MAX_PARTS: usize = 8;

/// Ranges of the loop, at most [`MAX_EVALUATORS`], the function itself first. Empty if there is
/// no such symbol.
pub fn find(elf: &Elf<'_>) -> Vec<Range> {
    let functions = elf.functions();
    let mut parts = named(elf, &functions);
    let Some(&home) = parts.first() else { return parts };
    let mut index = 0;
    while let Some(&part) = parts.get(index) {
        for found in split_off(elf, &functions, home, part) {
            if parts.len() < MAX_PARTS && !parts.contains(&found) {
                parts.push(found);
            }
        }
        index += 1;
    }
    parts[1..].sort_by_key(|part| Reverse(part.end - part.start));
    parts.truncate(MAX_EVALUATORS);
    parts
}

/// The function and the parts that have symbols of their own, the largest first.
fn named(elf: &Elf<'_>, functions: &[Range]) -> Vec<Range> {
    let mut parts: Vec<(bool, Range)> = elf
        .symbols()
        .filter_map(|(name, range)| Some((name.strip_prefix(NAME)?, range)))
        .filter(|(suffix, _)| suffix.is_empty() || suffix.starts_with(b"."))
        .map(|(suffix, range)| (!suffix.is_empty(), whole(functions, range)))
        .filter(|(_, range)| range.start < range.end)
        .collect();
    parts.sort_by_key(|(part, range)| (*part, Reverse(range.end - range.start), range.start));
    let mut ranges: Vec<Range> = parts.into_iter().map(|(_, range)| range).collect();
    ranges.dedup();
    ranges.truncate(MAX_PARTS);
    ranges
}

/// What the unwind table says a function covers, which symbols without a size do not.
fn whole(functions: &[Range], symbol: Range) -> Range {
    covering(functions, symbol.start)
        .filter(|function| function.start == symbol.start)
        .unwrap_or(symbol)
}

/// Functions of the unwind table that are really parts of the loop that starts at `home`: code
/// jumps into the middle of them, or they jump back into its middle.
fn split_off(elf: &Elf<'_>, functions: &[Range], home: Range, part: Range) -> Vec<Range> {
    let mut targets = jumps(elf, part);
    targets.retain(|target| !part.contains(*target));
    targets.sort_unstable();
    let (mut entered, inside): (Vec<_>, Vec<_>) = targets
        .into_iter()
        .filter_map(|target| Some((target, covering(functions, target)?)))
        .partition(|(target, other)| *target == other.start);
    entered.dedup();
    entered.truncate(MAX_CANDIDATES);
    entered.retain(|(_, other)| returns(elf, *other, home));
    inside.into_iter().chain(entered).map(|(_, other)| other).collect()
}

fn returns(elf: &Elf<'_>, part: Range, home: Range) -> bool {
    jumps(elf, part).into_iter().any(|target| home.start < target && target < home.end)
}

fn covering(functions: &[Range], address: u64) -> Option<Range> {
    let behind = functions.partition_point(|function| function.start <= address);
    let function = *functions.get(behind.checked_sub(1)?)?;
    function.contains(address).then_some(function)
}

/// Targets of the direct jumps in the range.
fn jumps(elf: &Elf<'_>, range: Range) -> Vec<u64> {
    let end = range.end.min(range.start.saturating_add(MAX_SIZE));
    let code = elf.read(Range { start: range.start, end }).unwrap_or_default();
    Decoder::with_ip(64, code, range.start, DecoderOptions::NONE)
        .iter()
        .filter(|instruction| {
            matches!(
                instruction.flow_control(),
                FlowControl::UnconditionalBranch | FlowControl::ConditionalBranch
            )
        })
        .map(|instruction| instruction.near_branch_target())
        .filter(|target| *target != 0)
        .collect()
}
