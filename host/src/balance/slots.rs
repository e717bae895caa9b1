//! Slots: the hash buckets of keys that a placement moves between lanes.
//!
//! A key's slot never changes, so the events of a key follow one another into one lane as long as
//! the table stands. The table is read once a batch: a slot moves between two batches only, when
//! nothing of it is being folded.

use std::sync::atomic::{AtomicU64, Ordering};

/// Enough that a busy slot can be given to a lane of its own among 64 lanes, and few enough that
/// a policy looks at all of them every second.
pub const SLOTS: usize = 1_024;

/// Not the seed of any other level: partitions are chosen by murmur2, and lanes must not see only
/// some of the hashes of a partition's keys.
const SEED: u64 = 0x70_6c_61_63_65_6d_65_6e;

/// The slot of a key. Events without a key share one.
pub fn slot(key: Option<&[u8]>) -> usize {
    use std::hash::{BuildHasher, Hasher};
    let mut hasher = foldhash::quality::FixedState::with_seed(SEED).build_hasher();
    hasher.write(key.unwrap_or_default());
    let hash = usize::try_from(hasher.finish() >> 32).expect("32 bits fit");
    hash % SLOTS
}

/// Which lane each slot is folded in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    lanes: usize,
    owners: Box<[u16]>,
}

/// Why a table is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    #[error("{0} slots, where there are {SLOTS}")]
    Slots(usize),
    #[error("slot {slot} is given to lane {lane}, and there are {lanes}")]
    Lane {
        slot: usize,
        lane: usize,
        lanes: usize,
    },
}

impl Table {
    /// The built-in placement: slots in turn, so that every lane has as many as the others.
    ///
    /// # Panics
    ///
    /// If there is no lane, or more than `u16::MAX`.
    pub fn hash(lanes: usize) -> Table {
        let lane = |slot: usize| u16::try_from(slot % lanes).expect("lanes are few");
        Table {
            lanes,
            owners: (0..SLOTS).map(lane).collect(),
        }
    }

    /// A table as somebody else made it, once it is one.
    pub fn checked(owners: &[usize], lanes: usize) -> Result<Table, TableError> {
        if owners.len() != SLOTS {
            return Err(TableError::Slots(owners.len()));
        }
        let check = |(slot, &lane): (usize, &usize)| match u16::try_from(lane) {
            Ok(narrow) if lane < lanes => Ok(narrow),
            _ => Err(TableError::Lane { slot, lane, lanes }),
        };
        Ok(Table {
            lanes,
            owners: owners
                .iter()
                .enumerate()
                .map(check)
                .collect::<Result<_, _>>()?,
        })
    }

    pub fn lanes(&self) -> usize {
        self.lanes
    }

    /// The lane of a slot.
    pub fn lane(&self, slot: usize) -> usize {
        usize::from(self.owners[slot])
    }

    /// The lane of each slot.
    pub fn owners(&self) -> impl ExactSizeIterator<Item = usize> + '_ {
        self.owners.iter().map(|&lane| usize::from(lane))
    }
}

/// How much work each slot has made so far. Lanes add to it, whoever places looks at it.
#[derive(Debug)]
pub struct Load {
    nanos: Box<[AtomicU64]>,
}

impl Default for Load {
    fn default() -> Self {
        Load {
            nanos: (0..SLOTS).map(|_| AtomicU64::new(0)).collect(),
        }
    }
}

impl Load {
    /// Adds work, in nanoseconds of a lane's time.
    pub fn add(&self, slot: usize, nanos: u64) {
        self.nanos[slot].fetch_add(nanos, Ordering::Relaxed);
    }

    /// All work so far of each slot, in nanoseconds.
    pub fn totals(&self) -> Vec<u64> {
        let read = |nanos: &AtomicU64| nanos.load(Ordering::Relaxed);
        self.nanos.iter().map(read).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_spread_over_all_slots() {
        let mut keys = [0_u32; SLOTS];
        for key in 0..100 * SLOTS {
            keys[slot(Some(format!("customer-{key}").as_bytes()))] += 1;
        }
        let (least, most) = (keys.iter().min(), keys.iter().max());
        assert!(least > Some(&50) && most < Some(&160), "{least:?} {most:?}");
    }

    #[test]
    fn the_built_in_table_gives_every_lane_as_many_slots() {
        for lanes in [1, 2, 3, 64] {
            let table = Table::hash(lanes);
            let mut slots = vec![0; lanes];
            table.owners().for_each(|lane| slots[lane] += 1);
            let (least, most) = (slots.iter().min(), slots.iter().max());
            assert!(
                most.zip(least)
                    .is_some_and(|(most, least)| most - least <= 1)
            );
        }
    }

    #[test]
    fn work_adds_up_in_its_slot() {
        let load = Load::default();
        let slot = slot(Some(b"customer"));
        load.add(slot, 7);
        load.add(slot, 5);
        let totals = load.totals();
        assert_eq!((totals[slot], totals.iter().sum::<u64>()), (12, 12));
    }

    #[test]
    fn a_table_with_a_lane_or_a_slot_too_many_is_none() {
        let mut owners = vec![1; SLOTS];
        assert_eq!(Table::checked(&owners, 2).map(|table| table.lane(7)), Ok(1));
        owners[9] = 2;
        let (slot, lane, lanes) = (9, 2, 2);
        let expected = TableError::Lane { slot, lane, lanes };
        assert_eq!(Table::checked(&owners, 2), Err(expected));
        owners.push(0);
        let slots = owners.len();
        assert_eq!(Table::checked(&owners, 3), Err(TableError::Slots(slots)));
    }
}
