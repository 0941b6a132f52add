//! memtrace: which lines hold the memory of a running Python process.
//!
//! This crate is the loader: it finds out what a process has mapped, puts probes on its allocator,
//! tells the kernel programs how to walk its stacks, and turns what they counted into reports. The
//! kernel programs, and everything that crosses the boundary as bytes, are in `memtrace-ebpf`
//! (library name `memtrace_abi`); `build.rs` compiles them, [`kernel`] embeds them.
//!
//! # Modules
//!
//! | module | what it is for |
//! |---|---|
//! | [`cli`] | what was typed; exit codes and hints |
//! | [`session`] | one run: in which order things happen, and nothing else |
//! | [`process`] | a running process: its mappings, memory, status; the machine |
//! | [`objects`] | the mapped files, each opened and understood once |
//! | [`attach`] | from a file to a probe plan: which functions, which instruction of each |
//! | [`unwind`] | from `.eh_frame` to rows that the kernel can search; the cache of them on disk |
//! | [`python`] | from a file to the layouts of the CPython in it; line tables |
//! | [`heap`] | glibc's heap: every chunk, where free memory stays and why |
//! | [`inventory`] | the Python objects of a process: by type, the large ones, who holds them |
//! | [`pages`] | whose the pages of a process are: who touched them first |
//! | [`decomposition`] | what the resident memory of a process consists of |
//! | [`kernel`] | the loaded kernel object: its programs, its maps, its events |
//! | [`symbolize`] | from addresses to names of native functions |
//! | [`snapshot`] | a process at one moment: where its threads are, what holds its memory |
//! | [`oom`] | the flight recorder: the recent past of processes and control groups, reports of kills |
//! | [`profile`] | what was measured: processes, stacks, and the memory of each |
//! | [`report`] | from a profile to bytes, one module per format |
//! | [`recording`] | the `.memtrace` file: a profile to keep or to carry elsewhere |
//! | [`output`] | report files: never overwritten unasked, never left half-written |
//! | [`doctor`] | what this kernel and user can do |
//!
//! # From a process to a report
//!
//! ```text
//!  /proc/PID/maps ─ process ─ objects ─┬─ attach   probe plan ───┐
//!                                      ├─ unwind   rows, rules ──┼─ kernel ── probes and maps
//!                                      └─ python   layouts ──────┘              │
//!                                                                               │ counts and
//!  .svg .html .folded .json .pb.gz ── report ─┐                                 │ events
//!  .memtrace ── recording ────────────────────┴─ profile ── session::fold ──────┘
//!                                                               └─ symbolize
//! ```
//!
//! 1. [`process`] lists the mappings. [`objects`] opens each executable file, through the process's
//!    own root, and asks [`attach`], [`unwind`] and [`python`] what it means; all three are pure
//!    over the file's bytes and run in parallel.
//! 2. [`kernel`] loads the programs, fills the arrays of rows and mappings, and attaches the plan's
//!    probes: releases before allocations, returns before entries. Recording begins with one write
//!    to the process's slot, once everything else stands.
//! 3. While tracing, `session` waits for events. They are rare: a Python function seen for the first
//!    time, a library loaded, code that no known file covers, an exec, an exit. Allocations are no
//!    events; the kernel programs add them up.
//!    Ten times a second the session asks what is resident, for the timeline.
//! 4. At the end the slot is set idle, the counts are read, [`decomposition`] takes the RSS apart,
//!    addresses get their names, and the profile goes to every report. The probes are taken off
//!    meanwhile.
//!
//! # The kernel side
//!
//! Three programs serve every allocator function; what a function does with memory is in its
//! probe's cookie. On entry the request is kept with the stack pointer; the return with the same
//! stack pointer completes it, so that nested calls count once and lost returns are noticed.
//! Completed allocations are walked, one frame for each turn of `bpf_loop`: native frames by rows,
//! and at each run of the interpreter loop the Python frames that it executes. Stacks are stored
//! once, by hash. Each live allocation remembers its stack, so that its release is subtracted from
//! the right one.
//!
//! The programs of uprobes run on the stack of their thread (`memtrace-ebpf/src/own_stack.rs`): on one of the
//! processor's, which newer kernels would give them, the next thread could run before they have ended.
//!
//! The composition of the peak needs no history. A process counts its high-water marks; a stack
//! that is about to change first saves its live bytes, if it has not since the last mark. What has
//! not been saved since is what it still holds.
//!
//! Whatever could not be recorded is counted by reason (`memtrace_abi::loss`) and told with the
//! report, with what helps.
//!
//! # Trees
//!
//! A process that is followed has its probes from the kernel. Its events are inherited: by its threads, by
//! its children, and by the programs that those execute (`kernel::inherited` says how). Such a probe is
//! one for all processes, so its cookie names none, and the programs find the slot by process id.
//! At a fork, before the child's first instruction, a program takes a free slot and copies the
//! parent's into it: everything is mapped as in the parent. A program that is executed begins with a
//! slot of which nothing is known; its stacks are walked once the session has read its mappings, some
//! milliseconds later, and until then say that they are incomplete. A child of `vfork` uses its parent's memory
//! and counts as its parent, until it executes a program.
//!
//! What a child inherits is its parent's live memory at that moment: the sum is the kernel's, the
//! stacks are what the session reads of the totals when the event comes in.
//!
//! Processes that are found rather than named are searched for twice a second (`process::selection`). Each is
//! looked at in its first searches, whenever it has executed a program, which the kernel tells of while there is a
//! search, when it is in a wanted group, and else in turn. When there are many, those that have ended make room,
//! unless a child has inherited something of them.
//!
//! # Resident memory
//!
//! `VmRSS` is taken apart into classes that add up. `/proc/PID/smaps` says how much of each mapping
//! is resident and whether a file, shared memory or nothing holds it; the mapping and its neighbours
//! say what it is for. Recorded live memory is the part of the heap that tracing can blame; of
//! large blocks only the pages count that the page map shows present. What no class explains is
//! shown as a number of its own. Pages of shared memory are counted once by their offsets in the
//! segment, however many processes have them mapped.
//!
//! Whose resident memory is follows from what happens to pages. A perf event of the threads of a
//! process (`memtrace-ebpf/src/faults.rs`) tells of each page fault, with the stack; the end of
//! `mmap`, `munmap`, `mremap`, `brk` and `madvise` (`mappings.rs`) of what is mapped and given back.
//! The events come in one ring, in their order, and [`pages`] keeps by range of addresses who touched
//! a page first. At the end `/proc/PID/pagemap` says what is resident, and each page goes to its owner;
//! one without goes to the nearest touch in its mapping, else to who mapped it, and is counted as such.
//! So nothing that went unseen changes the total, only the attribution.
//!
//! Page faults can be a million a second. 512 are recorded at once and 1,280 a second; when there are
//! more, the kernel says so, and the event is exchanged for one that samples five hundred a second, by
//! a counter in the kernel. When it is calm again for a second, every fault is told of again.
//!
//! A mapping that a program makes itself is an allocation in the ledger (`direct.rs`), so that live,
//! peak and allocated memory include it exactly. What is mapped inside `malloc` is not: it is the
//! allocator's growth, and the block counts.
//!
//! The timeline holds at most 600 points. When they are full, each pair becomes the one with the
//! larger RSS, so that the highest moment keeps its height and its time.
//!
//! # The budget
//!
//! At its start memtrace measures what a probe costs on this machine, and the kernel times the
//! programs for the first seconds. Hits times price is the probes' share of a process's CPU time.
//! It is taken over spans of half a second, longer if the process hardly runs. When four spans in a
//! row are over the limit, the recording of the process is stopped and its probes are taken off in the
//! background; what needs no probes goes on.
//!
//! # A snapshot
//!
//! `memtrace snapshot` attaches nothing and traces nothing. [`snapshot::take`] puts together what the
//! readers find, each part by itself: a part that cannot be read is [`snapshot::Part::Missing`], with
//! the reason, and the others are there all the same.
//!
//! ```text
//!  /proc/PID ─────────── process ─┬─ decomposition   resident memory by use ──┐
//!                                 ├─ heap            glibc's arenas ──────────┤
//!  pages that pagemap shows ──────┼─ inventory       Python objects ──────────┼─ snapshot ─ report
//!  present, left shared           └─ snapshot::stacks ◄─ unwind, python ──────┘
//!  kernel::Threads  registers, copied stacks ──┘
//! ```
//!
//! A thread that waits has left its user-space registers in the kernel. A task iterator
//! (`memtrace-ebpf/src/snapshot.rs`) reads them for all threads, with how often each has left a CPU.
//! The stack is then read in user space, by the same rows, rules and layouts that the kernel
//! programs use, and the registers are looked at again: if the thread was on no CPU both times and has
//! left none in between, it did not run, and the stack is of one moment. A thread that runs has its
//! registers in a CPU. It is given a clock (a perf event of its own), and at the next tick the kernel
//! copies its registers, native stack and Python frames at once, some microseconds of work.
//!
//! # A kill
//!
//! `memtrace oom` traces without an end. `session::recorder` is its loop, [`oom`] what it remembers.
//!
//! ```text
//!  oom:mark_victim ──────┐  freezes the slot      every second   process::survey ── oom::Census ─┐
//!  signal:signal_generate┴► KILLS ──┐             4 times a s.   process::groups ── oom::Limits ─┤
//!                                   │                            targets ────────── oom::Film ───┤
//!  /dev/kmsg ── process::kernel_log ┴─ oom::Scene ── Incident ── profile ◄───────────────────────┘
//!                                                                   └─ report ── oom::Archive
//! ```
//!
//! Two raw tracepoints (`memtrace-ebpf/src/oom.rs`) tell of kills: by the kernel, and by `SIGKILL` of a
//! process that is traced. A victim runs no more code of its own, so that its totals, stacks and code
//! objects stay as they are in the maps; its slot becomes `FROZEN` and outlives it. Kills have a ring
//! buffer of their own, and a frozen slot of which no kill is known is reported all the same. A tenth
//! of a second later the report is written: by then the kernel's log names the limit. Of the victim's own
//! memory nothing is read any more; what its RSS consisted of is from a reading ahead, at 90 % of a
//! limit or when processes wait for memory.
//!
//! A look counts as of its end, and what was seen after the kill tells nothing of it: a report lists those that
//! lived at that moment, as the last look before it found them.
//!
//! By then the group may be empty. So its looks of before the kill are kept, also when nobody is in it any
//! more, and a report tells of the last of them and how old it is; of what came after only what the kernel
//! counts, the peak and the kills. Snapshots ahead of kills (`session::recorder::ahead`) are read in the
//! background, one group after the other.
//!
//! A report is a folder. Its files are opened before the kill, and it is renamed when it is complete
//! and on the disk. Slots of processes that have ended are cleared together, and used again; of the
//! past, an hour of looks, a minute of RSS of each process and the last looks at each group are kept.
//! Stacks and unwind tables stay, so that a recorder that has met very many programs runs out of room
//! for new ones, and its reports say so.
//!
//! # What always holds
//!
//! Checked by `cargo xtask lint`:
//! - only [`kernel`] uses aya, only [`process`] uses procfs and names `/proc`, only [`cli`] uses
//!   clap, only `report::flamegraph` uses inferno, only `report::chart` uses plotters;
//! - [`profile`] imports no other module;
//! - every file says what it is for, in its first line, and has at most 400 lines.
//!
//! Kept by care and by tests:
//! - whatever comes from a target, its files, the cache or a recording is hostile: bounded before it
//!   is allocated, checked before it is used, escaped before it is shown;
//! - a target is never stopped, and nothing is written to its memory but the kernel's breakpoints;
//!   a thread that loads a library is held for 2 ms at most, until its unwind table is there;
//!   only a command that memtrace itself started is paused, while its new code is being read;
//! - what a search in the kernel has found may be kept, but only under all that decided it: where code was
//!   unmapped since the loader last looked, and where Python code was made anew, nothing kept is used;
//! - probes and programs belong to file descriptors, so the kernel removes them with memtrace,
//!   however it ends.
//!
//! # Formats
//!
//! | what | version | where |
//! |---|---|---|
//! | recording, `.memtrace` | 6, behind the magic `MEMTRACE` | [`recording`] |
//! | JSON report | 1, the field `schema` | `report::json`, with its schema |
//! | JSON snapshot | 1, the field `schema`; `kind` is `snapshot` | `report::snapshot::json`, with its schema |
//! | unwind table on disk, `.unwind` | 2, in the magic; others are made anew | `unwind::cache` |
//!
//! The layouts shared with the kernel programs have no version: both sides are built as one.

pub mod attach;
pub mod cli;
pub mod decomposition;
pub mod doctor;
pub mod heap;
pub mod inventory;
pub mod kernel;
pub mod objects;
pub mod oom;
pub mod output;
pub mod pages;
pub mod process;
pub mod profile;
pub mod python;
pub mod recording;
pub mod report;
pub mod session;
pub mod snapshot;
pub mod symbolize;
pub mod unwind;
