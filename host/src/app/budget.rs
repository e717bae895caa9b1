//! How much memory the plugins of a host may cause together.
//!
//! Guarantee: it is enough for one call of any projection, at the most that its limits allow, beside
//! all that policies may hold. So a call that waits for room has it one day.

use bytesize::ByteSize;

use super::options;
use crate::config::{self, Config};
use crate::plugin::{self, Limits};

/// The configured budget is less than one call may come to.
#[derive(Debug, thiserror::Error)]
#[error(
    "plugins.memory-budget: {} is too little, for one call of projection \"{projection}\" may come \
     to as much with its limits, beside the policies; make it {} at least, lower limits.memory, or \
     leave it out",
    ByteSize::b(*.budget as u64), ByteSize::b(*.needed as u64)
)]
pub struct TooSmall {
    projection: String,
    budget: usize,
    needed: usize,
}

/// The configured budget, or the default where that is enough, or what is needed.
pub(super) fn of(config: &Config) -> Result<usize, TooSmall> {
    let needs = config.projections.iter().map(|(name, projection)| {
        let call = plugin::budget_for(call_max(projection));
        (call.saturating_add(of_policies(config)), name.as_str())
    });
    let (needed, projection) = needs.max().unwrap_or_default();
    match config.plugins.memory_budget_bytes.map(options::bytes) {
        None => Ok(needed.max(plugin::MEMORY_BUDGET)),
        Some(budget) if budget >= needed => Ok(budget),
        Some(budget) => Err(TooSmall {
            projection: projection.to_owned(),
            budget,
            needed,
        }),
    }
}

/// The most that one call of a projection may cause, its instance included.
fn call_max(projection: &config::Projection) -> usize {
    let batch = &projection.batch;
    let given = plugin::given_bytes_max(
        options::count(batch.events_max),
        options::bytes(batch.bytes_max),
    );
    options::limits(&projection.limits).cost_max(given)
}

/// What the policies may hold for as long as they run.
fn of_policies(config: &Config) -> usize {
    let placements = config.projections.values();
    let placements = placements.filter(|projection| projection.placement.is_some());
    let routings = config.stores.values();
    let routings = routings.filter(|store| store.routing.is_some());
    let policies = placements.count() + routings.count();
    policies.saturating_mul(Limits::default().memory_bytes_max)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn budget(more: &str) -> Result<usize, String> {
        let text = format!(
            "[kafka]\nbrokers = \"localhost:9092\"\n[stores.main]\nkind = \"embedded\"\n\
             path = \"views.db\"\n[projections.orders]\nplugin = \"orders.wasm\"\n\
             topics = [\"orders\"]\n{more}"
        );
        let config = config::parse(&text, Path::new("/etc/p.toml"), [], "host-of-test");
        of(&config.expect("a configuration")).map_err(|error| error.to_string())
    }

    #[test]
    fn the_budget_has_room_for_one_call_of_each_projection() {
        assert_eq!(budget(""), Ok(plugin::MEMORY_BUDGET));
        let more = budget("limits.memory = \"512MiB\"").expect("it grows by itself");
        assert!(more > plugin::MEMORY_BUDGET + (384 << 20), "{more}");

        let configured = |size: &str| budget(&format!("[plugins]\nmemory-budget = \"{size}\""));
        assert_eq!(configured("2GiB"), Ok(2 << 30));
        let problem = configured("256MiB").expect_err("too little");
        assert!(
            problem.starts_with("plugins.memory-budget: 256.0 MiB is too little")
                && problem.contains("\"orders\""),
            "{problem}"
        );
    }
}
