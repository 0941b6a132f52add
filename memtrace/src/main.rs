//! The command. All of it is in the library, where it can be tested.

use std::process::ExitCode;

fn main() -> ExitCode {
    memtrace::cli::run().into()
}
