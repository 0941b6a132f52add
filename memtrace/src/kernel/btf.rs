//! Offsets of fields in the running kernel's structures, from its own type information (BTF).
//!
//! Format: linux 6.18, `Documentation/bpf/btf.rst`. Rust programs get no relocations from BTF, so
//! the few offsets they need are looked up here.

use anyhow::{Context as _, Result, bail, ensure};

pub(super) const MAGIC: u16 = 0xeb9f;
const KIND_ARRAY: u32 = 3;
const KIND_STRUCT: u32 = 4;
const KIND_UNION: u32 = 5;
const KIND_ENUM: u32 = 6;
const KIND_FUNC_PROTO: u32 = 13;
const KIND_VAR: u32 = 14;
const KIND_DATASEC: u32 = 15;
const KIND_DECL_TAG: u32 = 17;
const KIND_ENUM64: u32 = 19;
const KIND_INT: u32 = 1;

/// Parsed type information.
pub struct Btf<'data> {
    types: Vec<Type<'data>>,
    strings: &'data [u8],
}

#[derive(Clone, Copy)]
struct Type<'data> {
    name: u32,
    kind: u32,
    bitfields: bool,
    /// Bytes, or another type's number: its kind decides.
    size: u32,
    members: &'data [u8],
}

impl<'data> Btf<'data> {
    /// Parses the contents of `/sys/kernel/btf/vmlinux`.
    pub fn parse(data: &'data [u8]) -> Result<Self> {
        let magic = u16::from_le_bytes([*byte(data, 0)?, *byte(data, 1)?]);
        ensure!(magic == MAGIC, "not type information: bad magic {magic:#x}");
        let header = word(data, 4)? as usize;
        let section = |offset: usize| -> Result<&'data [u8]> {
            let start = header.saturating_add(word(data, offset)? as usize);
            let size = word(data, offset + 4)? as usize;
            data.get(start..start.saturating_add(size)).context("section outside the data")
        };
        Ok(Self { types: parse_types(section(8)?)?, strings: section(16)? })
    }

    /// Bytes from the start of a structure to a field within it, or within the structures that
    /// its fields are: `("task_struct", ["thread", "fsbase"])`.
    pub fn offset(&self, structure: &str, path: &[&str]) -> Result<u64> {
        let missing = || format!("no field {structure}.{} in the kernel's types", path.join("."));
        let is_wanted = |ty: &&Type| ty.kind == KIND_STRUCT && self.name(ty.name) == structure;
        let mut ty = *self.types.iter().find(is_wanted).with_context(missing)?;
        let mut bits = 0;
        for field in path {
            let (offset, next) = self.member(ty, field, 0).with_context(missing)?;
            bits += offset;
            ty = next;
        }
        Ok(bits / 8)
    }

    /// Whether programs can be attached to a tracepoint as raw ones.
    pub fn has_tracepoint(&self, name: &str) -> bool {
        let wanted = format!("btf_trace_{name}");
        self.types.iter().any(|ty| self.name(ty.name) == wanted)
    }

    /// Bytes of a structure.
    pub fn size(&self, structure: &str) -> Result<u64> {
        let is_wanted = |ty: &&Type| ty.kind == KIND_STRUCT && self.name(ty.name) == structure;
        let found = self.types.iter().find(is_wanted);
        let found = found.with_context(|| format!("no {structure} in the kernel's types"))?;
        Ok(u64::from(found.size))
    }

    /// Bit offset and type of a member, also one of an unnamed structure or union within.
    fn member(&self, ty: Type<'data>, name: &str, depth: u32) -> Option<(u64, Type<'data>)> {
        for member in ty.members.chunks_exact(12) {
            let mut offset = word(member, 8).ok()?;
            if ty.bitfields {
                offset &= 0xff_ffff;
            }
            let inner = self.resolve(word(member, 4).ok()?);
            let member_name = self.name(word(member, 0).ok()?);
            if member_name == name {
                return Some((u64::from(offset), inner?));
            }
            if member_name.is_empty()
                && depth < 8
                && let Some((within, found)) = self.member(inner?, name, depth + 1)
            {
                return Some((u64::from(offset) + within, found));
            }
        }
        None
    }

    /// The type behind a number, without qualifiers and aliases.
    fn resolve(&self, mut number: u32) -> Option<Type<'data>> {
        /// `typedef`, `volatile`, `const`, `restrict`, type tag.
        const ALIASES: [u32; 5] = [8, 9, 10, 11, 18];
        for _ in 0..16 {
            let ty = *self.types.get(number.checked_sub(1)? as usize)?;
            if !ALIASES.contains(&ty.kind) {
                return Some(ty);
            }
            number = ty.size;
        }
        None
    }

    fn name(&self, offset: u32) -> &'data str {
        let rest = self.strings.get(offset as usize..).unwrap_or_default();
        let end = rest.iter().position(|byte| *byte == 0).unwrap_or(rest.len());
        str::from_utf8(&rest[..end]).unwrap_or_default()
    }
}

fn parse_types(mut data: &[u8]) -> Result<Vec<Type<'_>>> {
    let mut types = Vec::new();
    while !data.is_empty() {
        let info = word(data, 4)?;
        let (kind, count) = (info >> 24 & 0x1f, (info & 0xffff) as usize);
        let length = match kind {
            KIND_INT | KIND_VAR | KIND_DECL_TAG => 4,
            KIND_ARRAY => 12,
            KIND_STRUCT | KIND_UNION | KIND_DATASEC | KIND_ENUM64 => 12 * count,
            KIND_ENUM | KIND_FUNC_PROTO => 8 * count,
            2 | 7..=12 | 16 | 18 => 0,
            unknown => bail!("unknown kind of type: {unknown}"),
        };
        let members = data.get(12..12 + length).context("types end early")?;
        let name = word(data, 0)?;
        types.push(Type { name, kind, bitfields: info >> 31 != 0, size: word(data, 8)?, members });
        data = &data[12 + length..];
    }
    Ok(types)
}

fn byte(data: &[u8], offset: usize) -> Result<&u8> {
    data.get(offset).context("type information ends early")
}

fn word(data: &[u8], offset: usize) -> Result<u32> {
    let bytes = data.get(offset..offset + 4).context("type information ends early")?;
    Ok(u32::from_le_bytes(bytes.try_into().expect("four bytes were taken")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_nested_fields_of_the_running_kernel() {
        let data = std::fs::read("/sys/kernel/btf/vmlinux").unwrap();
        let btf = Btf::parse(&data).unwrap();
        let thread = btf.offset("task_struct", &["thread"]).unwrap();
        let fs_base = btf.offset("task_struct", &["thread", "fsbase"]).unwrap();
        assert!(thread < fs_base && fs_base < thread + 4096);
        assert!(btf.offset("task_struct", &["no_such_field"]).is_err());
    }

    #[test]
    fn cut_or_foreign_data_is_an_error() {
        let data = std::fs::read("/sys/kernel/btf/vmlinux").unwrap();
        for size in [0, 1, 7, 23, 100, data.len() / 2] {
            assert!(Btf::parse(&data[..size]).is_err());
        }
        assert!(Btf::parse(b"\x7fELF and so on, long enough for a header").is_err());
    }
}
