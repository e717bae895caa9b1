//! Another version of the plugin: tells the domains, and tries again what stood still.

use std::sync::Arc;

use tracing::info;

use super::super::domain::Control;
use super::claim::Before;
use super::{DomainHandle, Runner, Stage};
use crate::record::TopicPartition;

impl Runner {
    /// Lets every domain change over, and claims the partitions again that stand still.
    pub(super) async fn swap(&mut self) {
        let version = Arc::clone(&self.versions.borrow_and_update());
        if version.number == self.version.number {
            return;
        }
        info!(
            projection = %self.name(), plugin = %version.hash, revision = version.number,
            candidate = version.candidate.as_ref().map(|candidate| &*candidate.hash),
            "another version is to run"
        );
        self.version = version;
        let mut domains: Vec<DomainHandle> = self.joined.iter().cloned().collect();
        let mut stopped: Vec<TopicPartition> = Vec::new();
        for (partition, assigned) in &self.partitions {
            match &assigned.stage {
                Stage::Running(domain) | Stage::Draining(domain) => {
                    let known = |known: &DomainHandle| known.control.same_channel(&domain.control);
                    if !domains.iter().any(known) {
                        domains.push(domain.clone());
                    }
                }
                Stage::Stopped => stopped.push(partition.clone()),
                Stage::Claiming(_) => {}
            }
        }
        for domain in domains {
            // A domain that has ended has nothing to change over.
            let swap = Control::Swap(Arc::clone(&self.version));
            drop(domain.control.send(swap).await);
        }
        if self.leaving.is_none() {
            for partition in stopped {
                self.claim(&partition, Before::Nothing, 0);
            }
        }
    }
}
