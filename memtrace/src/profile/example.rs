//! A made-up profile for tests: two Python processes with native and missing frames, and names
//! that try to break out of every format.

use std::time::Duration;

use super::{
    Amount, Amounts, Arena, AtPeak, BasisPoints, Builder, ByKind, Calls, Cost, Decomposition,
    Frame, Heap, Live, Location, Loss, Measured, Point, Probe, Process, Profile, Recorder, Segment,
    Session, Shed, Timeline, Together, User,
};

/// Live bytes that the first process counted, but no stack holds.
pub const WITHOUT_STACK: u64 = 3 << 20;

const MIB: u64 = 1 << 20;
const UMATH: &str = "/venv/numpy/core/_multiarray_umath.cpython-311-x86_64-linux-gnu.so";

/// The made-up profile.
#[must_use]
pub fn profile() -> Profile {
    let mut builder = Builder::new(session());
    let parent = builder.add_process(parent());
    let worker = builder.add_process(worker());
    for (process, frames, amounts) in stacks(parent, worker) {
        let frames = frames.into_iter().map(|frame| builder.intern(frame)).collect();
        builder.add_stack(process, frames, amounts);
    }
    let mut profile = builder.finish();
    count_stacks(&mut profile);
    profile.losses = losses();
    profile.notes = vec!["no room for the unwind table of libtorch.so".into()];
    profile.timeline = timeline();
    profile.segments = vec![
        segment("/dev/shm/psm_4c2f", 256 * MIB, &[(parent, 256 * MIB), (worker, 256 * MIB)]),
        segment("memfd <script>alert(2)</script>\u{1b}[31m", 8 * MIB, &[(parent, 8 * MIB)]),
    ];
    profile
}

/// A slow rise, a sudden peak, and what stays.
fn timeline() -> Timeline {
    let mut recorder = Recorder::default();
    for second in 0..30 {
        let height = match second {
            0..12 => 600 + 80 * second,
            12 => 2_100,
            _ => 1_560,
        };
        let resident = ByKind { anonymous: height * MIB, shared: 264 * MIB, file: 76 * MIB };
        recorder.push(Point { at: Duration::from_secs(second), resident, live: height / 2 * MIB });
    }
    let at = Duration::from_secs(12);
    let together = Some(Together { at, proportional: 2_200 * MIB, private: 1_950 * MIB });
    Timeline { together, ..recorder.timeline().clone() }
}

fn segment(name: &str, resident: u64, users: &[(u32, u64)]) -> Segment {
    let users =
        users.iter().map(|(process, resident)| User { process: *process, resident: *resident });
    Segment { name: name.into(), resident, exact: true, users: users.collect() }
}

fn decomposition() -> Decomposition {
    let measured = Measured {
        resident: 1_900 * MIB,
        heap: 1_530 * MIB,
        live: Some(Live { resident: 690 * MIB, absent: 8 * MIB }),
        data: 21 * MIB,
        file: 76 * MIB,
        shared: 264 * MIB,
        stacks: 2 * MIB,
        ..Measured::default()
    };
    Decomposition { swapped: 12 * MIB, ..Decomposition::new(&measured) }
}

fn count_stacks(profile: &mut Profile) {
    for stack in &profile.stacks {
        profile.processes[stack.process as usize].amounts += stack.amounts;
    }
    let amounts = &mut profile.processes[0].amounts;
    let lost = Amount { bytes: WITHOUT_STACK, objects: 3 };
    for amount in [&mut amounts.live, &mut amounts.peak, &mut amounts.allocated] {
        *amount += lost;
    }
}

/// Its circumstances.
#[must_use]
pub fn session() -> Session {
    let probe = |name: &str, hits, nanoseconds_per_hit, slow| Probe {
        name: name.into(),
        hits,
        nanoseconds_per_hit,
        slow,
    };
    Session {
        version: "0.1.0".into(),
        started: 1_793_534_400,
        duration: Duration::from_millis(30_250),
        command_line: "memtrace -d 30s -o out.svg --pid 4242".into(),
        host: "radar-7".into(),
        kernel: "6.18.5".into(),
        detail: "full".into(),
        sample_interval_bytes: 64 << 10,
        symbolized: true,
        cost: Cost {
            probes: vec![
                probe("malloc (libc.so.6)", 408_000, 950, false),
                probe("free (libc.so.6)", 400_000, 9_700, true),
            ],
            target_time: Some(Duration::from_secs(58)),
            limit: Some(BasisPoints(1_000)),
        },
    }
}

fn parent() -> Process {
    Process {
        pid: 4242,
        comm: "python3".into(),
        command_line: "python3 composite.py --sources dwd,<script>alert(1)</script>".into(),
        python: Some("3.11.7".into()),
        peak_at: Some(Duration::from_millis(12_300)),
        calls: Calls {
            allocations: 408_000,
            releases: 390_000,
            unknown_releases: 120,
            failures: 2,
        },
        rss_bytes: Some(1_900 * MIB),
        highest_rss_bytes: Some(2_500 * MIB),
        decomposition: Some(decomposition()),
        at_peak: Some(AtPeak {
            resident: ByKind { anonymous: 2_100 * MIB, shared: 264 * MIB, file: 76 * MIB },
            distance: Duration::from_millis(34),
            before: false,
        }),
        heap: Some(heap()),
        ..Process::default()
    }
}

