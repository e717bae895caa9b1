//! Numbers that follow from a seed alone.
//!
//! SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014). The
//! `rand` crate's generators may change with its version, and a seed that was written down must
//! replay for years.

/// A stream of numbers.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The stream of a seed. `purpose` keeps the streams of one seed apart, so that a change in one
    /// use does not shift the numbers of another.
    pub fn new(seed: u64, purpose: &str) -> Self {
        let mut random = Random(seed);
        for byte in purpose.bytes() {
            random = Random(random.number() ^ u64::from(byte));
        }
        random
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, which is not 0. The slight preference of small numbers does not
    /// matter here.
    pub fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).expect("a usize has at most 64 bits");
        usize::try_from(self.number() % end).expect("it is below a usize")
    }

    /// A number of a range that includes its ends.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.number() % (high - low + 1)
    }

    /// True in `per_mille` of 1000 cases.
    pub fn happens(&mut self, per_mille: u64) -> bool {
        self.number() % 1000 < per_mille
    }

    /// Puts items into another order (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_of_the_published_generator() {
        let mut random = Random(1_234_567);
        let numbers = [random.number(), random.number(), random.number()];
        let published = [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
        ];
        assert_eq!(numbers, published);
    }

    #[test]
    fn purposes_have_streams_of_their_own() {
        let first = |seed, purpose| Random::new(seed, purpose).number();
        assert_eq!(first(1, "events"), first(1, "events"));
        assert_ne!(first(1, "events"), first(1, "faults"));
        assert_ne!(first(1, "events"), first(2, "events"));
    }

    #[test]
    fn a_shuffle_keeps_all_items() {
        let mut items: Vec<u8> = (0..50).collect();
        Random::new(7, "shuffle").shuffle(&mut items);
        let shuffled = items.clone();
        items.sort_unstable();
        assert_eq!(items, (0..50).collect::<Vec<u8>>());
        assert_ne!(items, shuffled);
    }
}
