//! Medians, spreads and percentiles.

use serde::Serialize;

/// The rounds of one figure.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    pub median: f64,
    pub min: f64,
    pub max: f64,
}

/// Of the latencies of one run, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Percentiles {
    pub p50: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
}

impl Spread {
    /// `None` of nothing.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let (&min, &max) = (sorted.first()?, sorted.last()?);
        let middle = sorted.len() / 2;
        let median = if sorted.len() % 2 == 1 {
            sorted[middle]
        } else {
            f64::midpoint(sorted[middle - 1], sorted[middle])
        };
        Some(Spread { median, min, max })
    }
}

impl Percentiles {
    /// Of microseconds; `None` of nothing.
    pub fn of(mut microseconds: Vec<u64>) -> Option<Self> {
        microseconds.sort_unstable();
        let &max = microseconds.last()?;
        let at = |share: f64| {
            // The smallest value that at least this share of all values does not exceed.
            let rank = (share * microseconds.len() as f64).ceil() as usize;
            microseconds[rank.max(1) - 1] as f64 / 1_000.0
        };
        Some(Percentiles {
            p50: at(0.5),
            p99: at(0.99),
            p999: at(0.999),
            max: max as f64 / 1_000.0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        let of = |values: &[f64]| Spread::of(values.iter().copied());
        let spread = |median, min, max| Some(Spread { median, min, max });
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[4.0]), spread(4.0, 4.0, 4.0));
        assert_eq!(of(&[9.0, 1.0, 2.0]), spread(2.0, 1.0, 9.0));
        assert_eq!(of(&[9.0, 1.0, 2.0, 4.0]), spread(3.0, 1.0, 9.0));
    }

    #[test]
    fn a_percentile_is_not_exceeded_by_its_share() {
        assert_eq!(Percentiles::of(Vec::new()), None);
        let thousand = (1..=1_000).rev().map(|n| n * 1_000).collect();
        let expected = Percentiles {
            p50: 500.0,
            p99: 990.0,
            p999: 999.0,
            max: 1_000.0,
        };
        assert_eq!(Percentiles::of(thousand), Some(expected));
        let one = Percentiles::of(vec![2_500]).expect("there is one");
        assert_eq!((one.p50, one.p999, one.max), (2.5, 2.5, 2.5));
    }
}
