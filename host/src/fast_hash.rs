//! Hash tables for what every event goes through.
//!
//! The hasher is seeded anew for each process, so that nobody can choose keys that collide, and is
//! cheaper for short keys than the standard library's.

use std::collections::{HashMap, HashSet};

use foldhash::fast::RandomState;

pub(crate) type FastMap<K, V> = HashMap<K, V, RandomState>;

pub(crate) type FastSet<T> = HashSet<T, RandomState>;
