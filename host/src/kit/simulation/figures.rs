//! What a simulation comes to, and how it is drawn with letters.

/// The smallest of `sorted` that is not below a share of it; 0 of none.
pub fn quantile(sorted: &[f64], share: f64) -> f64 {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    let place = rank.clamp(1, sorted.len().max(1)) - 1;
    sorted.get(place).copied().unwrap_or(0.0)
}

/// The same where each value counts for its weight; 0 of none. Sorts them.
pub fn weighted_quantile(values: &mut [(f64, u64)], share: f64) -> f64 {
    values.sort_by(|(one, _), (other, _)| one.total_cmp(other));
    let total: u64 = values.iter().map(|(_, weight)| weight).sum();
    let wanted = share * total as f64;
    let mut seen = 0.0;
    for (value, weight) in values.iter() {
        seen += *weight as f64;
        if *weight > 0 && seen >= wanted {
            return *value;
        }
    }
    0.0
}

/// A line of columns, a character for each value, as high as it is beside `most`.
pub fn columns(values: &[f64], most: f64) -> String {
    const HEIGHTS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let height = |value: &f64| {
        if most <= 0.0 || *value <= 0.0 {
            return HEIGHTS[0];
        }
        // What is not nothing is seen.
        let height = (value / most * 8.0).round().clamp(1.0, 8.0);
        HEIGHTS[height as usize]
    };
    values.iter().map(height).collect()
}

/// Brings values to so many by the largest of each stretch; fewer stay as they are.
pub fn peaks(values: &[f64], count: usize) -> Vec<f64> {
    if values.len() <= count {
        return values.to_vec();
    }
    let stretch = |n: usize| n * values.len() / count..(n + 1) * values.len() / count;
    let peak = |n| values[stretch(n)].iter().copied().fold(0.0, f64::max);
    (0..count).map(peak).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_there_are() {
        let hundred: Vec<f64> = (1..=100).map(f64::from).collect();
        let at = |share| quantile(&hundred, share);
        assert_eq!(
            [at(0.0), at(0.5), at(0.99), at(1.0)],
            [1.0, 50.0, 99.0, 100.0]
        );
        assert_eq!(quantile(&[], 0.5), 0.0);
        let mut weighted = [(9.0, 1), (1.0, 98), (3.0, 1), (5.0, 0)];
        assert_eq!(weighted_quantile(&mut weighted, 0.98), 1.0);
        assert_eq!(weighted_quantile(&mut weighted, 0.99), 3.0);
        assert_eq!(weighted_quantile(&mut weighted, 1.0), 9.0);
    }

    #[test]
    fn columns_are_as_high_as_their_values() {
        assert_eq!(columns(&[0.0, 0.1, 4.0, 8.0], 8.0), " ▁▄█");
        assert_eq!(columns(&[0.0, 1.0], 0.0), "  ");
        assert_eq!(peaks(&[1.0, 5.0, 2.0, 3.0], 2), [5.0, 3.0]);
        assert_eq!(peaks(&[1.0], 2), [1.0]);
    }
}
