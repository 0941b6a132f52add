//! Reads and clears large maps thousands of entries at a time: they may have millions.

use std::{
    io,
    marker::PhantomData,
    os::fd::{AsFd as _, AsRawFd as _},
    ptr,
};

use anyhow::{Context as _, Result, anyhow};
use aya::{
    Ebpf, Pod,
    maps::{Map, MapData},
};
/// `BPF_MAP_LOOKUP_BATCH` of `enum bpf_cmd` (include/uapi/linux/bpf.h, Linux 5.6).
const LOOKUP_BATCH: libc::c_int = 24;
/// `BPF_MAP_DELETE_BATCH`.
const DELETE_BATCH: libc::c_int = 27;
/// Entries of one call. A bucket of the map must fit in; on average it has one.
const BATCH: usize = 4096;

/// The entries of a hash map.
pub(super) struct Entries<K, V>(MapData, PhantomData<(K, V)>);

/// The `batch` of `union bpf_attr`; the kernel takes what lies behind as zero.
#[repr(C)]
struct Attributes {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

/// What one call returns.
struct Batch<K, V> {
    keys: Vec<K>,
    values: Vec<V>,
}

impl<K: Pod + Default, V: Pod + Default> Entries<K, V> {
    pub(super) fn take(ebpf: &mut Ebpf, name: &str) -> Result<Self> {
        match ebpf.take_map(name) {
            Some(Map::HashMap(map)) => Ok(Self(map, PhantomData)),
            _ => Err(anyhow!("no hash map {name} in the object")),
        }
    }

    /// Calls `visit` with every entry; one that comes or goes meanwhile may be missed.
    pub(super) fn visit(&self, mut visit: impl FnMut(K, V)) -> Result<()> {
        let mut batch =
            Batch { keys: vec![K::default(); BATCH], values: vec![V::default(); BATCH] };
        let mut position = None;
        loop {
            let (count, next) =
                self.next(&mut batch, position).context("read a table of the kernel programs")?;
            let found = batch.keys.iter().zip(&batch.values).take(count);
            found.for_each(|(key, value)| visit(*key, *value));
            match next {
                Some(_) => position = next,
                None => return Ok(()),
            }
        }
    }

    /// Removes entries that nobody else removes.
    pub(super) fn remove(&mut self, keys: &[K]) -> Result<()> {
        for keys in keys.chunks(BATCH) {
            let mut attributes = Attributes {
                in_batch: 0,
                out_batch: 0,
                keys: keys.as_ptr().addr() as u64,
                values: 0,
                count: keys.len() as u32,
                map_fd: self.0.fd().as_fd().as_raw_fd().cast_unsigned(),
                elem_flags: 0,
                flags: 0,
            };
            bpf(DELETE_BATCH, &mut attributes)
                .context("make room in a table of the kernel programs")?;
        }
        Ok(())
    }

    /// Fills the batch from `position`, the beginning if none; returns how many there are, and
    /// where to go on.
    fn next(
        &self,
        batch: &mut Batch<K, V>,
        position: Option<u32>,
    ) -> io::Result<(usize, Option<u32>)> {
        let (from, mut to) = (position.unwrap_or_default(), 0_u32);
        let mut attributes = Attributes {
            in_batch: position.map_or(0, |_| ptr::from_ref(&from).addr() as u64),
            out_batch: ptr::from_mut(&mut to).addr() as u64,
            keys: batch.keys.as_mut_ptr().addr() as u64,
            values: batch.values.as_mut_ptr().addr() as u64,
            count: BATCH as u32,
            map_fd: self.0.fd().as_fd().as_raw_fd().cast_unsigned(),
            elem_flags: 0,
            flags: 0,
        };
        let looked_up = bpf(LOOKUP_BATCH, &mut attributes);
        let count = (attributes.count as usize).min(BATCH);
        match looked_up {
            Ok(()) => Ok((count, Some(to))),
            // The end; what was before it is there.
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok((count, None)),
            Err(error) => Err(error),
        }
    }
}

/// The system call. The buffers that the attributes point to hold `count` keys and values of the
/// map's sizes, which are those of the types the programs use; for hash maps a position is four
/// bytes.
fn bpf(command: libc::c_int, attributes: &mut Attributes) -> io::Result<()> {
    let size = size_of::<Attributes>();
    // SAFETY: the attributes are as long as is said, and say the truth about their buffers.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, ptr::from_mut(attributes), size) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
