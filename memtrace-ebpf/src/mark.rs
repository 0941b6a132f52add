//! The high-water mark of a process and its composition, in single words: a change is one atomic
//! exchange, so threads need no lock and none can be preempted while it holds one.
//!
//! A process has one word: the number of its latest mark, its epoch, and how far it has gone below
//! that mark. It tells of every change whether it belongs to a mark or comes after it. A stack
//! has what it allocates, and one word: an epoch, and how much of that came after that mark. What
//! was live at the mark is the rest. This does not depend on the order in which the words of the
//! stacks are changed, nor on what happens between a change of the process and of the stack.

/// Bits of an amount; the others are the epoch's.
const AMOUNT_BITS: u32 = 40;
const EPOCH_BITS: u32 = 64 - AMOUNT_BITS;
/// The largest amount: one word tells of up to 1 TiB below a mark, or half of it to either side.
const MAX_AMOUNT: u64 = (1 << AMOUNT_BITS) - 1;
/// A change may come this many epochs late; what is further back is taken for one from before the
/// epochs began again at 0.
const MAX_DELAY: u64 = 1 << (EPOCH_BITS - 8);

/// What a change of live bytes means for a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The process's new word.
    pub word: u64,
    /// Whether the change made a mark. If not, it came after the mark of the word's epoch.
    pub is_mark: bool,
}

/// What a change of live bytes does to a process's word.
#[must_use]
pub const fn step(word: u64, change: i64) -> Step {
    let (epoch, below) = (epoch(word), below(word));
    if change > 0 && change.unsigned_abs() > below {
        let is_clean = word & MAX_AMOUNT == 0;
        // A mark that nothing came after is raised; it stays the same mark.
        return Step { word: pack(epoch + !is_clean as u64, 0), is_mark: true };
    }
    // The amount is one more, to tell a process that is at its mark again from one that never left.
    let amount = below.wrapping_add_signed(change.wrapping_neg()).wrapping_add(1);
    let amount = if amount > MAX_AMOUNT { MAX_AMOUNT } else { amount };
    Step { word: pack(epoch, amount), is_mark: false }
}

/// Whether a process's word tells less than the truth.
#[must_use]
pub const fn is_exhausted(word: u64) -> bool {
    word & MAX_AMOUNT == MAX_AMOUNT
}

/// Bytes that a process is below its mark.
#[must_use]
pub const fn below(word: u64) -> u64 {
    (word & MAX_AMOUNT).saturating_sub(1)
}

/// The epoch of a word.
#[must_use]
pub const fn epoch(word: u64) -> u64 {
    word >> AMOUNT_BITS
}

/// What a change behind the mark of an epoch does to a word of a stack.
#[must_use]
pub const fn note(word: u64, epoch: u64, change: i64) -> u64 {
    let before = amount(word);
    let age = self::epoch(word).wrapping_sub(epoch) & MAX_EPOCH;
    if before != 0 && age != 0 && age < MAX_DELAY {
        // Another thread was faster: the change belongs to a later mark.
        return word;
    }
    let before = if age == 0 { before } else { 0 };
    pack(epoch, before.wrapping_add(change).cast_unsigned())
}

/// How much of what a stack has came after the mark of an epoch, given the stack's word.
#[must_use]
pub const fn behind(word: u64, epoch: u64) -> i64 {
    if self::epoch(word) == epoch { amount(word) } else { 0 }
}

const MAX_EPOCH: u64 = (1 << EPOCH_BITS) - 1;

const fn pack(epoch: u64, amount: u64) -> u64 {
    epoch << AMOUNT_BITS | amount & MAX_AMOUNT
}

