//! Policies in Wasm: those that do right, and those that do wrong in every way there is.

use std::sync::Arc;
use std::time::{Duration, Instant};

use projectionist::balance::placement::{Lanes, Placer};
use projectionist::balance::slots::{Load, SLOTS, Table};
use projectionist::balance::{Balancer, Outcome};
use projectionist::plugin::{Engine, Kind, PICK_TIME_MAX, Placement, Policy, Routing};
use projectionist::policy::{FaultKind, Request, Source, Target, TargetId};
use projectionist_tests::guests::guest;
use serde_json::{Value, json};

const COPIES: [TargetId; 3] = [TargetId(1), TargetId(2), TargetId(3)];

fn engine() -> Arc<Engine> {
    Arc::new(Engine::new().expect("this machine runs Wasm"))
}

fn policy(engine: &Arc<Engine>, name: &str, kind: Kind) -> Arc<Policy> {
    Policy::load(engine, name, &guest(name), kind).expect("its file is in order")
}

fn misbehaving_routing(engine: &Arc<Engine>, config: &Value) -> Routing {
    let policy = policy(engine, "misbehaving_routing", Kind::Routing);
    Routing::new(policy, "copies", config).expect("it takes its configuration")
}

fn targets() -> Vec<Target> {
    let target = |id: TargetId| Target::new(id, &format!("copy-{}", id.0), 1);
    COPIES.map(target).into()
}

fn request<'a>(tried: &'a [TargetId]) -> Request<'a> {
    Request {
        key: b"order-1",
        client: "127.0.0.1",
        tried,
    }
}

/// What the policy's first fault is, and how long it took until it was known.
fn fault(config: &Value) -> (FaultKind, String, Duration) {
    let source = misbehaving_routing(&engine(), config);
    let mut policy = source.start().expect("it starts");
    let start = Instant::now();
    let picked = policy.pick(&request(&[]), &targets());
    let result = picked.and_then(|id| policy.observe(id, 100, true));
    let fault = result.expect_err("it is told to do wrong");
    (fault.kind, fault.detail, start.elapsed())
}

#[test]
fn each_misdeed_is_known_for_what_it_is() {
    let cases = [
        ("panic", FaultKind::Trap, "told to"),
        ("loop", FaultKind::Timeout, "5ms"),
        ("memory", FaultKind::Memory, "128.0 MiB"),
        ("refuse", FaultKind::Refused, "told to"),
        ("panic-in-observe", FaultKind::Trap, "told to"),
        ("loop-in-observe", FaultKind::Timeout, "5ms"),
    ];
    for (does, kind, text) in cases {
        let (found, detail, _) = fault(&json!({"does": does}));
        assert_eq!(found, kind, "{does}: {detail}");
        assert!(detail.contains(text), "{does}: {detail}");
    }
}

/// The time is the policy's own, so a busy machine makes the wait longer; a policy that was not
/// stopped would never come back.
#[test]
fn a_policy_that_stalls_is_stopped_soon() {
    let (_, _, waited) = fault(&json!({"does": "loop"}));
    assert!(waited >= PICK_TIME_MAX, "{waited:?}");
    assert!(waited < Duration::from_secs(10), "{waited:?}");
}

#[test]
fn whatever_a_policy_does_reads_go_to_copies_that_are_eligible_and_all_are_used() {
    let engine = engine();
    let misdeeds = [
        "same",
        "wander",
        "unknown",
        "panic",
        "loop",
        "memory",
        "refuse",
        "chatter",
        "panic-in-observe",
        "loop-in-observe",
    ];
    for does in misdeeds {
        let source = misbehaving_routing(&engine, &json!({"does": does, "every": 7}));
        let balancer = Balancer::new("copies", targets(), Some(Arc::new(source)));
        let start = Instant::now();
        for read in 0..100_u32 {
            // Copy 1 is not fresh enough for half of the reads.
            let eligible = &COPIES[usize::from(read % 2 == 0)..];
            let now = start + Duration::from_millis(100) * read;
            let pick = balancer.pick(&request(&[]), eligible, now);
            assert!(eligible.contains(&pick.target()), "{does}: {read}");
            balancer.done(pick, Duration::from_millis(1), Outcome::Answered);
        }
        let served = balancer
            .targets()
            .iter()
            .map(|target| target.served)
            .sum::<u64>();
        assert_eq!(served, 100, "{does}");
    }
}

