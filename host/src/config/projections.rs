//! `[projections.NAME]`: a plugin, its topics, its store and its limits.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::dedupe::{self, Dedupe};
use super::parking::{self, Parking};
use super::placement::{self, Placement};
use super::plugin_config::{self, PluginConfig};
use super::reader::{Field, Section};
use super::stores::{Store, Stores};
use super::trial::{self, Trial};
use super::view_names::{self, ViewNames};
use super::{suggest, values};

/// A plugin that folds the events of its topics into documents.
#[derive(Clone, Debug, PartialEq)]
pub struct Projection {
    /// The Wasm file. Relative paths have been resolved against the configuration's folder.
    pub plugin: PathBuf,
    /// At least one, each once.
    pub topics: Vec<String>,
    /// Names one of [`Config::stores`](super::Config::stores); by default the only one.
    pub store: String,
    /// What the plugin's views are called there; by default what the plugin calls them.
    pub views: ViewNames,
    /// The consumer group, which no other projection shares: hosts of one group divide the
    /// partitions. `projectionist-NAME` by default.
    pub group_id: String,
    /// Documents kept between batches, for all partitions of the projection on this host together;
    /// 32 MiB by default. Less means more reads from the store.
    pub cache_bytes_max: u64,
    /// Instances of the plugin that fold a partition's events at the same time, where every view is
    /// `by-key`; 1 by default, 64 at most.
    pub lanes: u32,
    /// Who spreads keys over the lanes. `None`, the default, gives each lane as many slots of keys.
    pub placement: Option<Placement>,
    /// Handed to the plugin; an empty object by default.
    pub config: PluginConfig,
    pub messages: Messages,
    pub batch: Batch,
    pub queue: Queue,
    pub limits: Limits,
    /// `Project` by default.
    pub without_key: WithoutKey,
    /// `None`, the default, folds duplicates, too.
    pub dedupe: Option<Dedupe>,
    pub parking: Parking,
    pub trial: Trial,
}

/// What becomes of an event that has no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WithoutKey {
    Project,
    Ignore,
    Park,
}

/// What the projection may send to Kafka; by default nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Messages {
    /// The topics that it may send to, each once.
    pub topics: Vec<String>,
}

/// Where a batch ends at the latest. A batch is one transaction, so it must fit in one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// 20,000 by default.
    pub events_max: u32,
    /// 4,000 by default.
    pub documents_max: u32,
    /// 8 MiB by default.
    pub bytes_max: u64,
}

/// What waits for one partition at most; no more is read into a full queue. Never less than a
/// batch, which could otherwise not fill.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queue {
    /// 80,000 by default: one batch being stored, one folded meanwhile, and two that wait, so that
    /// the source need not stop.
    pub events_max: u32,
    /// 16 MiB by default.
    pub bytes_max: u64,
    /// For all partitions of the projection on this host together; 16 MiB by default.
    pub all_bytes_max: u64,
}

/// What one plugin instance may use; beyond it, the call fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Linear memory, more than a batch has; 128 MiB by default (JavaScript needs 75).
    pub memory_bytes_max: u64,
    /// 100,000 by default.
    pub table_elements_max: u32,
    /// A call for a batch of `n` events may take `call_base + n * call_per_event`, but never more
    /// than `call_max`. 50 ms by default.
    pub call_base: Duration,
    /// 1 ms by default.
    pub call_per_event: Duration,
    /// 3 s by default.
    pub call_max: Duration,
    /// 10 by default.
    pub writes_per_event_max: u32,
    /// 10 by default.
    pub messages_per_event_max: u32,
    /// Events on which it may crash (trap, time, memory) within `crash_window`; 100 by default.
    pub crashes_max: u32,
    /// 1 minute by default.
    pub crash_window: Duration,
}

pub(super) const WITHOUT_KEY: [(&str, WithoutKey); 3] = [
    ("project", WithoutKey::Project),
    ("ignore", WithoutKey::Ignore),
    ("park", WithoutKey::Park),
];

const CACHE_BYTES_MAX: u64 = 32 << 20;

/// Each is a thread.
const LANES_MAX: u32 = 64;

/// What 32-bit Wasm can address.
const MEMORY_BYTES_LIMIT: u64 = 4 << 30;

