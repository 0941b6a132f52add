//! How much of their memory the targets have for themselves, looked at now and then while they run:
//! nobody can tell once they have ended.

use std::time::{Duration, Instant};

use super::{super::target::Target, Tracer};
use crate::profile::{Sharing, Together};

/// How often it is looked at, at most.
const INTERVAL: Duration = Duration::from_millis(250);
/// The kernel visits every page of a process for it: this many times as long it is left alone then.
const REST: u32 = 100;
/// Time for all of them: a process that does not answer takes two seconds.
const PATIENCE: Duration = Duration::from_secs(3);
/// Of more processes it would take too long, while events wait.
const MOST: usize = 100;

impl Tracer {
    /// Looks at it if there are several targets that run, and it is time to.
    pub fn look_at_sharing(&mut self) {
        let start = Instant::now();
        let running = self.running().count();
        if start >= self.next_look_at_sharing && (2..=MOST).contains(&running) {
            self.look_at_sharing_now();
            self.next_look_at_sharing = start + INTERVAL.max(start.elapsed() * REST);
        }
    }

    /// Looks at all that run, as far as there is time.
    pub(super) fn look_at_sharing_now(&mut self) {
        let (deadline, mut is_late) = (Instant::now() + PATIENCE, false);
        let mut together = Together { at: self.began.elapsed(), ..Together::default() };
        let running: Vec<_> = self.running().map(|target| target.slot).collect();
        for slot in &running {
            let Some(sharing) = self.targets.get(*slot).and_then(sharing) else { continue };
            together.proportional = together.proportional.saturating_add(sharing.proportional);
            together.private = together.private.saturating_add(sharing.private);
            self.history.note_sharing(*slot, sharing);
            is_late = Instant::now() > deadline;
            if is_late {
                break;
            }
        }
        if running.len() > 1 && !is_late {
            self.history.note_together(together);
        }
    }
}

/// Of a target; not known if it has just ended.
fn sharing(target: &Target) -> Option<Sharing> {
    let known = target.process.sharing().ok()?;
    let (private, shared, proportional) = (known.private, known.shared, known.proportional);
    Some(Sharing { private, shared, proportional })
}
