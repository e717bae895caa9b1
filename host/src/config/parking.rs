//! `[projections.NAME.parking]`: what becomes of events that the projection cannot take.

use toml::{Table, Value};

use super::effective::{size, table, text};
use super::reader::Section;
use super::{projections, values};

/// Where events go that the projection cannot take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parking {
    /// `Park` by default.
    pub on_fault: OnFault,
    /// Most keys that are parked of a partition; 1,000 by default.
    pub keys_max: u32,
    /// 100,000 by default.
    pub events_per_key_max: u32,
    /// Most that is parked of a partition; 1 GiB by default.
    pub bytes_max: u64,
    /// Gets a copy of each parked event.
    pub dead_letter_topic: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFault {
    /// Park the event and the later ones of its key.
    Park,
    /// Stop the partition.
    Stop,
}

const ON_FAULT: [(&str, OnFault); 2] = [("park", OnFault::Park), ("stop", OnFault::Stop)];

impl Default for Parking {
    fn default() -> Self {
        Parking {
            on_fault: OnFault::Park,
            keys_max: 1_000,
            events_per_key_max: 100_000,
            bytes_max: 1 << 30,
            dead_letter_topic: None,
        }
    }
}

pub(super) fn read(mut section: Section<'_>) -> Parking {
    let default = Parking::default();
    let parking = Parking {
        on_fault: section
            .read("on-fault", values::choice(&ON_FAULT))
            .unwrap_or(default.on_fault),
        keys_max: section
            .read("keys", values::count)
            .unwrap_or(default.keys_max),
        events_per_key_max: section
            .read("events-per-key", values::count)
            .unwrap_or(default.events_per_key_max),
        bytes_max: section
            .read("bytes", values::size)
            .unwrap_or(default.bytes_max),
        dead_letter_topic: section.read("dead-letter-topic", projections::topic),
    };
    section.finish();
    parking
}

pub(super) fn to_toml(parking: &Parking) -> Table {
    let mut parking_table = table([
        ("on-fault", values::word(&ON_FAULT, parking.on_fault)),
        ("keys", Value::from(parking.keys_max)),
        ("events-per-key", Value::from(parking.events_per_key_max)),
        ("bytes", size(parking.bytes_max)),
    ]);
    if let Some(topic) = &parking.dead_letter_topic {
        parking_table.insert("dead-letter-topic".to_owned(), text(topic));
    }
    parking_table
}
