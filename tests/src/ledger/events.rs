//! The transfers of a run, as a pure function of its seed.

use std::collections::BTreeMap;

use serde_json::json;

use super::random::Random;

/// The header that holds an event's id.
pub const ID_HEADER: &str = "event-id";

/// What the input has besides well-formed events that come once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hazards {
    /// Some events come a second time, with the id of the first.
    pub duplicates: bool,
    /// Some keys have an event that the plugins reject.
    pub poison: bool,
}

/// The size and the kind of the input.
#[derive(Clone, Copy, Debug)]
pub struct Input {
    /// Duplicates and poison among them.
    pub events: usize,
    pub hazards: Hazards,
}

/// One event to produce.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The paying account.
    pub key: String,
    pub id: String,
    /// JSON.
    pub value: Vec<u8>,
}

const ACCOUNTS: usize = 200;

/// Half of the transfers are among so many accounts.
const BUSY_ACCOUNTS: usize = 10;

/// One in a hundred keys is poisoned.
const POISONED: usize = ACCOUNTS / 100;

const DUPLICATES_PER_MILLE: u64 = 20;

/// How far back a repeated event may lie: within a batch, and in one that is stored long since.
const REPEATED_WITHIN: usize = 2_000;

/// The events of a seed, in the order in which they are produced.
pub fn events(seed: u64, input: &Input) -> Vec<Event> {
    let mut random = Random::new(seed, "events");
    let mut poison = poison(seed, input);
    let mut events: Vec<Event> = Vec::with_capacity(input.events);
    for number in 0..input.events {
        let repeats = random.happens(DUPLICATES_PER_MILLE) && number > 0;
        let back = 1 + random.below(number.clamp(1, REPEATED_WITHIN));
        let from = account(&mut random);
        let to = other_account(&mut random, from);
        let cents = random.between(1, 10_000);
        if repeats && input.hazards.duplicates {
            events.push(events[number - back].clone());
            continue;
        }
        let poisoned = poison.get(&from).is_some_and(|&start| number >= start);
        if poisoned {
            poison.remove(&from);
        }
        // The plugins take no transfer of nothing.
        let cents = if poisoned { 0 } else { cents };
        let (id, from, to) = (format!("t-{number}"), name(from), name(to));
        let value = json!({ "id": id, "from": from, "to": to, "cents": cents });
        events.push(Event {
            key: from,
            id,
            value: value.to_string().into_bytes(),
        });
    }
    events
}

/// The poisoned accounts, each with the event from which on its next one is poison.
fn poison(seed: u64, input: &Input) -> BTreeMap<usize, usize> {
    let mut poison = BTreeMap::new();
    let mut random = Random::new(seed, "poison");
    while input.hazards.poison && poison.len() < POISONED {
        let start = input.events / 10 + random.below(input.events / 2 + 1);
        poison.insert(random.below(ACCOUNTS), start);
    }
    poison
}

fn account(random: &mut Random) -> usize {
    if random.happens(500) {
        random.below(BUSY_ACCOUNTS)
    } else {
        random.below(ACCOUNTS)
    }
}

fn other_account(random: &mut Random, than: usize) -> usize {
    let other = account(random);
    if other == than {
        (than + 1) % ACCOUNTS
    } else {
        other
    }
}

fn name(account: usize) -> String {
    format!("a-{account}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const ALL: Hazards = Hazards {
        duplicates: true,
        poison: true,
    };
    const NONE: Hazards = Hazards {
        duplicates: false,
        poison: false,
    };

    fn input(hazards: Hazards) -> Input {
        Input {
            events: 5_000,
            hazards,
        }
    }

    fn repeated(events: &[Event]) -> usize {
        let ids: BTreeSet<&str> = events.iter().map(|event| event.id.as_str()).collect();
        events.len() - ids.len()
    }

    fn poisonous(event: &Event) -> bool {
        String::from_utf8_lossy(&event.value).contains(r#""cents":0,"#)
    }

    #[test]
    fn a_seed_always_gives_the_same_events_and_another_seed_others() {
        assert_eq!(events(3, &input(ALL)), events(3, &input(ALL)));
        assert_ne!(events(3, &input(ALL)), events(4, &input(ALL)));
    }

    #[test]
    fn hazards_are_among_the_input_where_they_are_wanted() {
        for seed in 1..=20 {
            let all = events(seed, &input(ALL));
            assert!((50..200).contains(&repeated(&all)), "seed {seed}");
            assert!(all.iter().any(poisonous), "seed {seed}");
            let none = events(seed, &input(NONE));
            assert_eq!(repeated(&none), 0, "seed {seed}");
            assert!(!none.iter().any(poisonous), "seed {seed}");
        }
    }

    #[test]
    fn a_poisoned_key_goes_on_after_its_poison() {
        for seed in 1..=20 {
            let events = events(seed, &input(ALL));
            let poison = events.iter().position(poisonous).expect("there is poison");
            let (key, later) = (&events[poison].key, &events[poison + 1..]);
            assert!(later.iter().any(|event| event.key == *key), "seed {seed}");
        }
    }

    #[test]
    fn nobody_pays_to_himself() {
        for event in events(5, &input(NONE)) {
            let value: serde_json::Value = serde_json::from_slice(&event.value).expect("JSON");
            assert_eq!(value["from"], event.key);
            assert_ne!(value["from"], value["to"]);
        }
    }
}
