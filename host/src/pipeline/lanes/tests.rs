use std::collections::{BTreeMap, BTreeSet};

use bson::rawdoc;
use proptest::prelude::*;

use super::*;
use crate::balance::slots::SLOTS;
use crate::projection::{Body, DocumentKey, DocumentWrite, HostError, Message, ViewIndex};
use crate::record::Offset;

/// What an event does to the projection below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Count,
    Send,
    Reject,
    Trap,
}

fn event(offset: usize, key: u8) -> Arc<Event> {
    let offset = Offset(i64::try_from(offset).expect("few"));
    Arc::new(Event::new(offset, 0, Some(&[key]), Some(b"{}"), Vec::new()))
}

/// A projection that counts the events of each key, sends messages, and knows which events of a
/// batch it cannot take. `indices` are those of a part's events in `acts`.
fn fold(acts: &[(u8, Act)], indices: &[usize], says_the_rest: bool) -> Result<Output, Error> {
    let own: Vec<(usize, u8, Act)> = indices
        .iter()
        .enumerate()
        .map(|(position, &index)| (position, acts[index].0, acts[index].1))
        .collect();
    if let Some((event, ..)) = own.iter().find(|(.., act)| *act == Act::Trap) {
        return Err(fault(FaultKind::Trap, Some(*event), Vec::new(), None));
    }
    let mut left_out = BTreeSet::new();
    let mut rejects = Vec::new();
    let mut counts: BTreeMap<u8, (usize, u32)> = BTreeMap::new();
    let mut output = Output::default();
    for (position, key, act) in own {
        if left_out.contains(&key) {
            continue;
        }
        if act == Act::Reject {
            left_out.insert(key);
            rejects.push(position);
            continue;
        }
        let count = counts.entry(key).or_insert((position, 0));
        *count = (position, count.1 + 1);
        if act == Act::Send {
            output.messages.push(message(position, key));
        }
    }
    for (key, (event, count)) in counts {
        output.writes.push(write(event, key, count));
    }
    let mut rejects = rejects.into_iter();
    match rejects.next() {
        None => Ok(output),
        Some(first) => {
            let also = rejects.map(rejected).collect();
            let rest = says_the_rest.then(|| Box::new(output));
            Err(fault(FaultKind::Rejected, Some(first), also, rest))
        }
    }
}

fn fault(
    kind: FaultKind,
    event: Option<usize>,
    also: Vec<Rejected>,
    rest: Option<Box<Output>>,
) -> Error {
    Error::Fault(Fault {
        kind,
        detail: "no".to_owned(),
        event,
        also,
        rest,
    })
}

fn rejected(event: usize) -> Rejected {
    Rejected {
        event,
        detail: "no".to_owned(),
    }
}

fn message(event: usize, key: u8) -> Message {
    Message {
        event,
        topic: "sent".into(),
        key: Some(vec![key].into()),
        value: None,
        headers: Vec::new(),
    }
}

fn write(event: usize, key: u8, count: u32) -> DocumentWrite {
    DocumentWrite {
        key: DocumentKey {
            view: ViewIndex(0),
            id: key.to_string().into(),
        },
        event,
        body: Some(Body {
            encoded: count.to_string().into_bytes().into(),
            bson: rawdoc! { "count": i64::from(count) },
        }),
    }
}

/// The same batch, folded by so many lanes and joined.
fn joined(acts: &[(u8, Act)], lanes: usize, says_the_rest: bool) -> Folded {
    let events: Vec<Arc<Event>> = acts
        .iter()
        .enumerate()
        .map(|(offset, (key, _))| event(offset, *key))
        .collect();
    let slots: Vec<usize> = events.iter().map(|event| slot(event.key())).collect();
    let parts = split(&slots, &Table::hash(lanes));
    let folded = parts.iter().map(|part| Folded {
        events: Vec::new(),
        result: fold(acts, &part.indices, says_the_rest),
        plugin: "hash".into(),
        loaded: Vec::new(),
        held: Held::default(),
    });
    let folded = folded.collect();
    join(events, &parts, folded)
}

/// Writes are a set.
fn sorted(mut output: Output) -> Output {
    output.writes.sort_by(|one, other| one.key.cmp(&other.key));
    output
}

fn comparable(result: Result<Output, Error>) -> Result<Output, Fault> {
    match result {
        Ok(output) => Ok(sorted(output)),
        Err(Error::Fault(mut fault)) => {
            fault.rest = fault.rest.map(|rest| Box::new(sorted(*rest)));
            Err(fault)
        }
        Err(Error::Host(error)) => panic!("nothing fails in the host: {error}"),
    }
}

fn acts(among: &'static [Act]) -> impl Strategy<Value = Vec<(u8, Act)>> {
    prop::collection::vec((0..20_u8, prop::sample::select(among)), 1..60)
}

proptest! {
    #[test]
    fn several_lanes_make_of_a_batch_what_one_makes(
        acts in acts(&[Act::Count, Act::Count, Act::Send, Act::Reject]),
        lanes in 1..6_usize,
        says_the_rest: bool,
    ) {
        let one = comparable(joined(&acts, 1, says_the_rest).result);
        let several = comparable(joined(&acts, lanes, says_the_rest).result);
        prop_assert_eq!(one, several);
    }

    #[test]
    fn a_trap_in_one_lane_is_a_trap_of_the_batch(
        acts in acts(&[Act::Count, Act::Reject, Act::Trap]),
        lanes in 1..6_usize,
    ) {
        let traps = |event: usize| acts[event].1 == Act::Trap;
        match comparable(joined(&acts, lanes, true).result) {
            Ok(_) => prop_assert!(acts.iter().all(|(_, act)| *act == Act::Count)),
            Err(fault) if fault.kind == FaultKind::Trap => {
                prop_assert!(fault.event.is_some_and(traps));
                prop_assert_eq!(fault.rest, None);
            }
            Err(_) => prop_assert!(!(0..acts.len()).any(traps)),
        }
    }

    #[test]
    fn every_event_is_in_one_part_with_all_of_its_slot(
        slots in prop::collection::vec(0..SLOTS, 0..100),
        lanes in 1..6_usize,
    ) {
        let table = Table::hash(lanes);
        let parts = split(&slots, &table);
        let mut all: Vec<usize> = Vec::new();
        for part in &parts {
            prop_assert!(part.indices.is_sorted());
            prop_assert!(part.indices.iter().all(|&index| table.lane(slots[index]) == part.lane));
            all.extend(&part.indices);
        }
        all.sort_unstable();
        prop_assert_eq!(all, (0..slots.len()).collect::<Vec<_>>());
    }
}

#[test]
fn trouble_of_the_host_in_one_lane_is_that_of_the_batch() {
    let events = vec![event(0, 1), event(1, 2)];
    let parts = [0, 1].map(|index| Part {
        lane: index,
        indices: vec![index],
    });
    let results = [
        Err(Error::Host(HostError::Engine("no memory".into()))),
        fold(&[(1, Act::Count), (2, Act::Reject)], &[1], true),
    ];
    let folded = results.into_iter().map(|result| Folded {
        events: Vec::new(),
        result,
        plugin: "hash".into(),
        loaded: Vec::new(),
        held: Held::default(),
    });
    let folded = folded.collect();
    let joined = join(events, &parts, folded);
    assert!(matches!(joined.result, Err(Error::Host(_))));
    assert_eq!(joined.events.len(), 2);
}
