//! `projectionist plugin dev`: builds and folds the fixtures again whenever a file changes, until
//! it is interrupted.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher as _};
use serde_json::Value;

use super::engine;
use super::test::{Given, load};
use crate::cli::Failure;
use crate::cli::output::{Colour, print_coloured, print_line, print_lines, say};
use crate::kit::build;
use crate::kit::difference::{self, Kind};
use crate::kit::fixtures;
use crate::plugin::{Engine, Program};
use crate::telemetry::health::describe;

#[derive(Debug, Args)]
pub(super) struct Dev {
    /// The project: what `plugin new` has written
    #[arg(value_name = "DIR", default_value = ".")]
    folder: PathBuf,
    /// The fixtures, as for `plugin test` [default: fixtures, in the project]
    #[arg(long, value_name = "DIR")]
    fixtures: Option<PathBuf>,
    #[command(flatten)]
    given: Given,
}

/// An editor writes a file in several steps: the build waits until they are over.
const QUIET: Duration = Duration::from_millis(200);

/// What the tools write, not the author.
const MADE: [&str; 5] = ["target", "node_modules", "__pycache__", "wasm", "o"];

/// Differences of one case that are shown; what is behind them is counted.
const CHANGES_SHOWN: usize = 20;

/// What has changed since it was last asked.
#[derive(Default)]
struct Changes {
    sources: AtomicBool,
    fixtures: AtomicBool,
}

struct Session {
    dev: Dev,
    fixtures: PathBuf,
    engine: Arc<Engine>,
    program: Option<Arc<Program>>,
    /// What each case came to when it was folded last.
    outcomes: BTreeMap<String, Value>,
}

impl Dev {
    pub(super) fn run(self) -> Result<(), Failure> {
        build::language(&self.folder).map_err(anyhow::Error::from)?;
        let fixtures = self.fixtures.clone();
        let fixtures = fixtures.unwrap_or_else(|| self.folder.join("fixtures"));
        // Events come with absolute paths.
        let fixtures = fixtures
            .canonicalize()
            .with_context(|| format!("cannot read {}", fixtures.display()))?;
        let changes = Arc::new(Changes::default());
        let (wake, woken) = sync_channel(1);
        let _watcher = watch(&self.folder, &fixtures, &changes, wake)
            .with_context(|| format!("cannot watch {}", self.folder.display()))?;
        let mut session = Session {
            dev: self,
            fixtures,
            engine: engine()?,
            program: None,
            outcomes: BTreeMap::new(),
        };
        changes.sources.store(true, Ordering::SeqCst);
        loop {
            let sources = changes.sources.swap(false, Ordering::SeqCst);
            let fixtures = changes.fixtures.swap(false, Ordering::SeqCst);
            if sources || fixtures {
                // What is wrong now may be right after the next change.
                if let Err(error) = session.refresh(sources) {
                    say(&describe(error.as_ref()));
                }
                print_line("waiting for changes; Ctrl-C ends this")?;
            }
            wait(&woken)?;
        }
    }
}

/// Returns once something has changed and nothing else has followed for a while.
fn wait(woken: &Receiver<()>) -> anyhow::Result<()> {
    woken.recv().context("the watcher has ended")?;
    while woken.recv_timeout(QUIET).is_ok() {}
    Ok(())
}

fn watch(
    folder: &Path,
    fixtures: &Path,
    changes: &Arc<Changes>,
    wake: SyncSender<()>,
) -> anyhow::Result<RecommendedWatcher> {
    let (changes, of_fixtures) = (changes.clone(), fixtures.to_owned());
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
        let Ok(event) = event else {
            return;
        };
        if event.kind.is_access() {
            return;
        }
        for path in event.paths.iter().filter(|path| !is_made(path)) {
            let changed = match path.starts_with(&of_fixtures) {
                true => &changes.fixtures,
                false => &changes.sources,
            };
            changed.store(true, Ordering::SeqCst);
            // Full: it is awake already.
            let _is_awake = wake.try_send(()).is_err();
        }
    })?;
    let folder = folder.canonicalize()?;
    watcher.watch(&folder, RecursiveMode::NonRecursive)?;
    for entry in folder.read_dir()? {
        let path = entry?.path();
        if path.is_dir() && !is_made(&path) {
            watcher.watch(&path, RecursiveMode::Recursive)?;
        }
    }
    if !fixtures.starts_with(&folder) {
        watcher.watch(fixtures, RecursiveMode::Recursive)?;
    }
    Ok(watcher)
}

/// True for what a build writes, and for hidden files.
fn is_made(path: &Path) -> bool {
    let name = path.file_name().unwrap_or(path.as_os_str());
    let is_hidden = name.to_string_lossy().starts_with('.');
    let known = |part: Option<&std::ffi::OsStr>| {
        part.is_some_and(|part| MADE.iter().any(|made| part == *made))
    };
    is_hidden
        || name.to_string_lossy().ends_with('~')
        || known(Some(name))
        || known(path.extension())
}

/// In what an outcome differs from the one before it.
fn print_differences(before: &Value, now: &Value) -> anyhow::Result<()> {
    for line in difference::lines(before, now, CHANGES_SHOWN) {
        let colour = match line.kind {
            Kind::Heading => Colour::Plain,
            Kind::Gone => Colour::Red,
            Kind::Added => Colour::Green,
        };
        print_coloured(colour, &line.text)?;
    }
    Ok(())
}

impl Session {
    fn refresh(&mut self, sources: bool) -> anyhow::Result<()> {
        if sources || self.program.is_none() {
            self.program = None;
            let file = build::build(&self.dev.folder)?;
            let program = load(&self.engine, &file).map_err(Failure::into_error)?;
            print_line(&format!("{}: built", file.display()))?;
            self.program = Some(program);
        }
        let program = self
            .program
            .clone()
            .context("there is no plugin to fold with")?;
        let cases = fixtures::cases(&self.fixtures)?;
        for case in &cases {
            let prepared = self.dev.given.prepare(&program, case);
            let prepared = prepared.map_err(Failure::into_error)?;
            let folded = prepared.fold().map_err(Failure::into_error)?;
            let dependence = prepared.dependence(&folded).map_err(Failure::into_error)?;
            let outcome = folded.to_value();
            let expected = case.expected()?;
            let is_expected = expected.is_some_and(|e| e == outcome);
            let verdict = if is_expected { "ok" } else { "not as expected" };
            match self.outcomes.get(&case.name) {
                None => print_line(&format!("{}: {verdict}", case.name))?,
                Some(before) if *before == outcome => {
                    print_line(&format!("{}: {verdict}, as before", case.name))?;
                }
                Some(before) => {
                    print_line(&format!("{}: {verdict}, and changed", case.name))?;
                    print_differences(before, &outcome)?;
                }
            }
            if let Some(text) = dependence {
                print_lines(&format!("{}: {}", case.name, text.trim_end()))?;
            }
            self.outcomes.insert(case.name.clone(), outcome);
        }
        Ok(())
    }
}
