//! The readers of data frames and of Arrow's columns: on real ones, and on what is left of them after
//! bytes were changed.

use std::sync::atomic::Ordering;

use super::{
    super::{holder::Holders, live::Live},
    *,
};

/// Frames of every kind; tells the address of each, its rows and its columns.
const FRAMES: &str = "
import sys
import numpy, pandas, pyarrow
rows = 300
text = pandas.array([f'text {row}' for row in range(rows)], dtype='string[pyarrow]')
nested = pandas.Series([[1, 2]] * rows, dtype=pandas.ArrowDtype(pyarrow.list_(pyarrow.int32())))
words = pandas.Series(['a', 'b'] * (rows // 2), dtype=pandas.ArrowDtype(pyarrow.dictionary(pyarrow.int8(), pyarrow.string())))
arrow = pandas.DataFrame({'text': text, 'nested': nested, 'words': words})
frames = [
    arrow,
    pandas.concat([arrow] * 3),
    pandas.DataFrame({'a': numpy.arange(rows), 'b': numpy.ones(rows), 'o': [object()] * rows}),
    pandas.DataFrame({'a': pandas.array(range(rows), dtype='Int64'), 'b': pandas.Categorical(list('xyz') * 100)}),
    pandas.DataFrame({'a': pandas.date_range('2020', periods=rows, tz='UTC'), 'i': pandas.interval_range(0, rows)}),
    pandas.DataFrame({'a': pandas.arrays.SparseArray([0] * 290 + [1] * 10)}),
    pandas.DataFrame(index=pandas.MultiIndex.from_product([range(30), range(40)])),
    pandas.DataFrame(),
]
print('ready')
for frame in frames: print(id(frame), *frame.shape)
print('done', flush=True)
sys.stdin.readline()
sys.stdin.readline()
";

/// Memory is looked at page by page, so that nothing else is recorded.
const PAGE_BITS: u32 = PAGE.ilog2();

fn read(
    memory: &(dyn Memory + Sync),
    interpreter: &Interpreter,
    frames: &[[u64; 3]],
) -> Vec<[u64; 2]> {
    let limits = Limits { read_bytes: MOST, ..limits() };
    let mut reader = Reader::new(memory, interpreter, &limits, PAGE_BITS);
    let holders = Holders::new(Vec::new(), Vec::new());
    let frames = frames.iter().filter_map(|[address, ..]| reader.data_frame(*address, &holders));
    frames.map(|frame| [frame.rows, frame.columns]).collect()
}

const MOST: u64 = 64 << 20;

/// The pages that frames are read from, and what Python says of each frame.
fn recorded_frames() -> (HashMap<u64, Vec<u8>>, Interpreter, Vec<[u64; 3]>) {
    let path = env::var_os("MEMTRACE_TEST_SCENARIOS").expect("run by cargo xtask test");
    let python = Python::start(&path.into(), &["-c", FRAMES]);
    let numbers = |line: &String| {
        let numbers: Vec<u64> = line.split(' ').map(|word| word.parse().unwrap()).collect();
        numbers.try_into().unwrap()
    };
    let frames: Vec<[u64; 3]> = python.lines.iter().map(numbers).collect();
    let (process, interpreter) = python.interpreter();
    let live = Live::new(&process).unwrap();
    let recorder = Recorder { memory: &live, pages: Mutex::default() };
    let found = read(&recorder, &interpreter, &frames);
    let said: Vec<[u64; 2]> = frames.iter().map(|[_, rows, columns]| [*rows, *columns]).collect();
    assert_eq!((found, said.len()), (said, 8));
    (recorder.pages.into_inner().unwrap(), interpreter, frames)
}

#[test]
fn damaged_data_frames_are_read_or_left_out() {
    let (pages, interpreter, frames) = recorded_frames();
    let mut numbers: Vec<u64> = pages.keys().copied().collect();
    numbers.sort_unstable();
    let changes = prop::collection::vec(change(&numbers), 1..2000);
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(100));
    let result = runner.run(&changes, |changes| {
        let pages = changed(&pages, &numbers, changes);
        read(&pages, &interpreter, &frames);
        prop_assert!(pages.read.load(Ordering::Relaxed) <= MOST + PAGE);
        Ok(())
    });
    result.unwrap();
}
