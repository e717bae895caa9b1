//! Numbers that look random: SplitMix64 (Steele, Lea and Flood, 2014).
//!
//! A policy has no random source. What keeps two hosts from picking the same targets in the same
//! order is that each read stirs its key in ([`Generator::stir`]), and hosts get different reads.

use projectionist_sdk::policy::Target;

#[derive(Debug, Default)]
pub struct Generator {
    state: u64,
}

impl Generator {
    /// Mixes bytes in (FNV-1a).
    pub fn stir(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.state = (self.state ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
    }

    pub fn next_number(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// One of the targets, each as likely as its weight says; all alike where no one has a weight.
    /// Gives its place. `targets` is not empty.
    pub fn choose(&mut self, targets: &[Target]) -> usize {
        let number = self.next_number();
        let weights = targets.iter().map(|target| u64::from(target.weight));
        let Some(mut left) = number.checked_rem(weights.clone().sum()) else {
            let place = number % targets.len() as u64;
            return usize::try_from(place).expect("it is less than a length");
        };
        let mut place = 0;
        for weight in weights {
            if left < weight {
                break;
            }
            left -= weight;
            place += 1;
        }
        place
    }

    /// Two different ones, found in twenty tries after the first; `None` where that fails, as it
    /// does where there is only one. Source: nginx, `random two`.
    pub fn choose_two(&mut self, targets: &[Target]) -> Option<(usize, usize)> {
        if targets.len() < 2 {
            return None;
        }
        let first = self.choose(targets);
        let second = (0..20).map(|_| self.choose(targets));
        second
            .into_iter()
            .find(|&second| second != first)
            .map(|second| (first, second))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_chosen_by_their_weights() {
        let weights = [1, 0, 2, 5];
        let targets = weights.map(|weight| Target::new(weight, "", weight));
        let mut generator = Generator::default();
        let mut chosen = [0; 4];
        for _ in 0..8_000 {
            chosen[generator.choose(&targets)] += 1;
        }
        assert_eq!(chosen[1], 0);
        for (chosen, expected) in chosen.into_iter().zip([1_000_i32, 0, 2_000, 5_000]) {
            assert!((chosen - expected).abs() < 200, "{chosen} of {expected}");
        }
        let idle = [Target::new(1, "", 0), Target::new(2, "", 0)];
        let first = (0..1_000).filter(|_| generator.choose(&idle) == 0).count();
        assert!((400..600).contains(&first), "{first}");
    }

    #[test]
    fn keys_lead_to_other_numbers() {
        let number = |key: &[u8]| {
            let mut generator = Generator::default();
            generator.stir(key);
            generator.next_number()
        };
        assert_eq!(number(b"a"), number(b"a"));
        assert_ne!(number(b"a"), number(b"b"));
    }
}
