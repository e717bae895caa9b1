//! The projection of the flights example as native code: its own fold, but neither Wasm nor the
//! SDK around it.

use std::collections::HashMap;
use std::sync::Arc;

use aircraft::Aircraft;
use bytes::Bytes;
use projectionist::document;
use projectionist::projection::{
    Batch, Body, Descriptor, DocumentKey, DocumentWrite, Documents, Encoding, Error, Output,
    Ownership, Projector, View, ViewIndex,
};
/// Folds departures into one document for each aircraft.
pub(crate) struct Fleet {
    descriptor: Arc<Descriptor>,
    hash: Arc<str>,
}

impl Default for Fleet {
    fn default() -> Self {
        let view = View {
            name: "aircraft".into(),
            ownership: Ownership::ByKey,
        };
        let descriptor = Descriptor {
            name: "native".to_owned(),
            version: "1".to_owned(),
            description: String::new(),
            encoding: Encoding::Json,
            views: vec![view],
            headers: Vec::new(),
            config_schema: String::new(),
        };
        Fleet {
            descriptor: Arc::new(descriptor),
            hash: "native".into(),
        }
    }
}

impl Projector for Fleet {
    fn descriptor(&self) -> &Arc<Descriptor> {
        &self.descriptor
    }

    fn plugin_hash(&self) -> &Arc<str> {
        &self.hash
    }

    fn project(
        &mut self,
        batch: Batch<'_>,
        mut documents: Box<dyn Documents>,
    ) -> Result<Output, Error> {
        let mut numbers = HashMap::with_capacity(batch.events.len());
        let mut ids = Vec::with_capacity(batch.events.len());
        let touched: Vec<usize> = batch
            .events
            .iter()
            .map(|event| {
                let id = std::str::from_utf8(event.key().expect("a key")).expect("UTF-8");
                *numbers.entry(id).or_insert_with(|| {
                    ids.push(id);
                    ids.len() - 1
                })
            })
            .collect();
        let stored = documents.get_many(ViewIndex(0), &ids, usize::MAX)?;
        let stored = stored.expect("nothing is more than that");
        let mut folded: Vec<(Aircraft, usize)> = stored
            .iter()
            .map(|json| match json {
                Some(json) => (serde_json::from_slice(json).expect("an aircraft"), 0),
                None => (Aircraft::default(), 0),
            })
            .collect();
        for (index, (event, number)) in batch.events.iter().zip(touched).enumerate() {
            let value = event.value().expect("a value");
            let departure = serde_json::from_slice(value).expect("a departure");
            let (aircraft, last) = &mut folded[number];
            aircraft.depart(&departure);
            *last = index;
        }
        let writes = ids.iter().zip(folded).map(|(&id, (aircraft, event))| {
            let json = serde_json::to_vec(&aircraft).expect("an aircraft has a JSON form");
            let bson = document::from_json(&json).expect("a document").body;
            DocumentWrite {
                key: DocumentKey {
                    view: ViewIndex(0),
                    id: id.into(),
                },
                event,
                body: Some(Body {
                    encoded: Bytes::from(json),
                    bson,
                }),
            }
        });
        Ok(Output {
            writes: writes.collect(),
            ..Output::default()
        })
    }
}
