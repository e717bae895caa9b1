use proptest::prelude::*;

use super::*;

const LIMITS: Limits = Limits {
    keys_max: 3,
    events_per_key_max: 4,
    bytes_max: u64::MAX,
};

fn event(offset: i64, key: Option<u8>) -> Event {
    let key = key.map(|key| [key]);
    let key = key.as_ref().map(<[u8; 1]>::as_slice);
    Event::new(Offset(offset), 0, key, Some(b"value"), Vec::new())
}

fn reason(detail: &str) -> Reason {
    Reason {
        kind: "rejected".to_owned(),
        detail: detail.to_owned(),
        plugin: "hash".to_owned(),
        at_ms: 0,
    }
}

/// Applies changes as a store does.
fn store(stored: &mut Vec<KeyEntry>, changes: Vec<KeyChange>) {
    for change in changes {
        let at = |first| stored.iter().position(|entry| entry.first == first);
        match change {
            KeyChange::Insert(entry) => {
                assert_eq!(at(entry.first), None, "it is new");
                stored.push(entry);
            }
            KeyChange::Replace(entry) => {
                let at = at(entry.first).expect("it is stored");
                stored[at] = entry;
            }
            KeyChange::Remove(first) => {
                let at = at(first).expect("it is stored");
                stored.remove(at);
            }
        }
    }
}

fn state(parking: &Parking) -> Vec<KeyEntry> {
    let mut entries: Vec<KeyEntry> = parking.parked.values().cloned().collect();
    entries.sort_by_key(|entry| entry.first);
    entries
}

fn sorted(mut entries: Vec<KeyEntry>) -> Vec<KeyEntry> {
    entries.sort_by_key(|entry| entry.first);
    entries
}

#[derive(Clone, Debug)]
enum Step {
    /// An event with this key, which the plugin takes or not.
    Event(Option<u8>, bool),
    Release(usize, u64),
    Submit,
    Commit,
    Retract,
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = prop::option::weighted(0.9, 0..5u8);
    let step = prop_oneof![
        10 => (key, prop::bool::weighted(0.3)).prop_map(|(key, poison)| Step::Event(key, poison)),
        2 => (0..5usize, 1..4u64).prop_map(|(key, events)| Step::Release(key, events)),
        3 => Just(Step::Submit),
        3 => Just(Step::Commit),
        1 => Just(Step::Retract),
        1 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 0..100)
}

proptest! {
    #[test]
    fn what_is_known_is_what_is_stored_and_what_came_since(steps in steps()) {
        let mut parking = Parking::new(LIMITS, Vec::new());
        let mut stored: Vec<KeyEntry> = Vec::new();
        // What is known when everything submitted is stored.
        let mut submitted: Option<(Vec<KeyChange>, Vec<KeyEntry>)> = None;
        for (offset, step) in (0..).zip(steps) {
            match step {
                Step::Event(key, poison) => {
                    let event = event(offset, key);
                    let before = state(&parking);
                    let full = match parking.behind(&event) {
                        Some(first) => parking.park_behind(first, &event).is_err(),
                        None if poison => parking.park(&event, reason("no")).is_err(),
                        None => false,
                    };
                    prop_assert!(!full || state(&parking) == before);
                    prop_assert!(parking.keys() <= LIMITS.keys_max);
                    for entry in parking.parked.values() {
                        prop_assert!(entry.events <= LIMITS.events_per_key_max);
                    }
                }
                Step::Release(index, events) => {
                    if let Some(entry) = state(&parking).get(index) {
                        let events = events.min(entry.events);
                        parking.release(entry.first, events, entry.bytes / entry.events * events);
                    }
                }
                Step::Submit if submitted.is_none() => {
                    submitted = Some((parking.submit(), state(&parking)));
                }
                Step::Submit => {}
                Step::Commit => {
                    if let Some((changes, known)) = submitted.take() {
                        store(&mut stored, changes);
                        parking.commit();
                        prop_assert_eq!(sorted(stored.clone()), known);
                    }
                }
                Step::Retract => {
                    submitted = None;
                    parking.retract();
                    prop_assert_eq!(state(&parking), sorted(stored.clone()));
                }
                Step::Restart => {
                    submitted = None;
                    parking = Parking::new(LIMITS, stored.clone());
                }
            }
        }
    }
}

#[test]
fn later_events_wait_until_the_last_one_is_released() {
    let mut parking = Parking::new(LIMITS, Vec::new());
    parking
        .park(&event(3, Some(1)), reason("no"))
        .expect("there is room");
    assert_eq!(parking.behind(&event(4, Some(1))), Some(Offset(3)));
    assert_eq!(parking.behind(&event(4, Some(2))), None);
    parking
        .park_behind(Offset(3), &event(4, Some(1)))
        .expect("there is room");

    parking.release(Offset(3), 1, 1);
    assert_eq!(parking.behind(&event(5, Some(1))), Some(Offset(3)));
    parking.release(Offset(3), 1, 1);
    assert_eq!(parking.behind(&event(5, Some(1))), None);
    assert!(parking.is_empty());
}

#[test]
fn an_event_without_a_key_holds_up_no_other() {
    let mut parking = Parking::new(LIMITS, Vec::new());
    parking
        .park(&event(3, None), reason("no"))
        .expect("there is room");
    assert_eq!(parking.behind(&event(4, None)), None);
    assert_eq!(parking.keys(), 1);
}

#[test]
fn each_limit_is_told() {
    let mut parking = Parking::new(LIMITS, Vec::new());
    for key in 0..3 {
        let parked = parking.park(&event(i64::from(key), Some(key)), reason("no"));
        parked.expect("there is room");
    }
    let fourth = parking.park(&event(3, Some(3)), reason("no"));
    assert_eq!(fourth, Err(Full::Keys(3)));

    for offset in 4..7 {
        let parked = parking.park_behind(Offset(0), &event(offset, Some(0)));
        parked.expect("there is room");
    }
    let fifth = parking.park_behind(Offset(0), &event(7, Some(0)));
    assert_eq!(fifth, Err(Full::EventsOfKey(4)));

    let bytes_max = event(0, Some(0)).size_bytes() as u64;
    let mut parking = Parking::new(
        Limits {
            bytes_max,
            ..LIMITS
        },
        Vec::new(),
    );
    parking
        .park(&event(0, Some(0)), reason("no"))
        .expect("there is room");
    let second = parking.park_behind(Offset(0), &event(1, Some(0)));
    assert_eq!(second, Err(Full::Bytes(bytes_max)));
}
