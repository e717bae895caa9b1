//! As the guest `bench-latest`.

use bench_latest::{Document, Value};

use super::Fold;

pub struct Latest {
    pub work_rounds: u64,
}

impl Fold for Latest {
    type Event<'a> = Value<'a>;
    type Document = Document;

    fn ids<'a>(key: &'a str, _: &'a Value<'_>) -> (&'a str, Option<&'a str>) {
        (key, None)
    }

    fn fold(&self, value: &Value<'_>, _: &str, document: &mut Document) {
        document.take(value, self.work_rounds);
    }
}
