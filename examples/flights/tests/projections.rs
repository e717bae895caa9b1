//! The two projections against the independent fold, on all events, in one process.
//!
//! The SDK runs as it does in a plugin; Wasm, Kafka and MongoDB are left out (they are in
//! `tests/`), so this is quick and says whether the logic is right.

use std::path::Path;

use aircraft::Fleet;
use airports::Airports;
use flights::{FlightEvent, expected};
use projectionist_sdk::Projection;
use projectionist_sdk::testing::{Harness, Record};

/// How events meet a projection: their partitions, and the sizes of batches, over and over.
struct Delivery {
    name: &'static str,
    partitions: usize,
    batch_events: &'static [usize],
}

const DELIVERIES: [Delivery; 4] = [
    Delivery {
        name: "all in one batch",
        partitions: 1,
        batch_events: &[usize::MAX],
    },
    Delivery {
        name: "one by one",
        partitions: 1,
        batch_events: &[1],
    },
    Delivery {
        name: "uneven batches",
        partitions: 1,
        batch_events: &[1, 1000, 7, 20_000, 64],
    },
    Delivery {
        name: "four partitions",
        partitions: 4,
        batch_events: &[500, 3, 1, 90],
    },
];

fn events() -> Vec<FlightEvent> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/flights-2013-01.csv.gz");
    flights::read(&path).expect("the data set is part of the example")
}

fn record(event: &FlightEvent) -> Record {
    let record = Record::default().value(event.json());
    match &event.key {
        Some(key) => record.key(key.as_str()),
        None => record,
    }
}

/// Any function of the key will do, as long as an aircraft stays in its partition.
fn partition_of(event: &FlightEvent, partitions: usize) -> usize {
    let key = event.key.as_deref().unwrap_or(&event.id);
    key.bytes()
        .fold(0, |sum, byte| sum * 31 % 1_000_003 + usize::from(byte))
        % partitions
}

/// Folds all events, batches of the partitions taking turns.
fn project<P: Projection>(events: &[FlightEvent], delivery: &Delivery) -> expected::Documents {
    let mut partitions: Vec<Vec<Record>> = vec![Vec::new(); delivery.partitions];
    for event in events {
        partitions[partition_of(event, delivery.partitions)].push(record(event));
    }
    let mut queues: Vec<_> = partitions.into_iter().map(Vec::into_iter).collect();
    let mut harness = Harness::<P>::new("{}").expect("the projection has no settings");
    for &batch_events in delivery.batch_events.iter().cycle() {
        for queue in &mut queues {
            harness
                .project(queue.by_ref().take(batch_events))
                .expect("every event is a departure");
        }
        if queues.iter().all(|queue| queue.len() == 0) {
            break;
        }
    }
    harness.documents()
}

#[test]
fn the_aircraft_equal_the_independent_fold() {
    let events = events();
    let expected = expected::aircraft(&events);
    assert_eq!(expected.len(), 3148);

    for delivery in &DELIVERIES {
        let documents = project::<Fleet>(&events, delivery);
        assert!(documents == expected, "{}", delivery.name);
    }
}

#[test]
fn the_airports_equal_the_independent_fold() {
    let events = events();
    let expected = expected::airports(&events);
    assert_eq!(expected.len(), 97);

    for delivery in &DELIVERIES {
        let documents = project::<Airports>(&events, delivery);
        assert!(documents == expected, "{}", delivery.name);
    }
}

/// The totals, counted in the file itself with grep and awk.
#[test]
fn no_event_is_lost() {
    let events = events();
    let total = |documents: &expected::Documents, field: &str| -> u64 {
        documents
            .values()
            .map(|document| document[field].as_u64().expect("a count"))
            .sum()
    };

    assert_eq!(events.len(), 27_004);
    assert_eq!(
        events.iter().filter(|event| event.key.is_none()).count(),
        155
    );
    let aircraft = expected::aircraft(&events);
    assert_eq!(total(&aircraft, "legs"), 26_483);
    assert_eq!(total(&aircraft, "cancelled_legs"), 521 - 155);
    let airports = expected::airports(&events);
    assert_eq!(total(&airports, "departures"), 26_483);
    assert_eq!(total(&airports, "arrivals"), 26_483);
    assert_eq!(total(&airports, "cancelled_departures"), 521);
    assert_eq!(total(&airports, "miles"), 2 * 26_859_611);
}
