//! Prefers the copies whose names the configuration lists, as long as they are not much slower than
//! the best of the others.

use projectionist_sdk::export_routing;
use projectionist_sdk::policy::{Request, Routing, Target, TargetId};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Config {
    /// Names of copies, as the host's configuration has them.
    preferred: Vec<String>,
}

struct Nearest(Config);

impl Routing for Nearest {
    const NAME: &str = "{{name}}";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const DESCRIPTION: &str = "Prefers some copies, as long as they are not much slower.";
    const CONFIG_SCHEMA: &str = r#"{
        "type": "object",
        "required": ["preferred"],
        "properties": { "preferred": { "type": "array", "items": { "type": "string" } } },
        "additionalProperties": false
    }"#;
    type Config = Config;

    fn new(config: Config) -> Result<Self, String> {
        Ok(Nearest(config))
    }

    fn pick(&mut self, _: &Request, eligible: &[Target]) -> Result<TargetId, String> {
        // What it takes now: an answer after all that is under way already.
        let cost = |target: &&Target| {
            let cost = u64::from(target.latency_us) * (1 + u64::from(target.in_flight));
            match self.0.preferred.contains(&target.name) {
                true => cost / 2,
                false => cost,
            }
        };
        let best = eligible.iter().min_by_key(cost);
        best.map(|target| target.id)
            .ok_or_else(|| "nobody is eligible".to_owned())
    }
}

export_routing!(Nearest);

#[cfg(test)]
mod tests {
    use projectionist_sdk::testing::routing;

    use super::*;

    #[test]
    fn a_copy_that_is_preferred_may_be_a_little_slower() {
        let mut policy: Nearest = routing(r#"{"preferred": ["here"]}"#).expect("a list");
        let request = Request {
            key: b"a-1".to_vec(),
            client: "10.0.0.1".to_owned(),
            tried: Vec::new(),
        };
        let mut targets = [Target::new(1, "there", 1), Target::new(2, "here", 1)];
        targets[0].latency_us = 1_000;
        targets[1].latency_us = 1_900;
        assert_eq!(policy.pick(&request, &targets), Ok(2));
        targets[1].latency_us = 2_100;
        assert_eq!(policy.pick(&request, &targets), Ok(1));
    }
}
