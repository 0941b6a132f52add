//! Python code objects: on first sight all that names a function and its lines goes to the loader,
//! so that names and lines survive the process.

use aya_ebpf::{
    bindings::{BPF_F_NO_PREALLOC, BPF_NOEXIST},
    helpers::generated,
    macros::map,
    maps::{Array, HashMap},
};
use memtrace_abi::{
    event::{Code, HUGE_LINES, LARGE_LINES, MAX_FILENAME, MAX_NAME, SMALL_LINES, kind},
    loss::Loss,
    python::Python,
};

use crate::{
    atomic, hash,
    lifecycle::EVENTS,
    losses, memory,
    verifier::within,
    walk::{Context, Walk},
};

/// Numbers of code objects.
#[map]
static CODES: HashMap<CodeKey, u32> = HashMap::with_max_entries(1 << 18, BPF_F_NO_PREALLOC);
/// The number given last.
#[map]
static LAST_CODE: Array<u64> = Array::with_max_entries(1, 0);

/// Words of a code object that are read: up to and including the line table of every version.
const HEADER_WORDS: usize = 18;
/// In a code object: how much code there is; before 3.11, how many arguments.
const SIZE_WORD: usize = 2;
/// In every object: `PyObject.ob_type`; in every `bytes`: `ob_size`, which its hash and `ob_sval`
/// follow; in every `str`: `length`, which its hash and `state` follow.
const TYPE_WORD: usize = 1;
const BYTES_SIZE: u64 = 16;
const BYTES_DATA: u64 = 32;
const STRING_LENGTH: u64 = 16;
/// The hash of a `str` that nobody has asked for yet.
const NOT_HASHED: u64 = u64::MAX;
/// Bytes of a text that are looked at in one go, and one more; a power of two.
const PART: usize = 64;

/// The head of a code object.
#[repr(C)]
pub(crate) struct CodeHeader {
    words: [u64; 32],
    /// A part of a text that it refers to.
    part: [u64; PART / 8],
    /// The file name that was read last, and what it says, mixed: functions of a module share it.
    filename: u64,
    filename_says: u64,
    /// Where it was read; 0 if it was not.
    address: u64,
    /// What tells it from other code objects at its address, mixed into one word that is not 0.
    pub(crate) contents: u64,
    /// The code object's number, once that was looked up; else 0.
    number: u64,
}

impl CodeHeader {
    /// What was read in an earlier walk may have changed.
    pub(crate) fn forget(&mut self) {
        self.address = 0;
        self.filename = 0;
    }

    /// Reads it, unless it is the one that was read last: calls often repeat in recursion.
    #[expect(clippy::inline_always, reason = "Linux 6.1 counts 32 bytes of stack for any function")]
    #[inline(always)]
    pub(crate) fn read(&mut self, python: &Python, address: u64) -> Option<()> {
        if address == self.address {
            return Some(());
        }
        self.address = 0;
        let (start, _) = self.words.split_first_chunk_mut::<HEADER_WORDS>()?;
        memory::read_into(start, address)?;
        self.address = address;
        self.contents = self.mix_contents(python);
        self.number = 0;
        Some(())
    }

    fn word(&self, offset: u16) -> u64 {
        self.words[usize::from(offset / 8) % 32]
    }

    fn int(&self, offset: u16) -> i32 {
        (self.word(offset) >> (u32::from(offset % 8) * 8)) as i32
    }

    /// A version tells it from every other one; without that, reading more than the head is the
    /// only way.
    fn mix_contents(&mut self, python: &Python) -> u64 {
        match self.version(python) {
            0 if self.is_code(python) => self.mix_texts(python),
            version => hash::mix(self.mix_head(python), version) | 1,
        }
    }

    fn is_code(&self, python: &Python) -> bool {
        self.words[TYPE_WORD] == python.code_type
    }

    /// 0 if it has none.
    fn version(&self, python: &Python) -> u64 {
        match python.code_version {
            0 => 0,
            offset => u64::from(self.int(offset).cast_unsigned()),
        }
    }

