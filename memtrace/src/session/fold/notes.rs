//! What the reader of a report must know, said once.

use std::collections::HashMap;

/// The notes in their order; those that were made several times, as of a process that becomes another
/// program again and again, with how often.
pub(super) fn once_each<'a>(notes: impl Iterator<Item = &'a String>) -> Vec<String> {
    let mut list: Vec<(&String, u32)> = Vec::new();
    let mut places = HashMap::new();
    for note in notes {
        let place = *places.entry(note).or_insert(list.len());
        match list.get_mut(place) {
            Some((_, times)) => *times += 1,
            None => list.push((note, 1)),
        }
    }
    let text = |(note, times): (&String, u32)| match times {
        1 => note.clone(),
        _ => format!("{note} (noted {times} times)"),
    };
    list.into_iter().map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_noted_again_is_counted() {
        let notes = ["a", "b", "a", "a"].map(str::to_owned);
        assert_eq!(once_each(notes.iter()), ["a (noted 3 times)", "b"]);
    }
}
