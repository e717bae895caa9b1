use std::collections::HashMap;

use clap::ValueEnum as _;

use super::*;
use crate::expected::{Clock, Fields, expected};
use crate::workload::{Plan, Shape, Workload, at_us};

/// Folds all events of a plan, and holds the documents against what is expected of them.
fn documents_are_as_expected<F: Fold>(plan: &Plan, fold: &F) {
    let mut documents: HashMap<String, F::Document> = HashMap::new();
    let mut value = Vec::new();
    for event in plan.events() {
        plan.value_into(&event, at_us(event.n), &mut value);
        let parsed: F::Event<'_> = serde_json::from_slice(&value).expect("the fold reads it");
        let (one, other) = F::ids(&event.key, &parsed);
        for id in std::iter::once(one).chain(other) {
            fold.fold(&parsed, id, documents.entry(id.to_owned()).or_default());
        }
    }
    let expected = expected(plan, Clock::Nominal);
    assert_eq!(expected.documents(), documents.len() as u64);
    for (id, document) in documents {
        let document = bson::serialize_to_raw_document_buf(&document).expect("BSON has its types");
        let checked = expected.check(&id, &document, Fields::All);
        assert_eq!(checked, Ok(()), "{}: {id}", plan.workload.name());
    }
}

#[test]
fn native_folds_make_the_expected_documents() {
    for workload in Workload::value_variants() {
        let plan = Plan {
            workload: *workload,
            events: 3_000,
            partitions: 3,
            value_bytes: 200,
            seed: 1,
            work_rounds: if workload.computes() { 10 } else { 0 },
        };
        match workload.shape() {
            Shape::Latest => {
                let work_rounds = plan.work_rounds;
                documents_are_as_expected(&plan, &Latest { work_rounds });
            }
            Shape::Pairs => documents_are_as_expected(&plan, &Pairs),
            Shape::Aircraft => documents_are_as_expected(&plan, &Fleet),
        }
    }
}
