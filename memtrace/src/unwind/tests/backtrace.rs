//! Walks of this very thread's stack, against those of libgcc.

use std::{
    arch::asm,
    cell::RefCell,
    ffi::{CString, c_int, c_void},
    fs::File,
    ops::Range,
    os::unix::{ffi::OsStrExt as _, fs::FileExt as _},
    path::Path,
};

use memtrace_abi::unwind::{Cfa, Registers, Rule, Stop, find_row, pack_row, step};
use object::{Object as _, ObjectSegment as _, Segment};
use procfs::process::MemoryMap;

use super::fixtures::{executable_mappings, image, library};
use crate::unwind::UnwindTable;

/// Functions that call back with a stack that they realigned, as GCC and as hand-written code do.
const REALIGNED: &str = r#"
    #include <alloca.h>
    #include <string.h>
    typedef void (*callback)(void);
    __attribute__((noinline)) static long
    realign(callback call, long a, long b, long c, long d, long e, long f, long g) {
        char line[64] __attribute__((aligned(64)));
        char *more = alloca(a + 1);
        memset(line, (int)f, sizeof line);
        more[a] = g;
        call();
        return line[b & 63] + more[a] + c + d + e;
    }
    long from_compiler(callback call) { return realign(call, 1, 2, 3, 4, 5, 6, 7) + 1; }

    void by_hand(callback call);
    asm(".globl by_hand\n by_hand: .cfi_startproc\n mov %rsp, %rax\n .cfi_def_cfa_register rax\n"
        "sub $64, %rsp\n and $-64, %rsp\n mov %rax, 16(%rsp)\n"
        ".cfi_escape 0x0f, 5, 0x77, 16, 0x06, 0x23, 8\n"
        "call *%rdi\n mov 16(%rsp), %rsp\n .cfi_def_cfa rsp, 8\n ret\n .cfi_endproc");
"#;

unsafe extern "C" {
    fn _Unwind_Backtrace(
        frame: extern "C" fn(*mut c_void, *mut c_void) -> c_int,
        frames: *mut c_void,
    ) -> c_int;
    fn _Unwind_GetIP(context: *mut c_void) -> usize;
    fn _Unwind_GetCFA(context: *mut c_void) -> usize;
}

/// Program counter and stack pointer.
type Frame = (u64, u64);

/// An executable mapping of a file and the file's table.
struct Mapped {
    addresses: Range<u64>,
    /// What is to be added to an address of the process.
    bias: u64,
    table: UnwindTable,
}

thread_local! {
    /// What was mapped when this thread first walked; each test has its own thread.
    static MAPPED: Vec<Mapped> = mapped();
    /// The walks of both unwinders that this thread has taken, and why ours ended.
    static WALKS: RefCell<Vec<([Vec<Frame>; 2], Stop)>> = const { RefCell::new(Vec::new()) };
}

fn mapped() -> Vec<Mapped> {
    executable_mappings().iter().filter_map(Mapped::new).collect()
}

impl Mapped {
    fn new(mapping: &MemoryMap) -> Option<Self> {
        let bytes = image(mapping)?;
        let file = object::File::parse(&*bytes).unwrap();
        // Segments of a file may share a page: the mapping is that of the executable one.
        let holds = |segment: &Segment<'_, '_>| {
            let (start, size) = segment.file_range();
            let pages = start & !0xfff..start + size;
            segment.permissions().executable() && pages.contains(&mapping.offset)
        };
        let segment = file.segments().find(holds).unwrap();
        let first = segment.address().wrapping_sub(segment.file_range().0) + mapping.offset;
        let (start, end) = mapping.address;
        let table = UnwindTable::parse(&bytes).unwrap();
        Some(Self { addresses: start..end, bias: first.wrapping_sub(start), table })
    }

    /// Searches as the kernel does: the rows of one page and the row before them.
    fn rule(&self, pc: u64) -> Option<Rule> {
        let address = pc.wrapping_add(self.bias);
        let page = address & !0xffff;
        let rows = &self.table.rows;
        let from = |address| rows.partition_point(|row| row.address < address) as u32;
        let row_at = |index: u32| {
            let row = rows.get(index as usize)?;
            Some(pack_row(row.address, row.rule))
        };
        let rule = find_row(address, 0, (from(page), from(page + 0x1_0000)), row_at)?;
        self.table.rules.get(usize::from(rule)).copied()
    }
}

fn rule(pc: u64) -> Rule {
    let holds = |mapped: &&Mapped| mapped.addresses.contains(&pc);
    MAPPED.with(|all| all.iter().find(holds)?.rule(pc)).unwrap_or_default()
}

