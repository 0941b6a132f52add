//! What a report says of resident memory.

use serde_json::Value;

use super::{observe::kernel_version, report::Report};

/// A mebibyte.
pub const MIB: u64 = 1 << 20;

/// The decomposition of one process.
pub struct Decomposition<'report>(&'report Value);

impl Report {
    /// What the RSS of a process consists of.
    #[track_caller]
    pub fn decomposition(&self, process: usize) -> Decomposition<'_> {
        let decomposition = &self.0["processes"][process]["decomposition"];
        assert!(decomposition.is_object(), "{}", self.0["notes"]);
        Decomposition(decomposition)
    }

    /// Resident bytes and users of the segment with this in its name.
    #[track_caller]
    pub fn segment(&self, name: &str) -> (u64, Vec<(u64, u64)>) {
        let segments = self.0["segments"].as_array().expect("segments");
        let is_wanted =
            |segment: &&Value| segment["name"].as_str().is_some_and(|n| n.contains(name));
        let segment = segments.iter().find(is_wanted);
        let segment = segment.unwrap_or_else(|| panic!("no segment {name}: {segments:?}"));
        assert_eq!(segment["exact"], true);
        let number = |value: &Value| value.as_u64().expect("a number");
        let users = segment["users"].as_array().expect("users").iter();
        let users = users.map(|user| (number(&user["process"]), number(&user["resident_bytes"])));
        (number(&segment["resident_bytes"]), users.collect())
    }
}

impl Decomposition<'_> {
    /// A number of it.
    pub fn bytes(&self, name: &str) -> u64 {
        self.0[name].as_u64().expect("a number")
    }

    /// Resident bytes of a class.
    pub fn class(&self, name: &str) -> u64 {
        self.0["parts"][name].as_u64().unwrap_or(0)
    }

    /// Fails unless the classes add up to what the kernel counts, and that is what was seen from
    /// outside at about the same time.
    #[track_caller]
    pub fn assert_adds_up(&self, seen: u64) {
        let parts = self.0["parts"].as_object().expect("parts");
        let sum: u64 = parts.values().map(|bytes| bytes.as_u64().expect("a number")).sum();
        let resident = self.bytes("resident_bytes");
        let remainder = self.0["remainder_bytes"].as_i64().expect("a number");
        assert_eq!(sum.wrapping_add_signed(remainder), resident, "{}", self.0);
        assert!(remainder.unsigned_abs() <= resident / 50 + lag(), "{}", self.0);
        assert!(resident.abs_diff(seen) <= seen / 50, "{} seen, {}", seen, self.0);
    }
}

/// By how much the kernel's count may lag behind. Before Linux 6.2 each thread counts sixty-four page
/// faults by itself first, and with a fault come up to sixteen pages of a file.
fn lag() -> u64 {
    if kernel_version() < [6, 2] { 4 * MIB } else { 0 }
}

/// As [`assert_close`], of what the kernel counts.
#[track_caller]
pub fn assert_counted(actual: u64, expected: u64, slack: u64) {
    assert_close(actual + lag(), expected, slack + lag());
}

/// Fails unless a number is at most this far above another.
#[track_caller]
pub fn assert_close(actual: u64, expected: u64, slack: u64) {
    let range = expected..=expected + slack;
    assert!(range.contains(&actual), "{actual} is not within {slack} above {expected}");
}
