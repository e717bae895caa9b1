//! A placement policy that is as simple as one can be: all slots go to the first target.

#![allow(
    unsafe_code,
    reason = "generated code calls the host through its C interface"
)]

wit_bindgen::generate!({
    path: "../../../wit",
    world: "placement-policy",
});

use exports::projectionist::plugin::placement::{Guest, Policy, Snapshot, TargetId};

struct First;

impl Guest for First {
    fn describe() -> Policy {
        Policy {
            name: "first-placement".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            description: "Gives all keys to the first target.".to_owned(),
            config_schema: String::new(),
        }
    }

    fn configure(_config: String) -> Result<(), String> {
        Ok(())
    }

    fn place(snapshot: Snapshot) -> Result<Vec<TargetId>, String> {
        let first = snapshot.targets.first().ok_or("there is no target")?;
        Ok(vec![first.id; snapshot.slot_load.len()])
    }
}

export!(First);
