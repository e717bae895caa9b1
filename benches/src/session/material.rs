//! Topics that are filled once, for all contenders and rounds.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::Session;
use crate::expected::{Clock, Expected, expected};
use crate::thread::on_thread;
use crate::topic::{Filled, Topic};
use crate::workload::Plan;

/// A topic that is filled, and what its events must become.
pub(super) struct Material {
    pub(super) topic: Topic,
    pub(super) plan: Plan,
    pub(super) filled: Filled,
    pub(super) expected: Box<dyn Expected>,
}

/// Topics by how many events they hold.
#[derive(Default)]
pub(super) struct Materials(HashMap<u64, Material>);

impl Materials {
    pub(super) async fn delete(self) -> anyhow::Result<()> {
        for material in self.0.into_values() {
            material.topic.delete().await?;
        }
        Ok(())
    }
}

impl Session {
    /// The topic with so many events, filled when it is first asked for.
    pub(super) async fn material<'m>(
        &mut self,
        materials: &'m mut Materials,
        plan: &Plan,
        events: u64,
    ) -> anyhow::Result<&'m Material> {
        match materials.0.entry(events) {
            Entry::Occupied(material) => Ok(material.into_mut()),
            Entry::Vacant(place) => Ok(place.insert(self.produce(plan, events).await?)),
        }
    }

    async fn produce(&mut self, plan: &Plan, events: u64) -> anyhow::Result<Material> {
        let plan = Plan {
            events,
            ..plan.clone()
        };
        let name = self.name();
        let topic = Topic::create(&self.setup.kafka, &name, plan.partitions).await?;
        self.show(&plan, &format!("producing {events} events"));
        let (bar, source, target) = (self.bar.clone(), plan.clone(), topic.clone());
        let (filled, expected) = on_thread(move || {
            let filled = target.fill(&source, |count| bar.set_position(count * 1_000 / events))?;
            Ok((filled, expected(&source, Clock::Nominal)))
        })
        .await?;
        Ok(Material {
            topic,
            plan,
            filled,
            expected,
        })
    }
}