/// The most that the host has room for. The largest runtimes take some 10,000.
pub const TABLE_ELEMENTS_LIMIT: u32 = 1_000_000;

/// Kafka's limit on a topic's name.
const TOPIC_LEN_MAX: usize = 249;

impl Projection {
    /// True where messages leave it for Kafka, its own or copies of parked events.
    pub fn sends(&self) -> bool {
        !self.messages.topics.is_empty() || self.parking.dead_letter_topic.is_some()
    }

    /// The consumer group that keeps a copy of its store current; that of the store's first copy
    /// has the projection's own.
    pub fn group_in(&self, copy: &str) -> String {
        match copy == self.store {
            true => self.group_id.clone(),
            false => format!("{}.{copy}", self.group_id),
        }
    }

    /// The topics that it reads, and those that it sends to.
    pub fn all_topics(&self) -> impl Iterator<Item = &String> {
        self.topics.iter().chain(self.topics_sent_to())
    }

    /// Those that its messages and its dead letters go to.
    pub fn topics_sent_to(&self) -> impl Iterator<Item = &String> {
        let dead_letters = self.parking.dead_letter_topic.iter();
        self.messages.topics.iter().chain(dead_letters)
    }
}

impl Default for Batch {
    fn default() -> Self {
        Batch {
            events_max: 20_000,
            documents_max: 4_000,
            bytes_max: 8 << 20,
        }
    }
}

impl Default for Queue {
    fn default() -> Self {
        Queue {
            events_max: 80_000,
            bytes_max: 16 << 20,
            all_bytes_max: 16 << 20,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            memory_bytes_max: 128 << 20,
            table_elements_max: 100_000,
            call_base: Duration::from_millis(50),
            call_per_event: Duration::from_millis(1),
            call_max: Duration::from_secs(3),
            writes_per_event_max: 10,
            messages_per_event_max: 10,
            crashes_max: 100,
            crash_window: Duration::from_mins(1),
        }
    }
}

pub(super) fn read(section: Section<'_>, stores: &Stores<'_>) -> BTreeMap<String, Projection> {
    let mut projections = BTreeMap::new();
    let mut groups: BTreeMap<String, &str> = BTreeMap::new();
    let sections = section.named_sections();
    if sections.is_empty() {
        section.miss("add a projection, such as [projections.orders] with plugin and topics");
    }
    for (name, mut projection) in sections {
        if let Err(message) = values::check_name(name) {
            projection.own_problem(message);
        }
        let group_id = projection
            .read("group-id", values::line)
            .unwrap_or_else(|| format!("projectionist-{name}"));
        if let Some(other) = groups.insert(group_id.clone(), name) {
            let message = format!(
                "is that of projection {other:?}, too; each needs its own, or they would take \
                 each other's partitions"
            );
            projection.problem("group-id", message);
        }
        if let Some(projection) = read_projection(projection, group_id, stores) {
            projections.insert(name.to_owned(), projection);
        }
    }
    for (name, projection) in &projections {
        let copies = stores.checked.get(&projection.store).into_iter();
        for copy in copies.flat_map(Store::further) {
            let group = projection.group_in(&copy.name);
            if let Some(other) = groups.get(&group) {
                section.own_problem(format!(
                    "projection {other:?} has the group-id {group:?}, which is that of projection \
                     {name:?} for copy {:?} of its store; give one of them another",
                    copy.name
                ));
            }
        }
    }
    projections
}

