//! `projectionist parked`: events that their projection could not take, and what to do about them.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use clap::{Args, Subcommand};

use super::output::{print_json, print_line, say};
use super::{ConfigFile, Failure, load, runtime};
use crate::app::{self, Catalogue, open_store, parked_place};
use crate::changes::{Changes, Deed, Outcome};
use crate::config::Config;
use crate::parked::Action;
use crate::parked::desk::{Desk, Error, ParkedId, ParkedKey};
use crate::parked::json::{event_to_json, key_to_json, key_to_text};
use crate::printable::Printable;
use crate::record::Offset;
use crate::registry::Registry;
use crate::store::Store;
use crate::telemetry::health::describe;
use crate::unix_time::now_ms;

#[derive(Debug, Args)]
pub(super) struct Parked {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the parked keys, one a line
    List(List),
    /// Print the parked events of a key, one JSON object a line, in their order
    Show(Show),
    /// Fold the parked events of a key, in their order
    Drain(Drain),
    /// Give one parked event up; it is kept in _skipped, with the reason
    Skip(Skip),
}

#[derive(Debug, Args)]
struct List {
    /// Those of one projection
    projection: Option<String>,
    #[command(flatten)]
    file: ConfigFile,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Show {
    /// PROJECTION/TOPIC/PARTITION/OFFSET, as "parked list" prints it
    id: ParkedId,
    #[command(flatten)]
    file: ConfigFile,
    /// How many events to print at most
    #[arg(long, default_value_t = 20)]
    limit: usize,
}

#[derive(Debug, Args)]
struct Drain {
    /// PROJECTION/TOPIC/PARTITION/OFFSET, as "parked list" prints it
    #[arg(required_unless_present = "all")]
    ids: Vec<ParkedId>,
    /// Everything that is parked
    #[arg(long, conflicts_with = "ids")]
    all: bool,
    /// Fold these events with this plugin instead of the projection's own
    #[arg(long, value_name = "WASM")]
    with: Option<PathBuf>,
    #[command(flatten)]
    file: ConfigFile,
    #[command(flatten)]
    wait: Wait,
}

#[derive(Debug, Args)]
struct Skip {
    /// PROJECTION/TOPIC/PARTITION/OFFSET, as "parked list" prints it
    id: ParkedId,
    /// Which of its events; the one that could not be folded where it is not given
    #[arg(long)]
    offset: Option<i64>,
    /// Why, for those who look into it later
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    file: ConfigFile,
    #[command(flatten)]
    wait: Wait,
}

#[derive(Debug, Args)]
struct Wait {
    /// How long to wait for the partition's owner to do it; it does it later, too
    #[arg(long = "wait", value_name = "DURATION", default_value = "30s", value_parser = humantime::parse_duration)]
    limit: Duration,
}

/// What stands in the columns of a list on a terminal. Of what was drained in vain, the age is that
/// of the attempt.
const HEAD: &str = "ID\tKEY\tEVENTS\tPARKED\tREASON";

const KEY_CHARS_MAX: usize = 40;

/// How often to look whether a request is carried out.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

impl Parked {
    pub(super) fn run(self) -> Result<(), Failure> {
        runtime()?.block_on(async {
            match self.command {
                Command::List(list) => list.run().await,
                Command::Show(show) => show.run().await,
                Command::Drain(drain) => drain.run().await,
                Command::Skip(skip) => skip.run().await,
            }
        })
    }
}

impl List {
    async fn run(self) -> Result<(), Failure> {
        let opened = Opened::new(&load(&self.file.config)?).await?;
        let keys = opened.desk.list(self.projection.as_deref()).await;
        opened.close().await;
        let keys = keys?;
        let shown = shown();
        if !self.json && !keys.is_empty() && shown == Shown::ToPeople {
            print_line(HEAD)?;
        }
        for key in &keys {
            if self.json {
                print_json(&key_to_json(key).to_string())?;
            } else {
                print_line(&key_to_line(key, shown))?;
            }
        }
        if keys.is_empty() && !self.json {
            say("nothing is parked");
        }
        Ok(())
    }
}

impl Show {
    async fn run(self) -> Result<(), Failure> {
        let opened = Opened::new(&load(&self.file.config)?).await?;
        let shown = async {
            let key = opened.desk.find(&self.id).await?;
            let key = key.ok_or_else(|| Error::NotParked(self.id.clone()))?;
            let events = opened.desk.events(&self.id, self.limit).await?;
            Ok::<_, Error>((key, events))
        };
        let shown = shown.await;
        opened.close().await;
        let (key, events) = shown?;
        say(&key_to_line(&key, Shown::Exact));
        for event in &events {
            print_json(&event_to_json(event).to_string())?;
        }
        let left = key.entry.events.saturating_sub(events.len() as u64);
        if left > 0 {
            say(&format!("… and {left} more; raise --limit to see them"));
        }
        Ok(())
    }
}

impl Drain {
    async fn run(self) -> Result<(), Failure> {
        let config = load(&self.file.config)?;
        let plugin = match &self.with {
            None => None,
            Some(path) => {
                let bytes = std::fs::read(path)
                    .with_context(|| format!("cannot read {}", path.display()))
                    .map_err(Failure::Wrong)?;
                let about = app::check_plugin(&config, &path.to_string_lossy(), &bytes);
                let about = about.map_err(|error| Failure::Wrong(error.into()))?;
                Some((about, bytes))
            }
        };
        let opened = Opened::new(&config).await?;
        let drained = async {
            let ids = if self.all {
                let keys = opened.desk.list(None).await?;
                keys.into_iter().map(|key| key.id).collect()
            } else {
                self.ids
            };
            for id in &ids {
                if let Some((about, bytes)) = &plugin {
                    // Plugins are kept in the first copy.
                    let place = opened.desk.place(&id.projection)?;
                    let place = opened.desk.place(&place.projection)?;
                    let registry = Registry::new(Arc::clone(&place.store));
                    registry.save(about, bytes, &user()).await?;
                }
                let plugin = plugin.as_ref().map(|(about, _)| about.sha256.clone());
                let drain = Action::Drain { plugin };
                opened.ask(id, drain).await?;
            }
            if ids.is_empty() {
                say("nothing is parked");
            }
            wait_for_drains(&opened.desk, &ids, self.wait.limit).await
        };
        let drained = drained.await;
        opened.close().await;
        drained
    }
}

impl Skip {
    async fn run(self) -> Result<(), Failure> {
        let opened = Opened::new(&load(&self.file.config)?).await?;
        let skipped = async {
            let oldest = opened.desk.events(&self.id, 1).await?;
            let oldest = oldest.first().map(|event| event.offset);
            let oldest = oldest.ok_or_else(|| Error::NotParked(self.id.clone()))?;
            let offset = self.offset.map_or(oldest, Offset);
            let action = Action::Skip {
                offset: offset.0,
                reason: self.reason.clone(),
            };
            opened.ask(&self.id, action).await?;
            let deadline = Instant::now() + self.wait.limit;
            let left = wait_for(&opened.desk, &self.id, deadline, self.wait.limit).await?;
            let left = match left {
                None => "nothing of its key is parked any more".to_owned(),
                Some(key) => format!(
                    "{} of its key are still parked; \"projectionist parked drain {}\" folds them",
                    count(key.entry.events),
                    self.id
                ),
            };
            let line = format!("{}\tskipped the event at offset {offset}: {left}", self.id);
            Ok(print_line(&line)?)
        };
        let skipped = skipped.await;
        opened.close().await;
        skipped
    }
}

/// The stores of a configuration, and the desk over them.
struct Opened {
    desk: Desk,
    changes: Changes,
    stores: Vec<Arc<dyn Store>>,
}

impl Opened {
    async fn new(config: &Config) -> Result<Self, Failure> {
        let catalogue = Catalogue::load(config)?;
        let desk = Desk::default();
        let mut first = BTreeMap::new();
        let mut opened = Vec::new();
        for (name, store) in &config.stores {
            for copy in &store.copies {
                let found = match open_store(copy).await {
                    Ok(found) => found,
                    Err(error) if copy.name != *name && error.is_transient() => {
                        say(&format!(
                            "left out copy \"{}\" of store \"{name}\": {}",
                            copy.name,
                            describe(&error)
                        ));
                        continue;
                    }
                    Err(error) => return Err(error.into()),
                };
                opened.push(Arc::clone(&found));
                let kept = |plugin: &&app::Plugin| plugin.projection.store == *name;
                for plugin in catalogue.plugins.iter().filter(kept) {
                    let (label, place) = parked_place(plugin, &copy.name, Arc::clone(&found));
                    desk.open(&label, place);
                }
                if copy.name == *name {
                    first.insert(name.clone(), found);
                }
            }
        }
        Ok(Opened {
            desk,
            changes: Changes::new(app::first(&first), &config.host.name),
            stores: opened,
        })
    }

