//! Guests of all kinds that ask for the extreme of each list, length, id and repeat: whatever they
//! do is a fault of theirs or nothing, and the memory of the process stays below what it was, plus
//! the budget. Other plugins' events flow meanwhile.
//!
//! A process of its own, for its memory is measured, and one test, for that is all of the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use projectionist::plugin::{
    Engine, Kind, Limits, MEMORY_BUDGET, Placement, Policy, Program, Projection, Routing,
};
use projectionist::policy::{self, Request, Snapshot, Source as _, Target, TargetId};
use projectionist::projection::{
    Batch, Documents, Error, FaultKind, HostError, Output, Projector, ViewIndex,
};
use projectionist::record::{Event, Offset, TopicPartition};
use projectionist_tests::guests::guest as shipped;

use guest::{BIG, Bodies, List, Ownership};

#[path = "plugin_budget/cases.rs"]
mod cases;
#[path = "plugin_budget/guest.rs"]
mod guest;

/// The host's own, so that what is measured is what a host would take.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Four partitions with four lanes each.
const LANES: usize = 16;

/// What was given back and is not the system's again yet, and what the test takes itself.
const SLACK: usize = 192 << 20;

/// Of a host with four partitions and four lanes.
const HOST_MAX: usize = 1 << 30;

const DEADLINE: Duration = Duration::from_secs(60);

/// The same document for whatever id, in one place.
#[derive(Clone)]
struct Same(Option<Bytes>);

impl Documents for Same {
    fn get_many(
        &mut self,
        _view: ViewIndex,
        ids: &[&str],
        _bytes_max: usize,
    ) -> Result<Option<Vec<Option<Bytes>>>, HostError> {
        Ok(Some(vec![self.0.clone(); ids.len()]))
    }
}

fn events() -> Vec<Arc<Event>> {
    let event = |offset| {
        let value = Some(&br#"{"n":1}"#[..]);
        Arc::new(Event::new(Offset(offset), 0, Some(b"k"), value, Vec::new()))
    };
    (0..10).map(event).collect()
}

/// Folds a batch, waiting for room for as long as it takes, as the pipeline does.
fn fold(projection: &mut Projection, stored: &Same) -> Result<Output, (FaultKind, String)> {
    let partition = &TopicPartition::new("greedy", 0);
    let events = &events();
    let start = Instant::now();
    loop {
        let documents = Box::new(stored.clone());
        match projection.project(Batch { partition, events }, documents) {
            Ok(output) => return Ok(output),
            Err(Error::Fault(fault)) => return Err((fault.kind, fault.detail)),
            Err(Error::Host(error)) => {
                assert!(start.elapsed() < DEADLINE, "no room for ever: {error:?}");
            }
        }
    }
}

fn limits() -> Limits {
    Limits {
        // Enough for all that is asked for, also beside fifteen others.
        call_base: Duration::from_secs(2),
        call_max: Duration::from_secs(3),
        ..Limits::default()
    }
}

/// Highest resident memory of this process so far.
fn peak_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux tells");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    kib.and_then(|kib| kib.parse::<usize>().ok())
        .expect("a number")
        << 10
}

/// A plugin that does right, whose batches are counted, until it is told to stop.
struct Neighbour<'s> {
    folded: &'s AtomicUsize,
    stop: &'s AtomicBool,
}

