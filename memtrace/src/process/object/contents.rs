//! The bytes of a file, read piece by piece when a parser asks for them. Never mapped: a file that
//! is cut while it is read gives an error, not a signal.

use std::{fs::File, ops::Range, os::unix::fs::FileExt as _, sync::Arc};

use object::read::{ReadCache, ReadCacheOps, ReadRef};

/// All that may be read through one [`Contents`]: a hostile file asks for the same bytes many times.
const LIMIT: u64 = 512 << 20;

/// The bytes of an object; `&Contents` is what the parsers of the `object` crate read from.
///
/// Reads may block as long as the file's device does. What was read stays in memory until the end.
#[derive(Debug)]
pub struct Contents {
    source: Source,
    /// Bytes.
    limit: u64,
}

#[derive(Debug)]
enum Source {
    File(ReadCache<Pieces>),
    Memory(Arc<[u8]>),
}

/// Reads at positions of its own: the file may be shared with other threads.
#[derive(Debug)]
struct Pieces {
    file: Arc<File>,
    position: u64,
    budget: u64,
}

impl Contents {
    pub(super) fn of_file(file: Arc<File>) -> Self {
        Self::of_file_within(file, LIMIT)
    }

    fn of_file_within(file: Arc<File>, limit: u64) -> Self {
        let pieces = Pieces { file, position: 0, budget: limit };
        Self { source: Source::File(ReadCache::new(pieces)), limit }
    }

    /// All bytes at once; `None` for a file that is too large or cannot be read.
    #[must_use]
    pub fn whole(&self) -> Option<&[u8]> {
        self.read_bytes_at(0, ReadRef::len(self).ok()?).ok()
    }

    pub(super) fn of_memory(bytes: Arc<[u8]>) -> Self {
        Self { source: Source::Memory(bytes), limit: LIMIT }
    }
}

impl<'a> ReadRef<'a> for &'a Contents {
    fn len(self) -> Result<u64, ()> {
        match &self.source {
            Source::File(cache) => cache.len(),
            Source::Memory(bytes) => Ok(bytes.len() as u64),
        }
    }

    fn read_bytes_at(self, offset: u64, size: u64) -> Result<&'a [u8], ()> {
        match &self.source {
            // The cache makes room for the piece before it reads.
            Source::File(_) if size > self.limit => Err(()),
            Source::File(cache) => cache.read_bytes_at(offset, size),
            Source::Memory(bytes) => bytes.read_bytes_at(offset, size),
        }
    }

    fn read_bytes_at_until(self, range: Range<u64>, delimiter: u8) -> Result<&'a [u8], ()> {
        match &self.source {
            Source::File(cache) => cache.read_bytes_at_until(range, delimiter),
            Source::Memory(bytes) => bytes.read_bytes_at_until(range, delimiter),
        }
    }
}

impl Pieces {
    fn spend(&mut self, size: usize) -> Result<(), ()> {
        self.budget = self.budget.checked_sub(size as u64).ok_or(())?;
        Ok(())
    }
}

impl ReadCacheOps for Pieces {
    fn len(&mut self) -> Result<u64, ()> {
        Ok(self.file.metadata().map_err(drop)?.len())
    }

    fn seek(&mut self, position: u64) -> Result<u64, ()> {
        self.position = position;
        Ok(position)
    }

    fn read(&mut self, piece: &mut [u8]) -> Result<usize, ()> {
        self.spend(piece.len())?;
        let length = self.file.read_at(piece, self.position).map_err(drop)?;
        self.position += length as u64;
        Ok(length)
    }

    fn read_exact(&mut self, piece: &mut [u8]) -> Result<(), ()> {
        self.spend(piece.len())?;
        self.file.read_exact_at(piece, self.position).map_err(drop)?;
        self.position += piece.len() as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn file(length: u64) -> Arc<File> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"first\0second\0").unwrap();
        file.set_len(length).unwrap();
        Arc::new(file)
    }

    #[test]
    fn file_and_memory_give_the_same_bytes() {
        let contents = Contents::of_file(file(100));
        let memory = Contents::of_memory(contents.read_bytes_at(0, 100).unwrap().into());
        for contents in [&contents, &memory] {
            assert_eq!(contents.len(), Ok(100));
            assert_eq!(contents.read_bytes_at(6, 6), Ok(&b"second"[..]));
            assert_eq!(contents.read_bytes_at_until(6..100, 0), Ok(&b"second"[..]));
            assert_eq!(contents.read_bytes_at(99, 2), Err(()));
            assert_eq!(contents.read_bytes_at(u64::MAX, 2), Err(()));
        }
    }

    #[test]
    fn a_file_that_is_cut_gives_an_error() {
        let file = file(1 << 20);
        let contents = Contents::of_file(Arc::clone(&file));
        assert!(contents.read_bytes_at(1 << 19, 16).is_ok());
        file.set_len(1).unwrap();
        assert_eq!(contents.read_bytes_at((1 << 19) + 64, 16), Err(()));
    }

    #[test]
    fn a_huge_piece_of_a_sparse_file_is_refused() {
        let contents = Contents::of_file(file(1 << 40));
        assert_eq!(contents.read_bytes_at(0, LIMIT + 1), Err(()));
        assert!(contents.read_bytes_at(1 << 39, 16).is_ok());
    }

    #[test]
    fn many_pieces_end_at_the_limit() {
        let contents = Contents::of_file_within(file(1 << 40), 1000);
        let pieces = (0..20).map(|number| contents.read_bytes_at(number * 100, 100).is_ok());
        assert_eq!(pieces.filter(|&is_read| is_read).count(), 10);
        assert!(contents.read_bytes_at(0, 100).is_ok(), "what was read stays");
    }
}
