//! What a process is there for, as far as its command line tells. Pure: whoever knows more says so.

/// What a command line says of its process, by words in it. The first that fits counts.
const ROLES: [(&str, &str); 20] = [
    ("from multiprocessing.resource_tracker import", "multiprocessing resource tracker"),
    ("from multiprocessing.semaphore_tracker import", "multiprocessing resource tracker"),
    ("from multiprocessing.forkserver import", "multiprocessing forkserver"),
    ("from multiprocessing.spawn import", "multiprocessing spawn worker"),
    ("from joblib.externals.loky.backend.resource_tracker", "joblib resource tracker"),
    ("joblib.externals.loky.backend.popen_loky_posix", "joblib worker"),
    ("Dask Worker process", "Dask worker"),
    ("distributed.cli.dask_worker", "Dask worker"),
    ("dask worker", "Dask worker"),
    ("dask-worker", "Dask worker"),
    ("dask scheduler", "Dask scheduler"),
    ("dask-scheduler", "Dask scheduler"),
    ("ray::", "Ray worker"),
    ("raylet", "Ray scheduler"),
    ("gunicorn: master", "gunicorn master"),
    ("gunicorn: worker", "gunicorn worker"),
    ("gunicorn", "gunicorn"),
    ("uwsgi", "uWSGI"),
    ("celery", "Celery"),
    ("uvicorn", "uvicorn"),
];

/// The role of a process with this command line; `parent` is that of the traced process that
/// forked it, if one did.
#[must_use]
pub fn role(command_line: &str, parent: Option<&str>) -> Option<String> {
    let own = of_command(command_line);
    match parent {
        // It was forked and goes on with the program of its parent.
        Some(parent) if parent == command_line => Some(match own {
            Some("multiprocessing forkserver") => "multiprocessing forkserver worker".into(),
            Some(own @ ("gunicorn" | "uWSGI" | "Celery" | "uvicorn")) => format!("{own} worker"),
            Some(own) if own.contains("worker") => format!("forked by a {own}"),
            _ => "forked worker".into(),
        }),
        _ => own.map(Into::into),
    }
}

fn of_command(command_line: &str) -> Option<&'static str> {
    ROLES.iter().find(|(words, _)| command_line.contains(words)).map(|(_, role)| *role)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPAWNED: &str = "/usr/bin/python3 -c from multiprocessing.spawn import spawn_main; \
                           spawn_main(tracker_fd=6, pipe_handle=8) --multiprocessing-fork";

    #[test]
    fn helpers_of_multiprocessing_are_told_from_its_workers() {
        let role = |command| role(command, None);
        assert_eq!(role(SPAWNED).as_deref(), Some("multiprocessing spawn worker"));
        let tracker = "python3 -c from multiprocessing.resource_tracker import main;main(5)";
        assert_eq!(role(tracker).as_deref(), Some("multiprocessing resource tracker"));
        let server = "python3 -c from multiprocessing.forkserver import main; main(7, 8, [])";
        assert_eq!(role(server).as_deref(), Some("multiprocessing forkserver"));
        assert_eq!(role("python3 job.py"), None);
    }

    #[test]
    fn a_forked_process_with_the_same_command_line_is_a_worker() {
        let forked = |command| role(command, Some(command)).unwrap();
        assert_eq!(forked("python3 job.py"), "forked worker");
        assert_eq!(forked("gunicorn app:wsgi"), "gunicorn worker");
        let server = "python3 -c from multiprocessing.forkserver import main; main(7, 8, [])";
        assert_eq!(forked(server), "multiprocessing forkserver worker");
        assert_eq!(role(SPAWNED, Some("python3 job.py")).unwrap(), "multiprocessing spawn worker");
    }
}
