//! Those who only read: whose the files are, and what their queries cost.

use std::os::unix::fs::PermissionsExt as _;

use bson::raw::RawBson;

use super::*;
use crate::store::list::{Bound, Direction, Index, List, Range};

#[tokio::test]
async fn its_files_are_the_users_own() {
    let place = Place::new();
    let folder = place.folder.path().join("new");
    let path = folder.join("views.db");
    let store = EmbeddedStore::open(&path).expect("its folder can be created");
    store.prepare(&[aircraft()]).await.expect("in order");
    let mode = |path: &std::path::Path| {
        let metadata = fs::metadata(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        metadata.permissions().mode() & 0o777
    };
    assert_eq!(mode(&folder), 0o700);
    for name in ["views.db", "views.db-wal", "views.db-shm"] {
        assert_eq!(mode(&folder.join(name)), 0o600, "{name}");
    }
}

#[tokio::test]
async fn a_range_of_one_type_is_one_range_of_the_index() {
    let place = Place::new();
    let store = place.owner().await;
    let index = Index::new(["v", "w"]).expect("fields");
    crate::store::Reader::prepare_indexes(&store, &aircraft(), std::slice::from_ref(&index))
        .await
        .expect("in order");
    let bound = |value: RawBson| {
        Some(Bound {
            value,
            inclusive: false,
        })
    };
    let text = |text: &str| RawBson::String(text.to_owned());
    let range = |from, to| Range { from, to };
    let place_of = |value| Some(vec![value, text("w"), text("id")]);
    let cases = [
        ("below a text", range(None, bound(text("a"))), None),
        (
            "above a number",
            range(bound(RawBson::Int64(5)), None),
            None,
        ),
        (
            "above false",
            range(bound(RawBson::Boolean(false)), None),
            None,
        ),
        (
            "a later page of it",
            range(None, bound(text("b"))),
            place_of(text("a")),
        ),
        (
            "a later page of all",
            Range::default(),
            place_of(RawBson::Int64(7)),
        ),
        ("behind nothing", Range::default(), place_of(RawBson::Null)),
    ];
    let tool = place.tool();
    for (name, range, after) in cases {
        for direction in [Direction::Ascending, Direction::Descending] {
            let list = List {
                index: index.clone(),
                equal: Vec::new(),
                range: range.clone(),
                direction,
                after: after.clone(),
                limit: 10,
            };
            let plans = list::plans(&tool, &aircraft(), &list).expect("it is right");
            for plan in &plans {
                let is_search = plan.starts_with("SEARCH") && plan.contains("(<expr>");
                assert!(is_search, "{name}, {direction:?}: {plans:?}");
            }
        }
    }
}
