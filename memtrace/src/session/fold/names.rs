//! Names of native functions, looked up after the tracing.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use memtrace_abi::frame::Frame as Packed;

use super::{Context, Owner, Recorded, locate};
use crate::{
    objects::{Known, Objects},
    symbolize::Resolver,
};

/// Addresses of one object that need names.
pub struct Unresolved {
    pub(super) object: u32,
    pub(super) known: Arc<Known>,
    pub(super) addresses: Vec<u64>,
}

/// Names of native functions, by object and address.
#[derive(Default)]
pub struct Names {
    /// `None`: they were not looked up.
    pub(super) by_object: Option<HashMap<u32, HashMap<u64, String>>>,
    /// Files that are no longer what they were, and so tell no names.
    overwritten: HashSet<u32>,
    /// What the reader must know of these.
    pub(super) notes: Vec<String>,
}

impl Names {
    /// No names: frames show as addresses.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Looks the names up. Takes a while for large libraries.
    #[must_use]
    pub fn resolve(unresolved: Vec<Unresolved>) -> Self {
        let resolver = Resolver::default();
        let mut names = Self::default();
        let mut by_object = HashMap::new();
        for Unresolved { object, known, addresses } in unresolved {
            let Some(path) = known.open_path() else { continue };
            let of_file = resolver.names(&path, &addresses);
            // It may have been written over while it was read.
            if known.object.is_another_build() {
                names.miss(object, &known);
            } else {
                by_object.insert(object, of_file);
            }
        }
        Self { by_object: Some(by_object), ..names }
    }

    fn miss(&mut self, object: u32, known: &Known) {
        self.overwritten.insert(object);
        let note = format!(
            "{} was overwritten while memtrace ran: functions of what was in it before show as addresses, \
             in what is called (overwritten 1) and so on.",
            known.name()
        );
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// The name at an address, if it is known.
    pub(super) fn name(&self, object: u32, address: u64) -> Option<String> {
        self.by_object.as_ref()?.get(&object)?.get(&address).cloned()
    }

    /// What a file is called; addresses in different contents of one are different functions.
    pub(super) fn module(&self, objects: &Objects, object: u32) -> Option<String> {
        let name = objects.known(object)?.name();
        if !self.overwritten.contains(&object) {
            return Some(name);
        }
        Some(format!("{name} (overwritten {})", objects.formers(object).count() + 1))
    }
}

impl Recorded<'_> {
    /// The native addresses in all stacks.
    #[must_use]
    pub fn unresolved(&self) -> Vec<Unresolved> {
        let mut addresses: HashMap<u32, Vec<u64>> = HashMap::new();
        let mut add = |frame| {
            if let Packed::Native { object, address, .. } = frame {
                addresses.entry(object).or_default().push(address);
            }
        };
        let frames = self.stack_ids().into_iter().filter_map(|id| self.stacks.frames(id)).flatten();
        for packed in frames.collect::<HashSet<_>>() {
            let frame = Packed::unpack(packed);
            add(frame);
            if let Packed::Unmapped { .. } = frame {
                self.context.targets.iter().for_each(|target| add(locate(target, frame)));
            }
        }
        let with_path = addresses.into_iter().filter_map(|(object, addresses)| {
            let known = Arc::clone(self.context.objects.shared(object)?);
            Some(Unresolved { object, known, addresses })
        });
        with_path.collect()
    }

    /// Every stack of the processes.
    fn stack_ids(&self) -> HashSet<u64> {
        let Context { pages, heaps, targets, .. } = &self.context;
        let of_pages = pages.iter().flat_map(|(_, settled)| settled.shares.keys());
        let of_pages = of_pages.filter_map(|(_, owner)| owner.stack());
        let of_heaps = heaps.iter().flat_map(|(_, heap)| &heap.owners);
        let of_heaps = of_heaps.filter_map(|(owner, _)| match owner {
            Owner::Stack(stack) => Some(*stack),
            _ => None,
        });
        let inherited = targets.iter().filter_map(|target| target.inheritance.as_ref());
        let inherited = inherited.flat_map(|inherited| inherited.stacks.keys().copied());
        let counted = self.totals.iter().map(|(key, _)| key.stack);
        counted.chain(of_pages).chain(of_heaps).chain(inherited).collect()
    }
}
