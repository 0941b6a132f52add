//! Says who holds an object: the way that led to it, written like Python.

use std::collections::HashMap;

use super::{
    attributes::MODULE_DICT,
    edge::{Edge, Node, Packed},
    frames::Activation,
    model::{Holder, Root},
    reached::Objects,
    reader::Reader,
};

/// Steps of a path that are written out; longer ones lose their middle.
const MAX_STEPS: usize = 10;
/// Longer paths are not followed to their start.
const MAX_DEPTH: usize = 100_000;
const MAX_NAME: usize = 100;
const UNREADABLE: &str = "?";

/// All ways that were found.
pub(super) struct Holders {
    nodes: Vec<Packed>,
    activations: Vec<Activation>,
    /// Nodes by object, of those that are asked for.
    numbers: HashMap<u64, u32>,
}

impl Holders {
    pub(super) fn new(nodes: Vec<Packed>, activations: Vec<Activation>) -> Self {
        Self { nodes, activations, numbers: HashMap::new() }
    }

    /// Looks for some objects, of which others may ask then.
    pub(super) fn find(&mut self, objects: &Objects) {
        let numbered = self.nodes.iter().map(|node| node.object()).zip(0..);
        self.numbers = numbered.filter(|(object, _)| objects.contains(object)).collect();
    }

    /// Who holds an object; `None`: nothing led to it.
    pub(super) fn holder(&self, reader: &mut Reader<'_>, object: u64) -> Option<Holder> {
        let mut steps = self.steps(object)?;
        let first = steps.pop()?;
        let root = self.root(reader, first);
        let mut path = self.start(reader, first);
        let mut before = first.object;
        let kept = MAX_STEPS / 2;
        let middle = kept..steps.len().saturating_sub(kept).max(kept);
        let mut is_dict = first.edge == Edge::Locals;
        for (number, step) in steps.iter().rev().enumerate() {
            if steps.len() <= MAX_STEPS || !middle.contains(&number) {
                path += &step_text(reader, (before, step), is_dict);
            } else if number == middle.start {
                path += " … ";
            }
            is_dict = step.edge == Edge::Dict;
            before = step.object;
        }
        if is_dict {
            path += ".__dict__";
        }
        Some(Holder { root, path })
    }

    /// From the object back to where the way to it starts.
    fn steps(&self, object: u64) -> Option<Vec<Node>> {
        let mut steps = Vec::new();
        let mut number = *self.numbers.get(&object)?;
        while let Some(node) = self.nodes.get(number as usize).map(|node| Node::from(*node)) {
            steps.push(node);
            number = node.from;
            if node.edge.is_root() || steps.len() == MAX_DEPTH {
                break;
            }
        }
        Some(steps)
    }

    fn root(&self, reader: &mut Reader<'_>, first: Node) -> Root {
        match (first.edge, self.activations.get(first.from as usize)) {
            (Edge::Module, _) => Root::Module,
            (Edge::Local(_) | Edge::Locals, Some(activation)) => {
                let (function, file) = reader.function(activation.code);
                Root::Local { function, file, thread: activation.thread }
            }
            _ => Root::Object,
        }
    }

    /// The name that a path starts with.
    fn start(&self, reader: &mut Reader<'_>, first: Node) -> String {
        let name = match first.edge {
            Edge::Local(number) => {
                self.activations.get(first.from as usize).and_then(|activation| {
                    let name = reader.local_name(activation, number)?;
                    reader.string(name, MAX_NAME)
                })
            }
            Edge::Locals => return String::new(),
            Edge::Module => reader.module_name(first.object),
            _ => return in_brackets(reader, first.object),
        };
        name.unwrap_or_else(|| UNREADABLE.to_owned())
    }
}

/// A step, where `is_dict` says that the one before was to a dict of attributes.
fn step_text(reader: &mut Reader<'_>, (from, step): (u64, &Node), is_dict: bool) -> String {
    match step.edge {
        Edge::Value(number) => match reader.key_of(from, number, step.object) {
            Some(key) if is_dict => attribute(reader, key),
            Some(key) => format!("[{}]", reader.key(key)),
            None if is_dict => format!(".{UNREADABLE}"),
            None => format!("[{UNREADABLE}]"),
        },
        Edge::Attribute(number) => {
            let name = reader.type_of(from).and_then(|id| reader.attribute_name(id, number));
            attribute(reader, name.unwrap_or(0))
        }
        Edge::Item(index) => format!("[{index}]"),
        Edge::Member => "{…}".to_owned(),
        Edge::Key => ".keys()".to_owned(),
        Edge::Field(offset) => {
            let name = reader.type_of(from).and_then(|id| reader.member_name(id, offset));
            let name = name.unwrap_or_else(|| in_brackets(reader, step.object));
            format!(".{name}")
        }
        _ => String::new(),
    }
}

fn attribute(reader: &mut Reader<'_>, name: u64) -> String {
    format!(".{}", reader.string(name, MAX_NAME).as_deref().unwrap_or(UNREADABLE))
}

fn in_brackets(reader: &mut Reader<'_>, object: u64) -> String {
    let id = reader.type_of(object);
    id.map_or_else(|| UNREADABLE.to_owned(), |id| format!("({})", reader.described(id).name))
}

impl Reader<'_> {
    /// The key of an entry of a dict, if its value is still the one that it was.
    fn key_of(&mut self, dict: u64, number: u32, value: u64) -> Option<u64> {
        let dictionary = self.dictionary(dict)?;
        let entry = self.entry(dictionary, number.into())?;
        (entry.value == value).then_some(entry.key)
    }

    fn module_name(&mut self, module: u64) -> Option<String> {
        let dict = self.view.word(module.wrapping_add(MODULE_DICT))?;
        let name = self.item(dict, "__name__")?;
        self.string(name, MAX_NAME)
    }
}
