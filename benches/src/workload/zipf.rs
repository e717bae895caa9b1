//! Few keys are frequent and many are rare, as with customers or products: Zipf's law.

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::Subject;

const KEYS: u32 = 100_000;

const EXPONENT: f64 = 1.1;

/// The key of rank r comes with a probability in proportion to r^-1.1.
pub(super) fn subjects(seed: u64) -> impl Iterator<Item = Subject> {
    let mut sum = 0.0;
    let cumulative: Vec<f64> = (1..=KEYS)
        .map(|rank| {
            sum += f64::from(rank).powf(-EXPONENT);
            sum
        })
        .collect();
    let mut random = StdRng::seed_from_u64(seed);
    std::iter::repeat_with(move || {
        let point = random.random_range(0.0..sum);
        Subject::Key(cumulative.partition_point(|below| *below <= point) as u64)
    })
}
