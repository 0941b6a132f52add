//! What code a process has had where.

use memtrace_abi::mapping::Mapping;

use super::Target;

/// Mappings that are gone of which is kept where they were.
const MAX_PAST: usize = 4096;

impl Target {
    /// The mapping that held an address when the process was last looked at; `None` if another file
    /// has been seen there as well, which of the two it was then cannot be told.
    #[must_use]
    pub fn code_at(&self, address: u64) -> Option<&Mapping> {
        only_one_at(&self.code, &self.past_code, address)
    }

    /// Keeps in mind what is no longer where it was.
    pub(super) fn keep_past(&mut self, before: Vec<Mapping>) {
        for mapping in before {
            let place = self.code.binary_search_by_key(&mapping.start, |now| now.start);
            let is_there = place.is_ok_and(|place| self.code[place] == mapping);
            if !is_there && !self.past_code.contains(&mapping) {
                self.past_code.push(mapping);
            }
        }
        let surplus = self.past_code.len().saturating_sub(MAX_PAST);
        self.past_code.drain(..surplus);
    }
}

fn only_one_at<'code>(now: &'code [Mapping], past: &[Mapping], at: u64) -> Option<&'code Mapping> {
    let holds = |mapping: &&Mapping| (mapping.start..mapping.end).contains(&at);
    let found = now.iter().find(holds)?;
    let is_same = |other: &Mapping| (other.object, other.bias) == (found.object, found.bias);
    past.iter().filter(holds).all(is_same).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(start: u64, object: u32) -> Mapping {
        Mapping { start, end: start + 0x2000, bias: 0_u64.wrapping_sub(start), object, reserved: 0 }
    }

    #[test]
    fn an_address_where_two_files_have_been_is_in_neither() {
        let now = [mapping(0x1000, 1), mapping(0x5000, 2)];
        let past = [mapping(0x5000, 2), mapping(0x6000, 3)];
        let object = |at| only_one_at(&now, &past, at).map(|mapping| mapping.object);
        assert_eq!(object(0x1fff), Some(1));
        assert_eq!(object(0x5fff), Some(2), "it came back");
        assert_eq!(object(0x6000), None);
        assert_eq!(object(0x7000), None, "nothing is there");
    }
}