impl Neighbour<'_> {
    fn run(&self, mut projection: Projection) {
        while !self.stop.load(Ordering::Relaxed) {
            fold(&mut projection, &Same(None)).expect("it does right");
            self.folded.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[test]
fn whatever_guests_ask_for_the_host_stays_within_its_budget_and_others_go_on() {
    let engine = Arc::new(Engine::new().expect("this machine runs Wasm"));
    let load = |name: &str, bytes: &[u8]| Program::load(&engine, name, bytes);
    let tally = load("tally", &shipped("tally")).expect("it is in order");
    let neighbour = Projection::new(tally, "tally", &serde_json::json!({}), Limits::default());
    let neighbour = neighbour.expect("it starts");
    let large = format!(r#"{{"s":"{}"}}"#, "x".repeat(1 << 20));
    let large = Same(Some(large.into()));
    let base = peak_bytes();
    let bound = (base + MEMORY_BUDGET + SLACK).min(HOST_MAX);
    let within = |name: &str| {
        let peak = peak_bytes();
        let (peak, bound) = (peak >> 20, bound >> 20);
        assert!(
            peak <= bound,
            "{name}: {peak} MiB, and {bound} MiB are the most"
        );
    };

    let (folded, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let stopped = StopAtEnd(&stop);
        scope.spawn(|| {
            let neighbour_of_all = Neighbour {
                folded: &folded,
                stop: &stop,
            };
            neighbour_of_all.run(neighbour);
        });
        for case in cases::projections() {
            let start = Instant::now();
            let bytes = guest::projection(&case.bodies, case.big, Ownership::Shared);
            let program = load(case.name, &bytes).expect(case.name);
            let before = folded.load(Ordering::Relaxed);
            std::thread::scope(|lanes| {
                for _ in 0..case.lanes {
                    lanes.spawn(|| {
                        let config = serde_json::json!({});
                        let projection =
                            Projection::new(program.clone(), case.name, &config, limits());
                        let mut projection = projection.expect(case.name);
                        let folded = fold(&mut projection, &large);
                        case.check(folded.map(|output| output.writes.len()));
                    });
                }
            });
            let went_on = Instant::now();
            while folded.load(Ordering::Relaxed) == before {
                assert!(
                    went_on.elapsed() < DEADLINE,
                    "{}: the neighbour stands",
                    case.name
                );
                std::thread::yield_now();
            }
            within(case.name);
            println!(
                "{}: {:.1?}, {} MiB",
                case.name,
                start.elapsed(),
                peak_bytes() >> 20
            );
        }
        for (name, bodies, big) in cases::starts() {
            let bytes = guest::projection(&bodies, big, Ownership::Shared);
            let text = match load(name, &bytes) {
                Err(error) => error.to_string(),
                Ok(program) => {
                    let config = serde_json::json!({});
                    let started = Projection::new(program, name, &config, limits());
                    let error = started.err().unwrap_or_else(|| panic!("{name}: taken"));
                    error.to_string()
                }
            };
            assert!(text.len() < 64 << 10, "{name}: {} bytes", text.len());
            within(name);
        }
        for (name, bodies, big, kind) in cases::policies() {
            let fault = place(&engine, name, &guest::placement(&bodies, big));
            assert_eq!(
                fault.as_ref().map(|fault| fault.kind),
                Some(kind),
                "{name}: {fault:?}"
            );
            within(name);
            // What it picks is looked at by whoever asked.
            drop(pick(&engine, name, &guest::routing(&bodies, big)));
            within(name);
        }
        drop(stopped);
    });
}

/// Ends the neighbour also where the test fails.
struct StopAtEnd<'s>(&'s AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn target() -> [Target; 1] {
    [Target::new(TargetId(0), "one", 1)]
}

fn place(engine: &Arc<Engine>, name: &str, bytes: &[u8]) -> Option<policy::Fault> {
    let loaded = Policy::load(engine, name, bytes, Kind::Placement).expect(name);
    let placement = Placement::new(loaded, name, &serde_json::json!({})).expect(name);
    let mut running = placement.start().expect(name);
    let snapshot = Snapshot {
        targets: &target(),
        owners: &[],
        slot_load: &[0; 1024],
        move_budget: 64,
    };
    running.place(&snapshot).err()
}

fn pick(engine: &Arc<Engine>, name: &str, bytes: &[u8]) -> Option<policy::Fault> {
    let loaded = Policy::load(engine, name, bytes, Kind::Routing).expect(name);
    let routing = Routing::new(loaded, name, &serde_json::json!({})).expect(name);
    let mut running = routing.start().expect(name);
    let request = Request {
        key: b"k",
        client: "127.0.0.1",
        tried: &[],
    };
    running.pick(&request, &target()).err()
}
