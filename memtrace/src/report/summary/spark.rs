//! A line of text that shows how a quantity went up and down.

/// Cells from empty to full.
const CELLS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The values in at most `width` cells of equally many, the largest value as a full one. Each cell
/// shows the largest of its values.
pub(super) fn line(values: &[u64], width: usize) -> String {
    let most = values.iter().copied().max().unwrap_or(0).max(1);
    let cells = width.clamp(1, values.len().max(1));
    let cell = |index: usize| {
        let range = index * values.len() / cells..(index + 1) * values.len() / cells;
        let value = values[range].iter().copied().max().unwrap_or(0);
        let level = u128::from(value) * (CELLS.len() as u128 - 1);
        CELLS[level.div_ceil(u128::from(most)) as usize]
    };
    (0..cells).map(cell).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maxima_are_seen() {
        assert_eq!(line(&[0, 1, 7], 40), "▁▂█");
        let mut values = [5; 1_000];
        values[777] = u64::MAX;
        let line = line(&values, 10);
        assert_eq!(line.chars().position(|cell| cell == '█'), Some(7), "{line}");
        assert_eq!(line.chars().count(), 10);
    }

    #[test]
    fn nothing_is_flat() {
        assert_eq!(line(&[0, 0], 10), "▁▁");
        assert_eq!(line(&[3], 10), "█");
    }
}
