//! Which functions of a file are to be probed, by the names of its symbols. Refuses to know where
//! in them.

use anyhow::{Result, ensure};
use memtrace_abi::probe::Meaning;

use super::{
    allocators::{self, LIBRARIES_CHANGED, Named},
    plan::Skipped,
    symbols::{Symbol, Symbols},
};

/// Symbols of interest in one file; more than this is no allocator that a linker has made.
const MAX_SYMBOLS: usize = 256;

/// An exported symbol by its known name.
pub(super) type Export<'data> = (&'static str, Symbol<'data>);

/// A function to probe.
pub(super) struct Wanted<'data> {
    pub(super) name: &'static str,
    pub(super) meaning: Meaning,
    rank: usize,
    pub(super) symbol: Symbol<'data>,
}

impl<'data> Wanted<'data> {
    fn new(named: Named<'_>, symbol: Symbol<'data>) -> Self {
        Self { name: named.function, meaning: named.meaning, rank: named.rank, symbol }
    }
}

/// Exported symbols that mean something to memtrace.
pub(super) fn known_exports<'data>(symbols: &Symbols<'data>) -> Result<Vec<Export<'data>>> {
    let known = |symbol: Symbol<'data>| {
        let plain = allocators::named(symbol.name).filter(|named| named.prefix.is_empty());
        let name = plain.map(|named| named.function).or_else(|| allocators::other(symbol.name));
        Some((name?, symbol))
    };
    let exports: Vec<_> = symbols.exports().filter_map(known).take(MAX_SYMBOLS + 1).collect();
    ensure!(exports.len() <= MAX_SYMBOLS, "too many symbols carry names of allocator functions");
    Ok(exports)
}

/// Whether they are those of an allocator.
pub(super) fn is_allocator(exports: &[Export<'_>]) -> bool {
    allocators::is_allocator(|name| exports.iter().any(|(export, _)| *export == name))
}

/// The functions to look for in a file, in the order to attach in.
pub(super) fn wanted<'data>(
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
pub(super) fn releases_by_another(
    symbols: &Symbols<'_>,
    symbol: &Symbol<'_>,
    meaning: Meaning,
    others: &[Wanted<'_>],
) -> bool {
    let is_other = |target: u64| {
        let mut others = others.iter().filter(|other| other.meaning.is_release());
        target != symbol.address && others.any(|other| other.symbol.address == target)
    };
    meaning.is_release() && branches(symbols, symbol).any(is_other)
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

/// The `operator new` of an allocator, unless it takes its memory from one of the probed functions,
/// as that of the C++ library does when it is linked statically with them.
pub(super) fn operator_new(
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
