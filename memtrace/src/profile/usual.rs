//! How much memory a process usually has: what it stays below for most of the time, without every
//! look being kept.

/// Steps in which sizes double, so that each is at most a sixteenth wide; a power of two.
const STEPS: u64 = 16;

/// Looks by size.
#[derive(Clone, Debug, Default)]
pub struct Usual {
    looks: Vec<u32>,
}

impl Usual {
    /// Takes in a look.
    pub fn note(&mut self, bytes: u64) {
        let step = step(bytes);
        if self.looks.len() <= step {
            self.looks.resize(step + 1, 0);
        }
        self.looks[step] = self.looks[step].saturating_add(1);
    }

    /// What it was below in nine tenths of the looks, rounded up by at most a sixteenth; `None` without
    /// looks.
    #[must_use]
    pub fn bytes(&self) -> Option<u64> {
        let all: u64 = self.looks.iter().map(|looks| u64::from(*looks)).sum();
        let mut below = 0;
        let reaches = |looks: &u32| {
            below += u64::from(*looks);
            below * 10 >= all * 9
        };
        self.looks.iter().position(reaches).map(top).filter(|_| all > 0)
    }
}

/// The step that a size is in.
const fn step(bytes: u64) -> usize {
    if bytes < STEPS {
        return bytes as usize;
    }
    let doublings = bytes.ilog2() - STEPS.ilog2();
    let within = (bytes >> doublings) % STEPS;
    (doublings as usize + 1) * STEPS as usize + within as usize
}

/// The largest size of a step.
const fn top(step: usize) -> u64 {
    let (doublings, within) = (step / STEPS as usize, step as u64 % STEPS);
    match doublings.checked_sub(1) {
        None => within,
        Some(doublings) => (STEPS + within) << doublings | ((1 << doublings) - 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_peak_is_not_usual() {
        let mut usual = Usual::default();
        assert_eq!(usual.bytes(), None);
        (0..95).for_each(|_| usual.note(100 << 20));
        (0..5).for_each(|_| usual.note(4 << 30));
        let bytes = usual.bytes().unwrap();
        assert!((100 << 20..107 << 20).contains(&bytes), "{bytes}");
        (0..20).for_each(|_| usual.note(4 << 30));
        assert!((4 << 30..5 << 30).contains(&usual.bytes().unwrap()));
    }

    #[test]
    fn any_size_has_a_step() {
        let mut usual = Usual::default();
        for bytes in [0, 1, u64::MAX] {
            usual.note(bytes);
        }
        assert_eq!(usual.bytes(), Some(u64::MAX));
    }
}
