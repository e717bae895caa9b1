use bson::{RawDocumentBuf, rawdoc};

use super::*;
use crate::workload::{Plan, Workload, at_us};

fn plan(workload: Workload) -> Plan {
    Plan {
        workload,
        events: 0,
        partitions: 1,
        value_bytes: 120,
        seed: 1,
        work_rounds: 0,
    }
}

/// The document of the first marker of a plan without events: `n` is 0, and it is the only event.
fn marker(plan: &Plan) -> RawDocumentBuf {
    let event = plan.events().next().expect("a partition has markers");
    let mut value = Vec::new();
    plan.value_into(&event, at_us(0), &mut value);
    let value: serde_json::Value = serde_json::from_slice(&value).expect("it is JSON");
    let pad = value["pad"].as_str().expect("it is padded");
    rawdoc! { "count": 1_i64, "chain": 0_i64, "n": 0_i64, "at_us": at_us(0).cast_signed(), "pad": pad }
}

#[test]
fn a_document_that_differs_in_any_field_is_named() {
    let plan = plan(Workload::Hot);
    let expected = expected(&plan, Clock::Nominal);
    let id = crate::workload::marker_id(0, 0);
    let right = marker(&plan);
    assert_eq!(expected.check(&id, &right, Fields::All), Ok(()));
    assert_eq!(expected.documents(), 2);

    for (key, wrong) in [("count", 2_i64), ("chain", 1), ("n", 1), ("at_us", 1)] {
        let mut document = bson::Document::try_from(right.clone()).expect("it is valid");
        document.insert(key, wrong);
        let document = RawDocumentBuf::try_from(&document).expect("it is valid");
        let error = expected.check(&id, &document, Fields::All);
        let error = error.expect_err("it is another document");
        assert!(error.starts_with(&format!("{key} is {wrong}")), "{error}");
    }
    let mut document = bson::Document::try_from(right).expect("it is valid");
    document.insert("pad", "other");
    let document = RawDocumentBuf::try_from(&document).expect("it is valid");
    let error = expected.check(&id, &document, Fields::All);
    assert!(error.is_err_and(|error| error.contains("pad")));
}

#[test]
fn a_document_that_no_event_is_about_is_wrong() {
    for workload in [Workload::Unique, Workload::Shared, Workload::Flights] {
        let expected = expected(&plan(workload), Clock::Nominal);
        let error = expected.check("k000000000007", &rawdoc! {}, Fields::All);
        assert_eq!(error, Err("no event is about it".to_owned()));
    }
}

#[test]
fn times_that_were_recorded_are_expected_instead_of_nominal_ones() {
    let plan = plan(Workload::Hot);
    let expected = expected(&plan, Clock::Recorded(vec![at_us(17), at_us(18)]));
    let mut document = bson::Document::try_from(marker(&plan)).expect("it is valid");
    let id = crate::workload::marker_id(0, 0);
    for (n, right) in [(17, true), (18, false)] {
        document.insert("at_us", at_us(n).cast_signed());
        let document = RawDocumentBuf::try_from(&document).expect("it is valid");
        let checked = expected.check(&id, &document, Fields::All);
        assert_eq!(checked.is_ok(), right, "{n}");
    }
}

#[test]
fn of_a_sink_that_replaces_documents_only_the_last_value_is_asked_for() {
    let plan = plan(Workload::Hot);
    let expected = expected(&plan, Clock::Nominal);
    let id = crate::workload::marker_id(0, 0);
    let mut document = bson::Document::try_from(marker(&plan)).expect("it is valid");
    document.remove("count");
    document.remove("chain");
    let document = RawDocumentBuf::try_from(&document).expect("it is valid");
    assert_eq!(expected.check(&id, &document, Fields::LastValue), Ok(()));
    assert!(expected.check(&id, &document, Fields::All).is_err());
}