    /// Asks the partition's owner to do something, and keeps who has asked.
    async fn ask(&self, id: &ParkedId, action: Action) -> Result<(), Error> {
        let (name, detail) = action.told();
        let deed = Deed {
            by: user(),
            from: "command line".to_owned(),
            action: name.to_owned(),
            subject: id.to_string(),
            detail,
        };
        let asked = self.desk.ask(id, action, &deed.by).await;
        let outcome = match &asked {
            Ok(()) => Outcome::Done,
            Err(error @ (Error::Store(_) | Error::Unreadable(_))) => Outcome::Failed {
                reason: describe(error),
            },
            Err(error) => Outcome::Refused {
                reason: describe(error),
            },
        };
        self.changes.record(deed, outcome).await;
        asked
    }

    async fn close(&self) {
        for store in &self.stores {
            store.close().await;
        }
    }
}

/// Waits until what was asked for is done about a key. Answers the key, where it is parked still.
async fn wait_for(
    desk: &Desk,
    id: &ParkedId,
    deadline: Instant,
    limit: Duration,
) -> Result<Option<ParkedKey>, Failure> {
    loop {
        let key = desk.find(id).await?;
        let waits = key.as_ref().is_some_and(|key| key.request.is_some());
        if !waits {
            return Ok(key);
        }
        if Instant::now() >= deadline {
            return Err(anyhow!(
                "{id} is not yet done: no host that owns its partition has done it within {}; \
                 the request stays, and is carried out as soon as one runs",
                humantime::format_duration(limit)
            )
            .into());
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// Waits until keys are drained, and prints what became of each.
async fn wait_for_drains(desk: &Desk, ids: &[ParkedId], limit: Duration) -> Result<(), Failure> {
    let deadline = Instant::now() + limit;
    let mut still_parked = 0;
    for id in ids {
        match wait_for(desk, id, deadline, limit).await? {
            None => print_line(&format!("{id}\tdrained: nothing of its key is parked"))?,
            Some(key) => {
                print_line(&key_to_line(&key, shown()))?;
                still_parked += 1;
            }
        }
    }
    if still_parked > 0 {
        return Err(anyhow!(
            "{still_parked} of {} keys could not be drained to the end, for the reasons above; \
             drain them --with a plugin that takes their first event, or give that event up with \
             \"projectionist parked skip\"",
            ids.len()
        )
        .into());
    }
    Ok(())
}

/// Who reads a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shown {
    /// A program, or a file: the columns stay as they are, and keys are whole.
    Exact,
    /// Somebody at a terminal: with an age, and the start of a long key.
    ToPeople,
}

fn shown() -> Shown {
    match std::io::stdout().is_terminal() {
        true => Shown::ToPeople,
        false => Shown::Exact,
    }
}

fn shown_key(key: Option<&[u8]>, shown: Shown) -> String {
    let mut text = key_to_text(key);
    if let (Shown::ToPeople, Some((cut, _))) = (shown, text.char_indices().nth(KEY_CHARS_MAX)) {
        text.truncate(cut);
        text.push('…');
    }
    text
}

/// How long ago that was, in its largest unit.
fn age(at_ms: i64, now_ms: i64) -> String {
    let seconds = now_ms.saturating_sub(at_ms).max(0) / 1_000;
    let units = [(86_400, "d"), (3_600, "h"), (60, "min")];
    let unit = units.iter().find(|(size, _)| seconds >= *size);
    let (count, unit) = unit.map_or((seconds, "s"), |(size, unit)| (seconds / size, *unit));
    format!("{count} {unit}")
}

fn key_to_line(key: &ParkedKey, shown: Shown) -> String {
    let entry = &key.entry;
    let age = match shown {
        Shown::ToPeople => format!("{} ago\t", age(entry.reason.at_ms, now_ms())),
        Shown::Exact => String::new(),
    };
    let asked = match key.request.as_ref().map(|request| &request.action) {
        None => "",
        Some(Action::Drain { .. }) => " (to be drained)",
        Some(Action::Skip { .. }) => " (one to be skipped)",
    };
    format!(
        "{}\tkey {}\t{}\t{age}{}: {}{asked}",
        key.id,
        Printable(shown_key(entry.key.as_deref(), shown)),
        count(entry.events),
        entry.reason.kind,
        Printable(&entry.reason.detail),
    )
}

fn count(events: u64) -> String {
    match events {
        1 => "1 event".to_owned(),
        events => format!("{events} events"),
    }
}

fn user() -> String {
    std::env::var("USER").unwrap_or_else(|_| "command line".to_owned())
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        if error.is_unavailable() {
            Failure::Unavailable(error.into())
        } else {
            Failure::Other(error.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_told_in_its_largest_unit() {
        let cases = [
            (0, "0 s"),
            (59_999, "59 s"),
            (60_000, "1 min"),
            (3_599_000, "59 min"),
            (7_200_000, "2 h"),
            (10 * 86_400_000, "10 d"),
            // Of a clock that is ahead.
            (-5_000, "0 s"),
        ];
        for (ms, expected) in cases {
            assert_eq!(age(1_000, 1_000 + ms), expected);
        }
    }

    #[test]
    fn a_terminal_shows_the_start_of_a_long_key() {
        let key = "k".repeat(1_000);
        let start = shown_key(Some(key.as_bytes()), Shown::ToPeople);
        assert_eq!(start.chars().count(), KEY_CHARS_MAX + 1);
        assert!(start.ends_with("k…"), "{start}");
        let whole = shown_key(Some(key.as_bytes()), Shown::Exact);
        assert_eq!(whole, format!("\"{key}\""));
        assert_eq!(shown_key(Some(b"k"), Shown::ToPeople), "\"k\"");
    }
}
