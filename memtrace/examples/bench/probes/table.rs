//! The figures as Markdown.

use super::{
    attaching::{self, Attaching},
    empty::{Place, What},
    pairs::{self, MANY_STACKS, Pairs, Treatment},
};

/// Prints everything.
pub fn print(pairs: &Pairs, attaching: Option<&Attaching>) {
    print_pairs(pairs);
    println!();
    match attaching {
        Some(attaching) => print_attaching(attaching),
        None => println!("Attaching was not measured: there is no Python with the libraries."),
    }
}

fn print_pairs(pairs: &Pairs) {
    let (python, native) = pairs.frames;
    println!(
        "What is added to a pair of malloc and free, which takes {:.0} ns by itself; one",
        pairs.base()
    );
    println!(
        "thread, best of {} rounds. 1.00 is an empty program at every place that memtrace",
        pairs::ROUNDS
    );
    println!("probes for such a pair.");
    println!();
    println!("| | ns | ratio |");
    println!("|---|---:|---:|");
    for (place, name) in [(Place::Site, "chosen site"), (Place::Symbol, "first instruction")] {
        for (what, of) in [
            (What::Free, "free"),
            (What::Entry, "malloc"),
            (What::EntryAndReturn, "malloc and its return"),
            (What::Plan, "malloc, its return, and free"),
        ] {
            row(&format!("empty program, {name}: {of}"), pairs, Treatment::Empty(place, what));
        }
    }
    row("memtrace: followed, nothing sampled, so nothing unwound", pairs, Treatment::Followed);
    for (stacks, which) in [(1, "the same each time"), (MANY_STACKS, "another each time")] {
        let frames = format!("{python} Python and {native} native frames");
        let name = format!("memtrace: recorded; {frames}, {which}");
        row(&name, pairs, Treatment::Recorded(stacks));
    }
}

fn row(name: &str, pairs: &Pairs, treatment: Treatment) {
    println!("| {name} | {:.0} | {:.2} |", pairs.added(treatment), pairs.ratio(treatment));
}

fn print_attaching(attaching: &Attaching) {
    let Attaching { files, cold, warm, rss, maps } = attaching;
    println!("Attaching to a process with NumPy, pandas and PyArrow ({files} executable files),");
    println!("medians of {} rounds, the files in the page cache.", attaching::ROUNDS);
    println!();
    println!("| | |");
    println!("|---|---:|");
    println!("| from start to tracing, no unwind tables on disk | {cold:.0} ms |");
    println!("| from start to tracing, unwind tables on disk | {warm:.0} ms |");
    println!("| memtrace's own memory, most resident | {} MiB |", rss >> 20);
    println!("| memtrace's maps in the kernel | {} MiB |", maps >> 20);
}
