//! Names of native functions, looked up after the tracing.

use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
};

use memtrace_abi::frame::Frame as Packed;

use super::{Context, Owner, Recorded, locate};
use crate::symbolize::Resolver;

/// Addresses of one object that need names.
pub struct Unresolved {
    pub(super) object: u32,
    pub(super) path: PathBuf,
    pub(super) addresses: Vec<u64>,
}

/// Names of native functions, by object and address.
pub struct Names(pub(super) Option<HashMap<u32, HashMap<u64, String>>>);

impl Names {
    /// No names: frames show as addresses.
    #[must_use]
    pub const fn none() -> Self {
        Self(None)
    }

    /// Looks the names up. Takes a while for large libraries.
    #[must_use]
    pub fn resolve(unresolved: Vec<Unresolved>) -> Self {
        let resolver = Resolver::default();
        let names = unresolved.into_iter().map(|Unresolved { object, path, addresses }| {
            (object, resolver.names(&path, &addresses))
        });
        Self(Some(names.collect()))
    }

    /// The name at an address, if it is known.
    pub(super) fn name(&self, object: u32, address: u64) -> Option<String> {
        self.0.as_ref()?.get(&object)?.get(&address).cloned()
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
            let path = self.context.objects.known(object)?.open_path()?;
            Some(Unresolved { object, path, addresses })
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
