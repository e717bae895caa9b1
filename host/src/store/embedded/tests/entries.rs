//! Entries as tools see them, and in files of earlier versions of this host.

use bson::rawdoc;

use super::*;

fn entry(table: Table, body: bson::RawDocumentBuf) -> Entry {
    Entry {
        table,
        id: "a".into(),
        body,
    }
}

#[tokio::test]
async fn a_file_of_an_earlier_version_gets_what_it_lacks_and_keeps_the_rest() {
    let place = Place::new();
    let store = place.owner().await;
    let commit = insert(&aircraft(), "a", "", 0);
    store.commit(&commit).await.expect("in order");
    drop(store);
    closed(&place);
    let tool = place.tool();
    for table in Table::ALL {
        let drop = format!("DROP TABLE {table}");
        tool.execute_batch(&drop).expect("it was there");
    }
    tool.execute_batch("ALTER TABLE _checkpoints DROP COLUMN repairs")
        .expect("it was there");
    drop(tool);

    let store = place.open();
    let claim = store.claim(&checkpoint(), "test").await.expect("in order");
    let expected = Claim {
        epoch: Epoch(2),
        next: NextOffset(1),
        repairs: 0,
    };
    assert_eq!(claim, expected);
    assert!(exists(&store, "a").await);
    for table in Table::ALL {
        let entry = entry(table, rawdoc! {});
        store.put_entry(&entry).await.expect("its table is there");
    }
}

#[tokio::test]
async fn any_tool_reads_entries_and_one_changed_by_hand_is_named() {
    let place = Place::new();
    let store = place.owner().await;
    let parked = entry(Table::Parked, rawdoc! { "error": "trap" });
    store.put_entry(&parked).await.expect("in order");
    let tool = place.tool();
    let select = "SELECT json_extract(json, '$.error') FROM _parked WHERE id = 'a'";
    let error: String = tool
        .query_row(select, [], |row| row.get(0))
        .expect("it was put");
    assert_eq!(error, "trap");

    tool.execute_batch("UPDATE _parked SET bson = x'00'")
        .expect("anybody may");
    let found = store.entries(Table::Parked, "", None, 1).await;
    let error = found.expect_err("no BSON").to_string();
    assert!(
        error.contains("entry \"a\" of _parked was changed by somebody else"),
        "{error}"
    );
}
