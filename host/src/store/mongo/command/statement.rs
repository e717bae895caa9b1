//! What documents and entries have in common in a transaction: each change is one statement of a
//! delete, update or insert command.

use crate::store::bson_writer::BsonWriter;
use crate::store::envelope::{place_into, seal_into, sealed_bytes_max};
use crate::store::{Change, EntryChange, Guard, Table, ViewId, Write};

/// What a statement takes besides documents and strings, rounded up.
pub(super) const OVERHEAD_BYTES: usize = 192;

/// In the order in which commands are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Delete,
    Update,
    Insert,
}

/// Where a statement's document lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Collection<'a> {
    View(&'a ViewId),
    Table(Table),
}

pub(super) trait Statement {
    fn kind(&self) -> Kind;

    fn collection(&self) -> Collection<'_>;

    /// An upper bound for what the statement takes in its command.
    fn bytes_max(&self) -> usize;

    /// Writes the query that finds the document in the state that the change expects.
    fn query_into(&self, query: &mut BsonWriter);

    /// Writes the document as it will be; nothing where it goes.
    fn document_into(&self, document: &mut BsonWriter);
}

impl Collection<'_> {
    pub(super) fn name(self) -> String {
        match self {
            Collection::View(view) => view.collection(),
            Collection::Table(table) => table.name().to_owned(),
        }
    }
}

impl Statement for Write {
    fn kind(&self) -> Kind {
        match self.change {
            Change::Delete { .. } => Kind::Delete,
            Change::Update { .. } => Kind::Update,
            Change::Insert(_) => Kind::Insert,
        }
    }

    fn collection(&self) -> Collection<'_> {
        Collection::View(&self.view)
    }

    fn bytes_max(&self) -> usize {
        let query = |guard: &Guard| match guard {
            Guard::SoleWriter => self.id.len(),
            Guard::Unchanged(before) => {
                self.id.len() + before.partition.topic.len() + before.plugin.len()
            }
        };
        OVERHEAD_BYTES
            + match &self.change {
                Change::Insert(document) => sealed_bytes_max(&self.id, document),
                Change::Update { document, guard } => {
                    query(guard) + sealed_bytes_max(&self.id, document)
                }
                Change::Delete { guard } => query(guard),
            }
    }

    fn query_into(&self, query: &mut BsonWriter) {
        query.string("_id", &self.id);
        match &self.change {
            Change::Insert(_) => {}
            Change::Update { guard, .. } | Change::Delete { guard } => match guard {
                Guard::SoleWriter => {}
                Guard::Unchanged(before) => {
                    query.int64("_m.rev", before.revision);
                    query.document("_m.at", |at| place_into(at, before));
                    query.string("_m.plugin", &before.plugin);
                }
            },
        }
    }

    fn document_into(&self, document: &mut BsonWriter) {
        match &self.change {
            Change::Insert(stored)
            | Change::Update {
                document: stored, ..
            } => seal_into(document, &self.id, stored),
            Change::Delete { .. } => {}
        }
    }
}

impl Statement for EntryChange {
    fn kind(&self) -> Kind {
        match self {
            EntryChange::Remove { .. } => Kind::Delete,
            EntryChange::Replace(_) => Kind::Update,
            EntryChange::Insert(_) => Kind::Insert,
        }
    }

    fn collection(&self) -> Collection<'_> {
        Collection::Table(self.table())
    }

    fn bytes_max(&self) -> usize {
        // An update names the id in its query too.
        OVERHEAD_BYTES + 2 * self.id().len() + self.bytes()
    }

    fn query_into(&self, query: &mut BsonWriter) {
        query.string("_id", self.id());
    }

    fn document_into(&self, document: &mut BsonWriter) {
        if let Some(entry) = self.entry() {
            document.string("_id", &entry.id);
            document.elements(&entry.body);
        }
    }
}
