use std::ops::Range;

use proptest::prelude::*;

use super::super::parking::Limits;
use super::*;
use crate::record::Header;

const ROOMY: Limits = Limits {
    keys_max: 100,
    events_per_key_max: 100,
    bytes_max: u64::MAX,
};

/// A key, an id, and whether the projection can take the event.
type Sketch = (Option<u8>, Option<u8>, bool);

fn events(sketches: &[Sketch]) -> Vec<Arc<Event>> {
    let event = |(offset, (key, id, _)): (usize, &Sketch)| {
        let header = |id: u8| Header {
            name: "id".into(),
            value: Some([id].into()),
        };
        let key = key.map(|key| [key]);
        let key = key.as_ref().map(<[u8; 1]>::as_slice);
        let headers = id.iter().copied().map(header).collect();
        let offset = Offset(i64::try_from(offset).expect("few events"));
        Arc::new(Event::new(offset, 0, key, None, headers))
    };
    sketches.iter().enumerate().map(event).collect()
}

fn sieve(scope: Scope, without_id: WithoutId, limits: Limits) -> Sieve {
    let options = DedupeOptions {
        source: IdSource::Header("id".to_owned()),
        window: 5,
        scope,
        without_id,
    };
    let window = Window::new(options.window, Vec::new()).expect("nothing is missing");
    Sieve::new(Some((options, window)), Parking::new(limits, Vec::new()))
}

fn reason() -> Reason {
    Reason {
        kind: "rejected".to_owned(),
        detail: String::new(),
        plugin: String::new(),
        at_ms: 0,
    }
}

/// Sifts one batch as a domain does: whoever turns out to be at fault is blamed, and the batch is
/// sifted again. Answers the offsets that are folded and those that are parked.
fn take(sieve: &mut Sieve, batch: &[Arc<Event>], sketches: &[Sketch]) -> (Vec<i64>, Vec<i64>) {
    loop {
        let mark = sieve.mark();
        let ids = sieve.ids(batch);
        let sifted = sieve.sift(batch, ids.as_ref(), &HashSet::new());
        assert_eq!(sifted.full, None, "there is room");
        let offset = |index: usize| batch[index].offset.0;
        let poison = |offset: &i64| sketches[usize::try_from(*offset).expect("small")].2;
        let folded: Vec<i64> = sifted.fold.iter().map(|index| offset(*index)).collect();
        match folded.iter().find(|offset| poison(offset)) {
            Some(culprit) => {
                sieve.rewind(mark);
                sieve.blame(Offset(*culprit), reason());
            }
            None => {
                let parked = sifted.park.iter().map(|(index, _)| offset(*index));
                return (folded, parked.collect());
            }
        }
    }
}

fn sketches() -> impl Strategy<Value = Vec<Sketch>> {
    let key = prop::option::weighted(0.9, 0..4u8);
    let id = prop::option::weighted(0.9, 0..20u8);
    prop::collection::vec((key, id, prop::bool::weighted(0.1)), 1..60)
}

/// Cuts `0..len` in batches of these lengths, over and over.
fn cuts(len: usize, lengths: &[usize]) -> Vec<Range<usize>> {
    let mut cuts = Vec::new();
    let mut from = 0;
    for length in lengths.iter().cycle() {
        if from >= len {
            break;
        }
        let to = (from + length).min(len);
        cuts.push(from..to);
        from = to;
    }
    cuts
}

proptest! {
    #[test]
    fn the_cut_of_batches_decides_nothing(
        sketches in sketches(),
        lengths in prop::collection::vec(1..10usize, 1..5),
    ) {
        let batch = events(&sketches);
        let mut whole = sieve(Scope::Partition, WithoutId::Fold, ROOMY);
        let expected = take(&mut whole, &batch, &sketches);

        let mut cut = sieve(Scope::Partition, WithoutId::Fold, ROOMY);
        let (mut folded, mut parked) = (Vec::new(), Vec::new());
        for (turn, range) in cuts(batch.len(), &lengths).into_iter().enumerate() {
            let next = batch[range.end - 1].offset.next();
            let (more_folded, more_parked) = take(&mut cut, &batch[range], &sketches);
            folded.extend(more_folded);
            parked.extend(more_parked);
            if turn % 2 == 0 {
                cut.submit();
                cut.commit(next);
            }
        }
        prop_assert_eq!((folded, parked), expected);
    }

    #[test]
    fn nothing_of_a_key_is_folded_after_its_culprit(sketches in sketches()) {
        let batch = events(&sketches);
        let mut sieve = sieve(Scope::Partition, WithoutId::Fold, ROOMY);
        let (folded, parked) = take(&mut sieve, &batch, &sketches);
        for offset in parked {
            let key = batch[usize::try_from(offset).expect("small")].key();
            let later = |other: &&i64| {
                **other > offset && batch[usize::try_from(**other).expect("small")].key() == key
            };
            prop_assert!(key.is_none() || folded.iter().find(later).is_none());
        }
    }
}

