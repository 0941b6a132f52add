//! What a reference is for, and a compact form of that.

/// From one object to another, or from a root to an object. Numbers are found again in the object
/// that refers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Edge {
    /// From an activation: its local variable with this number, and a dict for all of them.
    Local(u32),
    Locals,
    /// From nothing: a module, and an object that nothing else is known to lead to.
    Module,
    Stray,
    /// The value of an entry of a dict, by number.
    Value(u32),
    /// The key of one.
    Key,
    /// An item by number.
    Item(u32),
    /// In a set.
    Member,
    /// An attribute by its number among those that instances of the class share.
    Attribute(u32),
    /// The dict with the attributes.
    Dict,
    /// What a cell holds.
    Contents,
    /// The member at an offset.
    Field(u32),
}

impl Edge {
    /// Whether it comes from no object.
    pub(super) const fn is_root(self) -> bool {
        matches!(self, Self::Local(_) | Self::Locals | Self::Module | Self::Stray)
    }

    /// Whether what it leads to must be an object: a member may be something else.
    pub(super) const fn is_certain(self) -> bool {
        !matches!(self, Self::Field(_))
    }

    /// A number below 16, and the edge's own number.
    const fn parts(self) -> (u64, u32) {
        match self {
            Self::Local(number) => (0, number),
            Self::Locals => (1, 0),
            Self::Module => (2, 0),
            Self::Stray => (3, 0),
            Self::Value(number) => (4, number),
            Self::Key => (5, 0),
            Self::Item(number) => (6, number),
            Self::Member => (7, 0),
            Self::Attribute(number) => (8, number),
            Self::Dict => (9, 0),
            Self::Contents => (10, 0),
            Self::Field(number) => (11, number),
        }
    }

    const fn of(kind: u64, number: u32) -> Self {
        match kind {
            0 => Self::Local(number),
            1 => Self::Locals,
            2 => Self::Module,
            3 => Self::Stray,
            4 => Self::Value(number),
            5 => Self::Key,
            6 => Self::Item(number),
            7 => Self::Member,
            8 => Self::Attribute(number),
            9 => Self::Dict,
            10 => Self::Contents,
            _ => Self::Field(number),
        }
    }
}

/// An object that was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) object: u64,
    /// What it was first reached from: the number of a node, or of an activation, as the edge says.
    pub(super) from: u32,
    pub(super) edge: Edge,
}

/// A node in 16 bytes: addresses have 47 bits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packed {
    object: u64,
    from: u32,
    number: u32,
}

const KIND_SHIFT: u32 = 60;

impl Packed {
    pub(super) const fn object(self) -> u64 {
        self.object & ((1 << KIND_SHIFT) - 1)
    }
}

impl From<Node> for Packed {
    fn from(Node { object, from, edge }: Node) -> Self {
        let (kind, number) = edge.parts();
        Self { object: object | kind << KIND_SHIFT, from, number }
    }
}

impl From<Packed> for Node {
    fn from(packed: Packed) -> Self {
        let edge = Edge::of(packed.object >> KIND_SHIFT, packed.number);
        Self { object: packed.object(), from: packed.from, edge }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_the_same_after_packing() {
        for kind in 0..12 {
            let (kind, _) = Edge::of(kind, 7).parts();
            for number in [0, 1, u32::MAX] {
                let node = Node { object: 0x7fff_ffff_fff8, from: 9, edge: Edge::of(kind, number) };
                assert_eq!(Node::from(Packed::from(node)), node);
            }
        }
        assert_eq!(size_of::<Packed>(), 16);
    }
}
