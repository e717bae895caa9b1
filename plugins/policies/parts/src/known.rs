//! All targets that were ever eligible.
//!
//! A hash that is taken over the eligible ones alone would send all keys elsewhere whenever one of
//! them is ejected or falls behind. nginx hashes over all peers and goes on from one that is out;
//! this is what makes the same possible here. The host's targets stay the same for the life of an
//! instance, so nothing has to be forgotten.

use projectionist_sdk::policy::Target;

/// Sorted by id, which is the order in which the host's configuration names them.
#[derive(Debug, Default)]
pub struct Known {
    targets: Vec<Target>,
}

impl Known {
    /// Takes note of targets. True where something is new: a target, or a weight.
    pub fn see(&mut self, eligible: &[Target]) -> bool {
        let is_the_same =
            |(known, new): (&Target, &Target)| known.id == new.id && known.weight == new.weight;
        if self.targets.len() == eligible.len()
            && self.targets.iter().zip(eligible).all(is_the_same)
        {
            return false;
        }
        let mut is_new = false;
        for target in eligible {
            match self
                .targets
                .binary_search_by_key(&target.id, |known| known.id)
            {
                Ok(place) if self.targets[place].weight == target.weight => continue,
                Ok(place) => self.targets[place] = target.clone(),
                Err(place) => self.targets.insert(place, target.clone()),
            }
            is_new = true;
        }
        is_new
    }

    pub fn targets(&self) -> &[Target] {
        &self.targets
    }

    /// Where `hash` falls, when each target has as many places as its weight; `None` where all
    /// weights are 0.
    pub fn at(&self, hash: u64) -> Option<&Target> {
        let weights = self.targets.iter().map(|target| u64::from(target.weight));
        let mut place = hash.checked_rem(weights.sum())?;
        self.targets.iter().find(|target| {
            let weight = u64::from(target.weight);
            let is_here = place < weight;
            if !is_here {
                place -= weight;
            }
            is_here
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_that_is_not_eligible_keeps_its_places() {
        let targets = [Target::new(3, "c", 2), Target::new(1, "a", 1)];
        let mut known = Known::default();
        assert!(known.see(&targets));
        assert!(!known.see(&targets[..1]), "nothing is new");
        let at = |known: &Known, hash| known.at(hash).map(|target| target.id);
        let places: Vec<_> = (0..6).filter_map(|hash| at(&known, hash)).collect();
        assert_eq!(places, [1, 3, 3, 1, 3, 3]);
        assert!(known.see(&[Target::new(2, "b", 1), Target::new(3, "c", 1)]));
        let places: Vec<_> = (0..3).filter_map(|hash| at(&known, hash)).collect();
        assert_eq!(places, [1, 2, 3]);
    }

    #[test]
    fn where_no_target_has_a_weight_there_is_no_place() {
        let mut known = Known::default();
        assert!(known.at(0).is_none());
        known.see(&[Target::new(3, "c", 0)]);
        assert!(known.at(7).is_none());
    }
}