    fn mix_head(&self, python: &Python) -> u64 {
        let fields = [
            self.words[TYPE_WORD],
            self.words[SIZE_WORD],
            u64::from(self.int(python.code_first_line).cast_unsigned()),
            self.word(python.code_filename),
            self.word(python.code_name),
            self.word(python.code_lines),
        ];
        fields.into_iter().fold(1, hash::mix)
    }

    /// All that names it, mixed: code that is made twice is the same. Where its texts are does not
    /// tell: generated code that is freed makes room for the next, which often lies at the same
    /// addresses. Not inlined: the program's stack is small.
    #[inline(never)]
    fn mix_texts(&mut self, python: &Python) -> u64 {
        let filename = self.word(python.code_filename);
        if filename != self.filename {
            self.filename_says = self.mix_string(python, filename);
            self.filename = filename;
        }
        let name = self.mix_string(python, self.word(python.code_name));
        let lines = mix_start(self.word(python.code_lines));
        [self.filename_says, name, lines].into_iter().fold(self.mix_head(python), hash::mix) | 1
    }

    /// What a `str` says: its hash, or while it has none, where it begins and ends.
    #[inline(never)]
    fn mix_string(&mut self, python: &Python, object: u64) -> u64 {
        let text = string(python, object);
        if text.hash != NOT_HASHED {
            return hash::mix(u64::from(text.length), text.hash);
        }
        let (start, size) = (text.data, text.size());
        let mixed = self.mix_part(size, start, size);
        if size < PART as u64 {
            return mixed;
        }
        let last = PART as u64 - 1;
        self.mix_part(mixed, start.wrapping_add(size - last), last)
    }

    #[expect(clippy::inline_always, reason = "Linux 6.1 counts 32 bytes of stack for any function")]
    #[inline(always)]
    fn mix_part(&mut self, hash: u64, address: u64, size: u64) -> u64 {
        self.part = [0; PART / 8];
        // SAFETY: words can hold any bytes.
        let bytes = unsafe { &mut *(&raw mut self.part).cast::<[u8; PART]>() };
        // Where it cannot be read there are zeros.
        let _ = read_bytes(bytes, address, size);
        self.part.into_iter().fold(hash, hash::mix)
    }
}

/// The size of a `bytes` and how it begins. Eight bytes are there, if only behind its end.
fn mix_start(object: u64) -> u64 {
    let [size, _hash, start]: [u64; 3] = memory::read(object + BYTES_SIZE).unwrap_or_default();
    let behind = 64 - 8 * size.min(8) as u32;
    hash::mix(size, start.checked_shl(behind).unwrap_or_default())
}

/// A code object and what it said: its memory may be used for another one later.
#[repr(C)]
#[derive(Clone, Copy)]
struct CodeKey {
    address: u64,
    contents: u64,
    process: u64,
}

/// An event with room for a line table.
#[repr(C)]
struct Announcement<const LINES: usize> {
    code: Code,
    lines: [u8; LINES],
}

/// The number of a code object; 0 if it cannot be read or is something else.
pub(crate) fn identify(context: &Context, python: &Python, walk: &mut Walk, address: u64) -> u32 {
    let header = &mut walk.code_header;
    if header.read(python, address).is_none() || !header.is_code(python) {
        return 0;
    }
    if header.number == 0 {
        header.number = u64::from(look_up(context, python, header));
    }
    header.number as u32
}

fn look_up(context: &Context, python: &Python, header: &mut CodeHeader) -> u32 {
    let contents = match header.version(python) {
        0 => header.contents,
        _ => header.mix_texts(python),
    };
    let key = CodeKey { address: header.address, contents, process: context.slot };
    // SAFETY: entries are never removed.
    match unsafe { CODES.get(key) } {
        Some(number) => *number,
        None => announce(context, python, header, &key),
    }
}

/// Sends the code object and gives it a number. Without room for the event it stays unnumbered (0),
/// so that a later sight of it sends it.
#[inline(never)]
fn announce(context: &Context, python: &Python, header: &CodeHeader, key: &CodeKey) -> u32 {
    let lines = header.word(python.code_lines);
    let size: u64 = memory::read(lines + BYTES_SIZE).unwrap_or_default();
    if size < SMALL_LINES as u64 {
        send::<SMALL_LINES>(context, python, header, key)
    } else if size < LARGE_LINES as u64 {
        send::<LARGE_LINES>(context, python, header, key)
    } else {
        send::<HUGE_LINES>(context, python, header, key)
    }
}

