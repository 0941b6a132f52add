//! The flight recorder: what is kept of the recent past of processes and control groups, and the
//! reports about those that were killed. It refuses to trace anything itself.

mod archive;
mod census;
mod film;
mod incident;
mod limits;
mod past;
mod reports;

pub use self::{
    archive::{Archive, Rotation},
    census::{Census, Citizen},
    film::Film,
    incident::{Scene, Victim},
    limits::{Alarm, Limits},
    past::Standing,
    reports::{AHEAD, list, show},
};
