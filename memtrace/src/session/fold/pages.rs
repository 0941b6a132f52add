//! Folds whose the resident memory is into the profile.

use super::{super::residence::Settled, Frames, Recorded};
use crate::{
    pages::Owner,
    profile::{Amount, Amounts, Builder, Frame, PageKind},
};

impl Recorded<'_> {
    /// Whose the resident memory of the process in a slot is.
    pub(super) fn settled(&self, slot: u32) -> Option<&Settled> {
        let mut all = self.context.pages.iter();
        all.find(|(process, _)| *process == slot).map(|(_, settled)| settled)
    }

    pub(super) fn fold_pages(&self, builder: &mut Builder, frames: &mut Frames<'_>) {
        for (slot, settled) in &self.context.pages {
            let Some(index) = self.index(*slot) else { continue };
            for (&(kind, owner), &resident) in &settled.shares {
                let frames = frames.of_pages(builder, *slot, kind, owner);
                let amounts = resident_amounts(kind, resident);
                builder.add_stack(index, frames, amounts);
            }
        }
    }
}

impl Frames<'_> {
    /// Those of pages, below what kind of memory they are.
    fn of_pages(
        &mut self,
        builder: &mut Builder,
        slot: u32,
        kind: PageKind,
        owner: Owner,
    ) -> Vec<u32> {
        let kind = kind.name();
        let (stack, otherwise) = match owner {
            Owner::Before => (None, "before attach"),
            Owner::Unknown => (None, "not attributed"),
            _ => (owner.stack(), "stack not recorded: the table was full"),
        };
        let frames = stack.and_then(|stack| self.of(builder, slot, stack));
        match frames {
            Some(frames) => {
                let root = builder.intern(Frame::Origin { what: kind.to_owned() });
                [root].into_iter().chain(frames).collect()
            }
            None => vec![builder.intern(Frame::Origin { what: format!("{otherwise}: {kind}") })],
        }
    }
}

fn resident_amounts(kind: PageKind, resident: Amount) -> Amounts {
    let shared = if kind == PageKind::Shared { resident } else { Amount::default() };
    Amounts { resident, shared, ..Amounts::default() }
}
