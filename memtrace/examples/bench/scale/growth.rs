//! Costs by size, and how they grow.

use memtrace::report::units::{Count, Size};

use crate::{
    figures::{Contents, Line, Panel},
    statistics::exponent,
};

/// Exponents up to this are linear: what is above 1 is within what measurements scatter by.
const LINEAR: f64 = 1.1;

/// Everything that was measured with sizes of one kind.
pub struct Growth {
    /// What grows: "processes".
    pub size: &'static str,
    /// Names and units of the costs.
    pub costs: Vec<(&'static str, Unit)>,
    /// Sizes, ascending, each with its costs.
    pub rows: Vec<(u64, Vec<f64>)>,
    /// What a reader must know besides.
    pub remarks: Vec<String>,
}

/// What a cost is measured in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Milliseconds,
    Bytes,
    /// Bytes of each: does not count as growth.
    BytesEach,
    /// Nanoseconds of each: does not count as growth.
    NanosecondsEach,
}

impl Unit {
    fn text(self, value: f64) -> String {
        match self {
            Self::Milliseconds if value < 10_000.0 => format!("{value:.0} ms"),
            Self::Milliseconds => format!("{:.1} s", value / 1e3),
            Self::Bytes => Size(whole(value)).to_string(),
            Self::BytesEach => format!("{value:.0} B"),
            Self::NanosecondsEach => format!("{value:.0} ns"),
        }
    }

    fn grows(self) -> bool {
        matches!(self, Self::Milliseconds | Self::Bytes)
    }
}

#[expect(clippy::cast_sign_loss, reason = "a measured size is not negative")]
fn whole(value: f64) -> u64 {
    value.round() as u64
}

impl Growth {
    /// Prints the table, and in words whether a cost grows faster than linearly.
    pub fn print(&self) {
        let names: Vec<&str> = self.costs.iter().map(|(name, _)| *name).collect();
        println!(
            "| {} | {} |\n|---:|{}",
            self.size,
            names.join(" | "),
            "---:|".repeat(names.len())
        );
        for (size, values) in &self.rows {
            let cells = self.costs.iter().zip(values).map(|((_, unit), value)| unit.text(*value));
            println!("| {} | {} |", Count(*size), cells.collect::<Vec<_>>().join(" | "));
        }
        let cells: Vec<String> =
            (0..self.costs.len()).map(|cost| self.exponent_text(cost)).collect();
        println!("| grows as | {} |\n", cells.join(" | "));
        println!("{}\n", self.verdict());
        self.remarks.iter().for_each(|remark| println!("{remark}\n"));
    }

    fn exponent_text(&self, cost: usize) -> String {
        if !self.costs[cost].1.grows() {
            return String::new();
        }
        self.exponent(cost)
            .map_or_else(|| "hardly".to_owned(), |exponent| format!("n^{exponent:.2}"))
    }

    fn exponent(&self, cost: usize) -> Option<f64> {
        let points = self.rows.iter().map(|(size, values)| (*size as f64, values[cost]));
        exponent(&points.collect::<Vec<_>>())
    }

    fn verdict(&self) -> String {
        let fast = self.costs.iter().enumerate().filter_map(|(cost, (name, unit))| {
            let exponent = self.exponent(cost).filter(|it| unit.grows() && *it > LINEAR)?;
            Some(format!("{name} (n^{exponent:.2})"))
        });
        match fast.collect::<Vec<_>>() {
            fast if fast.is_empty() => {
                format!("Nothing grows faster than linearly with the number of {}.", self.size)
            }
            fast => format!(
                "Faster than linearly with the number of {}: {}.",
                self.size,
                fast.join(", ")
            ),
        }
    }

    /// The costs that grow, to be drawn.
    pub fn panel(&self) -> Panel {
        let grows = self.costs.iter().enumerate().filter(|(_, (_, unit))| unit.grows());
        let lines = grows.map(|(cost, (name, _))| {
            let first = self.rows[0].1[cost];
            let points =
                self.rows.iter().map(|(size, values)| (*size as f64, values[cost] / first));
            // What costs nothing has no place on a logarithmic scale.
            let points = points.filter(|(_, value)| value.is_finite() && *value > 0.0);
            Line { name: (*name).to_owned(), points: points.collect() }
        });
        let contents = Contents::Lines { size: self.size.to_owned(), lines: lines.collect() };
        Panel { title: format!("Number of {}", self.size), contents }
    }
}
