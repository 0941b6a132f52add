//! pprof's gzipped protocol buffer: <https://github.com/google/pprof/blob/main/proto/profile.proto>.
//! Holds every view as a sample type; processes are root frames and a `pid` label.

mod proto;

use std::{collections::HashMap, io::Write};

use anyhow::{Context as _, Result};
use flate2::{Compression, write::GzEncoder};
use prost::Message as _;

use crate::profile::{Amount, Frame, Process, Profile, Session, Stack, View, printable};

/// In the order of a sample's values.
const SAMPLE_TYPES: [(View, &str, &str); 6] = [
    (View::Live, "inuse_objects", "inuse_space"),
    (View::Allocated, "alloc_objects", "alloc_space"),
    (View::Peak, "peak_objects", "peak_space"),
    (View::Resident, "resident_pages", "resident_space"),
    (View::Fragmentation, "pinning_objects", "pinned_space"),
    (View::Inherited, "inherited_objects", "inherited_space"),
];

/// Writes every view; pprof shows `view` first.
pub(super) fn write(profile: &Profile, view: View, to: impl Write) -> Result<()> {
    let context = "write the pprof profile";
    let bytes = encode(profile, view).encode_to_vec();
    let mut gzip = GzEncoder::new(to, Compression::default());
    gzip.write_all(&bytes).context(context)?;
    gzip.finish().context(context)?.flush().context(context)
}

fn encode(profile: &Profile, view: View) -> proto::Profile {
    let mut tables = Tables::new();
    let processes = profile.processes.iter().map(|process| tables.process(process));
    let processes: Vec<u64> = processes.collect();
    let frames: Vec<u64> = profile.frames.iter().map(|frame| tables.frame(frame)).collect();
    let pid = tables.string("pid");
    let sample = |stack: &Stack| {
        let frames = stack.frames.iter().rev().map(|&frame| frames[frame as usize]);
        let root = processes[stack.process as usize];
        let num = i64::from(profile.processes[stack.process as usize].pid);
        let label = vec![proto::Label { key: pid, num }];
        proto::Sample { location_id: frames.chain([root]).collect(), value: values(stack), label }
    };
    let sample = profile.stacks.iter().map(sample).collect();
    let session = tables.session(&profile.session, view);
    proto::Profile {
        sample,
        mapping: tables.mappings,
        location: tables.locations,
        function: tables.functions,
        string_table: tables.strings,
        ..session
    }
}

