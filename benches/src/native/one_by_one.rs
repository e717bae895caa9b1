//! The service that one writes by hand first: each event in a transaction of its own, together with
//! the row that says that it was processed.
//!
//! As with Spring Kafka and Spring Data: an event that was processed before is recognised by its
//! row, the document is read, changed and saved, and the offset is reported to Kafka afterwards.

use std::time::Duration;

use anyhow::Context as _;
use bson::raw::RawDocumentBuf;
use bson::{doc, rawdoc};
use mongodb::error::TRANSIENT_TRANSACTION_ERROR;
use mongodb::{ClientSession, Collection};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::message::{Headers as _, Message as _};

use super::{Options, connect, transaction};
use crate::fold::Fold;
use crate::topic::ID_HEADER;

const PROCESSED: &str = "processed_messages";

const POLL: Duration = Duration::from_millis(100);

/// Runs until an error.
///
/// # Errors
/// Kafka's and MongoDB's that cannot be tried again.
pub fn one_by_one<F: Fold>(options: &Options, fold: &F) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let database = runtime.block_on(connect(options))?;
    let service = Service {
        documents: database.collection(options.workload.shape().view()),
        processed: database.collection(PROCESSED),
        fold,
    };
    let mut session = runtime.block_on(async { database.client().start_session().await })?;

    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &options.kafka)
        .set("group.id", &options.database)
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest")
        .create()?;
    consumer.subscribe(&[&options.topic])?;
    loop {
        let Some(message) = consumer.poll(POLL) else {
            continue;
        };
        let message = message?;
        let headers = message.headers().context("an event has no headers")?;
        let header = headers.iter().find(|header| header.key == ID_HEADER);
        let id = header.and_then(|header| header.value);
        let received = Received {
            id: str::from_utf8(id.context("an event has no id")?)?,
            key: str::from_utf8(message.key().context("an event has no key")?)?,
            value: message.payload().context("an event has no value")?,
        };
        runtime.block_on(service.process(&mut session, received))?;
        consumer.commit_message(&message, CommitMode::Async)?;
    }
}

#[derive(Clone, Copy)]
struct Received<'m> {
    id: &'m str,
    key: &'m str,
    value: &'m [u8],
}

struct Service<'f, F> {
    documents: Collection<RawDocumentBuf>,
    processed: Collection<RawDocumentBuf>,
    fold: &'f F,
}

impl<F: Fold> Service<'_, F> {
    async fn process(
        &self,
        session: &mut ClientSession,
        received: Received<'_>,
    ) -> anyhow::Result<()> {
        loop {
            match self.attempt(session, received).await {
                Err(error) if is_passing(&error) => {}
                result => return result,
            }
        }
    }

    async fn attempt(
        &self,
        session: &mut ClientSession,
        Received { id, key, value }: Received<'_>,
    ) -> anyhow::Result<()> {
        let event: F::Event<'_> = serde_json::from_slice(value)?;
        let (one, other) = F::ids(key, &event);
        session
            .start_transaction()
            .with_options(transaction::options())
            .await?;
        let row = doc! { "_id": id };
        let known = self.processed.find_one(row).session(&mut *session).await?;
        if known.is_some() {
            session.abort_transaction().await?;
            return Ok(());
        }
        for id in std::iter::once(one).chain(other) {
            let filter = doc! { "_id": id };
            let find = self.documents.find_one(filter.clone());
            let mut document: F::Document = match find.session(&mut *session).await? {
                Some(stored) => bson::deserialize_from_slice(stored.as_bytes())?,
                None => F::Document::default(),
            };
            self.fold.fold(&event, id, &mut document);
            let fields = bson::serialize_to_raw_document_buf(&document)?;
            let document = transaction::with_id(id, &fields, &[])?;
            let save = self.documents.replace_one(filter, document).upsert(true);
            save.session(&mut *session).await?;
        }
        let insert = self.processed.insert_one(rawdoc! { "_id": id });
        insert.session(&mut *session).await?;
        transaction::commit(session).await
    }
}

fn is_passing(error: &anyhow::Error) -> bool {
    let driver = error.downcast_ref::<mongodb::error::Error>();
    driver.is_some_and(|error| error.contains_label(TRANSIENT_TRANSACTION_ERROR))
}
