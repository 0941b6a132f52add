//! What every end-to-end test needs: workloads that wait to be traced, and memtrace itself.
#![allow(dead_code, reason = "each test uses a part of it")]

pub mod cgroup;
pub mod memtrace;
pub mod observe;
pub mod recorder;
pub mod refusal;
pub mod report;
pub mod resident;
pub mod terminal;
pub mod workload;
