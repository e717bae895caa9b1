use std::collections::{HashMap, HashSet};

use clap::ValueEnum as _;

use super::*;

fn plan(workload: Workload) -> Plan {
    Plan {
        workload,
        events: 10_000,
        partitions: 4,
        value_bytes: 200,
        seed: 7,
        work_rounds: 0,
    }
}

fn is_marker(event: &Event) -> bool {
    matches!(event.subject, Subject::Marker(_))
}

#[test]
fn a_plan_gives_the_same_events_each_time() {
    for workload in Workload::value_variants() {
        let plan = plan(*workload);
        assert!(plan.events().eq(plan.events()), "{}", workload.name());
    }
}

#[test]
fn markers_come_on_top_and_events_are_numbered_in_their_order() {
    for workload in Workload::value_variants() {
        let plan = plan(*workload);
        let events: Vec<Event> = plan.events().collect();
        let markers = events.iter().filter(|event| is_marker(event)).count() as u64;
        assert_eq!(events.len() as u64, plan.events + markers);
        assert!((8..=MARKERS + 8).contains(&markers), "{markers}");
        assert!(events.iter().zip(0..).all(|(event, n)| event.n == n));
    }
}

#[test]
fn every_partition_begins_and_ends_with_a_marker() {
    for partitions in [1, 4, 64] {
        for events in [0, 1, 10_000] {
            let plan = Plan {
                partitions,
                events,
                ..plan(Workload::Unique)
            };
            let mut by_partition: HashMap<u32, Vec<Event>> = HashMap::new();
            let mut walk = plan.events();
            for event in walk.by_ref() {
                by_partition.entry(event.partition).or_default().push(event);
            }
            assert_eq!(by_partition.len(), partitions as usize);
            for (partition, events) in by_partition {
                assert!(is_marker(&events[0]));
                assert!(events.last().is_some_and(is_marker));
                let markers: Vec<&str> = events
                    .iter()
                    .filter(|event| is_marker(event))
                    .map(|event| event.key.as_str())
                    .collect();
                assert_eq!(walk.markers()[partition as usize] as usize, markers.len());
                let names = (0..).map(|index| marker_id(partition, index));
                assert!(names.zip(&markers).all(|(name, marker)| name == *marker));
            }
        }
    }
}

#[test]
fn a_key_is_always_in_the_same_partition() {
    for workload in Workload::value_variants() {
        let mut partitions = HashMap::new();
        for event in plan(*workload).events() {
            let first = *partitions.entry(event.key).or_insert(event.partition);
            assert_eq!(first, event.partition);
        }
    }
}

#[test]
fn each_workload_has_the_keys_it_is_named_for() {
    let keys = |workload| {
        let plan = Plan {
            events: 50_000,
            ..plan(workload)
        };
        let mut counts: HashMap<String, u32> = HashMap::new();
        for event in plan.events().filter(|event| !is_marker(event)) {
            *counts.entry(event.key).or_default() += 1;
        }
        counts
    };
    assert_eq!(keys(Workload::Unique).len(), 50_000);
    assert_eq!(keys(Workload::UniqueRandom).len(), 50_000);
    assert_eq!(keys(Workload::Hot).len(), 1_000);
    assert_eq!(keys(Workload::Cpu), keys(Workload::Hot));

    // The normaliser of Zipf's law over 100,000 ranks with exponent 1.1.
    let normaliser: f64 = (1..=100_000).map(|rank| f64::from(rank).powf(-1.1)).sum();
    let zipf = keys(Workload::Zipf);
    for (number, rank) in [(0, 1.0_f64), (1, 2.0), (9, 10.0)] {
        let expected = 50_000.0 * rank.powf(-1.1) / normaliser;
        let count = f64::from(zipf[&Naming::Sequential.name(number)]);
        assert!((count / expected - 1.0).abs() < 0.15, "{count}, {expected}");
    }
}

#[test]
fn an_event_of_the_shared_workload_names_two_documents_of_fifty() {
    let mut named = HashSet::new();
    for event in plan(Workload::Shared).events() {
        if let Subject::Move(Move { from, to, .. }) = event.subject {
            assert_ne!(from, to);
            named.extend([from, to]);
        }
    }
    assert_eq!(named, (0..50).collect());
}

#[test]
fn values_are_json_of_the_size_that_was_asked_for() {
    for workload in Workload::value_variants() {
        for bytes in [200, 2_048] {
            let plan = Plan {
                value_bytes: bytes,
                events: 500,
                ..plan(*workload)
            };
            let mut value = Vec::new();
            for event in plan.events() {
                plan.value_into(&event, at_us(event.n), &mut value);
                let json: serde_json::Value =
                    serde_json::from_slice(&value).expect("a value is JSON");
                if workload.shape() == Shape::Aircraft {
                    assert_eq!(json["_id"], event.key);
                    assert!(json["distance"].is_u64());
                } else {
                    assert_eq!(value.len(), bytes, "{}", workload.name());
                    assert_eq!(json["n"], event.n);
                }
            }
        }
    }
}
