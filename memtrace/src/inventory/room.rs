//! Whether memory outside pymalloc can hold what looks like an object there: a reference may be to an
//! object that is long gone, whose memory holds other things by now.

use super::{
    kind::Kind,
    reached::Reached,
    reader::{OB_TYPE, Reader},
    types::TypeId,
};
use crate::heap::{ALIGNMENT, Extent, HEADER, MAPPED, MIN_SIZE, PREVIOUS_IN_USE, SIZE, size_of};

/// Objects beyond doubt by which it is found out whether chunks of glibc's malloc hold them.
const SAMPLES: usize = 1000;
/// Of so many of them one may look otherwise.
const EXCEPTIONS: usize = 20;
/// What is behind a larger chunk is not looked at: it may be far away.
const NEAR: u64 = 16 << 10;
/// Address ranges of glibc's thread arenas lie at multiples of this; with huge pages, of more.
const ARENA_ALIGNMENT: u64 = 64 << 20;
/// What the debug hooks of allocators put before a block: eight bytes of size, one for the kind, and
/// seven of these.
const FORBIDDEN: u64 = 0xfdfd_fdfd_fdfd_fd00;
const DEBUG_HEAD: u64 = 16;

impl Reader<'_> {
    /// Finds out from tracked objects, of which there is no doubt, whether chunks of glibc's malloc
    /// hold what is in the ranges that are its own, and whether they hold most objects.
    pub(super) fn learn_chunks(&mut self, tracked: &Reached) {
        let [mut chunks, mut others, mut elsewhere] = [0, 0, 0];
        let step = tracked.outside().count() / SAMPLES + 1;
        for object in tracked.outside().step_by(step) {
            let Some(id) = self.type_of(object) else { continue };
            let start = self.start(object, id);
            let number = match self.is_in_heap(object) {
                true if self.chunk_room(start).is_some() => &mut chunks,
                true => &mut others,
                false => &mut elsewhere,
            };
            *number += 1;
        }
        self.has_chunks = chunks > others * EXCEPTIONS;
        self.is_malloc = self.has_chunks && chunks > elsewhere;
    }

    /// Whether an object outside pymalloc's arenas is not larger than what may hold it.
    pub(super) fn is_held(&mut self, object: u64, id: TypeId) -> bool {
        self.is_static(object)
            || self.room(object, id).is_some_and(|room| self.fits(object, id, room))
                && self.has_room_for_buffer(object, id)
    }

    /// Bytes from the object's head on to the end of what may hold it.
    fn room(&mut self, object: u64, id: TypeId) -> Option<u64> {
        let start = self.start(object, id);
        if self.has_chunks && self.is_in_heap(object) {
            return self.chunk_room(start);
        }
        self.view.extent(object)?.end.checked_sub(start)
    }

    /// Where the memory begins that was got for the object. NumPy makes element types by `malloc`
    /// that are like static ones, without a head (`dtypemeta.c`).
    fn start(&mut self, object: u64, id: TypeId) -> u64 {
        let (kind, head) = (self.described(id).kind, self.described(id).head());
        let has_head = kind != Kind::Type || self.is_heap_type(object);
        object.wrapping_sub(if has_head { head } else { 0 })
    }

    /// Whether the address is in a range that is glibc's own, if its malloc is in use.
    fn is_in_heap(&mut self, address: u64) -> bool {
        let Some(Extent { is_break, .. }) = self.view.extent(address) else { return false };
        let range = address & !(ARENA_ALIGNMENT - 1);
        // `struct heap_info`: the arena, the range before, and how much of the range is in use.
        let is_arena = |[arena, _, size]: [u64; 3]| {
            arena.is_multiple_of(16)
                && arena != 0
                && size.is_multiple_of(4096)
                && (address - range..=ARENA_ALIGNMENT).contains(&size)
        };
        is_break || self.view.words(range).is_some_and(is_arena)
    }

    /// Bytes for the program of the chunk that begins there, if it is one that is in use.
    fn chunk_room(&mut self, start: u64) -> Option<u64> {
        let hook = self.view.word(start.checked_sub(OB_TYPE)?)?;
        let head = if hook & !0xff == FORBIDDEN { DEBUG_HEAD } else { 0 };
        let chunk = start.checked_sub(head + HEADER)?;
        let word = self.view.word(chunk.checked_add(SIZE)?)?;
        let size = size_of(word);
        let next = chunk.checked_add(size)?.checked_add(SIZE)?;
        let is_sane =
            chunk.is_multiple_of(ALIGNMENT) && size.is_multiple_of(ALIGNMENT) && size >= MIN_SIZE;
        let is_used = |reader: &mut Self| {
            size > NEAR || reader.view.word(next).is_none_or(|next| next & PREVIOUS_IN_USE != 0)
        };
        // The first word of the next chunk is this one's.
        (is_sane && word & MAPPED == 0 && is_used(self)).then(|| size - SIZE - head)
    }

    /// Whether what a list or the like holds elsewhere is not larger than what may hold that.
    fn has_room_for_buffer(&mut self, object: u64, id: TypeId) -> bool {
        let member = match self.described(id).kind {
            Kind::List | Kind::TypedArray => 24,
            Kind::ByteArray => 32,
            Kind::Set => 40,
            _ => return true,
        };
        let (Some(size), Some(buffer)) =
            (self.size_of(object, id), self.view.word(object.wrapping_add(member)))
        else {
            return false;
        };
        let of = self.described(id);
        let bytes = size.saturating_sub(of.basic_size + of.head());
        let room = |extent: Extent| extent.end.saturating_sub(buffer);
        bytes == 0 || self.view.extent(buffer).is_some_and(|extent| bytes <= room(extent))
    }
}
