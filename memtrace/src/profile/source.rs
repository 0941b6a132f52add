//! Whose code a Python file is, by its path: the program's own, or an installed package's.

/// Folders that packages are installed into.
const INSTALLED: [&str; 2] = ["/site-packages/", "/dist-packages/"];

/// The file of the functions that NumPy below 1.25 generated around its own.
const GENERATED_BY_NUMPY: &str = "<__array_function__ internals>";

/// Whether the file is a part of Python or of an installed package.
pub(super) fn is_installed(file: &str) -> bool {
    package(file).is_some()
}

/// The installed package that the file belongs to; Python's own library counts as one.
pub(super) fn package(file: &str) -> Option<&str> {
    if file.starts_with("<frozen ") {
        return Some("");
    }
    if file == GENERATED_BY_NUMPY {
        return Some("numpy");
    }
    if let Some(rest) = INSTALLED.iter().find_map(|folder| Some(file.rsplit_once(folder)?.1)) {
        return Some(rest.split('/').next().unwrap_or(rest));
    }
    is_standard_library(file).then_some("")
}

/// `.../lib/python3.11/...`, as every installation lays it out.
fn is_standard_library(file: &str) -> bool {
    let version = file.rsplit_once("/lib/python3.").map(|(_, rest)| rest);
    let folder = version.and_then(|rest| rest.split_once('/'));
    folder.is_some_and(|(minor, _)| minor.bytes().all(|digit| digit.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn installed_files_are_known_by_their_folder() {
        let numpy = "/srv/venv/lib/python3.11/site-packages/numpy/_core/numeric.py";
        assert_eq!(package(numpy), Some("numpy"));
        assert_eq!(package("/usr/lib/python3/dist-packages/six.py"), Some("six.py"));
        assert_eq!(package("/usr/lib/python3.11/threading.py"), Some(""));
        assert_eq!(package("<frozen importlib._bootstrap>"), Some(""));
        assert_eq!(package("<__array_function__ internals>"), Some("numpy"));
        for own in ["/srv/app/radar.py", "<string>", "job.py", "/home/me/lib/python3.tools/x.py"] {
            assert!(!is_installed(own), "{own}");
        }
    }
}
