//! How long tasks have waited for memory (PSI, Linux 4.20).

use std::{fs, time::Duration};

/// On the whole machine, since it was started; `None`: the kernel does not say.
#[must_use]
pub fn of_machine() -> Option<Duration> {
    stalled(&fs::read_to_string("/proc/pressure/memory").ok()?)
}

/// From `some avg10=0.50 avg60=0.17 avg300=0.03 total=156563`: at least one task waited.
pub(super) fn stalled(text: &str) -> Option<Duration> {
    let some = text.lines().find_map(|line| line.strip_prefix("some "))?;
    let total = some.split(' ').find_map(|word| word.strip_prefix("total="))?;
    Some(Duration::from_micros(total.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_of_some_counts() {
        let text = "some avg10=0.50 avg60=0.17 avg300=0.03 total=1500\nfull avg10=0 total=7\n";
        assert_eq!(stalled(text), Some(Duration::from_micros(1500)));
        assert_eq!(stalled("full avg10=0 total=7\n"), None);
    }
}
