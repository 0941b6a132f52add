//! What a benchmark leaves to be drawn: written by the program that measures, read by the one that
//! draws.

use serde::{Deserialize, Serialize};

/// A drawing.
#[derive(Debug, Serialize, Deserialize)]
pub struct Figure {
    /// Of the file, without its extension.
    pub name: String,
    /// What it shows.
    pub title: String,
    /// Drawn two beside each other.
    pub panels: Vec<Panel>,
}

/// A part of a drawing.
#[derive(Debug, Serialize, Deserialize)]
pub struct Panel {
    /// What it shows.
    pub title: String,
    /// What is drawn.
    pub contents: Contents,
}

/// What a panel draws.
#[derive(Debug, Serialize, Deserialize)]
pub enum Contents {
    /// Ratios to 1, on a logarithmic scale.
    Bars(Vec<Bar>),
    /// Growth with a size, both on logarithmic scales.
    Lines {
        /// What the sizes are sizes of.
        size: String,
        /// One for each cost.
        lines: Vec<Line>,
    },
}

/// One ratio.
#[derive(Debug, Serialize, Deserialize)]
pub struct Bar {
    /// What has it.
    pub name: String,
    /// The ratio.
    pub value: f64,
    /// How it is written.
    pub text: String,
    /// Whether it is memtrace's.
    pub own: bool,
}

/// How one cost grows.
#[derive(Debug, Serialize, Deserialize)]
pub struct Line {
    /// What it is.
    pub name: String,
    /// Sizes, and the cost in units of the cost of the smallest size.
    pub points: Vec<(f64, f64)>,
}
