//! Durations and sizes as people type them.

use std::time::Duration;

use clap::builder::RangedU64ValueParser;
use jiff::SignedDuration;
use memtrace_abi::sampling::MAX_INTERVAL;

use crate::profile::BasisPoints;

/// Process ids are positive and fit the kernel's `pid_t`.
pub(super) fn process_id(text: &str) -> Result<u32, String> {
    let id = text.parse().ok().filter(|id| (1..=i32::MAX as u32).contains(id));
    id.ok_or_else(|| "not a process id".to_owned())
}

/// `30s`, `5m`, `1h30m`; a bare number is seconds, also with a fraction.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let duration = match seconds {
        Some(duration) => duration,
        None => text
            .parse::<SignedDuration>()
            .ok()
            .and_then(|duration| Duration::try_from(duration).ok())
            .ok_or("not a duration; write it like 0.5s, 30s, 5m or 1h30m")?,
    };
    if duration.is_zero() {
        return Err("must be longer than nothing".to_owned());
    }
    Ok(duration)
}

/// `512KiB`, `1MiB`, `65536`. `k`, `M` and `G` alone are binary, too.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| HOW_TO_WRITE_SIZES)?;
    let shift = match unit.trim_start().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kib" => 10,
        "m" | "mib" => 20,
        "g" | "gib" => 30,
        "t" | "tib" => 40,
        _ => return Err(HOW_TO_WRITE_SIZES.to_owned()),
    };
    number.checked_mul(1 << shift).ok_or_else(|| "more than any machine has".to_owned())
}

/// As [`size`], of what one sample stands for.
pub(super) fn sample_interval(text: &str) -> Result<u64, String> {
    match size(text) {
        Ok(0) => Err("must be at least one byte; without it every allocation counts".to_owned()),
        Ok(bytes) if bytes <= MAX_INTERVAL => Ok(bytes),
        Ok(_) => Err("at most 64GiB".to_owned()),
        Err(error) => Err(error),
    }
}

const HOW_TO_WRITE_SIZES: &str = "not a size; write it like 512KiB, 1MiB or 65536";

/// `10`, `2.5%`, or `unlimited`, which is `None`; all of a process's time is no limit either.
pub(super) fn max_overhead(text: &str) -> Result<MaxOverhead, String> {
    if text == "unlimited" {
        return Ok(MaxOverhead(None));
    }
    let number = text.strip_suffix('%').unwrap_or(text).trim_end();
    let percent: f64 = number.parse().map_err(|_| HOW_TO_WRITE_SHARES)?;
    match percent {
        100.0.. => Ok(MaxOverhead(None)),
        0.01..100.0 => Ok(MaxOverhead(Some(basis_points(percent)))),
        _ => Err("must be at least 0.01 percent".to_owned()),
    }
}

/// Of a percentage that is not negative.
#[expect(clippy::cast_sign_loss, reason = "the caller has seen to it")]
fn basis_points(percent: f64) -> BasisPoints {
    BasisPoints((percent * 100.0).round() as u32)
}

const HOW_TO_WRITE_SHARES: &str = "not a percentage; write it like 10, 2.5% or unlimited";

/// A limit for the probes' share of a process's CPU time; `None`: no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MaxOverhead(pub(super) Option<BasisPoints>);

/// Entries of a kernel map.
pub(super) fn map_size() -> RangedU64ValueParser<u32> {
    RangedU64ValueParser::new().range(1024..=1 << 28)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_unit_or_are_seconds() {
        assert_eq!(duration("30"), Ok(Duration::from_secs(30)));
        assert_eq!(duration("0.5"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("0.5s"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(duration("1h30m"), Ok(Duration::from_mins(90)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert!(duration("0s").is_err());
        for text in ["-5s", "-5", "inf", "NaN", "1e99"] {
            assert!(duration(text).is_err(), "{text}");
        }
        assert!(duration("soon").is_err());
    }

    #[test]
    fn sizes_are_binary() {
        assert_eq!(sample_interval("512KiB"), Ok(512 << 10));
        assert_eq!(sample_interval("1 MiB"), Ok(1 << 20));
        assert_eq!(sample_interval("64k"), Ok(64 << 10));
        assert_eq!(sample_interval("4096"), Ok(4096));
        assert!(sample_interval("1TB").is_err());
        assert!(sample_interval("99999999999GiB").is_err());
        assert!(sample_interval("").is_err());
        assert!(sample_interval("0").is_err());
    }

    #[test]
    fn all_of_the_time_is_no_limit() {
        let limit = |text: &str| max_overhead(text).map(|MaxOverhead(limit)| limit);
        assert_eq!(limit("10"), Ok(Some(BasisPoints(1_000))));
        assert_eq!(limit("2.5 %"), Ok(Some(BasisPoints(250))));
        for unlimited in ["unlimited", "100", "100%", "1e9"] {
            assert_eq!(limit(unlimited), Ok(None), "{unlimited}");
        }
        for wrong in ["", "0", "-1", "NaN", "ten", "%", "0.001"] {
            assert!(limit(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn process_ids_are_positive() {
        assert_eq!(process_id("4242"), Ok(4242));
        for text in ["0", "-1", "2147483648", "python", ""] {
            assert!(process_id(text).is_err(), "{text}");
        }
    }
}
