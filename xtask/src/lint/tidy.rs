//! The rules of the source tree that no compiler checks: file heads, sizes, and who may use what.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};

use crate::say;

const FOLDERS: [&str; 4] = ["memtrace", "memtrace-ebpf", "tests", "xtask"];
const LOADER: &str = "memtrace/src/";
const MAX_LINES: usize = 400;

/// A word, and the only module of the loader that may say it.
const HOMES: [(&str, &str); 8] = [
    ("/proc", "process"),
    ("aya", "kernel"),
    ("aya_log", "kernel"),
    ("aya_obj", "kernel"),
    ("clap", "cli"),
    ("inferno", "report/flamegraph"),
    ("plotters", "report/chart"),
    ("procfs", "process"),
];

/// Says every finding, and is an error if there is one.
pub fn check() -> Result<()> {
    let mut files = Vec::new();
    for folder in FOLDERS {
        collect(Path::new(folder), &mut files)?;
    }
    files.sort();
    let mut findings = Vec::new();
    for file in &files {
        let source =
            fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
        findings.extend(examine(&file.to_string_lossy(), &source));
    }
    for finding in &findings {
        say(finding);
    }
    ensure!(findings.is_empty(), "tidy: {} findings", findings.len());
    say(&format!("tidy: {} files, no findings", files.len()));
    Ok(())
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))?;
    for entry in entries {
        let path = entry.with_context(|| format!("list {}", folder.display()))?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

fn examine(path: &str, source: &str) -> Vec<String> {
    let mut findings = Vec::new();
    if !source.starts_with("//!") {
        findings.push(format!("{path}:1: starts without `//!`: say what the file is for"));
    }
    let lines = source.lines().count();
    if lines > MAX_LINES {
        findings.push(format!("{path}: {lines} lines, the limit is {MAX_LINES}: split it"));
    }
    if let Some(module) = path.strip_prefix(LOADER)
        && !is_test(module)
    {
        findings.extend(misplaced(path, module, source));
    }
    findings
}

/// Unit tests that are too long for the end of their module's file.
fn is_test(module: &str) -> bool {
    module.contains("/tests/") || module.ends_with("/tests.rs")
}

fn misplaced(path: &str, module: &str, source: &str) -> Vec<String> {
    let mut findings = Vec::new();
    for (number, line) in code(source) {
        for (word, home) in HOMES {
            if !is_in(module, home) && says(line, word) {
                findings.push(format!("{path}:{number}: `{word}` belongs to `{home}` alone"));
            }
        }
        if is_in(module, "profile") && imports_another_module(line) {
            findings.push(format!("{path}:{number}: `profile` imports no other module"));
        }
    }
    findings
}

/// The numbered lines before the unit tests, without their comments.
fn code(source: &str) -> impl Iterator<Item = (usize, &str)> {
    let tests = source.find("#[cfg(test)]\nmod ").unwrap_or(source.len());
    let lines = source[..tests].lines().enumerate();
    lines.map(|(index, line)| (index + 1, without_comment(line)))
}

/// A `//` after anything but a space is taken for a part of a string, as in an address.
fn without_comment(line: &str) -> &str {
    if line.trim_start().starts_with("//") {
        return "";
    }
    line.split_once(" //").map_or(line, |(code, _comment)| code)
}

fn is_in(module: &str, home: &str) -> bool {
    let rest = module.strip_prefix(home);
    rest.is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
}

fn says(line: &str, word: &str) -> bool {
    let part_of_name = |character: char| character.is_alphanumeric() || character == '_';
    line.match_indices(word).any(|(start, _)| {
        let before = line[..start].chars().next_back();
        let after = line[start + word.len()..].chars().next();
        let starts = word.starts_with('/') || !before.is_some_and(part_of_name);
        starts && !after.is_some_and(part_of_name)
    })
}

fn imports_another_module(line: &str) -> bool {
    let mut paths = line.match_indices("crate::");
    paths.any(|(start, found)| {
        let rest = &line[start + found.len()..];
        !rest.strip_prefix("profile").is_some_and(|rest| rest.starts_with("::"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_says_what_it_is_for() {
        assert_eq!(examine("xtask/src/main.rs", "//! The commands.\n"), [""; 0]);
        assert_eq!(examine("xtask/src/main.rs", "use std::fs;\n").len(), 1);
    }

    #[test]
    fn a_long_file_is_found() {
        let long = "//! Long.\n".repeat(MAX_LINES + 1);
        assert_eq!(examine("tests/end_to_end.rs", &long).len(), 1);
        assert_eq!(examine("tests/end_to_end.rs", &long[10..]).len(), 0);
    }

    #[test]
    fn a_word_away_from_home_is_found() {
        let source = "//! Reads.\nuse aya::Ebpf;\nlet maps = \"/proc/1/maps\";\n";
        let found = examine("memtrace/src/session.rs", source);
        assert_eq!(
            found,
            [
                "memtrace/src/session.rs:2: `aya` belongs to `kernel` alone",
                "memtrace/src/session.rs:3: `/proc` belongs to `process` alone",
            ]
        );
        assert_eq!(examine("memtrace/src/kernel/maps.rs", "//! Maps.\nuse aya::Ebpf;\n"), [""; 0]);
        assert_eq!(examine("xtask/src/demo.rs", source), [""; 0]);
        assert_eq!(examine("memtrace/src/session/tests/exec.rs", source), [""; 0]);
        assert_eq!(examine("memtrace/src/session/contests.rs", source).len(), 2);
    }

    #[test]
    fn comments_tests_and_longer_names_are_no_use_of_a_word() {
        let source = "//! Not aya.\n\
                      let clapping = 1; // clap\n\
                      let url = \"https://inferno_\";\n\
                      let path = \"/process\";\n\
                      #[cfg(test)]\nmod tests { use aya::Pod; }\n";
        assert_eq!(examine("memtrace/src/session.rs", source), [""; 0]);
    }

    #[test]
    fn the_profile_imports_no_other_module() {
        let own = "//! The model.\nuse crate::profile::stack::Stack;\nuse super::Row;\n";
        assert_eq!(examine("memtrace/src/profile/live.rs", own), [""; 0]);
        let other = "//! The model.\nuse crate::symbolize::Frame;\n";
        assert_eq!(examine("memtrace/src/profile.rs", other).len(), 1);
        assert_eq!(examine("memtrace/src/report.rs", other).len(), 0);
    }
}
