//! Every event has a key of its own: all documents are new.

use super::Subject;

pub(super) fn subjects() -> impl Iterator<Item = Subject> {
    (0..).map(Subject::Key)
}
