//! What Kafka and the stores say, for whoever checks a configuration before it runs.
//!
//! Guarantee: it changes nothing. No view is made, no partition claimed, no group joined.

use super::catalogue::Catalogue;
use super::{Error, connection, open_store};
use crate::config::Config;
use crate::kafka::metadata::Metadata;

/// Asks every copy of every store and every topic once, and gives a line for each.
///
/// # Errors
/// The first that does not answer, or refuses.
pub async fn reach(config: &Config, catalogue: &Catalogue) -> Result<Vec<String>, Error> {
    let mut lines = Vec::new();
    for copy in config.stores.values().flat_map(|store| &store.copies) {
        let name = &copy.name;
        let opened = open_store(copy).await.map_err(|source| Error::Store {
            store: name.clone(),
            source,
        })?;
        let advice = opened.advice().await;
        let advice = advice.map_or_else(String::new, |advice| format!(" and {advice}"));
        lines.push(format!(
            "store \"{name}\": {} answers{advice}",
            opened.address()
        ));
        opened.close().await;
    }
    let metadata = Metadata::new(&connection(config))?;
    for plugin in &catalogue.plugins {
        for topic in plugin.projection.all_topics() {
            let partitions = metadata.partitions(topic).await?;
            let unit = match partitions {
                1 => "partition",
                _ => "partitions",
            };
            lines.push(format!("topic \"{topic}\": {partitions} {unit}"));
        }
    }
    lines.sort();
    lines.dedup();
    Ok(lines)
}
