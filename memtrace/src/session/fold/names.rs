//! Names of native functions, looked up after the tracing.

use std::{collections::HashMap, path::PathBuf};

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
