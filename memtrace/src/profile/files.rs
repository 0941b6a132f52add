//! How source files and modules are called: by their own names, and by as many folders before them
//! as tell the files of a profile apart.

use std::collections::{BTreeSet, HashMap};

use super::{Frame, Profile, printable};

/// Paths that are alike for longer than this are shown whole.
const MAX_FOLDERS: usize = 16;

/// The names of files with more than their usual name.
#[derive(Debug, Default)]
pub struct FileNames(HashMap<String, String>);

impl Profile {
    /// How each of the frames is shown, in their order. Frames of different files differ.
    #[must_use]
    pub fn frame_texts(&self) -> Vec<String> {
        let names = FileNames::tell_apart(self.frames.iter().filter_map(path));
        self.frames.iter().map(|frame| frame.text_among(&names)).collect()
    }
}

impl FileNames {
    /// Names for these paths, of which some may be the same.
    fn tell_apart<'a>(paths: impl Iterator<Item = &'a str>) -> Self {
        let mut alike: HashMap<String, Vec<&str>> = HashMap::new();
        for path in paths.collect::<BTreeSet<_>>() {
            alike.entry(usual(path)).or_default().push(path);
        }
        let groups = alike.into_iter().filter(|(_, paths)| paths.len() > 1);
        let names = groups.flat_map(|(usual, paths)| longer(&usual, paths));
        Self(names.collect())
    }

    /// The name of a file, safe to show.
    pub(super) fn name(&self, path: &str) -> String {
        self.0.get(path).map_or_else(|| printable(&usual(path)), |name| printable(name))
    }
}

/// Names for different paths with the same usual name.
fn longer(usual: &str, paths: Vec<&str>) -> HashMap<String, String> {
    let mut names = HashMap::new();
    let usual_folders = usual.matches('/').count();
    let mut alike = paths;
    for folders in usual_folders + 1..usual_folders + MAX_FOLDERS {
        let mut count: HashMap<&str, usize> = HashMap::new();
        for path in &alike {
            *count.entry(folders_before(path, usual_folders, folders)).or_default() += 1;
        }
        alike.retain(|path| {
            let before = folders_before(path, usual_folders, folders);
            let is_alone = count[before] == 1;
            if is_alone {
                names.insert((*path).to_owned(), format!("{before}{usual}"));
            }
            !is_alone
        });
    }
    names.extend(alike.into_iter().map(|path| (path.to_owned(), path.to_owned())));
    names
}

/// The part of `path` from the first of its last `folders` to the usual name.
fn folders_before(path: &str, usual_folders: usize, folders: usize) -> &str {
    let start_of_last = |folders| {
        let mut slashes = path.rmatch_indices('/').map(|(index, _)| index + 1);
        slashes.nth(folders).unwrap_or(0)
    };
    &path[start_of_last(folders)..start_of_last(usual_folders)]
}

/// The path that a frame's text names.
fn path(frame: &Frame) -> Option<&str> {
    match frame {
        Frame::Python { location, .. } => Some(&location.file),
        Frame::Native { module, .. } => module.as_deref(),
        Frame::Gap { .. } | Frame::Origin { .. } => None,
    }
}

/// The file's own name, without the ABI tag that extension modules carry; with its folder where
/// the name alone says nothing.
fn usual(path: &str) -> String {
    let mut slashes = path.rmatch_indices('/').map(|(index, _)| index + 1);
    let name = &path[slashes.next().unwrap_or(0)..];
    if matches!(name, "__init__.py" | "__main__.py") {
        return path[slashes.next().unwrap_or(0)..].to_owned();
    }
    let untagged = name.split_once(".cpython-").or_else(|| name.split_once(".abi3."));
    untagged.map_or_else(|| name.to_owned(), |(stem, _)| format!("{stem}.so"))
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Builder, Location, Session},
        *,
    };

    fn names<const COUNT: usize>(paths: [&str; COUNT]) -> [String; COUNT] {
        let names = FileNames::tell_apart(paths.into_iter());
        paths.map(|path| names.name(path))
    }

    #[test]
    fn files_that_are_called_the_same_show_where_they_are() {
        assert_eq!(
            names(["/srv/pa/utils.py", "/srv/pb/utils.py", "/srv/grid.py", "/srv/pa/utils.py"]),
            ["pa/utils.py", "pb/utils.py", "grid.py", "pa/utils.py"]
        );
        assert_eq!(
            names(["/a/x/utils.py", "/b/x/utils.py", "/c/y/utils.py", "utils.py"]),
            ["a/x/utils.py", "b/x/utils.py", "y/utils.py", "utils.py"]
        );
        assert_eq!(
            names(["/v/a/p/__init__.py", "/v/b/p/__init__.py", "/v/b/q/__init__.py"]),
            ["a/p/__init__.py", "b/p/__init__.py", "q/__init__.py"]
        );
        let tagged = names(["/v/a/_core.cpython-311-x86_64-linux-gnu.so", "/v/b/_core.abi3.so"]);
        assert_eq!(tagged, ["a/_core.so", "b/_core.so"]);
    }

    #[test]
    fn paths_that_differ_far_up_or_hardly_are_still_told_apart() {
        let deep = "/same".repeat(MAX_FOLDERS + 3);
        let [first, second] = ["/a", "/b"].map(|root| format!("{root}{deep}/f.py"));
        assert_eq!(names([&first, &second]), [&*first, &*second]);
        assert_eq!(names(["/f.py", "f.py", "//f.py"]).iter().collect::<BTreeSet<_>>().len(), 3);
    }

    #[test]
    fn frames_of_a_profile_are_told_apart() {
        let mut builder = Builder::new(Session::default());
        for file in ["/srv/pa/utils.py", "/srv/pb/utils.py"] {
            let location = Location { file: file.into(), line: Some(3) };
            builder.intern(Frame::Python { qualname: "f".into(), location });
        }
        let texts = builder.finish().frame_texts();
        assert_eq!(texts, ["f (pa/utils.py:3)", "f (pb/utils.py:3)"]);
    }
}
