//! How much of a process's resident memory is its own, as `/proc/PID/smaps_rollup` tells it.

use anyhow::Context as _;

use super::Process;

/// The file has some twenty short lines.
const LIMIT: u64 = 16 << 10;

/// Resident memory by who else has it, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sharing {
    /// Nobody else has it mapped.
    pub private: u64,
    /// Others have it mapped as well: shared memory, pages of files, what was forked and not
    /// written to since.
    pub shared: u64,
    /// Private memory, and of each shared page the part that falls to one of those who have it.
    pub proportional: u64,
}

impl Process {
    /// Looks at every page that is mapped, which takes as long as a look at its residency.
    pub fn sharing(&self) -> anyhow::Result<Sharing> {
        let text = self
            .ask(|directory| directory.read("smaps_rollup", LIMIT))
            .with_context(|| format!("read how {} shares its memory", self.identity()))?;
        Ok(Sharing::parse(&text))
    }
}

impl Sharing {
    fn parse(text: &[u8]) -> Self {
        let field = |name: &str| {
            let lines =
                text.split(|&byte| byte == b'\n').filter_map(|line| std::str::from_utf8(line).ok());
            let values = lines.filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            let kibibytes =
                values.filter_map(|value| value.split_whitespace().next()?.parse().ok());
            kibibytes.map(|value: u64| value.saturating_mul(1024)).fold(0, u64::saturating_add)
        };
        Self {
            private: field("Private_Clean").saturating_add(field("Private_Dirty")),
            shared: field("Shared_Clean").saturating_add(field("Shared_Dirty")),
            proportional: field("Pss"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clean_and_dirty_pages_add_up() {
        let text = b"55d0-7ffd ---p 00000000 00:00 0 [rollup]\nRss: 100 kB\nPss:  70 kB\nPss_Dirty: 9 kB\n\
            Shared_Clean: 20 kB\nShared_Dirty: 20 kB\nPrivate_Clean: 10 kB\nPrivate_Dirty: 50 kB\n";
        let sharing = Sharing::parse(text);
        assert_eq!(
            [sharing.private, sharing.shared, sharing.proportional],
            [61_440, 40_960, 71_680]
        );
    }

    #[test]
    fn what_is_private_and_what_is_shared_add_up_to_the_rss() {
        let sleep = super::super::workload::Workload::spawn("sleep", &["1000"]);
        let process = Process::open(sleep.pid()).unwrap();
        let sharing = process.sharing().unwrap();
        let rss = process.status().unwrap().memory.resident;
        let sum = sharing.private + sharing.shared;
        assert!(sum.abs_diff(rss) <= rss / 2, "{sum} and {rss}");
        assert!((sharing.private..=sum).contains(&sharing.proportional));
    }
}
