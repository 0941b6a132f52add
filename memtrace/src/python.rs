//! Python 3.8 to 3.14: what a mapped file says about the interpreter in it, and what the kernel's
//! reports about code objects mean. Bytes in, facts out: no process is looked at here.

mod code;
mod current_thread;
mod debug_offsets;
mod discover;
mod elf;
mod evaluator;
pub mod frame;
mod layout;
mod lines;
pub mod lock;
mod refusal;
mod structures;
mod thread;
mod thread_key;
mod version;

pub use code::CodeObject;
pub(crate) use code::text;
pub use discover::Runtime;
pub use lines::LineTable;
pub use refusal::Refusal;
pub use structures::{Instances, Interpreter, Keys, Locals, Structures};
pub use thread::Specific;
pub use version::Version;
