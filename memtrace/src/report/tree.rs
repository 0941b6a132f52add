//! Stacks merged by the text of their frames into one tree, as a flame graph draws them.

use std::{cmp::Reverse, collections::HashMap};

use crate::profile::{Frame, Process, Profile, View};

/// The merged stacks of a view.
pub(super) struct Tree {
    /// Parents come before their children. The first node is the root of all processes.
    nodes: Vec<Node>,
    labels: Vec<Label>,
}

/// What a node shows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Label {
    pub(super) text: String,
    pub(super) kind: Kind,
}

/// What kind of code a node stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Process,
    Python,
    Native,
    Gap,
}

/// Nodes that are too small to be worth drawing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Pruned {
    pub(super) frames: usize,
    /// Each of them holds at most this.
    pub(super) bytes: u64,
}

#[derive(Clone, Copy)]
struct Node {
    parent: u32,
    label: u32,
    /// Of the node and everything below.
    bytes: u64,
    /// Allocated by the node itself, or below it by nodes that were pruned.
    own: u64,
}

impl Tree {
    /// The tree of `view`.
    pub(super) fn new(profile: &Profile, view: View) -> Self {
        let mut growth = Growth::new(profile);
        for stack in &profile.stacks {
            let bytes = stack.amounts.of(view).bytes;
            if bytes > 0 {
                growth.add(stack.process, &stack.frames, bytes);
            }
        }
        growth.tree
    }

    /// Bytes of all processes.
    pub(super) fn total(&self) -> u64 {
        self.nodes[0].bytes
    }

    /// Labels of all nodes that are left.
    pub(super) fn labels(&self) -> impl Iterator<Item = &Label> {
        self.nodes[1..].iter().map(|node| &self.labels[node.label as usize])
    }

    /// Removes all but the `limit` largest nodes; their bytes stay with the nodes above.
    pub(super) fn prune(&mut self, limit: usize) -> Pruned {
        let mut kept: Vec<u32> = (0..self.nodes.len() as u32).collect();
        // A parent is no smaller than its children and comes first among equals: it stays.
        kept.sort_by_key(|&node| (Reverse(self.nodes[node as usize].bytes), node));
        let mut pruned = kept.split_off(limit.clamp(1, kept.len()));
        let bytes = pruned.first().map_or(0, |&node| self.nodes[node as usize].bytes);
        pruned.sort_unstable();
        for &node in pruned.iter().rev() {
            let Node { parent, own, .. } = self.nodes[node as usize];
            self.nodes[parent as usize].own += own;
        }
        self.keep(kept);
        Pruned { frames: pruned.len(), bytes }
    }

    fn keep(&mut self, mut kept: Vec<u32>) {
        kept.sort_unstable();
        let position = |node| kept.binary_search(&node).expect("parents of kept nodes are kept");
        let moved = |&node: &u32| {
            let node = self.nodes[node as usize];
            Node { parent: position(node.parent) as u32, ..node }
        };
        self.nodes = kept.iter().map(moved).collect();
    }

    /// How long all [`Tree::lines`] are together, about.
    pub(super) fn lines_length(&self) -> usize {
        let mut lengths = vec![0; self.nodes.len()];
        let mut sum = 0;
        for (index, node) in self.nodes.iter().enumerate().skip(1) {
            lengths[index] = lengths[node.parent as usize] + self.label(node).text.len() + 1;
            sum += if node.own > 0 { lengths[index] + 20 } else { 0 };
        }
        sum
    }

    /// Collapsed stacks, those with common frames together, siblings in the order of their names.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut children = vec![Vec::new(); self.nodes.len()];
        for (index, node) in self.nodes.iter().enumerate().skip(1) {
            children[node.parent as usize].push(index);
        }
        for siblings in &mut children {
            siblings.sort_by_key(|&node: &usize| Reverse(&self.label(&self.nodes[node]).text));
        }
        let mut lines = Vec::new();
        let mut waiting: Vec<(usize, String)> = vec![(0, String::new())];
        while let Some((index, path)) = waiting.pop() {
            if self.nodes[index].own > 0 {
                lines.push(format!("{path} {}", self.nodes[index].own));
            }
            waiting.extend(children[index].iter().map(|&child| (child, self.below(&path, child))));
        }
        lines
    }

    fn below(&self, path: &str, child: usize) -> String {
        let text = &self.label(&self.nodes[child]).text;
        if path.is_empty() { text.clone() } else { format!("{path};{text}") }
    }

    fn label(&self, node: &Node) -> &Label {
        &self.labels[node.label as usize]
    }
}

