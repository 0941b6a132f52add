//! The image of the vDSO. The kernel maps the same one into all 64-bit processes, so ours will do
//! for each of them and no target is read.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt as _,
    sync::Arc,
};

use super::super::mappings::{Kind, Mappings};

/// Two pages in Linux 6.18.
const MAX_BYTES: u64 = 1 << 20;

pub(super) fn read_vdso() -> io::Result<Arc<[u8]>> {
    let mappings = Mappings::parse(&fs::read("/proc/self/maps")?);
    let vdso = mappings.list.iter().find(|mapping| mapping.kind() == Kind::Vdso);
    let range = vdso.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?.range;
    let mut image = vec![0; (range.end - range.start).min(MAX_BYTES) as usize];
    File::open("/proc/self/mem")?.read_exact_at(&mut image, range.start)?;
    Ok(image.into())
}
