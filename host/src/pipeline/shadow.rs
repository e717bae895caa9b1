//! A candidate beside the plugin that runs: it folds the same events on the same documents, and
//! what it makes of them is compared, never stored.
//!
//! The candidate sees the documents as the running plugin left them, batch by batch. So the report
//! says in what the two differ on live events, not what the view would be had the candidate folded
//! them all.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::version::MakeProjector;
use crate::document;
use crate::projection::{DocumentKey, DocumentWrite, Error, Output, View};
use crate::record::{Event, TopicPartition};

/// Kept in a report.
const SAMPLES_MAX: usize = 10;

/// A longer document is cut in a sample.
const SAMPLE_BYTES_MAX: usize = 2_000;

/// After so many batches that it could not fold, a candidate is given up.
const FAULTS_MAX: u64 = 100;

/// A plugin that is tried.
#[derive(Clone)]
pub struct Candidate {
    /// The plugin's.
    pub hash: Arc<str>,
    pub make_projector: MakeProjector,
    pub report: Arc<Mutex<Report>>,
}

/// How a candidate compares with the plugin that runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Folded by both.
    pub events: u64,
    /// Written by either, in each batch.
    pub documents: u64,
    /// Of these, written by one only, or not alike.
    pub differing: u64,
    /// Batches whose messages were not the same.
    pub batches_with_other_messages: u64,
    /// Batches that the candidate could not fold, and the running plugin could.
    pub faults: u64,
    /// Seconds that the running plugin took for the events that both folded.
    pub active_s: f64,
    /// Seconds that the candidate took.
    pub candidate_s: f64,
    /// The first documents that differ.
    pub samples: Vec<Sample>,
    /// The newest fault.
    pub last_fault: Option<String>,
    /// Why the candidate does not fold any more.
    pub given_up: Option<String>,
}

/// A document that the two plugins left in different ways.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    pub view: String,
    pub id: String,
    pub topic: String,
    pub partition: i32,
    /// Of the last event that shaped it.
    pub offset: i64,
    /// As JSON, cut where it is long. `None` where the document was deleted or not written.
    pub active: Option<String>,
    pub candidate: Option<String>,
}

/// What both made of one batch.
pub(super) struct Comparison<'a> {
    pub(super) views: &'a [View],
    pub(super) partition: &'a TopicPartition,
    pub(super) events: &'a [Arc<Event>],
    pub(super) active: (&'a Output, Duration),
    pub(super) candidate: (&'a Result<Output, Error>, Duration),
}

impl Report {
    /// True where there is no use in another batch.
    pub(super) fn is_over(&self) -> bool {
        self.given_up.is_some()
    }

    pub(super) fn compare(&mut self, comparison: &Comparison<'_>) {
        let (active, active_took) = comparison.active;
        let (candidate, candidate_took) = comparison.candidate;
        let candidate = match candidate {
            Ok(output) => output,
            Err(Error::Host(_)) => return,
            Err(Error::Fault(fault)) => return self.fault(fault.to_string()),
        };
        self.events += comparison.events.len() as u64;
        self.active_s += active_took.as_secs_f64();
        self.candidate_s += candidate_took.as_secs_f64();
        self.batches_with_other_messages += u64::from(active.messages != candidate.messages);
        let mut others: HashMap<&DocumentKey, &DocumentWrite> = candidate
            .writes
            .iter()
            .map(|write| (&write.key, write))
            .collect();
        for write in &active.writes {
            self.documents += 1;
            let other = others.remove(&write.key);
            if other.is_none_or(|other| !alike(write, other)) {
                self.differ(comparison, Some(write), other);
            }
        }
        for write in &candidate.writes {
            if others.contains_key(&write.key) {
                self.documents += 1;
                self.differ(comparison, None, Some(write));
            }
        }
    }

    fn fault(&mut self, fault: String) {
        self.faults += 1;
        if self.faults >= FAULTS_MAX {
            self.given_up = Some(format!("it could not fold {FAULTS_MAX} batches"));
        }
        self.last_fault = Some(fault);
    }

    fn differ(
        &mut self,
        comparison: &Comparison<'_>,
        active: Option<&DocumentWrite>,
        candidate: Option<&DocumentWrite>,
    ) {
        self.differing += 1;
        let Some(write) = active.or(candidate) else {
            return;
        };
        if self.samples.len() >= SAMPLES_MAX {
            return;
        }
        self.samples.push(Sample {
            view: comparison.views[write.key.view.0 as usize].name.to_string(),
            id: write.key.id.to_string(),
            topic: comparison.partition.topic.to_string(),
            partition: comparison.partition.partition,
            offset: comparison.events[write.event].offset.0,
            active: active.and_then(text),
            candidate: candidate.and_then(text),
        });
    }

    /// Adds what another host reports of the same candidate.
    pub fn add(&mut self, other: Report) {
        self.events += other.events;
        self.documents += other.documents;
        self.differing += other.differing;
        self.batches_with_other_messages += other.batches_with_other_messages;
        self.faults += other.faults;
        self.active_s += other.active_s;
        self.candidate_s += other.candidate_s;
        self.samples.extend(other.samples);
        self.samples.truncate(SAMPLES_MAX);
        self.last_fault = other.last_fault.or(self.last_fault.take());
        self.given_up = self.given_up.take().or(other.given_up);
    }
}

/// The order of fields counts, for it does to MongoDB.
fn alike(one: &DocumentWrite, other: &DocumentWrite) -> bool {
    match (&one.body, &other.body) {
        (None, None) => true,
        (Some(one), Some(other)) => one.bson == other.bson,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

fn text(write: &DocumentWrite) -> Option<String> {
    let body = write.body.as_ref()?;
    let json = document::to_json(&body.bson);
    let text = json.map_or_else(
        |error| format!("(no JSON: {error})"),
        |json| String::from_utf8_lossy(&json).into_owned(),
    );
    if text.len() <= SAMPLE_BYTES_MAX {
        return Some(text);
    }
    let cut = &text[..text.floor_char_boundary(SAMPLE_BYTES_MAX)];
    Some(format!("{cut}… ({} bytes)", text.len()))
}
