//! Strings and buffers: where their data is.

use memtrace_abi::mapping::Range;

use super::{Buffer, holder::Holders, kind::Kind, reader::Reader, view::ADDRESS_END};

/// A character of a `StringIO` (`Py_UCS4`).
const CHARACTER: u64 = 4;

impl Reader<'_> {
    /// Bytes of a buffer: those that `sys.getsizeof` counts, which are given, and those of its data
    /// where it does not.
    pub(super) fn buffer_bytes(&mut self, object: u64, kind: Kind, bytes: u64) -> u64 {
        let data = if kind.holds_uncounted() { self.uncounted(object, kind) } else { None };
        bytes + data.map_or(0, |Range { start, end }| end - start)
    }

    /// The data that a buffer does not count as its own (`Modules/_io/stringio.c`,
    /// `Modules/mmapmodule.c`, `Modules/_ctypes/ctypes.h`).
    fn uncounted(&mut self, object: u64, kind: Kind) -> Option<Range> {
        let [start, second, _, fourth] = self.view.words(object.wrapping_add(16))?;
        let bytes = match kind {
            Kind::StringFile => fourth.checked_mul(CHARACTER)?,
            Kind::MemoryMap => second,
            // Whether it frees them: else they are another's, or lie within the object.
            Kind::Foreign if second as u32 != 0 => fourth,
            _ => return None,
        };
        let end = start.checked_add(bytes).filter(|end| start != 0 && *end < ADDRESS_END)?;
        Some(Range { start, end })
    }

    /// A buffer with its bytes, as it was counted.
    pub(super) fn buffer(
        &mut self,
        (bytes, address): (u64, u64),
        holders: &Holders,
    ) -> Option<Buffer> {
        let id = self.type_of(address)?;
        let of = self.described(id);
        let (kind, type_name, basic) = (of.kind, of.name.clone(), of.basic_size);
        let data = if kind.holds_uncounted() {
            self.uncounted(address, kind)?
        } else {
            let start = self.data(address, kind)?;
            Range { start, end: start.checked_add(bytes.checked_sub(basic)?)? }
        };
        Some(Buffer { address, type_name, bytes, data, holder: holders.holder(self, address) })
    }

    /// Where the data begins (`Objects/bytearrayobject.c`, `Modules/arraymodule.c`).
    fn data(&mut self, object: u64, kind: Kind) -> Option<u64> {
        let word = |reader: &mut Self, member: u64| reader.view.word(object.wrapping_add(member));
        match kind {
            Kind::ByteArray => word(self, 32),
            Kind::TypedArray => word(self, 24),
            Kind::Str => self.str_state(object).map(|(state, _)| state.data),
            Kind::Bytes => Some(object),
            _ => None,
        }
    }
}
