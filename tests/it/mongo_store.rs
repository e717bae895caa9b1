//! What is MongoDB's own in its store: refusals at the start, and faults in a transaction.
//!
//! What it shares with the embedded store is in `store_conformance`. Each test starts a mongod of
//! its own (`PROJECTIONIST_TEST_MONGOD`), for fail points are a server's and not a client's.

#[path = "mongo_store/entries.rs"]
mod entries;
#[path = "mongo_store/faults.rs"]
mod faults;
#[path = "mongo_store/refusals.rs"]
mod refusals;
#[path = "mongo_store/scene.rs"]
mod scene;
