//! As the guest `bench-latest`.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::Fold;

pub struct Latest {
    pub work_rounds: u64,
}

#[derive(Deserialize)]
pub struct Value<'a> {
    n: u64,
    at_us: u64,
    #[serde(borrow)]
    pad: Cow<'a, str>,
}

#[derive(Default, Serialize, Deserialize)]
pub struct Document {
    count: u64,
    chain: i64,
    n: u64,
    at_us: u64,
    pad: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    work: Option<i64>,
}

impl Fold for Latest {
    type Event<'a> = Value<'a>;
    type Document = Document;

    fn ids<'a>(key: &'a str, _: &'a Value<'_>) -> (&'a str, Option<&'a str>) {
        (key, None)
    }

    fn fold(&self, value: &Value<'_>, _: &str, document: &mut Document) {
        document.count += 1;
        let n = value.n.cast_signed();
        document.chain = document.chain.wrapping_mul(31).wrapping_add(n);
        document.n = value.n;
        document.at_us = value.at_us;
        document.pad.clear();
        document.pad.push_str(&value.pad);
        if self.work_rounds > 0 {
            document.work = Some(bench_latest::work(value.n, self.work_rounds));
        }
    }
}
