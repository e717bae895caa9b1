//! A routing policy that is as simple as one can be: the first target that has not failed yet.

#![allow(
    unsafe_code,
    reason = "generated code calls the host through its C interface"
)]

wit_bindgen::generate!({
    path: "../../../wit",
    world: "routing-policy",
});

use exports::projectionist::plugin::routing::{Guest, Policy, Request, Target, TargetId};
use projectionist::plugin::host;

struct First;

impl Guest for First {
    fn describe() -> Policy {
        Policy {
            name: "first-routing".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            description: "Asks the first target that may be asked.".to_owned(),
            config_schema: r#"{"type":"object"}"#.to_owned(),
        }
    }

    fn configure(_config: String) -> Result<(), String> {
        Ok(())
    }

    fn pick(request: Request, eligible: Vec<Target>) -> Result<TargetId, String> {
        let mut untried = eligible
            .iter()
            .filter(|target| !request.tried.contains(&target.id));
        let first = untried.next().ok_or("every target has failed")?;
        Ok(first.id)
    }

    fn observe(_target: TargetId, _latency_us: u32, ok: bool) {
        if !ok {
            host::count("failed-picks", 1);
        }
    }
}

export!(First);
