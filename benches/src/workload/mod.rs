//! Which events a benchmark consists of.
//!
//! The same [`Plan`] gives the same events each time, so they need not be kept: whoever fills the
//! topic and whoever works out the expected documents walk over them on their own.
//!
//! Besides the events of its workload, each partition has *markers*: events with keys of their
//! own, at its start, at its end and evenly between. A marker's document says that all events
//! before it in its partition are visible, whoever wrote it, and is found by its `_id` alone.

mod cpu;
pub(crate) mod flights;
mod hot;
mod keys;
mod latest;
mod shared;
mod unique;
mod zipf;

use clap::ValueEnum;

pub use cpu::calibrated_rounds;
pub use keys::{Naming, marker_id};
pub use latest::at_us;
pub use shared::Move;

/// Markers of all partitions together, about.
const MARKERS: u64 = 200;

/// The markers of a partition are at least its first and its last event.
const MARKERS_PER_PARTITION_MIN: u64 = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum)]
pub enum Workload {
    /// Every event is a new document; ids ascend
    Unique,
    /// Every event is a new document; ids are random
    UniqueRandom,
    /// 100,000 keys, few of them frequent (Zipf's law with exponent 1.1)
    Zipf,
    /// 1,000 keys, all equally frequent
    Hot,
    /// Each event changes two of 50 documents, from all partitions
    Shared,
    /// Real departures, keyed by aircraft, repeated
    Flights,
    /// 1,000 keys, and 20 µs of computing for each event
    Cpu,
}

/// What the documents of a workload are, which decides on the projection that makes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A key's last value, how many there were, and a chain over their order.
    Latest,
    /// How many events a document had a part in, and a sum.
    Pairs,
    /// The view `aircraft` of the example `flights`.
    Aircraft,
}

/// Everything that decides which events there are.
#[derive(Clone, Debug)]
pub struct Plan {
    pub workload: Workload,
    /// Without the markers.
    pub events: u64,
    pub partitions: u32,
    /// Of an event's value. The flights have values of their own.
    pub value_bytes: usize,
    /// Of the random choices.
    pub seed: u64,
    /// What a projection has to compute for each event: see [`bench_latest::work`].
    pub work_rounds: u64,
}

/// One event of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub key: String,
    pub partition: u32,
    /// From 0, over all partitions, in the order of production.
    pub n: u64,
    pub subject: Subject,
}

/// What an event is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A key, by its number.
    Key(u64),
    Move(Move),
    /// A departure, by its row in the data set.
    Flight(usize),
    /// The marker with this number in its partition.
    Marker(u32),
}

impl Workload {
    pub fn name(self) -> &'static str {
        match self {
            Workload::Unique => "unique",
            Workload::UniqueRandom => "unique-random",
            Workload::Zipf => "zipf",
            Workload::Hot => "hot",
            Workload::Shared => "shared",
            Workload::Flights => "flights",
            Workload::Cpu => "cpu",
        }
    }

    pub fn shape(self) -> Shape {
        match self {
            Workload::Unique
            | Workload::UniqueRandom
            | Workload::Zipf
            | Workload::Hot
            | Workload::Cpu => Shape::Latest,
            Workload::Shared => Shape::Pairs,
            Workload::Flights => Shape::Aircraft,
        }
    }

    /// How its keys are spelt.
    pub fn naming(self) -> Naming {
        match self {
            Workload::UniqueRandom => Naming::Random,
            Workload::Unique
            | Workload::Zipf
            | Workload::Hot
            | Workload::Shared
            | Workload::Flights
            | Workload::Cpu => Naming::Sequential,
        }
    }

    /// The size of its values, which may be chosen but for those that are real.
    pub fn value_bytes(self, chosen: usize) -> Option<usize> {
        match self.shape() {
            Shape::Latest | Shape::Pairs => Some(chosen),
            Shape::Aircraft => None,
        }
    }

    /// Whether a projection has to compute for each event, besides folding it.
    pub fn computes(self) -> bool {
        self == Workload::Cpu
    }
}

