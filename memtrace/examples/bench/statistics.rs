//! Many measurements as one number.

/// The middle one, or NaN of none.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The slope of the line through points that is closest to them, by least squares.
pub fn slope(points: &[(f64, f64)]) -> f64 {
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x_mean, y_mean) = (mean(|point| point.0), mean(|point| point.1));
    let sum = |of: &dyn Fn(f64, f64) -> f64| -> f64 {
        points.iter().map(|(x, y)| of(x - x_mean, y - y_mean)).sum()
    };
    sum(&|x, y| x * y) / sum(&|x, _| x * x)
}

/// The exponent with which a cost grows: 1 is linear.
///
/// What the smallest size costs is what everything costs, however small, so only what comes on top
/// of it is looked at: between the last size and the one before. `None` if the last size costs so
/// little more that the difference is no more than what two equal runs may differ by.
pub fn exponent(points: &[(f64, f64)]) -> Option<f64> {
    /// Part of a cost by which equal runs differ on a quiet machine.
    const NOISE: f64 = 0.15;
    let [first, .., before, last] = points else { return None };
    let (x_before, y_before) = (before.0 - first.0, before.1 - first.1);
    let (x_last, y_last) = (last.0 - first.0, last.1 - first.1);
    if y_last <= NOISE * first.1 {
        return None;
    }
    // A difference that is lost in noise is taken to be as large as noise hides.
    let y_before = y_before.max(NOISE * first.1 * x_before / x_last);
    Some((y_last / y_before).ln() / (x_last / x_before).ln())
}
