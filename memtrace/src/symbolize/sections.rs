//! Which addresses of a file belong together.

use std::{fs::File, path::Path};

use memtrace_abi::mapping::Range;
use object::{Object as _, ObjectSection as _, ReadCache, SectionKind};

/// The sections of an object that have code, as virtual addresses.
pub struct Sections(Vec<Range>);

impl Sections {
    /// Those of a file; none if it cannot be read or has lost them.
    pub fn of(path: &Path) -> Self {
        let sections = File::open(path).ok().and_then(|file| {
            let data = ReadCache::new(file);
            let elf = object::File::parse(&data).ok()?;
            let with_code = elf.sections().filter(|section| section.kind() == SectionKind::Text);
            let ranges = with_code.map(|section| {
                let start = section.address();
                Range { start, end: start.saturating_add(section.size()) }
            });
            Some(ranges.collect())
        });
        Self(sections.unwrap_or_default())
    }

    /// Whether one section has both addresses.
    pub fn are_same(&self, one: u64, other: u64) -> bool {
        self.0.iter().any(|section| {
            let range = section.start..section.end;
            range.contains(&one) && range.contains(&other)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_and_what_runs_before_it_are_two_sections() {
        let path = std::env::current_exe().unwrap();
        let data = std::fs::read(&path).unwrap();
        let elf: object::File<'_> = object::File::parse(&*data).unwrap();
        let start = |name| elf.section_by_name(name).unwrap().address();
        let (text, init) = (start(".text"), start(".init"));
        let sections = Sections::of(&path);
        assert!(sections.are_same(text, text + 100));
        assert!(!sections.are_same(init, text) && !sections.are_same(text, u64::MAX));
        assert!(!Sections::of(Path::new("/proc/self/maps")).are_same(text, text));
    }
}