const fn amount(word: u64) -> i64 {
    (word << EPOCH_BITS).cast_signed() >> EPOCH_BITS
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::{collections::VecDeque, vec::Vec};

    use super::*;

    /// A process with three stacks, and what it was at its highest.
    #[derive(Default)]
    struct Model {
        word: u64,
        stacks: [(i64, u64); 3],
        live: [i64; 3],
        peak: i64,
        at_peak: [i64; 3],
    }

    impl Model {
        /// Changes the process at once, and returns what is left to do for the stack.
        fn change(&mut self, stack: usize, change: i64) -> (usize, i64, Option<u64>) {
            self.live[stack] += change;
            let total = self.live.iter().sum();
            if total > self.peak {
                (self.peak, self.at_peak) = (total, self.live);
            }
            let step = step(self.word, change);
            self.word = step.word;
            let behind = (!step.is_mark).then(|| epoch(step.word));
            (stack, change, behind)
        }

        fn settle_all(&mut self, changes: impl IntoIterator<Item = (usize, i64, Option<u64>)>) {
            for change in changes {
                self.settle(change);
            }
        }

        fn settle(&mut self, (stack, change, behind): (usize, i64, Option<u64>)) {
            let (live, word) = &mut self.stacks[stack];
            *live += change;
            if let Some(epoch) = behind {
                *word = note(*word, epoch, change);
            }
        }

        fn check(&self) {
            let total: i64 = self.live.iter().sum();
            assert_eq!(total + below(self.word).cast_signed(), self.peak);
            let epoch = epoch(self.word);
            assert_eq!(self.stacks.map(|(live, word)| live - behind(word, epoch)), self.at_peak);
        }
    }

    fn random(seed: &mut u64) -> u64 {
        *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        *seed >> 33
    }

    /// A change that leaves nothing negative: mostly small, some of nothing at all.
    fn random_change(live: i64, seed: &mut u64) -> i64 {
        let size = (random(seed) % 8).cast_signed() * 10;
        if random(seed).is_multiple_of(2) { size } else { -size.min(live) }
    }

    #[test]
    fn the_composition_of_the_mark_is_exact_after_every_change() {
        let (mut model, mut seed) = (Model::default(), 1);
        for _ in 0..100_000 {
            let stack = (random(&mut seed) % 3) as usize;
            let late = model.change(stack, random_change(model.live[stack], &mut seed));
            model.settle(late);
            model.check();
        }
        assert!(epoch(model.word) > 100, "{}", epoch(model.word));
    }

    #[test]
    fn it_is_exact_in_whatever_order_the_stacks_are_changed() {
        let mut seed = 2;
        for _ in 0..2000 {
            let (mut model, mut late) = (Model::default(), VecDeque::new());
            for _ in 0..100 {
                let stack = (random(&mut seed) % 3) as usize;
                late.push_back(model.change(stack, random_change(model.live[stack], &mut seed)));
                // Sometimes the one that waits longest, sometimes the one that came last.
                let next = match random(&mut seed) % 4 {
                    0 => late.pop_front(),
                    1 => late.pop_back(),
                    _ => None,
                };
                model.settle_all(next);
            }
            let rest: Vec<_> = late.into_iter().rev().collect();
            model.settle_all(rest);
            model.check();
        }
    }

    #[test]
    fn epochs_begin_again_at_zero() {
        let mut model = Model { word: pack(MAX_EPOCH - 3, 0), ..Model::default() };
        for (stack, change) in [(0, 10), (1, 20), (0, -5), (2, 30), (1, -20)].repeat(10) {
            let late = model.change(stack, change);
            model.settle(late);
            model.check();
        }
        assert!(epoch(model.word) < 100, "{}", epoch(model.word));
    }

    #[test]
    fn a_process_too_far_below_its_mark_is_told() {
        let limit = MAX_AMOUNT.cast_signed();
        let low = step(0, 2 - limit);
        assert_eq!((below(low.word), is_exhausted(low.word)), (MAX_AMOUNT - 2, false));
        for change in [-1, -1000, i64::MIN] {
            assert!(is_exhausted(step(low.word, change).word), "{change}");
        }
        assert_eq!(behind(note(0, 5, -limit / 2), 5), -limit / 2);
        assert_eq!(behind(note(0, 5, -limit / 2), 6), 0);
    }
}