fn read_projection(
    mut section: Section<'_>,
    group_id: String,
    stores: &Stores<'_>,
) -> Option<Projection> {
    let context = section.context();
    let way_out = "name the plugin's Wasm file";
    let resolve = values::path(|path| context.resolve(path));
    let plugin = section.require("plugin", way_out, resolve);
    let topics = topics(&mut section);
    let messages = messages(section.section("messages"));
    let store = store(&mut section, stores);
    let views = view_names::read(&mut section);
    let cache_bytes_max = section
        .read("cache-bytes", values::size)
        .unwrap_or(CACHE_BYTES_MAX);
    let lanes = lanes(&mut section);
    // How many there are to be is unknown where what was written is wrong.
    let known_lanes = Some(lanes).filter(|_| !section.is_wrong("lanes"));
    let placement = placement::read(section.section("placement"), known_lanes);
    let without_key = section
        .read("without-key", values::choice(&WITHOUT_KEY))
        .unwrap_or(WithoutKey::Project);
    let config = section.field("config");
    let config = config.and_then(|field| plugin_config::read(&field));

    let mut batch_section = section.section("batch");
    let batch = batch(&mut batch_section);
    let queue = queue(section.section("queue"));
    check_batch(&section, &batch_section, &batch, &queue);
    // Another number is about to be written there.
    let is_to_change = batch_section.has("bytes") && batch_section.is_wrong("bytes");
    let batch_bytes = Some(batch.bytes_max).filter(|_| !is_to_change);
    let limits = limits(section.section("limits"), batch_bytes);
    let dedupe = dedupe::read(section.section("dedupe"));
    let parking = parking::read(section.section("parking"));
    check_dead_letters(&section, &topics, &parking);
    let trial = trial::read(section.section("trial"));
    batch_section.finish();
    section.finish();
    Some(Projection {
        plugin: plugin?,
        topics,
        store: store?,
        views,
        group_id,
        cache_bytes_max,
        lanes,
        placement,
        config: config.unwrap_or_default(),
        messages,
        batch,
        queue,
        limits,
        without_key,
        dedupe,
        parking,
        trial,
    })
}

fn lanes(section: &mut Section<'_>) -> u32 {
    let lanes = section.read("lanes", values::count).unwrap_or(1);
    if lanes > LANES_MAX {
        section.problem(
            "lanes",
            format!("is {lanes}, and a partition may have {LANES_MAX}; more than the machine has cores make nothing faster"),
        );
    }
    lanes
}

fn topics(section: &mut Section<'_>) -> Vec<String> {
    let way_out = "list the topics to read, such as [\"orders\"]";
    let Some(items) = section.require("topics", way_out, values::items) else {
        return Vec::new();
    };
    if items.is_empty() {
        section.problem("topics", "must name at least one topic");
    }
    distinct_topics(items)
}

fn messages(mut section: Section<'_>) -> Messages {
    let topics = section.read("topics", values::items).unwrap_or_default();
    let messages = Messages {
        topics: distinct_topics(topics),
    };
    section.finish();
    messages
}

fn distinct_topics(items: Vec<Field<'_>>) -> Vec<String> {
    let mut topics = Vec::with_capacity(items.len());
    for item in items {
        match topic(&item) {
            Ok(topic) if topics.contains(&topic) => item.problem("names a topic again; remove it"),
            Ok(topic) => topics.push(topic),
            Err(message) => item.problem(message),
        }
    }
    topics
}

pub(super) fn topic(field: &Field<'_>) -> Result<String, String> {
    let text = field.text()?;
    let topic = &text.text;
    let letters = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let dots = matches!(topic.as_str(), "" | "." | "..");
    if dots || topic.len() > TOPIC_LEN_MAX || !topic.chars().all(letters) {
        return Err(format!(
            "{} is no topic name; Kafka takes up to {TOPIC_LEN_MAX} letters, digits, dots, \
             underscores and hyphens",
            text.quoted()
        ));
    }
    Ok(text.text)
}

fn store(section: &mut Section<'_>, stores: &Stores<'_>) -> Option<String> {
    let Some(field) = section.field("store") else {
        return match stores.names.as_slice() {
            // That there is none has been said.
            [] => None,
            [only] => Some((*only).to_owned()),
            several => {
                let message = format!("missing; name one of the stores: {}", several.join(", "));
                section.problem("store", message);
                None
            }
        };
    };
    if stores.names.is_empty() {
        return None;
    }
    let known = |field: &Field<'_>| {
        let text = field.text()?;
        if stores.names.contains(&text.text.as_str()) {
            return Ok(text.text);
        }
        let quoted = text.quoted();
        Err(match suggest::nearest(&text.text, &stores.names) {
            Some(name) => format!("there is no store {quoted}; did you mean {name:?}?"),
            None => format!(
                "there is no store {quoted}; name one of: {}",
                stores.names.join(", ")
            ),
        })
    };
    known(&field).map_err(|message| field.problem(message)).ok()
}

