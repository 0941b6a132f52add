//! Tables of real files: this test's own program, its C library, the vDSO, and small libraries
//! built for the purpose.

mod backtrace;
mod evaluation;
mod files;
mod fixtures;
mod hostile;