/// Our frames above the given one, and why there are no more.
fn walk(mut registers: Registers) -> (Vec<Frame>, Stop) {
    let memory = File::open("/proc/self/mem").unwrap();
    let read = |address| {
        let mut bytes = [0; 8];
        memory.read_exact_at(&mut bytes, address).ok().map(|()| u64::from_ne_bytes(bytes))
    };
    let mut frames = Vec::new();
    let mut interrupted = true;
    loop {
        // A return address lies behind the call, maybe in the next function.
        let rule = rule(registers.pc - u64::from(!interrupted));
        interrupted = rule.cfa == Cfa::Signal as u8;
        registers = match step(rule, registers, read) {
            Ok(caller) => caller,
            Err(stop) => return (frames, stop),
        };
        frames.push((registers.pc, registers.sp));
    }
}

extern "C" fn push_frame(context: *mut c_void, frames: *mut c_void) -> c_int {
    // SAFETY: libgcc's own context, within its callback.
    let pc = unsafe { _Unwind_GetIP(context) } as u64;
    // SAFETY: as above.
    let sp = unsafe { _Unwind_GetCFA(context) } as u64;
    // SAFETY: the vector that `walk_of_libgcc` lends, to nobody else.
    let frames = unsafe { &mut *frames.cast::<Vec<Frame>>() };
    frames.push((pc, sp));
    0
}

/// libgcc's frames, the first is this function's.
#[inline(never)]
fn walk_of_libgcc() -> Vec<Frame> {
    let mut frames = Vec::new();
    // SAFETY: the vector outlives the call, which hands it back to the callback.
    unsafe { _Unwind_Backtrace(push_frame, (&raw mut frames).cast()) };
    frames
}

#[inline(never)]
extern "C" fn take_walks() {
    let (pc, sp, fp): (u64, u64, u64);
    // SAFETY: reads registers only.
    unsafe {
        asm!("lea {}, [rip]", "mov {}, rsp", "mov {}, rbp", out(reg) pc, out(reg) sp, out(reg) fp);
    }
    let (ours, stop) = walk(Registers { pc, sp, fp });
    let mut theirs = walk_of_libgcc();
    theirs.drain(..2);
    theirs.retain(|&(pc, _)| pc != 0);
    WALKS.with_borrow_mut(|walks| walks.push(([ours, theirs], stop)));
}

/// The frames on which both unwinders agree; one walk was taken.
fn agreed() -> Vec<Frame> {
    let [([ours, theirs], stop)] = WALKS.take().try_into().unwrap();
    assert_eq!(ours, theirs);
    assert_eq!(stop, Stop::End);
    assert!(ours.len() > 5, "{ours:x?}");
    ours
}

fn cfa_kinds(frames: &[Frame]) -> Vec<u8> {
    frames.iter().map(|&(pc, _)| rule(pc - 1).cfa).collect()
}

/// A function of a library that is never unloaded.
fn function(library: &Path, name: &str) -> extern "C" fn(extern "C" fn()) {
    let path = CString::new(library.as_os_str().as_bytes()).unwrap();
    // SAFETY: the library has no constructors.
    let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW) };
    assert!(!handle.is_null());
    let name = CString::new(name).unwrap();
    // SAFETY: the handle is valid, the name ends in zero.
    let address = unsafe { libc::dlsym(handle, name.as_ptr()) };
    assert!(!address.is_null());
    // SAFETY: the source of the library declares it so; what it returns may be ignored.
    unsafe { std::mem::transmute(address) }
}

#[test]
fn rust_frames_agree_with_libgcc() {
    let recurse = |recurse: &dyn Fn(&dyn Fn())| recurse(&|| take_walks());
    recurse(&|nested| [1, 2].iter().take(1).for_each(|_| nested()));
    agreed();
}

#[test]
fn callbacks_from_the_c_library_agree_with_libgcc() {
    extern "C" fn compare(_: *const c_void, _: *const c_void) -> c_int {
        take_walks();
        0
    }
    let mut values = [2_u64, 1];
    // SAFETY: two values of eight bytes each.
    unsafe { libc::qsort(values.as_mut_ptr().cast(), 2, 8, Some(compare)) };
    agreed();
}

#[test]
fn frames_below_a_signal_handler_agree_with_libgcc() {
    extern "C" fn handle(_: c_int) {
        take_walks();
    }
    MAPPED.with(|mapped| assert!(!mapped.is_empty()));
    let handler = handle as extern "C" fn(c_int);
    // SAFETY: no other test uses the signal.
    unsafe { libc::signal(libc::SIGUSR2, handler as libc::sighandler_t) };
    // SAFETY: sends to this thread; the handler runs before the call returns.
    unsafe { libc::raise(libc::SIGUSR2) };
    assert!(cfa_kinds(&agreed()).contains(&(Cfa::Signal as u8)));
}

#[test]
fn realigned_stacks_agree_with_libgcc() {
    let library = library(REALIGNED, "c", &[]);
    let from_compiler = function(library.path(), "from_compiler");
    let by_hand = function(library.path(), "by_hand");
    from_compiler(take_walks);
    assert!(cfa_kinds(&agreed()).contains(&(Cfa::FpDeref as u8)));
    by_hand(take_walks);
    assert!(cfa_kinds(&agreed()).contains(&(Cfa::SpDeref as u8)));
}
