//! How keys are spelt, and which partition each belongs to.

/// From a key's number to its name and back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// Names ascend with numbers.
    Sequential,
    /// Names of consecutive numbers have nothing in common.
    Random,
}

impl Naming {
    pub fn name(self, number: u64) -> String {
        match self {
            Naming::Sequential => format!("k{number:012}"),
            Naming::Random => format!("r{:016x}", scramble(number)),
        }
    }

    /// The number of a name; `None` where it is no name of this kind.
    pub fn number(self, name: &str) -> Option<u64> {
        match self {
            Naming::Sequential => name.strip_prefix('k')?.parse().ok(),
            Naming::Random => {
                let scrambled = u64::from_str_radix(name.strip_prefix('r')?, 16).ok()?;
                Some(unscramble(scrambled))
            }
        }
    }
}

/// The key, and the document's `_id`, of a partition's marker.
pub fn marker_id(partition: u32, index: u32) -> String {
    format!("~{partition:03}-{index:05}")
}

/// The partition of a key: FNV-1a over its bytes.
///
/// Producers' own partitioners would do, too, but nobody could tell where a partition ends before
/// all events are produced.
pub(super) fn partition(key: &str, partitions: u32) -> u32 {
    let hash = key.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    // The low bits alone would follow the last byte of the key.
    let folded = u32::try_from((hash ^ (hash >> 32)) & 0xffff_ffff).expect("it is masked");
    folded % partitions
}

/// A permutation of all numbers: the finaliser of SplitMix64.
fn scramble(number: u64) -> u64 {
    let mut x = number;
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// The inverse of [`scramble`]: the multipliers are the inverses modulo 2^64.
fn unscramble(scrambled: u64) -> u64 {
    let mut x = scrambled;
    x = (x ^ (x >> 31) ^ (x >> 62)).wrapping_mul(0x3196_42b2_d24d_8ec3);
    x = (x ^ (x >> 27) ^ (x >> 54)).wrapping_mul(0x96de_1b17_3f11_9089);
    x ^ (x >> 30) ^ (x >> 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_leads_back_to_its_number() {
        for naming in [Naming::Sequential, Naming::Random] {
            for number in (0..1_000).chain([123_456_789_012, u64::from(u32::MAX)]) {
                let name = naming.name(number);
                assert_eq!(naming.number(&name), Some(number), "{name}");
            }
            assert_eq!(naming.number(&marker_id(0, 0)), None);
        }
    }

    #[test]
    fn keys_are_spread_evenly_over_the_partitions() {
        for naming in [Naming::Sequential, Naming::Random] {
            let mut counts = [0_u32; 12];
            for number in 0..120_000 {
                counts[partition(&naming.name(number), 12) as usize] += 1;
            }
            for count in counts {
                assert!((9_500..10_500).contains(&count), "{naming:?}: {counts:?}");
            }
        }
    }
}
