//! A picture of glibc's heap: a strip for each arena, to one scale. From left to right are its
//! addresses, in each column the shares of what lies there.

use std::{cmp::Reverse, fmt::Write as _};

use super::{
    super::{
        heap,
        text::{escape, wrap},
        units::{Count, Share, Size, Things},
    },
    remarks,
};
use crate::{
    heap::{Account, COLUMNS, Column, PAGE, Strip, Use},
    profile::printable,
    snapshot::{Glibc, GlibcArena, Part, Snapshot},
};

/// Of the picture, in pixels; a strip's columns are one wide.
const WIDTH: u64 = 1200;
const LEFT: u64 = 150;
const RIGHT: u64 = LEFT + COLUMNS + 14;
const HEIGHT: u64 = 28;
const ROW: u64 = 44;
/// Strips that are drawn; the other arenas are the smallest.
const MAX_ROWS: usize = 24;
/// Characters of a line below the strips.
const TEXT: usize = 150;
const fn colour(kind: Use) -> &'static str {
    match kind {
        Use::Live => "#2b6cb0",
        Use::Pinned => "#c53030",
        Use::Kept => "#dd8b20",
        Use::Trimmable => "#f2cc46",
        Use::Returned => "#dfe4ea",
    }
}

const fn name(kind: Use) -> &'static str {
    match kind {
        Use::Live => "in use",
        Use::Pinned => "free, but pinned by blocks in use on the same page",
        Use::Kept => "free, kept by malloc",
        Use::Trimmable => "free, malloc_trim(0) would return it",
        Use::Returned => "not in memory",
    }
}

/// The part of what is resident that is live.
const fn live_share(account: &Account) -> Share {
    Share(account.live_resident, account.resident)
}

/// A strip with its upper edge at `top`: one path for each colour.
fn paths(strip: &Strip, top: u64, svg: &mut String) {
    let heights: Vec<_> = strip.columns.iter().map(heights).collect();
    for kind in Use::ALL {
        let path = path(&heights, kind as usize, top);
        if !path.is_empty() {
            let _ = writeln!(svg, "<path fill=\"{}\" d=\"{path}\"/>", colour(kind));
        }
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

/// The picture with all that is to be said; without a heap that could be read, why there is none.
pub(super) fn draw(snapshot: &Snapshot) -> String {
    let (mut page, subject) = (Page::new(), remarks::subject(snapshot));
    match &snapshot.glibc {
        Part::Read(glibc) => {
            page.heap(&subject, glibc);
            for sentence in heap::sentences(glibc) {
                page.sentence(&sentence);
            }
        }
        Part::Missing(reason) => {
            page.title(&format!("Heap of {subject}"));
            page.sentence(&format!("Missing: {}.", printable(reason)));
        }
    }
    page.finish()
}

/// The picture alone, for a page that says the rest.
pub(super) fn draw_alone(snapshot: &Snapshot, glibc: &Glibc) -> String {
    let mut page = Page::new();
    page.heap(&remarks::subject(snapshot), glibc);
    page.finish()
}

/// The drawing, as far as it goes.
struct Page {
    y: u64,
    body: String,
}

impl Page {
    const fn new() -> Self {
        Self { y: 34, body: String::new() }
    }

    fn title(&mut self, text: &str) {
        self.text(20, self.y, "title", text);
        self.y += 28;
    }

    fn heap(&mut self, subject: &str, glibc: &Glibc) {
        let mut arenas: Vec<_> = glibc.arenas.iter().enumerate().collect();
        arenas.sort_by_key(|(_, arena)| Reverse(arena.account.resident));
        self.head(subject, &glibc.total);
        for (number, arena) in arenas.iter().take(MAX_ROWS) {
            paths(&arena.strip, self.y, &mut self.body);
            self.label(&arena.name(*number), &arena.account);
        }
        self.rest(arenas.get(MAX_ROWS..).unwrap_or_default());
        let unit = glibc.arenas.first().map_or(PAGE, |arena| arena.strip.unit);
        self.mapped(&glibc.mapped, unit);
        self.text(
            LEFT,
            self.y + 4,
            "aside",
            &format!("Addresses from left to right; {} a pixel.", Size(unit)),
        );
        self.y += 34;
    }

    fn text(&mut self, x: u64, y: u64, class: &str, text: &str) {
        let text = escape(text);
        let _ = writeln!(self.body, "<text x=\"{x}\" y=\"{y}\" class=\"{class}\">{text}</text>");
    }

    fn rectangle(&mut self, [x, y, width, height]: [u64; 4], colour: &str) {
        let _ = writeln!(
            self.body,
            "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" fill=\"{colour}\"/>"
        );
    }

    /// What it is, and what the colours mean, with the sum of each.
    fn head(&mut self, subject: &str, total: &Account) {
        let resident = Size(total.resident);
        let title =
            format!("Heap of {subject}: {resident} in memory, {} in use", live_share(total));
        self.title(&title);
        for kind in Use::ALL {
            let (y, size) = (self.y, Size(kind.of(total)).to_string());
            self.rectangle([20, y - 12, 14, 14], colour(kind));
            self.text(130, y, "number", &size);
            self.text(142, y, "", name(kind));
            self.y += 20;
        }
        self.y += 10;
    }

    /// What stands beside a strip.
    fn label(&mut self, name: &str, account: &Account) {
        let (resident, share) = (Size(account.resident), live_share(account));
        let text = format!("{resident} in memory, {share} in use");
        self.beside(name, &text, &format!("trim returns {}", Size(account.trimmable)));
    }

    fn beside(&mut self, name: &str, text: &str, aside: &str) {
        let y = self.y;
        self.text(20, y + 18, "", name);
        self.text(RIGHT, y + 12, "", text);
        self.text(RIGHT, y + 27, "aside", aside);
        self.y += ROW;
    }

    fn rest(&mut self, arenas: &[(usize, &GlibcArena)]) {
        if !arenas.is_empty() {
            let mut sum = Account::default();
            for (_, arena) in arenas {
                sum.add(&arena.account);
            }
            self.label(&format!("{} more arenas", Count(arenas.len() as u64)), &sum);
        }
    }

    fn mapped(&mut self, account: &Account, unit: u64) {
        if account.live_chunks == 0 {
            return;
        }
        let columns = (account.resident / unit).max(1);
        let width = columns.min(COLUMNS);
        self.rectangle([LEFT, self.y, width, HEIGHT], colour(Use::Live));
        let more = if columns > COLUMNS { "the bar is cut off" } else { "returned when freed" };
        let blocks = Things(account.live_chunks, "large block");
        let text = format!("{} in memory, all in use", Size(account.resident));
        self.beside("own mappings", &text, &format!("{blocks}: {more}"));
    }

    fn sentence(&mut self, sentence: &str) {
        for line in wrap(sentence, TEXT) {
            self.text(20, self.y, "", &line);
            self.y += 18;
        }
        self.y += 6;
    }

    fn finish(self) -> String {
        let height = self.y + 10;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"heap\" viewBox=\"0 0 {WIDTH} {height}\" \
             width=\"{WIDTH}\" height=\"{height}\">\n\
             <style>.heap text {{ font: 14px sans-serif; fill: #222; }} .heap .title \
             {{ font-size: 20px; font-weight: bold; }} .heap .aside {{ fill: #666; font-size: 12px; }} \
             .heap .number {{ text-anchor: end; font-weight: bold; }}</style>\n\
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
