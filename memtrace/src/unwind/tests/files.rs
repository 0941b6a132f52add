//! Where call frame information is found, and what becomes of it.

use std::{fs, iter};

use memtrace_abi::unwind::{Cfa, Fp, Rule};

use super::fixtures::{assert_sound, libc, library, own_program, vdso};
use crate::unwind::UnwindTable;

/// Functions as compilers do not write them, at known distances from the first.
const ASSEMBLY: &str = "
    .text
    .cfi_startproc
    nop
    mov $15, %rax
    syscall
    .cfi_endproc
    .org 0x40
    .cfi_startproc
    .cfi_undefined rip
    nop
    .cfi_endproc
    .org 0x50
    .cfi_startproc
    .cfi_register rip, rdi
    nop
    .cfi_endproc
    .org 0x61
    .cfi_startproc
    nop
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset rbp, 0
    nop
    .cfi_escape 0x0f, 5, 0x76, 0x78, 0x06, 0x23, 0x10
    .cfi_escape 0x10, 6, 2, 0x76, 0
    nop
    .cfi_escape 0x0f, 11, 0x77, 8, 0x80, 0, 0x3f, 0x1a, 0x3a, 0x2a, 0x33, 0x24, 0x22
    .cfi_same_value rbp
    nop
    .cfi_def_cfa r10, 0
    nop
    .cfi_endproc
    .org 0x80
    .cfi_startproc
    .cfi_signal_frame
    nop
    .cfi_endproc
    .org 0xa0
    .cfi_startproc
    .cfi_val_offset rsp, 16
    nop
    .cfi_endproc
";

/// No calls to what other libraries may replace: for those the linker adds functions.
const SOURCE: &str = "
    __attribute__((noinline)) static long sum(const long *values, long count) {
        volatile long copy[64];
        for (long i = 0; i < count; i++) copy[i % 64] = values[i];
        return copy[0];
    }
    long twice(const long *values, long count) { return sum(values, count) * 2; }
";

fn parse(bytes: &[u8]) -> UnwindTable {
    let table = UnwindTable::parse(bytes).unwrap();
    assert_sound(&table);
    table
}

fn parse_library(source: &str, language: &str, options: &[&str]) -> UnwindTable {
    let library = library(source, language, options);
    parse(&fs::read(library.path()).unwrap())
}

fn resolved(table: &UnwindTable) -> Vec<(u64, Rule)> {
    let first = table.rows[0].address;
    let rule = |index: u16| table.rules[usize::from(index)];
    table.rows.iter().map(|row| (row.address - first, rule(row.rule))).collect()
}

#[test]
fn rules_are_read_as_written() {
    let table = parse_library(ASSEMBLY, "assembler", &["-nostdlib"]);
    let bare = |cfa: Cfa| Rule { cfa: cfa as u8, ..Rule::default() };
    let sp = Rule { cfa_offset: 8, ..bare(Cfa::Sp) };
    let pushed = Rule { cfa_offset: 16, fp: Fp::AtCfa as u8, fp_offset: -16, ..bare(Cfa::Sp) };
    let realigned =
        Rule { cfa_offset: -8, cfa_addend: 16, fp: Fp::AtFp as u8, ..bare(Cfa::FpDeref) };
    let expected = [
        (0, bare(Cfa::Signal)),
        (10, bare(Cfa::Unknown)),
        (0x40, bare(Cfa::End)),
        // 15 bytes behind the end of the one before: no gap.
        (0x50, Rule { cfa_offset: 8, ..bare(Cfa::ReturnInRdi) }),
        (0x51, bare(Cfa::Unknown)),
        (0x61, sp),
        (0x62, pushed),
        (0x63, realigned),
        (0x64, Rule { cfa_offset: 10, ..bare(Cfa::Plt) }),
        (0x65, bare(Cfa::Unsupported)),
        (0x66, bare(Cfa::Unknown)),
        (0x80, bare(Cfa::Signal)),
        (0x81, bare(Cfa::Unknown)),
        (0xa0, bare(Cfa::Unsupported)),
        (0xa1, bare(Cfa::Unknown)),
    ];
    assert_eq!(resolved(&table), expected);
    assert_eq!(table.skipped, 0);
}

#[test]
fn sections_are_not_needed() {
    let mut libc = libc();
    let with_sections = parse(&libc);
    // e_shoff, and e_shentsize to e_shstrndx
    libc[0x28..0x30].fill(0);
    libc[0x3a..0x40].fill(0);
    assert_eq!(parse(&libc), with_sections);
    assert!(with_sections.rows.len() > 1000);
}

#[test]
fn the_bytes_may_lie_anywhere() {
    let mut shifted = vdso();
    shifted.insert(0, 0);
    assert_eq!(parse(&shifted[1..]), parse(&vdso()));
}

#[test]
fn debug_frame_says_the_same_as_eh_frame() {
    let table = |options: &[&str]| resolved(&parse_library(SOURCE, "c", options));
    let eh_frame = table(&["-nostdlib"]);
    let options = ["-nostdlib", "-g", "-fno-asynchronous-unwind-tables"];
    assert_eq!(table(&options), eh_frame);
    assert_eq!(table(&[&options[..], &["-gz"]].concat()), eh_frame);
    assert!(eh_frame.len() > 3);
}

#[test]
fn a_file_without_call_frame_information_has_an_empty_table() {
    let options = ["-nostdlib", "-fno-asynchronous-unwind-tables"];
    assert!(parse_library(SOURCE, "c", &options).rows.is_empty());
}

#[test]
fn the_vdso_has_a_table() {
    let table = parse(&vdso());
    assert!(table.rows.len() > 5);
    assert_eq!(table.skipped, 0);
}

#[test]
fn nothing_but_x86_64_elf_files_is_read() {
    assert!(UnwindTable::parse(b"").is_err());
    assert!(UnwindTable::parse(&[0; 64]).is_err());
    let mut arm = vdso();
    arm[0x12] = 183;
    assert!(UnwindTable::parse(&arm).is_err());
}

#[test]
fn pages_cover_all_rows_in_order() {
    let table = parse(&own_program());
    let rows: Vec<_> = table
        .pages()
        .flat_map(|(page, rows)| iter::repeat(page).zip(rows))
        .inspect(|(page, row)| assert_eq!(row.address >> 16, *page))
        .map(|(_, row)| *row)
        .collect();
    assert_eq!(rows, table.rows);
    let pages = table.pages().map(|(page, _)| page);
    assert!(pages.is_sorted_by(|a, b| a < b));
}
