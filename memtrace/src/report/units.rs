//! Quantities as people read them: sizes with IEC units, times, counts, shares.

use std::{fmt, time::Duration};

/// Bytes, with three or four digits and an IEC unit.
#[derive(Clone, Copy, Debug)]
pub struct Size(pub u64);

/// A time span, in the units that suit its length.
#[derive(Clone, Copy, Debug)]
pub struct Elapsed(pub Duration);

/// A number with its thousands apart.
#[derive(Clone, Copy, Debug)]
pub struct Count(pub u64);

/// A number of things, which have a plural in `s` or `es`: `1 block`, `2 blocks`, `3 losses`.
#[derive(Clone, Copy, Debug)]
pub struct Things(pub u64, pub &'static str);

/// A part of a whole, in percent.
#[derive(Clone, Copy, Debug)]
pub struct Share(pub u64, pub u64);

const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < 1024 {
            return f.pad(&format!("{} B", self.0));
        }
        let mut size = real(self.0) / 1024.0;
        let mut units = UNITS.into_iter();
        let mut unit = units.next().unwrap_or_default();
        // What would round to 1024 belongs to the next unit.
        while size >= 1023.5 {
            size /= 1024.0;
            unit = units.next().unwrap_or_default();
        }
        let decimals = if size < 9.995 { 2 } else { usize::from(size < 99.95) };
        f.pad(&format!("{size:.decimals$} {unit}"))
    }
}

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, exact) = (self.0.as_secs(), self.0.as_secs_f64());
        f.pad(&match seconds {
            0 => format!("{} ms", self.0.as_millis()),
            1..60 => format!("{exact:.1} s"),
            60..3_600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
            _ => format!("{} h {:02} min", seconds / 3_600, seconds / 60 % 60),
        })
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        let mut grouped = String::new();
        for (index, digit) in digits.chars().enumerate() {
            if index > 0 && (digits.len() - index).is_multiple_of(3) {
                grouped.push(',');
            }
            grouped.push(digit);
        }
        f.pad(&grouped)
    }
}

impl Things {
    /// Their name without their number.
    #[must_use]
    pub fn name(&self) -> String {
        let plural = match self.0 {
            1 => "",
            _ if self.1.ends_with('s') => "es",
            _ => "s",
        };
        format!("{}{plural}", self.1)
    }
}

impl fmt::Display for Things {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", Count(self.0), self.name())
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = 100.0 * real(self.0) / real(self.1.max(1));
        f.pad(&if self.0 > 0 && percent < 0.1 {
            "<0.1 %".to_owned()
        } else {
            format!("{percent:.1} %")
        })
    }
}

#[expect(clippy::cast_precision_loss, reason = "a few digits are shown")]
const fn real(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_keep_three_digits() {
        let sizes = [0, 1_023, 1_024, 10_235, 1_048_063, 1_048_064, 550 << 20, 3_900_000_000];
        let texts = sizes.map(|size| Size(size).to_string());
        assert_eq!(
            texts,
            [
                "0 B", "1023 B", "1.00 KiB", "10.0 KiB", "1023 KiB", "1.00 MiB", "550 MiB",
                "3.63 GiB"
            ]
        );
        assert_eq!(Size(u64::MAX).to_string(), "16.0 EiB");
        assert_eq!(format!("{:>9}|", Size(1)), "      1 B|");
    }

    #[test]
    fn times_suit_their_length() {
        let times = [5, 1_500, 125_000, 7_380_000].map(Duration::from_millis);
        let texts = times.map(|time| Elapsed(time).to_string());
        assert_eq!(texts, ["5 ms", "1.5 s", "2 min 05 s", "2 h 03 min"]);
    }

    #[test]
    fn one_thing_is_no_plural() {
        let texts = [(1, "loss"), (2, "loss"), (1, "block"), (0, "block")];
        let texts = texts.map(|(count, thing)| Things(count, thing).to_string());
        assert_eq!(texts, ["1 loss", "2 losses", "1 block", "0 blocks"]);
    }

    #[test]
    fn counts_and_shares_are_readable() {
        assert_eq!(
            [999, 1_000, 1_234_567].map(|n| Count(n).to_string()),
            ["999", "1,000", "1,234,567"]
        );
        let shares = [Share(1, 3), Share(1, 10_000), Share(0, 0), Share(7, 7)];
        assert_eq!(shares.map(|share| share.to_string()), ["33.3 %", "<0.1 %", "0.0 %", "100.0 %"]);
    }
}
