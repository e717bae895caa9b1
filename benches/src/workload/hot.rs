//! A thousand keys, over and over.

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::Subject;

pub(super) const KEYS: u64 = 1_000;

pub(super) fn subjects(seed: u64) -> impl Iterator<Item = Subject> {
    let mut random = StdRng::seed_from_u64(seed);
    std::iter::repeat_with(move || Subject::Key(random.random_range(0..KEYS)))
}
