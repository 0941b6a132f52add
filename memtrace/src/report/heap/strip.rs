//! The heap as strips, one for each arena, to one scale: from left to right its addresses, in each
//! column the shares of what lies there.

use std::fmt::Write as _;

use super::{
    super::{text::escape, units::Size},
    live_share, sentences,
};
use crate::heap::{Account, Arena, Charge, Chunk, Heap, PAGE, PageUse, Reason};

const WIDTH: u64 = 1200;
/// Of the longest strip, in pixels: so many columns.
const COLUMNS: u64 = 760;
const LEFT: u64 = 150;
const HEIGHT: u64 = 28;
const ROW: u64 = 44;
/// Strips that are drawn; the other arenas are the smallest.
const MAX_ROWS: usize = 24;
/// Characters of a line below the strips.
const TEXT: usize = 150;

/// What memory can be, from the bottom of a column to its top.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    Live,
    Pinned,
    Kept,
    Trimmable,
    Returned,
}

impl Use {
    const ALL: [Self; 5] = [Self::Live, Self::Pinned, Self::Kept, Self::Trimmable, Self::Returned];

    const fn colour(self) -> &'static str {
        match self {
            Self::Live => "#2b6cb0",
            Self::Pinned => "#c53030",
            Self::Kept => "#dd8b20",
            Self::Trimmable => "#f2cc46",
            Self::Returned => "#dfe4ea",
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Live => "in use",
            Self::Pinned => "free, but pinned by blocks in use on the same page",
            Self::Kept => "free, kept by malloc",
            Self::Trimmable => "free, malloc_trim would return it",
            Self::Returned => "not in memory",
        }
    }

    const fn of(self, account: &Account) -> u64 {
        match self {
            Self::Live => account.resident - account.free_resident(),
            Self::Pinned => account.pinned,
            Self::Kept => account.kept,
            Self::Trimmable => account.trimmable,
            Self::Returned => account.size - account.resident,
        }
    }
}

/// Bytes in one column, by use.
type Column = [u64; Use::ALL.len()];

/// The columns of one arena.
struct Strip {
    /// Bytes of a column.
    unit: u64,
    offset: u64,
    columns: Vec<Column>,
}

impl Strip {
    const fn new(unit: u64) -> Self {
        Self { unit, offset: 0, columns: Vec::new() }
    }

    fn add(&mut self, kind: Use, bytes: u64) {
        let index = (self.offset / self.unit) as usize;
        if self.columns.len() <= index {
            self.columns.resize(index + 1, Column::default());
        }
        self.columns[index][kind as usize] += bytes;
    }

    /// One path for each colour.
    fn draw(&self, top: u64) -> String {
        let heights: Vec<_> = self.columns.iter().map(heights).collect();
        let mut svg = String::new();
        for kind in Use::ALL {
            let path = path(&heights, kind as usize, top);
            if !path.is_empty() {
                let _ = writeln!(svg, "<path fill=\"{}\" d=\"{path}\"/>", kind.colour());
            }
        }
        svg
    }
}

/// The part of a kind in all columns: those that look the same are drawn as one.
fn path(heights: &[Column], kind: usize, top: u64) -> String {
    let mut path = String::new();
    let mut x = LEFT;
    for run in heights.chunk_by(|one, next| one == next) {
        let (width, height) = (run.len() as u64, run[0][kind]);
        if height > 0 {
            let below: u64 = run[0][..kind].iter().sum();
            let y = top + HEIGHT - below - height;
            let _ = write!(path, "M{x} {y}h{width}v{height}h-{width}z");
        }
        x += width;
    }
    path
}

impl Charge for Strip {
    fn charge(&mut self, _chunk: &Chunk, _bytes: u64) {}

    fn page(&mut self, page: PageUse) {
        let free = match page.reason {
            Reason::Pinned => Use::Pinned,
            Reason::Trimmable => Use::Trimmable,
            Reason::Kept => Use::Kept,
            Reason::Returned => Use::Returned,
        };
        self.add(if page.is_resident { Use::Live } else { Use::Returned }, page.held);
        self.add(free, page.free);
        self.offset += page.held + page.free;
    }
}

/// The heights of a column's parts in pixels, which fill it: whatever is there is seen, and what
/// is left over by rounding goes to the largest.
fn heights(column: &Column) -> Column {
    let total: u64 = column.iter().sum();
    if total == 0 {
        return *column;
    }
    let scaled = |bytes: u64| if bytes == 0 { 0 } else { (bytes * HEIGHT / total).max(1) };
    let mut heights = column.map(scaled);
    let sum: u64 = heights.iter().sum();
    if let Some(largest) = heights.iter_mut().max() {
        *largest = (*largest + HEIGHT).saturating_sub(sum);
    }
    heights
}

