//! Strings and buffers: where their data is.

use memtrace_abi::mapping::Range;

use super::{Buffer, holder::Holders, kind::Kind, reader::Reader};

impl Reader<'_> {
    /// A buffer with its bytes, as it was counted.
    pub(super) fn buffer(
        &mut self,
        (bytes, address): (u64, u64),
        holders: &Holders,
    ) -> Option<Buffer> {
        let id = self.type_of(address)?;
        let of = self.described(id);
        let (kind, type_name, basic) = (of.kind, of.name.clone(), of.basic_size);
        let start = self.data(address, kind)?;
        let data = Range { start, end: start.checked_add(bytes.checked_sub(basic)?)? };
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
