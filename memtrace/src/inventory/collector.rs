//! The lists of the garbage collector: all objects that it tracks. Up to 3.8 their heads are in
//! `_PyRuntime`, then in each interpreter's state, where they are looked for: three generations,
//! one that is never collected, all in circles. The incremental collector of the first releases of
//! 3.14 has its young and its two old generations in the same places. Later releases of 3.13 and 3.14
//! ask for heads at multiples of four only (`_PyObject_MIN_ALIGNMENT`), which puts them there.

use super::{arenas::Arenas, kind::Kind, reached::Reached, reader::Reader, view::ADDRESS_END};

/// `sizeof(PyGC_Head)`, which lies before each object.
pub(super) const HEAD: u64 = 16;
/// `sizeof(struct gc_generation)`.
const GENERATION: u64 = 24;
/// The lowest bits of the pointers are flags.
const POINTER: u64 = !3;
/// Where the heads are in the state of an interpreter at most.
const SEARCHED: u64 = 16 << 10;
/// A process that goes on may change the lists just while they are looked for.
const ATTEMPTS: usize = 500;

/// What the lists lead to.
pub(super) struct Tracked {
    pub(super) objects: Reached,
    /// Those that are modules.
    pub(super) modules: Vec<u64>,
    pub(super) count: usize,
    /// Lists that could not be followed to their end.
    pub(super) broken: u64,
}

impl Reader<'_> {
    /// All tracked objects, at most `limit`; `None`: the lists cannot be found.
    pub(super) fn tracked(&mut self, arenas: &Arenas, limit: usize) -> Option<Tracked> {
        let objects = Reached::new(arenas);
        let mut tracked = Tracked { objects, modules: Vec::new(), count: 0, broken: 0 };
        let mut found = false;
        for state in self.states() {
            let Some(heads) = self.generations(state) else { continue };
            found = true;
            for head in heads {
                self.follow(head, (arenas, limit), &mut tracked);
            }
        }
        found.then_some(tracked)
    }

    /// Where lists may be.
    fn states(&mut self) -> Vec<u64> {
        if self.interpreter.structures.minor < 9 {
            return vec![self.interpreter.runtime.start];
        }
        self.interpreters()
    }

    /// The heads of the lists.
    fn generations(&mut self, state: u64) -> Option<[u64; 4]> {
        for _ in 0..ATTEMPTS {
            if self.view.is_late() {
                break;
            }
            let end = state.checked_add(SEARCHED)?;
            let mut places = (state..end).step_by(4);
            if let Some(heads) = places.find_map(|first| self.heads(first)) {
                return Some(heads);
            }
            self.view.forget();
        }
        None
    }

    /// The heads, if the first of them is here: the youngest generation may change at any time, the
    /// others rarely do.
    fn heads(&mut self, first: u64) -> Option<[u64; 4]> {
        let next = self.view.word_at_half(first)? & POINTER;
        (0 < next && next < ADDRESS_END).then_some(())?;
        // `generation0` points to the first and lies before the fourth, which 3.14 does without.
        let behind = first + 3 * GENERATION;
        let pointer = behind.next_multiple_of(8);
        let has_pointer = self.view.word(pointer)? == first;
        (has_pointer || self.interpreter.structures.minor >= 14).then_some(())?;
        let fourth = if has_pointer { pointer + 8 } else { behind };
        let heads = [first, first + GENERATION, first + 2 * GENERATION, fourth];
        heads[1..].iter().all(|head| self.is_head(*head)).then_some(heads)
    }

    fn is_head(&mut self, head: u64) -> bool {
        let back = self.link(head).and_then(|next| self.link(next.wrapping_add(8)));
        let previous = self.link(head.wrapping_add(8));
        let forth = previous.and_then(|previous| self.link(previous));
        [back, forth] == [Some(head); 2]
    }

    /// Adds the objects of one list: forwards, and if that ends early, backwards from its end.
    fn follow(&mut self, head: u64, bounds: (&Arenas, usize), tracked: &mut Tracked) {
        let is_whole = self.walk(head, 0, bounds, tracked);
        // A limit has its own word for it.
        if !is_whole && tracked.count < bounds.1 && self.view.spent().is_none() {
            tracked.broken += 1;
            self.walk(head, 8, bounds, tracked);
        }
    }

    /// Follows one of the two pointers of each head; whether that led back to the first. A circle
    /// that does not is left where it leads to what is known.
    fn walk(
        &mut self,
        head: u64,
        link: u64,
        (arenas, limit): (&Arenas, usize),
        tracked: &mut Tracked,
    ) -> bool {
        let mut at = self.next(head, link);
        while at != head {
            let object = at.wrapping_add(HEAD);
            let Some(id) = self.type_of(object) else { return false };
            let is_full = tracked.count >= limit || self.view.spent().is_some();
            if is_full || !tracked.objects.insert(arenas.position(object), object) {
                return false;
            }
            tracked.count += 1;
            if self.described(id).kind == Kind::Module {
                tracked.modules.push(object);
            }
            at = self.next(at, link);
        }
        true
    }

    fn next(&mut self, head: u64, link: u64) -> u64 {
        self.link(head.wrapping_add(link)).unwrap_or(0)
    }

    /// One of the two pointers of a head.
    fn link(&mut self, place: u64) -> Option<u64> {
        self.view.word_at_half(place).map(|link| link & POINTER)
    }
}