#[test]
fn an_event_without_a_key_is_folded_passed_over_or_parked_as_configured() {
    let sketches = [
        (None, Some(1), false),
        (Some(1), Some(2), false),
        (None, Some(1), false),
    ];
    let batch = events(&sketches);
    let cases = [
        // The third one has the id of the first.
        (WithoutKey::Fold, vec![0, 1], vec![], 1, 1),
        (WithoutKey::Ignore, vec![1], vec![], 0, 2),
        (WithoutKey::Park, vec![1], vec![0], 1, 1),
    ];
    for (without_key, folded, parked, duplicates, keyless) in cases {
        let sieve = sieve(Scope::Partition, WithoutId::Fold, ROOMY);
        let mut sieve = sieve.with_keyless(without_key);
        let ids = sieve.ids(&batch);
        let sifted = sieve.sift(&batch, ids.as_ref(), &HashSet::new());
        assert_eq!(sifted.events, 3, "{without_key:?}");
        assert_eq!(sifted.fold, folded, "{without_key:?}");
        let indices: Vec<usize> = sifted.park.iter().map(|(index, _)| *index).collect();
        assert_eq!(indices, parked, "{without_key:?}");
        assert_eq!(sifted.duplicates, duplicates, "{without_key:?}");
        assert_eq!(sifted.without_key, keyless, "{without_key:?}");
    }
}

#[test]
fn a_duplicate_is_dropped_also_where_the_first_one_is_parked() {
    let sketches = [
        (Some(1), Some(1), true),
        (Some(1), Some(2), false),
        (Some(1), Some(2), false),
        (Some(2), Some(1), false),
    ];
    let mut sieve = sieve(Scope::Partition, WithoutId::Fold, ROOMY);
    let (folded, parked) = take(&mut sieve, &events(&sketches), &sketches);
    assert_eq!((folded, parked), (vec![], vec![0, 1]));
}

#[test]
fn ids_that_other_partitions_have_seen_are_duplicates() {
    let sketches = [(Some(1), Some(1), false), (Some(1), Some(2), false)];
    let batch = events(&sketches);
    let mut sieve = sieve(Scope::Projection, WithoutId::Fold, ROOMY);
    let ids = sieve.ids(&batch).expect("ids are wanted");
    assert_eq!(sieve.unknown(&ids).len(), 2);

    let elsewhere = HashSet::from([IdHash::of(&[1])]);
    let sifted = sieve.sift(&batch, Some(&ids), &elsewhere);
    assert_eq!((sifted.fold, sifted.duplicates), (vec![1], 1));
    assert_eq!(
        sieve.unknown(&ids),
        [IdHash::of(&[1])],
        "the other one is known here"
    );
}

#[test]
fn an_event_without_an_id_is_folded_or_parked_as_configured() {
    let sketches = [(Some(1), None, false), (Some(1), Some(1), false)];
    let cases = [
        (WithoutId::Fold, vec![0, 1], vec![]),
        (WithoutId::Park, vec![], vec![0, 1]),
    ];
    for (without_id, folded, parked) in cases {
        let mut sieve = sieve(Scope::Partition, without_id, ROOMY);
        let batch = events(&sketches);
        let ids = sieve.ids(&batch);
        let sifted = sieve.sift(&batch, ids.as_ref(), &HashSet::new());
        let of = |index: &(usize, Offset)| index.0;
        assert_eq!(sifted.fold, folded, "{without_id:?}");
        assert_eq!(
            sifted.park.iter().map(of).collect::<Vec<_>>(),
            parked,
            "{without_id:?}"
        );
        assert_eq!(sifted.without_id, 1, "{without_id:?}");
    }
}

#[test]
fn at_a_limit_the_events_before_are_taken_and_no_id_is_lost() {
    let sketches = [
        (Some(1), Some(1), true),
        (Some(2), Some(2), false),
        (Some(1), Some(3), false),
        (Some(2), Some(4), false),
    ];
    let limits = Limits {
        events_per_key_max: 1,
        ..ROOMY
    };
    let batch = events(&sketches);
    let mut sieve = sieve(Scope::Partition, WithoutId::Fold, limits);
    sieve.blame(Offset(0), reason());
    let ids = sieve.ids(&batch);
    let sifted = sieve.sift(&batch, ids.as_ref(), &HashSet::new());
    assert_eq!(
        sifted.events, 2,
        "the third one has to wait behind the first"
    );
    assert_eq!(sifted.fold, [1]);
    assert_eq!(sifted.full, Some(Full::EventsOfKey(1)));

    sieve.parking_mut().release(Offset(0), 1, 1);
    let rest = sieve.sift(
        &batch[2..],
        sieve.ids(&batch[2..]).as_ref(),
        &HashSet::new(),
    );
    assert_eq!((rest.fold, rest.duplicates), (vec![0, 1], 0));
}
