//! `[projections.NAME.trial]`: when a version that was activated is rolled back by itself.

use toml::{Table, Value};

use super::effective::table;
use super::reader::Section;
use super::values;

/// How many of its first events a version may leave unfolded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trial {
    /// 10,000 by default.
    pub events: u32,
    /// 10 by default.
    pub faults_max: u32,
}

impl Default for Trial {
    fn default() -> Self {
        Trial {
            events: 10_000,
            faults_max: 10,
        }
    }
}

pub(super) fn read(mut section: Section<'_>) -> Trial {
    let default = Trial::default();
    let trial = Trial {
        events: section
            .read("events", values::count)
            .unwrap_or(default.events),
        faults_max: section
            .read("faults", values::count_or_zero)
            .unwrap_or(default.faults_max),
    };
    section.finish();
    trial
}

pub(super) fn to_toml(trial: &Trial) -> Table {
    table([
        ("events", Value::from(trial.events)),
        ("faults", Value::from(trial.faults_max)),
    ])
}
