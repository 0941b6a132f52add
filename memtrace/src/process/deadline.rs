//! Puts a time limit on work that may never return, such as a read that waits for another process's
//! memory map. Refuses to know what the work is.

use std::{
    any::Any,
    cell::Cell,
    fmt, io,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc::{self, Receiver, Sender},
    },
    thread,
    time::Duration,
};

/// Locked memory pays for the whole stack of a thread, so it is kept small.
const STACK_BYTES: usize = 512 * 1024;

type Job = Box<dyn FnOnce() + Send>;

/// Threads that wait for their next job.
static IDLE: Mutex<Vec<Sender<Job>>> = Mutex::new(Vec::new());
static ABANDONED: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// Whether this thread runs jobs, each of which has its limit.
    static IS_LIMITED: Cell<bool> = const { Cell::new(false) };
}

/// Why there is no answer.
#[derive(Debug)]
pub enum Unanswered {
    /// The job went on for longer than this.
    TimedOut(Duration),
    /// An earlier job on the same process has still not returned.
    Stuck,
    /// There is no thread to run the job.
    NoThread(io::Error),
}

impl fmt::Display for Unanswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut(limit) => write!(f, "no answer within {limit:?}"),
            Self::Stuck => write!(f, "still no answer to an earlier question"),
            Self::NoThread(error) => write!(f, "start a thread: {error}"),
        }
    }
}

impl std::error::Error for Unanswered {}

/// Runs the job on another thread and waits for its result, for at most `limit`.
///
/// A job that is late is abandoned: it keeps its thread for as long as it runs, and its result is
/// dropped. A panic of the job goes on in the caller.
pub fn with_deadline<T: Send + 'static>(
    limit: Duration,
    job: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Unanswered> {
    let worker = idle().pop().map_or_else(start_worker, Ok).map_err(Unanswered::NoThread)?;
    let (answer, answers) = mpsc::sync_channel::<Result<T, Box<dyn Any + Send>>>(1);
    let job = Box::new(move || {
        // An answer that comes too late has no reader.
        let _ = answer.send(catch_unwind(AssertUnwindSafe(job)));
    });
    worker.send(job).expect("a worker lives as long as its sender");
    let Ok(result) = answers.recv_timeout(limit) else {
        ABANDONED.fetch_add(1, Ordering::Relaxed);
        return Err(Unanswered::TimedOut(limit));
    };
    idle().push(worker);
    Ok(result.unwrap_or_else(|panic| resume_unwind(panic)))
}

/// Whether this is within a job: its limit holds for all that it does.
#[must_use]
pub fn is_limited() -> bool {
    IS_LIMITED.get()
}

/// Does two things at once; within a job, both under its limit.
pub fn both<A, B: Send>(one: impl FnOnce() -> A, other: impl FnOnce() -> B + Send) -> (A, B) {
    let is_limited = is_limited();
    let other = move || {
        IS_LIMITED.set(is_limited);
        other()
    };
    thread::scope(|scope| {
        let other = scope.spawn(other);
        let one = one();
        (one, other.join().unwrap_or_else(|panic| resume_unwind(panic)))
    })
}

/// Jobs that were abandoned since the start.
#[must_use]
pub fn abandoned() -> u64 {
    ABANDONED.load(Ordering::Relaxed)
}

fn start_worker() -> io::Result<Sender<Job>> {
    let (worker, jobs) = mpsc::channel();
    thread::Builder::new()
        .name("deadline".into())
        .stack_size(STACK_BYTES)
        .spawn(move || work(&jobs))?;
    Ok(worker)
}

fn work(jobs: &Receiver<Job>) {
    IS_LIMITED.set(true);
    for job in jobs {
        job();
    }
}

fn idle() -> MutexGuard<'static, Vec<Sender<Job>>> {
    IDLE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn an_answer_in_time_is_passed_on() {
        assert_eq!(with_deadline(Duration::from_secs(5), || 6 * 7).unwrap(), 42);
    }

    #[test]
    fn a_late_job_is_abandoned_and_counted() {
        let before = abandoned();
        let start = Instant::now();
        let answer = with_deadline(Duration::from_millis(20), || {
            thread::sleep(Duration::from_secs(5));
        });
        assert!(matches!(answer, Err(Unanswered::TimedOut(_))));
        assert!(start.elapsed() < Duration::from_secs(5), "waited for the job");
        assert!(abandoned() > before);
        assert!(with_deadline(Duration::from_secs(5), || true).unwrap(), "the next job runs");
    }

    #[test]
    fn a_job_knows_that_it_is_limited() {
        assert!(!is_limited());
        assert!(with_deadline(Duration::from_secs(5), is_limited).unwrap());
    }

    #[test]
    fn both_halves_of_a_job_are_limited() {
        let halves = || both(is_limited, is_limited);
        assert_eq!(with_deadline(Duration::from_secs(5), halves).unwrap(), (true, true));
        assert_eq!(halves(), (false, false));
    }

    #[test]
    fn threads_are_used_again() {
        for _ in 0..1000 {
            with_deadline(Duration::from_secs(5), || ()).unwrap();
        }
        assert!(idle().len() < 64, "one thread for each of the tests that run now");
    }

    #[test]
    #[should_panic(expected = "the job's own words")]
    fn a_panic_reaches_the_caller() {
        let _ = with_deadline(Duration::from_secs(5), || panic!("the job's own words"));
    }
}
