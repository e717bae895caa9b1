//! Reads what a run has left: the topic as a plain consumer sees it, and the store as users do.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bson::raw::RawDocumentBuf;
use bson::{Document, doc};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Headers as _, Message as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::compare::{Found, Stored};
use super::events::ID_HEADER;
use super::fold::Record;
use super::history::{self, CHECKPOINTS, Change};
use crate::kafka::Topic;
use crate::mongo::Database;

const POLL: Duration = Duration::from_millis(200);
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// Reads a whole topic, in the order of offsets within each partition. Blocks.
pub fn read_topic(topic: &Topic) -> anyhow::Result<Vec<Record>> {
    let ends = topic.ends()?;
    let consumer: BaseConsumer = topic
        .client_config()
        // A consumer must name one; nothing is committed.
        .set("group.id", "ledger-reader")
        .set("enable.auto.commit", "false")
        .create()?;
    let mut list = TopicPartitionList::new();
    for partition in 0..topic.partitions {
        list.add_partition_offset(&topic.name, partition, Offset::Beginning)?;
    }
    consumer.assign(&list)?;
    let mut nexts = vec![0; ends.len()];
    let mut records = Vec::new();
    let started = Instant::now();
    while nexts < ends {
        anyhow::ensure!(
            started.elapsed() < READ_TIMEOUT,
            "the topic was read to {nexts:?} and not to {ends:?} in {READ_TIMEOUT:?}"
        );
        let Some(message) = consumer.poll(POLL) else {
            continue;
        };
        let message = message?;
        let headers = message.headers().context("a record has no headers")?;
        let id = headers.iter().find(|header| header.key == ID_HEADER);
        let id = id.and_then(|header| header.value);
        let text = |bytes: Option<&[u8]>| {
            let bytes = bytes.context("a record has no key or id")?;
            anyhow::Ok(String::from_utf8(bytes.to_vec())?)
        };
        let partition = message.partition();
        nexts[usize::try_from(partition)?] = message.offset() + 1;
        records.push(Record {
            partition,
            offset: message.offset(),
            key: text(message.key())?,
            id: text(id)?,
            value: message.payload().unwrap_or_default().to_vec(),
        });
    }
    Ok(records)
}

/// Reads the view and the parked events of a projection. Both have its name.
pub async fn read_store(
    database: &Database,
    projection: &str,
    topic: &Topic,
    records: &[Record],
) -> anyhow::Result<Found> {
    let mut documents = BTreeMap::new();
    let view = database
        .collection(projection)
        .clone_with_type::<RawDocumentBuf>();
    let mut cursor = view.find(doc! {}).await?;
    while cursor.advance().await? {
        let (id, stored) = Stored::read(cursor.current())?;
        documents.insert(id, stored);
    }
    Ok(Found {
        documents,
        parked: read_parked(database, projection, topic, records).await?,
    })
}

/// The parked events of a projection by partition and key, in the order of their ids. An id starts
/// with the checkpoint's and ends with the offset.
async fn read_parked(
    database: &Database,
    projection: &str,
    topic: &Topic,
    records: &[Record],
) -> anyhow::Result<BTreeMap<(i32, String), Vec<i64>>> {
    let keys: BTreeMap<(i32, i64), &str> = records
        .iter()
        .map(|record| ((record.partition, record.offset), record.key.as_str()))
        .collect();
    let mut parked: BTreeMap<(i32, String), Vec<i64>> = BTreeMap::new();
    let filter = doc! { "_id": { "$regex": format!("^{projection}/") } };
    let entries = database.collection("_parked");
    let mut cursor = entries.find(filter).sort(doc! { "_id": 1 }).await?;
    while cursor.advance().await? {
        let entry: Document = cursor.deserialize_current()?;
        let id = entry.get_str("_id")?;
        let (partition, offset) = place(id, &topic.name)
            .with_context(|| format!("\"{id}\" is no id of a parked event"))?;
        let key = keys
            .get(&(partition, offset))
            .with_context(|| format!("\"{id}\" is parked, and the topic has no such event"))?;
        let offsets = parked.entry((partition, (*key).to_owned())).or_default();
        offsets.push(offset);
    }
    Ok(parked)
}

/// The partition and the offset in `checkpoint/…/offset`.
fn place(id: &str, topic: &str) -> Option<(i32, i64)> {
    let (_, behind) = id.split_once(&format!("/{topic}/"))?;
    let partition = behind.split('/').next()?;
    let (_, offset) = behind.rsplit_once('/')?;
    Some((partition.parse().ok()?, offset.parse().ok()?))
}

/// Reads all changes of views and checkpoints since `start`.
pub async fn read_history(
    database: &Database,
    start: bson::Timestamp,
    projections: &[&str],
) -> anyhow::Result<Vec<Change>> {
    let views: Vec<String> = projections
        .iter()
        .map(|name| format!("{name}.v1"))
        .collect();
    let mut collections = vec![CHECKPOINTS];
    collections.extend(views.iter().map(String::as_str));
    let events = database.changes(start, &collections).await?;
    events.iter().map(history::read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_a_parked_event_tells_its_place() {
        let id = "accounts/v1/main/ledger-7/3/key/0000000000000000042";
        assert_eq!(place(id, "ledger-7"), Some((3, 42)));
        assert_eq!(place("accounts/v1/main/ledger-7/3", "ledger-7"), None);
        assert_eq!(place(id, "another"), None);
    }
}
