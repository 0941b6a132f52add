//! Which colour says what: hue is the kind of code, lightness only tells neighbours apart. Blue
//! and orange differ for colour-blind eyes too.

use super::super::tree::{Kind, Label};

/// Red, green, blue.
pub(super) type Colour = [u8; 3];

/// Of the frame that holds all others.
pub(super) const ROOT: Colour = [225, 225, 225];

/// What the legend explains.
pub(super) const LEGEND: [(&str, Colour); 4] = [
    ("Python", [140, 185, 235]),
    ("native code", [248, 178, 100]),
    ("no or partial stack", [165, 165, 165]),
    ("process", [190, 220, 190]),
];

/// The colour of a frame; the same for the same text in every graph.
pub(super) fn of(label: &Label) -> Colour {
    let legend = match label.kind {
        Kind::Python => 0,
        Kind::Native => 1,
        Kind::Gap => 2,
        Kind::Process => 3,
    };
    let (_, colour) = LEGEND[legend];
    let shade = shade(&label.text);
    colour.map(|channel| channel.saturating_add_signed(shade))
}

/// -16 to 15, by FNV-1a of the text.
fn shade(text: &str) -> i8 {
    let step = |hash: u32, byte| (hash ^ u32::from(byte)).wrapping_mul(16_777_619);
    let hash = text.bytes().fold(2_166_136_261, step);
    (hash & 31) as i8 - 16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hue_tells_the_kind() {
        for text in ["f (a.py:1)", "g (b.py:2)", "x", ""] {
            let colour = |kind| of(&Label { text: text.into(), kind });
            let [red, _, blue] = colour(Kind::Python);
            assert!(blue > red.saturating_add(60));
            let [red, _, blue] = colour(Kind::Native);
            assert!(red > blue.saturating_add(60));
            let [red, green, blue] = colour(Kind::Gap);
            assert!(red == green && green == blue);
        }
    }

    #[test]
    fn neighbours_differ_in_shade() {
        let shades: Vec<i8> = ["a", "b", "c", "d"].into_iter().map(shade).collect();
        assert!(shades.iter().all(|shade| (-16..16).contains(shade)));
        assert!(shades.windows(2).any(|pair| pair[0] != pair[1]), "{shades:?}");
    }
}