/// A tree that takes in stacks.
struct Growth {
    tree: Tree,
    /// Children by parent and label.
    children: HashMap<(u32, u32), u32>,
    /// Labels by process and by frame.
    processes: Vec<u32>,
    frames: Vec<u32>,
}

impl Growth {
    fn new(profile: &Profile) -> Self {
        let mut known = HashMap::new();
        let mut labels = Vec::new();
        let mut number = |label: Label| {
            *known.entry(label).or_insert_with_key(|label| {
                labels.push(label.clone());
                labels.len() as u32 - 1
            })
        };
        let process = |process: &Process| Label { text: process.text(), kind: Kind::Process };
        let frame = |(frame, text)| Label { text, kind: Kind::of(frame) };
        let processes = profile.processes.iter().map(process).map(&mut number).collect();
        let frames =
            profile.frames.iter().zip(profile.frame_texts()).map(frame).map(&mut number).collect();
        let root = Node { parent: 0, label: 0, bytes: 0, own: 0 };
        let tree = Tree { nodes: vec![root], labels };
        Self { tree, children: HashMap::new(), processes, frames }
    }

    fn add(&mut self, process: u32, frames: &[u32], bytes: u64) {
        let mut node = self.child(0, self.processes[process as usize]);
        self.tree.nodes[0].bytes += bytes;
        self.tree.nodes[node as usize].bytes += bytes;
        for &frame in frames {
            node = self.child(node, self.frames[frame as usize]);
            self.tree.nodes[node as usize].bytes += bytes;
        }
        self.tree.nodes[node as usize].own += bytes;
    }

    fn child(&mut self, parent: u32, label: u32) -> u32 {
        let nodes = &mut self.tree.nodes;
        *self.children.entry((parent, label)).or_insert_with(|| {
            nodes.push(Node { parent, label, bytes: 0, own: 0 });
            nodes.len() as u32 - 1
        })
    }
}

impl Kind {
    fn of(frame: &Frame) -> Self {
        match frame {
            Frame::Python { .. } => Self::Python,
            Frame::Native { .. } => Self::Native,
            Frame::Gap { .. } | Frame::Origin { .. } => Self::Gap,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{Amount, Amounts, Builder, Session};

    fn tree(stacks: &[(&[&str], u64)]) -> Tree {
        let mut builder = Builder::new(Session::default());
        let process = Process { comm: "p".into(), pid: 1, ..Process::default() };
        let process = builder.add_process(process);
        for (names, bytes) in stacks {
            let gap = |name: &&str| Frame::Gap { reason: (*name).into() };
            let frames = names.iter().map(|name| builder.intern(gap(name))).collect();
            let live = Amount { bytes: *bytes, objects: 1 };
            builder.add_stack(process, frames, Amounts { live, ..Amounts::default() });
        }
        Tree::new(&builder.finish(), View::Live)
    }

    #[test]
    fn stacks_with_common_frames_are_together() {
        // In plain alphabetical order of lines, "a 6;c" would come between "a" and "a;b".
        let tree = tree(&[(&["a", "b"], 1), (&["a 6", "c"], 2), (&["a"], 5)]);
        let lines = tree.lines();
        assert_eq!(lines, ["p (1);[a 6];[c] 2", "p (1);[a] 5", "p (1);[a];[b] 1"]);
        assert_eq!(tree.total(), 8);
    }

    #[test]
    fn pruned_bytes_stay_with_the_nodes_above() {
        let mut tree = tree(&[(&["a", "b", "c"], 3), (&["a", "d"], 4), (&["e"], 90)]);
        let pruned = tree.prune(4);
        assert_eq!(pruned, Pruned { frames: 3, bytes: 4 });
        assert_eq!(tree.lines(), ["p (1);[a] 7", "p (1);[e] 90"]);
        assert_eq!(tree.prune(100), Pruned::default());
        assert_eq!(tree.prune(0).frames, 3);
        assert_eq!(tree.lines(), [" 97"]);
    }

    #[test]
    fn the_length_of_lines_is_foreseen() {
        let tree = tree(&[(&["a", "b"], 1_000), (&["a"], 5)]);
        let length: usize = tree.lines().iter().map(String::len).sum();
        assert!((length..length + 40).contains(&tree.lines_length()));
    }
}
