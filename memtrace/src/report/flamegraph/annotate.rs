//! What inferno cannot put into its drawing: sizes with IEC units, a legend, notes below.

use super::{
    super::{
        text::{escape, wrap},
        units::Size,
    },
    colour::LEGEND,
};

/// What inferno shall write behind numbers, so that they are found again.
pub(super) const COUNT_NAME: &str = "bytes";

const WIDTH: usize = 1200;
const MARGIN: usize = 10;
const LINE_HEIGHT: usize = 18;
/// Characters of a line; one is 7 pixels wide.
const LINE_LENGTH: usize = 165;
/// Pixels between entries of the legend.
const ENTRY_WIDTH: usize = 160;

/// `svg` as inferno drew it, with sizes in units, and a legend and `notes` below.
pub(super) fn annotate(svg: &str, notes: &[String]) -> String {
    let svg = with_sizes(svg);
    let Some((drawing, end)) = svg.rsplit_once("</svg>") else { return svg };
    let height = height(drawing);
    let (text, bottom) = paragraphs(notes, height + 2 * LINE_HEIGHT);
    let annotated = format!("{drawing}{}{text}</svg>{end}", legend(height));
    // Once for the image, once for the background behind everything.
    annotated
        .replacen(&format!("height=\"{height}\""), &format!("height=\"{bottom}\""), 2)
        .replacen(&format!("0 0 {WIDTH} {height}\""), &format!("0 0 {WIDTH} {bottom}\""), 1)
}

/// A drawing without frames, that says so.
pub(super) fn blank(heading: &[String], notes: &[String]) -> String {
    let nothing = "Nothing to draw: tracing saw no memory to show in this view.";
    let lines = [heading, &[nothing.into()], notes].concat();
    let (text, bottom) = paragraphs(&lines, 2 * LINE_HEIGHT);
    format!(
        "<?xml version=\"1.0\" standalone=\"no\"?>\
         <svg xmlns=\"http://www.w3.org/2000/svg\" version=\"1.1\" width=\"{WIDTH}\" \
         height=\"{bottom}\" viewBox=\"0 0 {WIDTH} {bottom}\">\
         <style type=\"text/css\">text {{ font-family:monospace; font-size:12px }}</style>\
         <rect width=\"100%\" height=\"100%\" fill=\"rgb(250,250,250)\"/>{text}</svg>\n"
    )
}

/// The drawing with `1.21 KiB, 1,234 bytes` in place of `1,234 bytes` in every frame's title.
fn with_sizes(svg: &str) -> String {
    let mut sized = String::with_capacity(svg.len());
    for part in svg.split_inclusive("</title>") {
        match size_before(part) {
            Some((at, size)) => {
                sized.push_str(&part[..at]);
                sized.extend([&*size.to_string(), ", ", &part[at..]]);
            }
            None => sized.push_str(part),
        }
    }
    sized
}

/// The count in the last parentheses of `part`, and where it is. Names come before it.
fn size_before(part: &str) -> Option<(usize, Size)> {
    let title = part.strip_suffix("</title>")?;
    let at = title.rfind(" (")? + 2;
    let (count, _) = title[at..].split_once(&format!(" {COUNT_NAME}, "))?;
    Some((at, Size(count.replace(',', "").parse().ok()?)))
}

/// The image's height, from its first element.
fn height(drawing: &str) -> usize {
    let height = drawing.split_once(" height=\"").and_then(|(_, rest)| rest.split_once('"'));
    height.and_then(|(height, _)| height.parse().ok()).unwrap_or_default()
}

fn legend(top: usize) -> String {
    let entry = |(index, (text, [red, green, blue])): (usize, (&str, [u8; 3]))| {
        let x = MARGIN + index * ENTRY_WIDTH;
        format!(
            "<rect x=\"{x}\" y=\"{top}\" width=\"12\" height=\"12\" \
             fill=\"rgb({red},{green},{blue})\"/>{}",
            line(text, x + 18, top + 10)
        )
    };
    LEGEND.into_iter().enumerate().map(entry).collect()
}

/// `notes` as text from `top` on, and where it ends.
fn paragraphs(notes: &[String], top: usize) -> (String, usize) {
    let mut y = top;
    let mut text = String::new();
    for note in notes {
        for part in wrap(note, LINE_LENGTH) {
            text.push_str(&line(&part, MARGIN, y));
            y += LINE_HEIGHT;
        }
    }
    (text, y + MARGIN)
}

fn line(text: &str, x: usize, y: usize) -> String {
    format!("<text x=\"{x}\" y=\"{y}\">{}</text>", escape(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_added_to_the_titles_of_frames_only() {
        let svg = "<title>f (x 7 bytes, (a.py:1) (1,234 bytes, 5.00%)</title><title>g</title>";
        let sized = svg.replace("1,234 bytes", "1.21 KiB, 1,234 bytes");
        assert_eq!(with_sizes(svg), sized);
    }

    #[test]
    fn the_image_grows_by_its_notes() {
        let svg = "<svg width=\"1200\" height=\"90\" viewBox=\"0 0 1200 90\">\
                   <rect height=\"90\"/><svg><rect height=\"15\"/></svg></svg>";
        let annotated = annotate(svg, &["<b>".into(), "x".into()]);
        assert!(
            annotated.starts_with(
                "<svg width=\"1200\" height=\"172\" viewBox=\"0 0 1200 172\">\
                                       <rect height=\"172\"/>"
            ),
            "{annotated}"
        );
        assert!(
            annotated
                .ends_with("y=\"126\">&lt;b&gt;</text><text x=\"10\" y=\"144\">x</text></svg>"),
            "{annotated}"
        );
    }
}
