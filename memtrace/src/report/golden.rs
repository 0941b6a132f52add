//! Every format of the made-up profile, compared with `testdata/report`; `UPDATE=1` rewrites it.

use std::{env, fs, path::PathBuf};

use super::{
    Format,
    summary::{self, Screen},
    write,
};
use crate::profile::{Profile, View, example};

fn check(name: &str, actual: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/report").join(name);
    if env::var_os("UPDATE").is_some() {
        fs::write(&path, actual).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert!(expected == actual, "{name} has changed; look at it after UPDATE=1:\n{actual}");
}

fn report(profile: &Profile, view: View, format: Format) -> String {
    let mut bytes = Vec::new();
    write(profile, view, format, &mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn folded_stacks_are_as_agreed() {
    check("live.folded", &report(&example::profile(), View::Live, Format::Folded));
}

#[test]
fn json_is_as_agreed() {
    let json = report(&example::profile(), View::Live, Format::Json);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    check("live.json", &format!("{json:#}\n"));
}

#[test]
fn the_summary_is_as_agreed() {
    let mut bytes = Vec::new();
    summary::write(&example::profile(), Screen::default(), &mut bytes).unwrap();
    check("summary.txt", &String::from_utf8(bytes).unwrap());
}

/// Without inferno's scripts and style, which are its own matter.
fn drawing(svg: &str) -> String {
    let (head, rest) = svg.split_once("<style").unwrap();
    let (_, body) =
        rest.split_once("</script>").unwrap_or_else(|| rest.split_once("</style>").unwrap());
    format!("{head}{body}").replace("><", ">\n<")
}

#[test]
fn flame_graphs_are_as_agreed() {
    for view in View::ALL {
        let svg = report(&example::profile(), view, Format::Svg);
        check(&format!("{}.svg.txt", view.name()), &drawing(&svg));
    }
    check("empty.svg.txt", &drawing(&report(&Profile::default(), View::Live, Format::Svg)));
}

#[test]
fn hostile_names_stay_text() {
    let svg = report(&example::profile(), View::Live, Format::Svg);
    let html = report(&example::profile(), View::Live, Format::Html);
    for page in [svg, html] {
        assert!(!page.contains("<script>alert"));
        assert_eq!(page.matches("<script").count(), 1);
        assert!(page.contains("&lt;script&gt;alert"));
    }
}