fn values(stack: &Stack) -> Vec<i64> {
    let amounts = SAMPLE_TYPES.map(|(view, _, _)| stack.amounts.of(view));
    let numbers = |Amount { bytes, objects }| [objects, bytes];
    amounts.into_iter().flat_map(numbers).map(signed).collect()
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Things that samples refer to by number: counted from 1, except strings.
struct Tables {
    strings: Vec<String>,
    numbers: HashMap<String, i64>,
    functions: Vec<proto::Function>,
    locations: Vec<proto::Location>,
    mappings: Vec<proto::Mapping>,
    modules: HashMap<String, u64>,
}

impl Tables {
    /// The first string is empty by definition.
    fn new() -> Self {
        Self {
            strings: vec![String::new()],
            numbers: HashMap::from([(String::new(), 0)]),
            functions: Vec::new(),
            locations: Vec::new(),
            mappings: Vec::new(),
            modules: HashMap::new(),
        }
    }

    fn string(&mut self, text: &str) -> i64 {
        let next = signed(self.strings.len() as u64);
        *self.numbers.entry(text.to_owned()).or_insert_with_key(|text| {
            self.strings.push(text.clone());
            next
        })
    }

    fn session(&mut self, session: &Session, view: View) -> proto::Profile {
        let mut sample_type = Vec::new();
        let mut default_sample_type = 0;
        for (each, objects, bytes) in SAMPLE_TYPES {
            let space = self.value_type(bytes, "bytes");
            default_sample_type = if each == view { space.r#type } else { default_sample_type };
            sample_type.extend([self.value_type(objects, "count"), space]);
        }
        proto::Profile {
            sample_type,
            default_sample_type,
            time_nanos: signed(session.started.saturating_mul(1_000_000_000)),
            duration_nanos: i64::try_from(session.duration.as_nanos()).unwrap_or(i64::MAX),
            period_type: Some(self.value_type("space", "bytes")),
            period: signed(session.sample_interval_bytes.max(1)),
            comment: vec![self.string(&printable(&session.command_line))],
            ..proto::Profile::default()
        }
    }

    fn value_type(&mut self, name: &str, unit: &str) -> proto::ValueType {
        proto::ValueType { r#type: self.string(name), unit: self.string(unit) }
    }

    fn process(&mut self, process: &Process) -> u64 {
        let line = self.line(&process.text(), "", None);
        // pprof names the profile after the first mapping.
        let mapping = self.mapping(&printable(&process.comm));
        self.location(line, mapping, 0)
    }

    fn frame(&mut self, frame: &Frame) -> u64 {
        let (location, module, address) = match frame {
            Frame::Python { location, .. } => (Some(location), None, 0),
            Frame::Native { location, module, address, .. } => {
                (location.as_ref(), module.as_deref(), *address)
            }
            Frame::Gap { .. } | Frame::Origin { .. } => (None, None, 0),
        };
        let file = location.map_or("", |location| &location.file);
        let line = self.line(&frame.name(), file, location.and_then(|location| location.line));
        let mapping = module.map_or(0, |module| self.mapping(module));
        self.location(line, mapping, address)
    }

    fn line(&mut self, function: &str, file: &str, line: Option<u32>) -> proto::Line {
        let id = self.functions.len() as u64 + 1;
        let (name, filename) =
            (self.string(function), self.string(&file.replace(char::is_control, "?")));
        self.functions.push(proto::Function { id, name, filename });
        proto::Line { function_id: id, line: line.map_or(0, i64::from) }
    }

    fn location(&mut self, line: proto::Line, mapping_id: u64, address: u64) -> u64 {
        let id = self.locations.len() as u64 + 1;
        self.locations.push(proto::Location { id, mapping_id, address, line: vec![line] });
        id
    }

    fn mapping(&mut self, module: &str) -> u64 {
        let id = self.mappings.len() as u64 + 1;
        if let Some(&known) = self.modules.get(module) {
            return known;
        }
        let filename = self.string(module);
        // The names are already here: nothing is left to look up in the file.
        self.mappings.push(proto::Mapping { id, filename, has_functions: true });
        self.modules.insert(module.to_owned(), id);
        id
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::read::GzDecoder;

    use super::*;
    use crate::profile::example;

    fn decoded(view: View) -> proto::Profile {
        let (mut packed, mut bytes) = (Vec::new(), Vec::new());
        write(&example::profile(), view, &mut packed).unwrap();
        GzDecoder::new(&*packed).read_to_end(&mut bytes).unwrap();
        proto::Profile::decode(&*bytes).unwrap()
    }

    fn text(pprof: &proto::Profile, string: i64) -> &str {
        &pprof.string_table[usize::try_from(string).unwrap()]
    }

    #[test]
    fn values_add_up_to_every_view() {
        let (profile, pprof) = (example::profile(), decoded(View::Peak));
        for (index, sample_type) in pprof.sample_type.iter().enumerate() {
            let (view, objects, bytes) = SAMPLE_TYPES[index / 2];
            let sum: i64 = pprof.sample.iter().map(|sample| sample.value[index]).sum();
            let total = profile.total(view);
            let (name, expected) =
                if index % 2 == 0 { (objects, total.objects) } else { (bytes, total.bytes) };
            assert_eq!(text(&pprof, sample_type.r#type), name);
            assert_eq!(sum, signed(expected), "{name}");
        }
        assert_eq!(text(&pprof, pprof.default_sample_type), "peak_space");
    }

    #[test]
    fn stacks_lead_from_the_allocator_to_the_process() {
        let pprof = decoded(View::Live);
        let function = |location: &u64| {
            let location = &pprof.location[*location as usize - 1];
            let function = &pprof.function[location.line[0].function_id as usize - 1];
            text(&pprof, function.name)
        };
        let stack: Vec<&str> = pprof.sample[0].location_id.iter().map(function).collect();
        assert_eq!(
            stack,
            [
                "malloc",
                "PyArray_NewFromDescr_int",
                "array_empty",
                "Cache.coordinates",
                "main",
                "<module>",
                "python3 (4242)"
            ]
        );
        assert_eq!(pprof.string_table[0], "");
    }

    #[test]
    fn modules_are_listed_once() {
        let pprof = decoded(View::Live);
        let names = pprof.mapping.iter().map(|mapping| text(&pprof, mapping.filename));
        let names: Vec<&str> = names.map(|path| path.rsplit('/').next().unwrap()).collect();
        assert_eq!(
            names,
            [
                "python3",
                r"pool \u{1b}[31m-0",
                "_multiarray_umath.cpython-311-x86_64-linux-gnu.so",
                "libc.so.6",
                "libopenblas.so.0",
                "rdchem.so"
            ]
        );
        assert!(pprof.location.iter().all(|at| at.mapping_id as usize <= pprof.mapping.len()));
    }
}
