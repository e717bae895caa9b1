//! Where users decide what projections run: each plugin is checked before a decision is stored.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;

use super::{Decision, Deployments, Grounds, Revision};
use crate::pipeline::shadow::Report;
use crate::registry::{self, Registry, Uploaded};

/// Takes decisions about all projections of a host.
pub struct Desk {
    /// Where plugins are uploaded to.
    uploads: Registry,
    projections: BTreeMap<Arc<str>, Place>,
}

/// One projection's.
pub struct Place {
    pub deployments: Deployments,
    /// Of the store that keeps its views. Its hosts load plugins from there.
    pub registry: Registry,
    pub check: Arc<dyn Check>,
    pub subject: Subject,
}

/// What a plugin is deployed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    Projection,
    /// A balancer, which asks one policy only.
    Policy,
}

/// Whether a projection can run a plugin.
#[async_trait]
pub trait Check: Send + Sync {
    /// Loads a plugin, by its whole hash, and lets it take the projection's configuration.
    async fn check(&self, plugin: &str) -> Result<(), Unfit>;
}

/// Why a projection does not run a plugin.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    #[error(transparent)]
    Registry(#[from] registry::Error),
    #[error("{0}")]
    Plugin(String),
    /// The host could not find out; it may later.
    #[error("{0}")]
    Host(String),
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Deployment(#[from] super::Error),
    #[error(transparent)]
    Registry(#[from] registry::Error),
    #[error(
        "there is no projection \"{0}\"; GET /projections lists those of this host, and policies are \
         called PROJECTION.placement and STORE.routing"
    )]
    NoProjection(String),
    #[error(
        "\"{0}\" asks one policy at a time, and none beside it; try it with \"projectionist balance \
         simulate\", or activate it"
    )]
    NoShadow(String),
    #[error(
        "\"{user}\" runs plugin {plugin}, tries it, or would return to it by a rollback; activate \
         others first"
    )]
    InUse { plugin: String, user: String },
    #[error("plugin {plugin} cannot be checked now: {reason}; try again")]
    Unchecked { plugin: String, reason: String },
    #[error("\"{projection}\" cannot run plugin {plugin}: {reason}")]
    Unfit {
        projection: String,
        plugin: String,
        reason: String,
    },
}

/// What a projection runs, and how it came to that.
#[derive(Clone, Debug)]
pub struct Status {
    /// Newest first, at least one.
    pub revisions: Vec<Revision>,
    /// What all hosts found out about the candidate, where there is one.
    pub report: Option<Report>,
}

impl Desk {
    pub fn new(uploads: Registry, projections: BTreeMap<Arc<str>, Place>) -> Self {
        Desk {
            uploads,
            projections,
        }
    }

    /// The names of all projections and policies.
    pub fn projections(&self) -> impl Iterator<Item = &Arc<str>> {
        self.projections.keys()
    }

    /// Lets a projection run a plugin, named by the start of its hash.
    pub async fn activate(
        &self,
        projection: &str,
        plugin: &str,
        grounds: &Grounds,
    ) -> Result<Revision, Error> {
        let place = self.place(projection)?;
        let plugin = self.fetch(projection, place, plugin).await?;
        let decision = Decision::Activate(plugin);
        Ok(place.deployments.decide(&decision, grounds).await?)
    }

    /// Lets a plugin fold beside the one that runs; without one, none does any more.
    pub async fn shadow(
        &self,
        projection: &str,
        plugin: Option<&str>,
        grounds: &Grounds,
    ) -> Result<Revision, Error> {
        let place = self.place(projection)?;
        if place.subject == Subject::Policy {
            return Err(Error::NoShadow(projection.to_owned()));
        }
        let plugin = match plugin {
            None => None,
            Some(plugin) => Some(self.fetch(projection, place, plugin).await?),
        };
        let decision = Decision::Shadow(plugin);
        Ok(place.deployments.decide(&decision, grounds).await?)
    }

    /// Goes back to the plugin before the one that runs.
    pub async fn roll_back(&self, projection: &str, grounds: &Grounds) -> Result<Revision, Error> {
        let place = self.place(projection)?;
        let (newest, before) = place.deployments.newest_and_before().await?;
        if let Some(before) = before {
            self.check(projection, place, &before.active).await?;
        }
        // Not from whatever runs then: the host may roll back by itself just now.
        let decision = Decision::RollbackFrom(newest.number);
        Ok(place.deployments.decide(&decision, grounds).await?)
    }

    /// What a projection runs, and its newest revisions, `limit` at most.
    pub async fn status(&self, projection: &str, limit: usize) -> Result<Status, Error> {
        let place = self.place(projection)?;
        let mut revisions = place.deployments.after(0).await?;
        revisions.reverse();
        let Some(newest) = revisions.first() else {
            let name: Arc<str> = projection.into();
            return Err(super::Error::NeverStarted(name).into());
        };
        let report = match newest.candidate {
            None => None,
            Some(_) => Some(place.deployments.report(newest.number).await?),
        };
        revisions.truncate(limit.max(1));
        Ok(Status { revisions, report })
    }

    /// The plugin with this hash, or the only one whose hash starts so.
    pub async fn find(&self, prefix: &str) -> Result<Uploaded, Error> {
        Ok(self.uploads.find(prefix).await?)
    }

    /// Removes an uploaded plugin that nothing runs, tries or would return to.
    pub async fn remove(&self, plugin: &Uploaded) -> Result<(), Error> {
        self.check_unused(plugin).await?;
        self.uploads.hide(plugin).await?;
        // From here on nobody can decide for it who has not found it before.
        if let Err(error) = self.check_unused(plugin).await {
            self.uploads.show(plugin).await?;
            return Err(error);
        }
        Ok(self.uploads.remove_pieces(plugin).await?)
    }

    async fn check_unused(&self, plugin: &Uploaded) -> Result<(), Error> {
        let hash = &plugin.about.sha256;
        let mut stores = vec![self.uploads.store()];
        for place in self.projections.values() {
            let store = place.registry.store();
            if !stores.iter().any(|known| Arc::ptr_eq(known, store)) {
                stores.push(store);
            }
        }
        for store in stores {
            if let Some(user) = super::user(&**store, hash).await? {
                let plugin = hash.clone();
                return Err(Error::InUse { plugin, user });
            }
        }
        Ok(())
    }

    fn place(&self, projection: &str) -> Result<&Place, Error> {
        let place = self.projections.get(projection);
        place.ok_or_else(|| Error::NoProjection(projection.to_owned()))
    }

    /// Brings an uploaded plugin to the projection's own store, and checks it; answers its hash.
    async fn fetch(&self, projection: &str, place: &Place, prefix: &str) -> Result<String, Error> {
        let plugin = self.uploads.find(prefix).await?;
        let hash = plugin.about.sha256.clone();
        let bytes = self.uploads.bytes(&hash).await?;
        let saved = place
            .registry
            .save(&plugin.about, &bytes, &plugin.uploaded_by);
        saved.await?;
        self.check(projection, place, &hash).await?;
        Ok(hash)
    }

    async fn check(&self, projection: &str, place: &Place, plugin: &str) -> Result<(), Error> {
        place
            .check
            .check(plugin)
            .await
            .map_err(|unfit| match unfit {
                Unfit::Registry(error) => Error::Registry(error),
                Unfit::Host(reason) => Error::Unchecked {
                    plugin: plugin.to_owned(),
                    reason,
                },
                Unfit::Plugin(reason) => Error::Unfit {
                    projection: projection.to_owned(),
                    plugin: plugin.to_owned(),
                    reason,
                },
            })
    }
}
