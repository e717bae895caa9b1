//! Starting what a claimed partition needs: its queue, its domain with a lane, and the relay of its
//! messages.

use std::sync::Arc;

use tokio::sync::{Notify, mpsc};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::info;

use super::super::domain::{Attachment, Control, Domain, Parts, Running, checkpoint_id};
use super::super::intake::Start;
use super::super::relay::{self, Patience, Relay};
use super::super::stop::StopReason;
use super::super::{Context, DomainLayout, queue};
use super::claim::Claimed;
use super::{DomainHandle, MAILBOX, RelayEnded, Runner, Stage};
use crate::record::{Generation, TopicPartition};
use crate::telemetry::health::PartitionState;

impl Runner {
    /// Gives a claimed partition to its domain.
    pub(super) async fn start(
        &mut self,
        partition: &TopicPartition,
        generation: Generation,
        claimed: Claimed,
    ) -> Result<Start, String> {
        let domain = self.domain(partition, claimed.shared_keys).await?;
        let (sender, receiver) = queue::channel(
            partition.clone(),
            generation,
            claimed.next,
            self.setup.context.queue,
            self.setup.context.queued.share(),
            Arc::clone(&domain.notify),
            self.setup.source.waker.clone(),
        );
        let (relay, relay_guard) = self.start_relay(partition, generation, &domain).unzip();
        let attachment = Attachment {
            partition: partition.clone(),
            generation,
            epoch: claimed.epoch,
            next: claimed.next,
            lineage: claimed.lineage,
            repairs: claimed.repairs,
            sieve: claimed.sieve,
            relay,
            queue: receiver,
        };
        domain
            .control
            .send(Control::Attach(Box::new(attachment)))
            .await
            .map_err(|_| "its domain has ended".to_owned())?;
        info!(
            projection = %self.name(), partition = %partition, epoch = claimed.epoch.0,
            next = claimed.next.0, "claimed"
        );
        self.set_partition(partition, PartitionState::Running);
        let context = &self.setup.context;
        if let Some(commits) = &context.commits {
            commits.claimed(partition, claimed.next);
        }
        context
            .health
            .set_next(&context.name, partition, claimed.next);
        if let Some(assigned) = self.partitions.get_mut(partition) {
            assigned.topic = claimed.lineage.topic;
            assigned.stage = Stage::Running(domain);
            assigned.relay = relay_guard;
        }
        Ok(Start {
            next: claimed.next,
            known: claimed.lineage.last,
            queue: sender,
        })
    }

    /// Starts to send what the partition's outbox holds, where the projection sends messages.
    fn start_relay(
        &mut self,
        partition: &TopicPartition,
        generation: Generation,
        domain: &DomainHandle,
    ) -> Option<(relay::Handle, DropGuard)> {
        let setup = &self.setup;
        let (relay, handle) = Relay::new(relay::Setup {
            checkpoint: checkpoint_id(&setup.context, partition),
            store: Arc::clone(&setup.store),
            store_reachability: setup.store_reachability.clone(),
            sender: Arc::clone(setup.sender.as_ref()?),
            kafka_reachability: setup.producer_reachability.clone(),
            room: Arc::clone(&domain.notify),
            patience: Patience::default(),
        });
        let stop = CancellationToken::new();
        let guard = stop.clone().drop_guard();
        let partition = partition.clone();
        self.relays.spawn(async move {
            RelayEnded {
                partition,
                generation,
                result: relay.run(stop).await,
            }
        });
        Some((handle, guard))
    }

    /// A relay that cannot go on stops its partition.
    pub(super) async fn relay_ended(&mut self, ended: RelayEnded) {
        let RelayEnded {
            partition,
            generation,
            result,
        } = ended;
        if let Err(reason) = result {
            let reason = StopReason::MessagesRefused(reason);
            self.stop_running(&partition, generation, reason).await;
        }
    }

    /// The domain that folds this partition.
    async fn domain(
        &mut self,
        partition: &TopicPartition,
        shared_keys: bool,
    ) -> Result<DomainHandle, String> {
        let context = match shared_keys {
            true => self.setup.context.with_shared_keys(),
            false => self.setup.context.clone(),
        };
        match context.layout {
            DomainLayout::PerPartition => self.start_domain(&partition.to_string(), context).await,
            DomainLayout::Joined => {
                if let Some(domain) = &self.joined {
                    return Ok(domain.clone());
                }
                let domain = self.start_domain("joined", context).await?;
                self.joined = Some(domain.clone());
                Ok(domain)
            }
        }
    }

    async fn start_domain(&mut self, name: &str, context: Context) -> Result<DomainHandle, String> {
        let version = Arc::clone(&self.version);
        let running = Running::start(name, version, &context, &self.setup.store).await?;
        let (control, controls) = mpsc::channel(MAILBOX);
        let handle = DomainHandle {
            layout: context.layout,
            control,
            notify: Arc::new(Notify::new()),
            abandon: CancellationToken::new(),
        };
        let domain = Domain::new(Parts {
            name: name.to_owned(),
            context,
            store: Arc::clone(&self.setup.store),
            store_reachability: self.setup.store_reachability.clone(),
            running,
            load_projector: Arc::clone(&self.setup.load_projector),
            registry: self.setup.registry.clone(),
            committer: self.committer.clone(),
            control: controls,
            notify: Arc::clone(&handle.notify),
            outcomes: self.outcomes_sender.clone(),
            abandon: handle.abandon.clone(),
        });
        self.tasks.spawn(domain.run());
        Ok(handle)
    }
}
