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

/// The exponent with which a cost grows from the last size but one to the last: 1 is linear.
///
/// What everything costs, however small, keeps it below that of what comes on top. `None` if the
/// cost grows by no more than equal runs differ by.
pub fn exponent(points: &[(f64, f64)]) -> Option<f64> {
    /// Factor by which equal runs differ on a quiet machine.
    const NOISE: f64 = 1.15;
    let [.., before, last] = points else { return None };
    (last.1 > NOISE * before.1).then(|| (last.1 / before.1).ln() / (last.0 / before.0).ln())
}