fn batch(section: &mut Section<'_>) -> Batch {
    let default = Batch::default();
    Batch {
        events_max: section
            .read("events", values::count)
            .unwrap_or(default.events_max),
        documents_max: section
            .read("documents", values::count)
            .unwrap_or(default.documents_max),
        bytes_max: section
            .read("bytes", values::size)
            .unwrap_or(default.bytes_max),
    }
}

fn queue(mut section: Section<'_>) -> Queue {
    let default = Queue::default();
    let queue = Queue {
        events_max: section
            .read("events", values::count)
            .unwrap_or(default.events_max),
        bytes_max: section
            .read("bytes", values::size)
            .unwrap_or(default.bytes_max),
        all_bytes_max: section
            .read("all-bytes", values::size)
            .unwrap_or(default.all_bytes_max),
    };
    section.finish();
    queue
}

/// `batch_bytes` is what a batch holds, where that is known.
fn limits(mut section: Section<'_>, batch_bytes: Option<u64>) -> Limits {
    let default = Limits::default();
    let limits = Limits {
        memory_bytes_max: section
            .read("memory", values::size)
            .unwrap_or(default.memory_bytes_max),
        table_elements_max: section
            .read("table-elements", values::count)
            .unwrap_or(default.table_elements_max),
        call_base: section
            .read("call-base", values::duration)
            .unwrap_or(default.call_base),
        call_per_event: section
            .read("call-per-event", values::duration_or_zero)
            .unwrap_or(default.call_per_event),
        call_max: section
            .read("call-max", values::duration)
            .unwrap_or(default.call_max),
        writes_per_event_max: section
            .read("writes-per-event", values::count)
            .unwrap_or(default.writes_per_event_max),
        messages_per_event_max: section
            .read("messages-per-event", values::count)
            .unwrap_or(default.messages_per_event_max),
        crashes_max: section
            .read("crashes", values::count_or_zero)
            .unwrap_or(default.crashes_max),
        crash_window: section
            .read("crash-window", values::duration)
            .unwrap_or(default.crash_window),
    };
    if limits.memory_bytes_max > MEMORY_BYTES_LIMIT {
        section.problem(
            "memory",
            "must not be more than 4GiB, all that a plugin can address",
        );
    }
    let is_held = batch_bytes.is_none_or(|bytes| limits.memory_bytes_max > bytes);
    if !is_held && !section.is_wrong("memory") {
        section.problem(
            "memory",
            "must be more than the batch's bytes, which it has to hold",
        );
    }
    if limits.table_elements_max > TABLE_ELEMENTS_LIMIT {
        let message = format!("must not be more than {TABLE_ELEMENTS_LIMIT}");
        section.problem("table-elements", message);
    }
    let is_wrong = section.is_wrong("call-base") || section.is_wrong("call-max");
    if !is_wrong && limits.call_base > limits.call_max {
        let call_max = humantime::format_duration(limits.call_max);
        let message = format!("must not be more than call-max, which is {call_max}");
        section.problem("call-base", message);
    }
    section.finish();
    limits
}

/// A copy would come back as an event, which cannot be folded either, and so on for ever.
fn check_dead_letters(section: &Section<'_>, topics: &[String], parking: &Parking) {
    let Some(topic) = &parking.dead_letter_topic else {
        return;
    };
    if topics.contains(topic) {
        let parking = section.peek("parking");
        parking.problem(
            "dead-letter-topic",
            "is one of the topics that the projection reads, so each copy would be parked and \
             copied again; name another one",
        );
    }
}

/// `section` is the projection's, `batches` that of its batch.
fn check_batch(section: &Section<'_>, batches: &Section<'_>, batch: &Batch, queue: &Queue) {
    let queues = section.peek("queue");
    let known = |key| !batches.is_wrong(key) && !queues.is_wrong(key);
    if known("events") && batch.events_max > queue.events_max {
        let message = format!(
            "must not be more than the queue's {} events, or no batch would ever be full",
            queue.events_max
        );
        batches.problem("events", message);
    }
    if known("bytes") && batch.bytes_max > queue.bytes_max {
        let message = format!(
            "must not be more than the queue's {} bytes, or no batch would ever be full",
            queue.bytes_max
        );
        batches.problem("bytes", message);
    }
}
