//! The way of a plugin file into the host: what kinds there are, what is told of each, and what is
//! refused with which words.

use std::sync::{Arc, OnceLock};

use projectionist::plugin::{About, AboutView, Engine, Error, Kind, Program, examine};
use projectionist::projection::{Encoding, Ownership};
use projectionist_tests::guests::guest;
use serde_json::json;

#[path = "admission/check.rs"]
mod check;
#[path = "admission/fuzz.rs"]
mod fuzz;
#[path = "admission/hostile.rs"]
mod hostile;
#[path = "admission/refusals.rs"]
mod refusals;
#[path = "admission/start.rs"]
mod start;
#[path = "admission/workshop.rs"]
mod workshop;

fn engine() -> &'static Arc<Engine> {
    static ENGINE: OnceLock<Arc<Engine>> = OnceLock::new();
    ENGINE.get_or_init(|| Arc::new(Engine::new().expect("this machine runs Wasm")))
}

fn about(guest_name: &str) -> About {
    examine(engine(), guest_name, &guest(guest_name)).expect("its file is in order")
}

#[test]
fn a_projection_is_told_by_its_export_and_says_what_it_is() {
    let about = about("misbehaving");
    assert_eq!(about.kind, Kind::Projection);
    assert_eq!((&*about.name, &*about.version), ("misbehaving", "0.1.0"));
    assert_eq!(about.description, "Does what no plugin should.");
    assert_eq!(about.language.as_deref(), Some("Rust"));
    assert_eq!(about.size_bytes, guest("misbehaving").len() as u64);
    assert_eq!(
        about.config_schema,
        Some(json!({"type": ["object", "string"]}))
    );
    let projection = about.projection.expect("a projection's own part");
    assert_eq!(projection.encoding, Encoding::Json);
    assert_eq!(projection.headers, ["note"]);
    let view = |name: &str, ownership| AboutView {
        name: name.to_owned(),
        ownership,
    };
    assert_eq!(
        projection.views,
        [
            view("own", Ownership::ByKey),
            view("any", Ownership::Shared)
        ]
    );
}

#[test]
fn policies_are_told_by_their_exports_and_say_what_they_are() {
    let placement = about("placement_first");
    assert_eq!(placement.kind, Kind::Placement);
    assert_eq!(placement.name, "first-placement");
    assert_eq!(placement.config_schema, None);
    assert_eq!(placement.projection, None);
    let routing = about("routing_first");
    assert_eq!(routing.kind, Kind::Routing);
    assert_eq!(
        routing.description,
        "Asks the first target that may be asked."
    );
    assert_eq!(routing.config_schema, Some(json!({"type": "object"})));
    assert_eq!(routing.language.as_deref(), Some("Rust"));
}

#[test]
fn what_is_known_of_a_plugin_survives_its_json_form() {
    for name in ["misbehaving", "placement_first", "routing_first"] {
        let about = about(name);
        let text = serde_json::to_string(&about).expect("it has a JSON form");
        let again: About = serde_json::from_str(&text).expect("its own JSON form");
        assert_eq!(again, about, "{name}");
    }
}

#[test]
fn a_policy_does_not_run_as_a_projection() {
    for (name, kind) in [
        ("placement_first", "placement"),
        ("routing_first", "routing"),
    ] {
        let text = match Program::load(engine(), "orders.wasm", &guest(name)) {
            Err(error @ Error::Refused { .. }) => error.to_string(),
            Err(other) => panic!("not a refusal: {other}"),
            Ok(_) => panic!("{name} was taken"),
        };
        let expected = format!("\"orders.wasm\" is a {kind} policy, not a projection");
        assert!(text.contains(&expected), "{text}");
    }
}
