//! Folds the same events in batches cut otherwise, and finds what depends on the cut.
//!
//! A host cuts its batches by what has queued up, and starts a new instance whenever one has failed
//! or is worn out. So a fold that keeps something besides its document (a variable, a `Set` or a
//! `Date` in a document, `NaN`, `undefined`) comes to one result in a test and to another one on a
//! host.
//!
//! Guarantee: what is found is minimal: without any one of its cuts, the difference is gone, unless
//! the search came to its limit.
//! Not here: folding ([`Desk`](super::Desk)), and how a difference is shown.

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::desk::Outcome;

/// Where one batch ends and another begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The index of the event that begins the next batch; at least 1.
    pub before: usize,
    /// On which instance the next batch is folded.
    pub next: NextInstance,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextInstance {
    Same,
    New,
}

/// Cuts under which the events come to something else than in one batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    pub cuts: Vec<Cut>,
    pub outcome: Outcome,
}

/// Random cuts that are tried, besides those into single events.
const RANDOM_CUTS: u64 = 6;

/// Beyond, random cuts stand for those into single events: instances take time to start.
const SINGLE_EVENTS_MAX: usize = 1_000;

/// A random cut has no more batches than that.
const RANDOM_BATCHES_MAX: usize = 200;

/// How often the events are folded, at the most, to make a finding smaller.
const SMALLER_FOLDS_MAX: usize = 100;

/// Folds `events` events under one cut after the other, until one comes to another outcome than
/// `in_one_batch`. The cuts are the same at each call.
///
/// # Errors
/// Those of `fold`.
pub fn find<E>(
    events: usize,
    in_one_batch: &Outcome,
    mut fold: impl FnMut(&[Cut]) -> Result<Outcome, E>,
) -> Result<Option<Finding>, E> {
    for cuts in candidates(events) {
        let outcome = fold(&cuts)?;
        if outcome != *in_one_batch {
            let found = Finding { cuts, outcome };
            return smallest(found, in_one_batch, fold).map(Some);
        }
    }
    Ok(None)
}

fn candidates(events: usize) -> Vec<Vec<Cut>> {
    let mut candidates = Vec::new();
    if events < 2 {
        return candidates;
    }
    if events <= SINGLE_EVENTS_MAX {
        for next in [NextInstance::New, NextInstance::Same] {
            candidates.push((1..events).map(|before| Cut { before, next }).collect());
        }
    }
    candidates.extend((0..RANDOM_CUTS).map(|seed| random(events, seed)));
    candidates
}

fn random(events: usize, seed: u64) -> Vec<Cut> {
    let mut random = StdRng::seed_from_u64(seed);
    let batches_max = events.min(RANDOM_BATCHES_MAX);
    let length = (events / random.random_range(1..=batches_max)).max(1);
    let mut cuts = Vec::new();
    let mut before = 0;
    loop {
        before += random.random_range(1..=2 * length);
        if before >= events {
            return cuts;
        }
        let next = match random.random_bool(0.5) {
            true => NextInstance::New,
            false => NextInstance::Same,
        };
        cuts.push(Cut { before, next });
    }
}

/// Leaves out cuts as long as the difference stays: first large parts of them, then single ones
/// (delta debugging: Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input").
fn smallest<E>(
    mut found: Finding,
    in_one_batch: &Outcome,
    mut fold: impl FnMut(&[Cut]) -> Result<Outcome, E>,
) -> Result<Finding, E> {
    let mut folds_left = SMALLER_FOLDS_MAX;
    let mut length = found.cuts.len().div_ceil(2);
    while length > 0 && found.cuts.len() > 1 {
        let mut start = 0;
        let mut has_shrunk = false;
        while start < found.cuts.len() && folds_left > 0 {
            let mut cuts = found.cuts.clone();
            cuts.drain(start..(start + length).min(found.cuts.len()));
            folds_left -= 1;
            let outcome = fold(&cuts)?;
            if outcome == *in_one_batch {
                start += length;
            } else {
                found = Finding { cuts, outcome };
                has_shrunk = true;
            }
        }
        if folds_left == 0 {
            break;
        }
        if !has_shrunk || length > found.cuts.len() {
            length /= 2;
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use serde_json::json;

    use super::*;

    /// An outcome that shows a number.
    fn outcome(number: usize) -> Outcome {
        Outcome {
            rejected: vec![json!(number)],
            ..Outcome::default()
        }
    }

    fn found(events: usize, fold: impl Fn(&[Cut]) -> usize) -> Option<Finding> {
        let fold = |cuts: &[Cut]| Ok::<_, Infallible>(outcome(fold(cuts)));
        match find(events, &outcome(0), fold) {
            Ok(found) => found,
        }
    }

    #[test]
    fn a_pure_fold_comes_to_nothing() {
        for events in [0, 1, 2, 40, 5_000] {
            assert_eq!(found(events, |_| 0), None, "{events}");
        }
    }

    #[test]
    fn one_cut_that_matters_is_told_alone() {
        // A document that does not outlive the call between the events 16 and 17.
        let found = found(40, |cuts| usize::from(cuts.iter().any(|c| c.before == 17)));
        let cuts = found.expect("cut before each event").cuts;
        let next = NextInstance::New;
        assert_eq!(cuts, [Cut { before: 17, next }]);
    }

    #[test]
    fn two_cuts_that_matter_together_are_told_together() {
        let matters = |cuts: &[Cut]| [5, 30].iter().all(|b| cuts.iter().any(|c| c.before == *b));
        let found = found(40, |cuts| usize::from(matters(cuts)));
        let cuts = found.expect("cut before each event").cuts;
        assert_eq!(cuts.iter().map(|c| c.before).collect::<Vec<_>>(), [5, 30]);
    }

    #[test]
    fn a_variable_that_outlives_a_call_is_found_where_a_new_instance_hides_it() {
        let same = |cuts: &[Cut]| cuts.iter().filter(|c| c.next == NextInstance::Same).count();
        let found = found(40, same).expect("cut before each event, on one instance");
        assert_eq!(found.cuts.len(), 1);
        assert_eq!(found.cuts[0].next, NextInstance::Same);
        assert_eq!(found.outcome, outcome(1));
    }

    #[test]
    fn many_events_are_cut_at_random() {
        let found = found(100_000, |cuts| usize::from(cuts.len() > 1));
        let cuts = found.expect("cut somewhere").cuts;
        assert_eq!(cuts.len(), 2, "{cuts:?}");
        assert!(cuts.iter().all(|cut| (1..100_000).contains(&cut.before)));
    }
}