impl Shape {
    /// The collection that holds the documents.
    pub fn view(self) -> &'static str {
        match self {
            Shape::Latest => "latest",
            Shape::Pairs => "pairs",
            Shape::Aircraft => "aircraft",
        }
    }
}

impl Plan {
    /// All events, in the order of production.
    pub fn events(&self) -> Events {
        let subjects: Box<dyn Iterator<Item = Subject> + Send> = match self.workload {
            Workload::Unique | Workload::UniqueRandom => Box::new(unique::subjects()),
            Workload::Zipf => Box::new(zipf::subjects(self.seed)),
            Workload::Hot => Box::new(hot::subjects(self.seed)),
            Workload::Cpu => Box::new(cpu::subjects(self.seed)),
            Workload::Shared => Box::new(shared::subjects(self.seed)),
            Workload::Flights => Box::new(flights::subjects()),
        };
        let partitions = self.partitions.max(1);
        let per_partition = (MARKERS / u64::from(partitions)).max(MARKERS_PER_PARTITION_MIN);
        let last_markers = per_partition * u64::from(partitions);
        Events {
            plan: self.clone(),
            subjects: Box::new(subjects.take(usize::try_from(self.events).unwrap_or(usize::MAX))),
            partitions: vec![Progress::default(); partitions as usize],
            stride: (self.events / last_markers).max(1),
            due: (0..partitions).rev().collect(),
            ended: false,
            next: 0,
        }
    }

    /// Writes an event's value. `at_us` is when it was produced: microseconds since 1970.
    pub fn value_into(&self, event: &Event, at_us: u64, value: &mut Vec<u8>) {
        value.clear();
        match self.workload.shape() {
            Shape::Latest => latest::value_into(event, at_us, self.value_bytes, value),
            Shape::Pairs => shared::value_into(event, self.value_bytes, value),
            Shape::Aircraft => flights::value_into(event, value),
        }
    }
}

/// How far a partition has come.
#[derive(Clone, Default)]
struct Progress {
    since_marker: u64,
    markers: u32,
}

/// Walks over the events of a plan.
pub struct Events {
    plan: Plan,
    subjects: Box<dyn Iterator<Item = Subject> + Send>,
    partitions: Vec<Progress>,
    /// Events of a partition between two of its markers.
    stride: u64,
    /// Partitions whose marker comes next, the first of them last.
    due: Vec<u32>,
    /// Whether only the last markers are left.
    ended: bool,
    next: u64,
}

impl Events {
    /// How many markers each partition has had so far.
    pub fn markers(&self) -> Vec<u32> {
        self.partitions
            .iter()
            .map(|progress| progress.markers)
            .collect()
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }

    fn marker(&mut self, partition: u32) -> Event {
        let progress = &mut self.partitions[partition as usize];
        let index = progress.markers;
        progress.markers += 1;
        progress.since_marker = 0;
        Event {
            key: marker_id(partition, index),
            partition,
            n: self.number(),
            subject: Subject::Marker(index),
        }
    }

    fn event(&mut self, subject: Subject) -> Event {
        let n = self.number();
        let key = match &subject {
            Subject::Key(number) => self.plan.workload.naming().name(*number),
            Subject::Move(_) => format!("move-{n:012}"),
            Subject::Flight(row) => flights::tail_number(*row).to_owned(),
            Subject::Marker(_) => unreachable!("workloads have no markers of their own"),
        };
        let partition = keys::partition(&key, self.plan.partitions);
        let progress = &mut self.partitions[partition as usize];
        progress.since_marker += 1;
        if progress.since_marker >= self.stride {
            self.due.push(partition);
        }
        Event {
            key,
            partition,
            n,
            subject,
        }
    }
}

impl Iterator for Events {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        if let Some(partition) = self.due.pop() {
            return Some(self.marker(partition));
        }
        if let Some(subject) = self.subjects.next() {
            return Some(self.event(subject));
        }
        if self.ended {
            return None;
        }
        self.ended = true;
        self.due = (0..self.plan.partitions).rev().collect();
        self.next()
    }
}

#[cfg(test)]
mod tests;
