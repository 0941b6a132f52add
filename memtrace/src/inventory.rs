//! The Python objects of a process, read while it goes on: how many of which type, the NumPy
//! arrays, the pandas data frames, the largest strings, buffers and containers, and who holds them.
//!
//! [`Inventory::read`] is pure over a [`Memory`]; it stops nothing and asks the process for nothing.
//! It looks at memory three ways. All blocks of pymalloc's pools are looked at one by one; they hold
//! nearly all objects of up to 512 bytes. The collector's lists lead to the tracked objects, and
//! references from them, from modules and from the local variables of every thread to the rest, such
//! as large strings. The same references say who holds what.
//!
//! Sizes are those of `sys.getsizeof`, in bytes. A process that goes on changes under the reader:
//! what does not make sense is left out, and [`Coverage`] says how much that was.

mod arenas;
mod arrays;
mod arrow;
mod attributes;
mod blocks;
mod buffers;
mod collector;
mod columns;
mod data_frames;
mod dictionary;
mod edge;
mod elements;
mod extents;
mod formats;
mod frames;
mod graph;
mod holder;
mod kind;
mod live;
mod model;
mod pickle;
mod reached;
mod reader;
mod references;
mod room;
mod roots;
mod sizes;
mod tally;
#[cfg(test)]
mod tests;
mod text;
mod types;
mod view;

pub use model::{
    Allocator, Arena, Array, Buffer, Container, Coverage, DataFrame, Holder, Inventory, Limits,
    Owner, Root, SparsePools, Spent, TypeTotal,
};
