//! Files as an enemy would write them.

use std::{fs, sync::LazyLock};

use object::{Object as _, ObjectSection as _};
use proptest::{prelude::*, sample::Index};

use super::fixtures::{assert_sound, libc, library, vdso};
use crate::unwind::UnwindTable;

static VDSO: LazyLock<Vec<u8>> = LazyLock::new(vdso);
static LIBC: LazyLock<Vec<u8>> = LazyLock::new(libc);
static DEBUG_FRAME: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let options = ["-nostdlib", "-g", "-gz", "-fno-asynchronous-unwind-tables"];
    fs::read(library("int f(void) { return 1; }", "c", &options).path()).unwrap()
});

type Changes = Vec<(Index, u8)>;

fn changes() -> impl Strategy<Value = Changes> {
    prop::collection::vec((any::<Index>(), any::<u8>()), 1..16)
}

fn apply(bytes: &mut [u8], changes: &Changes) {
    for (index, value) in changes {
        bytes[index.index(bytes.len())] = *value;
    }
}

fn parse(bytes: &[u8]) {
    if let Ok(table) = UnwindTable::parse(bytes) {
        assert_sound(&table);
    }
}

proptest! {
    #[test]
    fn changed_images_never_make_an_unsound_table(changes in changes(), length in any::<Index>()) {
        for image in [&VDSO, &DEBUG_FRAME] {
            let mut bytes = image.to_vec();
            apply(&mut bytes, &changes);
            parse(&bytes);
            bytes.truncate(length.index(bytes.len()));
            parse(&bytes);
        }
    }

    #[test]
    fn changed_headers_never_make_an_unsound_table(changes in changes()) {
        let mut bytes = VDSO.to_vec();
        apply(&mut bytes[..0x200], &changes);
        parse(&bytes);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn changed_call_frame_information_never_makes_an_unsound_table(
        changes in prop::collection::vec((any::<Index>(), any::<u8>()), 1..500),
    ) {
        let file = object::File::parse(&**LIBC).unwrap();
        let eh_frame = file.section_by_name(".eh_frame").unwrap();
        let (offset, length) = eh_frame.file_range().unwrap();
        let mut bytes = LIBC.clone();
        apply(&mut bytes[offset as usize..][..length as usize], &changes);
        parse(&bytes);
    }
}

#[test]
fn a_broken_function_leaves_the_others_alone() {
    let mut bytes = LIBC.clone();
    let file = object::File::parse(&**LIBC).unwrap();
    let (offset, _) = file.section_by_name(".eh_frame").unwrap().file_range().unwrap();
    let sound = UnwindTable::parse(&bytes).unwrap();
    // The first entry is common to functions, the second describes one: an unknown instruction.
    let length = |at: usize| 4 + u32::from_le_bytes(LIBC[at..at + 4].try_into().unwrap()) as usize;
    let function = offset as usize + length(offset as usize);
    bytes[function + length(function) - 1] = 0x3f;
    let table = UnwindTable::parse(&bytes).unwrap();
    assert_eq!(table.skipped, sound.skipped + 1);
    assert!(table.rows.len() + 100 > sound.rows.len());
    assert_ne!(table.rows, sound.rows);
}