#[test]
fn a_policy_that_traps_now_and_then_goes_on_in_new_instances() {
    let source = misbehaving_routing(&engine(), &json!({"does": "panic", "every": 10}));
    let balancer = Balancer::new("copies", targets(), Some(Arc::new(source)));
    let start = Instant::now();
    let mut picked = Vec::new();
    for read in 0..30 {
        // Two minutes between reads: each back-off is over.
        let now = start + Duration::from_secs(120) * read;
        let pick = balancer.pick(&request(&[]), &COPIES, now);
        picked.push(pick.target().0);
        balancer.done(pick, Duration::from_millis(1), Outcome::Answered);
    }
    // The policy picks copy 1; where it trapped, it was the built-in policy's turn.
    let by_policy = picked.iter().filter(|&&id| id == 1).count();
    assert_eq!(by_policy, 28, "{picked:?}");
    assert_eq!((picked[9], picked[19], picked[29]), (1, 2, 3));
}

#[test]
fn a_policy_hears_what_is_asked_and_picks_by_it() {
    let engine = engine();
    let policy = policy(&engine, "routing_first", Kind::Routing);
    let source = Routing::new(policy, "copies", &json!({})).expect("it has no settings");
    assert_eq!(Source::name(&source), "first-routing");
    let mut first = source.start().expect("it starts");
    let mut pick = |tried: &[TargetId], eligible: &[Target]| first.pick(&request(tried), eligible);
    let targets = targets();
    assert_eq!(pick(&[], &targets), Ok(TargetId(1)));
    assert_eq!(pick(&[TargetId(1)], &targets), Ok(TargetId(2)));
    assert_eq!(pick(&[], &targets[2..]), Ok(TargetId(3)));
    let refused = pick(&COPIES, &targets).expect_err("all have failed");
    assert_eq!(
        refused.to_string(),
        "the policy refused: every target has failed"
    );
}

#[test]
fn a_file_of_another_kind_or_a_configuration_that_is_wrong_is_refused() {
    let engine = engine();
    let load = |name: &str, kind| {
        let error = Policy::load(&engine, name, &guest(name), kind).err();
        error.expect("it is of another kind").to_string()
    };
    assert_eq!(
        load("tally", Kind::Routing),
        "plugin \"tally\" is a projection, not a routing policy; name a routing policy here"
    );
    assert_eq!(
        load("routing_first", Kind::Placement),
        "plugin \"routing_first\" is a routing policy, not a placement policy; \
         name a placement policy here"
    );
    let misbehaving = policy(&engine, "misbehaving_routing", Kind::Routing);
    let wrong = |config| {
        let error = Routing::new(misbehaving.clone(), "copies", &config).err();
        error.expect("it is wrong").to_string()
    };
    let begin = "plugin \"misbehaving_routing\" does not take the configuration of the policy of \
                 \"copies\": ";
    let cases = [
        (json!({}), "\"does\" is missing"),
        (
            json!({"does": "same", "every": 0}),
            "every is 0; it is 1 at least",
        ),
    ];
    for (config, reason) in cases {
        let text = wrong(config);
        assert!(text.starts_with(begin) && text.contains(reason), "{text}");
    }
}

#[test]
fn whatever_a_placement_does_the_table_is_one() {
    let engine = engine();
    let plugin = policy(&engine, "misbehaving_placement", Kind::Placement);
    for does in [
        "same", "wander", "unknown", "too-few", "too-many", "panic", "loop", "refuse",
    ] {
        let source = Placement::new(plugin.clone(), "orders", &json!({"does": does}));
        let source = source.expect("it takes its configuration");
        let lanes = Lanes {
            projection: "orders".into(),
            count: 3,
            move_budget: 50,
        };
        let load = Arc::new(Load::default());
        let start = Instant::now();
        let (mut placer, tables) = Placer::new(lanes, Arc::new(source), load.clone(), start);
        let mut moves = 0;
        let mut before = Table::hash(3);
        for second in 1..10 {
            load.add(second, 1_000);
            placer.look(start + Duration::from_secs(second as u64));
            let table = Table::clone(&tables.borrow());
            let moved = before.owners().zip(table.owners());
            let moved = moved.filter(|(before, after)| before != after).count();
            assert!(moved <= 50, "{does}: {moved} moves");
            assert!(table.owners().all(|lane| lane < 3), "{does}");
            moves += moved;
            before = table;
        }
        let is_a_table = matches!(does, "same" | "wander");
        assert_eq!(moves > 0, is_a_table, "{does}: {moves} moves");
    }
    assert_eq!(SLOTS, Table::hash(3).owners().len());
}
