//! Who may write which views, by what a store has recorded.
//!
//! Guarantees: a view has one writer for ever, and a writer the views that it began with. A second
//! writer would fold events over documents that hold them already, and a view that comes later
//! would lack what its writer has folded before.
//!
//! Not here: keeping the records (`mongo::prepare`, `embedded::schema`).

use std::collections::BTreeSet;

use super::ViewId;

/// Whether a writer may have these views, by what is recorded: collections with their writers.
pub(super) fn may_own(
    views: &[ViewId],
    writer: &str,
    recorded: &[(String, String)],
) -> Result<(), String> {
    let owner = |view: &ViewId| {
        let recorded = recorded.iter().find(|(id, _)| *id == view.collection());
        recorded.map(|(_, owner)| owner.as_str())
    };
    for view in views {
        if let Some(owner) = owner(view).filter(|owner| *owner != writer) {
            return Err(owned_by_another(view, owner, writer));
        }
    }
    let own = recorded.iter().filter(|(_, owner)| owner == writer);
    let known: BTreeSet<&str> = own.map(|(id, _)| id.as_str()).collect();
    match views.iter().find(|view| owner(view).is_none()) {
        Some(view) if !known.is_empty() => Err(new_to_its_writer(view, &known, writer)),
        Some(_) | None => Ok(()),
    }
}

/// What a second writer of a view is told.
fn owned_by_another(view: &ViewId, owner: &str, writer: &str) -> String {
    format!(
        "view {view} belongs to {owner} (projection, version, store), and {writer} would fold \
         events over its documents a second time; keep those names, or give the projection another \
         database or file"
    )
}

/// What a writer is told that has written other views so far.
fn new_to_its_writer(view: &ViewId, known: &BTreeSet<&str>, writer: &str) -> String {
    let known: Vec<&str> = known.iter().copied().collect();
    format!(
        "view {view} is new, and {writer} (projection, version, store) has folded events into \
         {} so far, which would be missing in it; keep the names of its views, or give the \
         projection another name (and group-id), under which it folds all events again",
        known.join(", ")
    )
}
