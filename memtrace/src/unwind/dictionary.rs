//! Numbers the distinct rules of one file.

use std::collections::HashMap;

use memtrace_abi::unwind::Rule;

use super::rule;

/// Rules kept of one file; further ones count as unsupported.
pub(super) const MAX_RULES: usize = 65_535;

/// Distinct rules and their numbers. The number of "unknown" is 0, that of "unsupported" 1.
pub(super) struct Dictionary {
    rules: Vec<Rule>,
    numbers: HashMap<Rule, u16>,
}

impl Dictionary {
    /// What a gap between functions has.
    pub(super) const UNKNOWN: u16 = 0;
    const UNSUPPORTED: u16 = 1;

    pub(super) fn new() -> Self {
        let mut dictionary = Self { rules: Vec::new(), numbers: HashMap::new() };
        dictionary.number(rule::UNKNOWN);
        dictionary.number(rule::UNSUPPORTED);
        dictionary
    }

    pub(super) fn number(&mut self, rule: Rule) -> u16 {
        if let Some(&number) = self.numbers.get(&rule) {
            return number;
        }
        if self.rules.len() == MAX_RULES {
            return Self::UNSUPPORTED;
        }
        let number = self.rules.len() as u16;
        self.rules.push(rule);
        self.numbers.insert(rule, number);
        number
    }

    pub(super) fn into_rules(self) -> Vec<Rule> {
        self.rules
    }
}

#[cfg(test)]
mod tests {
    use memtrace_abi::unwind::Cfa;

    use super::*;

    #[test]
    fn rules_over_the_limit_are_unsupported() {
        let mut dictionary = Dictionary::new();
        let sp = |cfa_offset| Rule { cfa: Cfa::Sp as u8, cfa_offset, ..Rule::default() };
        let numbers: Vec<u16> = (0..70_000).map(|offset| dictionary.number(sp(offset))).collect();
        assert_eq!(numbers[65_532], 65_534);
        assert!(numbers[65_533..].iter().all(|&number| number == Dictionary::UNSUPPORTED));
        assert_eq!(dictionary.number(sp(0)), 2);
        assert_eq!(dictionary.into_rules().len(), MAX_RULES);
    }
}
