//! Events from the ring buffer, taken apart.

use std::os::fd::{AsRawFd, RawFd};

use aya::maps::{MapData, RingBuf};
use bytes::Bytes;
use memtrace_abi::event::{Change, Code, kind};

/// Events as they come in. Its file descriptor is readable when there are some.
pub struct Events(pub(super) RingBuf<MapData>);

impl AsRawFd for Events {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl Iterator for Events {
    type Item = Event;

    /// The next event that is there already.
    fn next(&mut self) -> Option<Event> {
        loop {
            let record = Bytes::copy_from_slice(&self.0.next()?);
            if let Some(event) = Event::decode(&record) {
                return Some(event);
            }
        }
    }
}

/// Something that the kernel programs saw.
pub enum Event {
    /// A Python code object on first sight, and its line table.
    Code(Box<Code>, Bytes),
    /// A process has executed another program, ended, or changed its libraries.
    Change(Change),
}

impl Event {
    /// Decodes a record; `None` if it is not one that the programs send.
    fn decode(record: &Bytes) -> Option<Self> {
        let kind = u32::from_ne_bytes(record.get(..4)?.try_into().ok()?);
        if kind != kind::CODE {
            return Some(Self::Change(read(record)?));
        }
        let code: Code = read(record)?;
        let lines = record.slice(size_of::<Code>()..);
        let lines_size = lines.len().min(code.lines_size as usize);
        Some(Self::Code(Box::new(code), lines.slice(..lines_size)))
    }
}

pub(super) fn read<T: aya::Pod>(record: &[u8]) -> Option<T> {
    let bytes = record.get(..size_of::<T>())?;
    // SAFETY: `bytes` is as long as a `T`, and every byte pattern is one.
    Some(unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_records_are_not_events() {
        for size in [0, 3, 4, 23] {
            assert!(Event::decode(&Bytes::from(vec![kind::EXIT as u8; size])).is_none());
        }
    }
}