fn worker() -> Process {
    Process {
        pid: 4250,
        comm: "pool \u{1b}[31m-0".into(),
        command_line: "python3 -c from multiprocessing.spawn import spawn_main".into(),
        python: Some("3.11.7".into()),
        peak_at: Some(Duration::from_secs(20)),
        calls: Calls { allocations: 9_000, releases: 8_000, ..Calls::default() },
        ended: Some(Duration::from_secs(25)),
        shed: Some(Shed {
            at: Duration::from_secs(20),
            share: BasisPoints(6_200),
            after: Duration::from_secs(2),
            limit: BasisPoints(1_000),
        }),
        ..Process::default()
    }
}

fn losses() -> Vec<Loss> {
    let loss =
        |what: &str, count, advice: &str| Loss { what: what.into(), count, advice: advice.into() };
    vec![
        loss(
            "allocations without a stack: the table of stacks was full",
            1_234,
            "raise --max-stacks",
        ),
        loss("returns from allocator calls that began before tracing", 0, "expected"),
    ]
}

fn stacks(parent: u32, worker: u32) -> Vec<(u32, Vec<Frame>, Amounts)> {
    let main =
        || vec![python("<module>", "composite.py", 310), python("main", "composite.py", 298)];
    let numpy = |symbol| {
        vec![native(symbol, UMATH), native("PyArray_NewFromDescr_int", UMATH), libc("malloc")]
    };
    let cache = || python("Cache.coordinates", "cache.py", 77);
    let script = "<script>alert('frame')</script> & \"quoted\"\n;]]>";
    let blas = "/venv/numpy.libs/libopenblas.so.0";
    let grid = python("build_grid", "compositor.py", 193);
    let batch = python("<listcomp>", "worker.py", 41);
    let unknown =
        Frame::Native { symbol: None, module: Some(blas.into()), address: 0x1f30, location: None };
    vec![
        (parent, [main(), vec![cache()], numpy("array_empty")].concat(), amounts(512, 512, 512)),
        (parent, [main(), vec![cache()], vec![libc("malloc")]].concat(), amounts(1, 1, 40)),
        (parent, [main(), vec![grid], numpy("array_meshgrid")].concat(), amounts(64, 640, 3_200)),
        (parent, [main(), vec![python(script, "</title>.py", 1)]].concat(), amounts(70, 70, 70)),
        (parent, [main(), vec![python(&"x".repeat(10_000), "x.py", 1)]].concat(), amounts(5, 5, 5)),
        (parent, vec![gap(), native("blas_memory_alloc", blas), libc("malloc")], amounts(9, 9, 9)),
        (parent, vec![native("blas_memory_alloc", blas), libc("malloc")], amounts(32, 32, 32)),
        (parent, vec![unknown], amounts(2, 2, 2)),
        (
            parent,
            vec![before()],
            Amounts { fragmentation: amounts(3, 0, 0).live, ..Amounts::default() },
        ),
        (worker, [vec![cache()], numpy("array_empty")].concat(), amounts(128, 256, 900)),
        (
            worker,
            vec![batch, native("RDKit::RWMol::RWMol(const RWMol &)", "/x/rdchem.so")],
            amounts(40, 180, 800),
        ),
        (worker, vec![python("finished", "worker.py", 90), libc("realloc")], amounts(0, 0, 77)),
    ]
}

fn python(qualname: &str, file: &str, line: u32) -> Frame {
    let location = Location { file: format!("/srv/radar/{file}"), line: Some(line) };
    Frame::Python { qualname: qualname.into(), location }
}

fn native(symbol: &str, module: &str) -> Frame {
    let [symbol, module] = [symbol, module].map(|name| Some(name.into()));
    Frame::Native { symbol, module, address: 0x1000, location: None }
}

fn libc(symbol: &str) -> Frame {
    native(symbol, "/usr/lib/x86_64-linux-gnu/libc.so.6")
}

fn before() -> Frame {
    Frame::Origin { what: "before attach: blocks of 64 B to 128 B".into() }
}

/// A heap of 96 MiB that is mostly pinned.
fn heap() -> Heap {
    let arena = |name: &str, size: u64| Arena {
        name: name.into(),
        size: size * MIB,
        resident: size / 2 * MIB,
        live: size / 8 * MIB,
        blocks: 1000,
        free: size / 8 * 7 * MIB,
        pinned: size / 4 * MIB,
        trimmable: size / 8 * MIB,
        kept: 0,
    };
    Heap {
        arenas: vec![arena("main arena", 64), arena("thread arena 1", 32)],
        remarks: vec!["malloc_trim(0) would return 12.0 MiB (measured).".into()],
    }
}

fn gap() -> Frame {
    Frame::Gap { reason: "incomplete: no unwind information".into() }
}

/// In MiB; an object is 1 MiB.
fn amounts(live: u64, peak: u64, allocated: u64) -> Amounts {
    let amount = |mebibytes| Amount { bytes: mebibytes * MIB, objects: mebibytes };
    let fragmentation = amount(live / 8);
    Amounts {
        live: amount(live),
        peak: amount(peak),
        allocated: amount(allocated),
        fragmentation,
        ..Amounts::default()
    }
}
