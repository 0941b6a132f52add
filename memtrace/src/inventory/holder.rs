//! Says who holds an object: the way that led to it, written like Python.

use super::{
    attributes::MODULE_DICT,
    frames::Activation,
    graph::{Graph, Node, ROOT},
    model::{Holder, Root},
    reader::Reader,
    references::Edge,
};

/// Steps of a path that are written out; longer ones lose their middle.
const MAX_STEPS: usize = 10;
/// Longer paths are not followed to their start.
const MAX_DEPTH: usize = 100_000;
const MAX_NAME: usize = 100;
const UNREADABLE: &str = "?";

/// All ways that were found.
pub(super) struct Holders<'a> {
    pub(super) graph: Graph<'a>,
    pub(super) activations: Vec<Activation>,
}

impl Holders<'_> {
    /// Who holds an object; `None`: nothing led to it.
    pub(super) fn holder(&self, reader: &mut Reader<'_>, object: u64) -> Option<Holder> {
        let mut steps = self.steps(object)?;
        let first = steps.pop()?;
        let root = self.root(reader, first);
        let mut path = start(reader, first);
        let mut before = first.object;
        let kept = MAX_STEPS / 2;
        let middle = kept..steps.len().saturating_sub(kept).max(kept);
        let mut is_dict = matches!(first.edge, Edge::Locals(_));
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
        let mut number = self.graph.number(object)?;
        while let Some(node) = self.graph.node(number) {
            steps.push(node);
            number = node.from;
            if number == ROOT || steps.len() == MAX_DEPTH {
                break;
            }
        }
        Some(steps)
    }

    fn root(&self, reader: &mut Reader<'_>, first: Node) -> Root {
        let activation = match first.edge {
            Edge::Local(index, _) | Edge::Locals(index) => self.activations.get(index as usize),
            Edge::Module => return Root::Module,
            _ => None,
        };
        let Some(activation) = activation else { return Root::Object };
        let (function, file) = reader.function(activation.code);
        Root::Local { function, file, thread: activation.thread }
    }
}

/// A step, where `is_dict` says that the one before was to a dict of attributes.
fn step_text(reader: &mut Reader<'_>, (from, step): (u64, &Node), is_dict: bool) -> String {
    match step.edge {
        Edge::Value(key) if is_dict => attribute(reader, key),
        Edge::Value(key) => format!("[{}]", reader.key(key)),
        Edge::Attribute(name) => attribute(reader, name),
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

/// The name that a path starts with.
fn start(reader: &mut Reader<'_>, first: Node) -> String {
    let unreadable = || UNREADABLE.to_owned();
    match first.edge {
        Edge::Local(_, name) => reader.string(name, MAX_NAME).unwrap_or_else(unreadable),
        Edge::Locals(_) => String::new(),
        Edge::Module => reader.module_name(first.object).unwrap_or_else(unreadable),
        _ => in_brackets(reader, first.object),
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
    fn module_name(&mut self, module: u64) -> Option<String> {
        let dict = self.view.word(module.wrapping_add(MODULE_DICT))?;
        let name = self.item(dict, "__name__")?;
        self.string(name, MAX_NAME)
    }
}