/// The picture.
pub(super) fn draw(heap: &Heap, subject: &str) -> String {
    let accounts = heap.accounts(&mut |_: &Chunk, _| {});
    let longest = heap.arenas.iter().map(Arena::bytes).fold(accounts.mapped.resident, u64::max);
    let unit = longest.div_ceil(COLUMNS).max(PAGE);
    let mut rows = Vec::new();
    for (index, arena) in heap.arenas.iter().enumerate() {
        let mut strip = Strip::new(unit);
        let account = heap.account(arena, &mut strip);
        let name =
            if arena.is_main { "main arena".into() } else { format!("thread arena {index}") };
        rows.push((name, account, strip));
    }
    rows.sort_by_key(|(_, account, _)| u64::MAX - account.resident);
    let mut page = Page::default();
    page.head(subject, &accounts.total);
    for (name, account, strip) in rows.iter().take(MAX_ROWS) {
        page.strip(name, account, strip);
    }
    page.rest(rows.get(MAX_ROWS..).unwrap_or_default());
    page.mapped(heap, &accounts.mapped, unit);
    page.scale(unit);
    for sentence in sentences(heap, &accounts) {
        page.sentence(&sentence);
    }
    page.finish()
}

/// The drawing, as far as it goes.
#[derive(Default)]
struct Page {
    y: u64,
    body: String,
}

impl Page {
    fn text(&mut self, x: u64, y: u64, class: &str, text: &str) {
        let text = escape(text);
        let _ = writeln!(self.body, "<text x=\"{x}\" y=\"{y}\" class=\"{class}\">{text}</text>");
    }

    /// What it is, and what the colours mean, with the sum of each.
    fn head(&mut self, subject: &str, total: &Account) {
        let resident = Size(total.resident);
        let title =
            format!("Heap of {subject}: {resident} in memory, {} in use", live_share(total));
        self.text(20, 34, "title", &title);
        self.y = 62;
        for kind in Use::ALL {
            let y = self.y;
            let colour = kind.colour();
            let _ = writeln!(
                self.body,
                "<rect x=\"20\" y=\"{}\" width=\"14\" height=\"14\" fill=\"{colour}\"/>",
                y - 12
            );
            self.text(130, y, "number", &Size(kind.of(total)).to_string());
            self.text(142, y, "", kind.name());
            self.y += 20;
        }
        self.y += 10;
    }

    fn strip(&mut self, name: &str, account: &Account, strip: &Strip) {
        let y = self.y;
        self.body.push_str(&strip.draw(y));
        self.label(name, account, y);
        self.y += ROW;
    }

    fn label(&mut self, name: &str, account: &Account, y: u64) {
        self.text(20, y + 18, "", name);
        let share = live_share(account);
        let text = format!("{} in memory, {share} in use", Size(account.resident));
        self.text(LEFT + COLUMNS + 14, y + 12, "", &text);
        let text = format!("trim returns {}", Size(account.trimmable));
        self.text(LEFT + COLUMNS + 14, y + 27, "aside", &text);
    }

    fn rest(&mut self, rows: &[(String, Account, Strip)]) {
        if rows.is_empty() {
            return;
        }
        let mut sum = Account::default();
        for (_, account, _) in rows {
            sum.add(account);
        }
        self.label(&format!("{} more", rows.len()), &sum, self.y);
        self.y += ROW;
    }

    fn mapped(&mut self, heap: &Heap, account: &Account, unit: u64) {
        if heap.mapped.is_empty() {
            return;
        }
        let (y, count) = (self.y, heap.mapped.len());
        let width = (account.resident / unit).clamp(1, COLUMNS);
        let colour = Use::Live.colour();
        let _ = writeln!(
            self.body,
            "<rect x=\"{LEFT}\" y=\"{y}\" width=\"{width}\" height=\"{HEIGHT}\" fill=\"{colour}\"/>"
        );
        self.text(20, y + 18, "", "own mappings");
        let text = format!("{} in memory, all in use", Size(account.resident));
        self.text(LEFT + COLUMNS + 14, y + 12, "", &text);
        let text = format!("{count} large blocks, returned when freed");
        self.text(LEFT + COLUMNS + 14, y + 27, "aside", &text);
        self.y += ROW;
    }

    fn scale(&mut self, unit: u64) {
        let text = format!("Addresses from left to right; {} a pixel.", Size(unit));
        self.text(LEFT, self.y + 4, "aside", &text);
        self.y += 34;
    }

    fn sentence(&mut self, sentence: &str) {
        for line in super::super::text::wrap(sentence, TEXT) {
            self.text(20, self.y, "", &line);
            self.y += 18;
        }
        self.y += 6;
    }

    fn finish(self) -> String {
        let height = self.y + 10;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
             width=\"{WIDTH}\" height=\"{height}\">\n\
             <style>text {{ font: 14px sans-serif; fill: #222; }} .title {{ font-size: 20px; \
             font-weight: bold; }} .aside {{ fill: #666; font-size: 12px; }} \
             .number {{ text-anchor: end; font-weight: bold; }}</style>\n\
             <rect width=\"100%\" height=\"100%\" fill=\"#fafafa\"/>\n{}</svg>\n",
            self.body
        )
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn columns_are_full_and_hide_nothing(column in prop::array::uniform5(0_u64..1 << 40)) {
            let heights = heights(&column);
            for (bytes, height) in column.iter().zip(heights) {
                prop_assert_eq!(*bytes > 0, height > 0);
            }
            let is_empty = column.iter().all(|bytes| *bytes == 0);
            prop_assert!(is_empty || heights.iter().sum::<u64>() == HEIGHT);
        }
    }
}