#[inline]
fn send<const LINES: usize>(
    context: &Context,
    python: &Python,
    header: &CodeHeader,
    key: &CodeKey,
) -> u32 {
    let Some(mut entry) = EVENTS.reserve::<Announcement<LINES>>(0) else {
        losses::count(Loss::EventsFull);
        return 0;
    };
    // SAFETY: every byte pattern is a valid announcement, and the entry is ours until submitted.
    let announcement = unsafe { entry.assume_init_mut() };
    fill(&mut announcement.code, context, python, header);
    let lines = header.word(python.code_lines);
    announcement.code.lines_size = memory::read(lines + BYTES_SIZE)
        .and_then(|size| read_bytes(&mut announcement.lines, lines + BYTES_DATA, size))
        .unwrap_or(u32::MAX);
    let number = next_number();
    announcement.code.code = number;
    let outcome = CODES.insert(key, number, u64::from(BPF_NOEXIST));
    if outcome.is_ok() {
        entry.submit(0);
        return number;
    }
    entry.discard(0);
    // SAFETY: entries are never removed.
    if let Some(number) = unsafe { CODES.get(key) } {
        return *number;
    }
    if losses::is_full(outcome) {
        losses::count(Loss::CodesFull);
    }
    0
}

fn next_number() -> u32 {
    let Some(last) = LAST_CODE.get_ptr_mut(0) else { return 0 };
    // SAFETY: a map value; every CPU treats it as atomic.
    atomic::fetch_add(unsafe { &mut *last }, 1) as u32 + 1
}

fn fill(code: &mut Code, context: &Context, python: &Python, header: &CodeHeader) {
    code.kind = kind::CODE;
    code.process = context.slot as u32;
    code.first_line = header.int(python.code_first_line);
    code.minor = u32::from(python.minor);
    let name = string(python, header.word(python.code_name));
    let read = read_bytes::<MAX_NAME>(&mut code.name, name.data, name.size());
    code.name_length = name.length;
    code.name_width = read.map_or(0, |_| name.width);
    let filename = string(python, header.word(python.code_filename));
    let read = read_bytes::<MAX_FILENAME>(&mut code.filename, filename.data, filename.size());
    code.filename_length = filename.length;
    code.filename_width = read.map_or(0, |_| filename.width);
}

struct Text {
    data: u64,
    hash: u64,
    length: u32,
    width: u32,
}

impl Text {
    fn size(&self) -> u64 {
        u64::from(self.length) * u64::from(self.width)
    }
}

/// Where the characters of a `str` are. Width 0 if it cannot be read or is of the old kind with a
/// separate buffer, which names in code objects never are.
fn string(python: &Python, object: u64) -> Text {
    let [length, hash, state]: [u64; 3] = memory::read(object + STRING_LENGTH).unwrap_or_default();
    let state = state as u32 >> (python.string_kind_shift & 31);
    let compact = state >> 3 & 1 != 0;
    let ascii = state >> 4 & 1 != 0;
    let offset = if ascii { python.string_ascii } else { python.string_compact };
    Text {
        data: object + u64::from(offset),
        hash,
        length: length as u32,
        width: if compact { state & 7 } else { 0 },
    }
}

/// Reads fewer than `N` bytes, `N` being a power of two; returns how many there are.
#[inline]
fn read_bytes<const N: usize>(target: &mut [u8; N], address: u64, size: u64) -> Option<u32> {
    let available = size as u32;
    let wanted = within::<N>(available.min(N as u32 - 1) as usize) as u32;
    // SAFETY: fewer than `N` bytes; the helper fails on an address it cannot read.
    let status = unsafe {
        generated::bpf_probe_read_user(target.as_mut_ptr().cast(), wanted, address as *const _)
    };
    (status == 0).then_some(available)
}
