//! The events are those of the examples in Debezium's documentation of each connector.

use std::collections::BTreeMap;

use projectionist_sdk::testing::{Harness, Record};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn debezium(config: &str) -> Harness<Debezium> {
    Harness::new(config).expect("the configuration is right")
}

/// As Kafka Connect's JSON converter writes it with schemas. The schemas are not read.
fn wrapped(name: &str, payload: Value) -> Value {
    json!({
        "schema": {"type": "struct", "fields": [], "optional": false, "name": name},
        "payload": payload,
    })
}

fn mysql_key(id: u64) -> String {
    wrapped(
        "mysql-server-1.inventory.customers.Key",
        json!({ "id": id }),
    )
    .to_string()
}

fn mysql_row(email: &str) -> Value {
    json!({"id": 1004, "first_name": "Anne", "last_name": "Kretchmar", "email": email})
}

fn mysql(op: &str, before: Value, after: Value) -> Record {
    let source = json!({
        "version": "3.0.0.Final", "connector": "mysql", "name": "mysql-server-1",
        "ts_ms": 1465581029523_u64, "snapshot": "false", "db": "inventory",
        "table": "customers", "server_id": 223344, "gtid": null, "file": "mysql-bin.000003",
        "pos": 484, "row": 0, "thread": 7, "query": null,
    });
    let envelope = json!({
        "before": before, "after": after, "source": source, "op": op,
        "ts_ms": 1465581029523_u64, "transaction": null,
    });
    let envelope = wrapped("mysql-server-1.inventory.customers.Envelope", envelope);
    Record::json(&mysql_key(1004), &envelope)
}

#[test]
fn a_row_of_mysql_is_created_updated_deleted_and_buried() {
    let mut debezium = debezium("{}");
    debezium
        .project([mysql("c", json!(null), mysql_row("annek@noanswer.org"))])
        .expect("a row");
    assert_eq!(
        json!(debezium.documents()),
        json!({"1004": mysql_row("annek@noanswer.org")})
    );
    debezium
        .project([mysql(
            "u",
            mysql_row("annek@noanswer.org"),
            mysql_row("anne@example.org"),
        )])
        .expect("a row");
    assert_eq!(
        json!(debezium.documents()),
        json!({"1004": mysql_row("anne@example.org")})
    );
    debezium
        .project([
            mysql("d", mysql_row("anne@example.org"), json!(null)),
            Record::tombstone(&mysql_key(1004)),
        ])
        .expect("an end");
    assert!(debezium.documents().is_empty());
    debezium
        .project([mysql("r", json!(null), mysql_row("again@example.org"))])
        .expect("a snapshot");
    assert_eq!(debezium.documents().len(), 1);
}

#[test]
fn a_key_may_have_columns_named_as_the_wrapper() {
    let mut debezium = debezium("{}");
    let event = json!({"op": "c", "after": {"n": 1}});
    let keys = [
        json!({"schema": "public", "payload": 7}),
        wrapped("Key", json!({"schema": "public", "payload": 8})),
    ];
    debezium
        .project(keys.map(|key| Record::json(&key.to_string(), &event)))
        .expect("rows");
    // The keys of these rows are in alphabetical order.
    let ids: Vec<String> = debezium.documents().into_keys().collect();
    assert_eq!(ids, ["7|public", "8|public"]);
}

#[test]
fn a_tombstone_alone_deletes_as_after_a_compaction() {
    let mut debezium = debezium("{}");
    debezium
        .project([
            mysql("c", json!(null), mysql_row("annek@noanswer.org")),
            Record::tombstone(&mysql_key(1004)),
        ])
        .expect("both name a row");
    assert!(debezium.documents().is_empty());
}

/// As PostgreSQL's connector writes it, without schemas.
fn postgres(op: &str, before: Value, after: &str) -> Record {
    let text = format!(
        r#"{{"before": {before}, "after": {after}, "source": {{
            "version": "3.0.0.Final", "connector": "postgresql", "name": "PostgreSQL_server",
            "ts_ms": 1559033904863, "snapshot": "true", "db": "postgres",
            "sequence": "[\"24023119\",\"24023128\"]", "schema": "public", "table": "customers",
            "txId": 555, "lsn": 24023128, "xmin": null}}, "op": "{op}", "ts_ms": 1559033904863}}"#
    );
    Record::default()
        .key(r#"{"id": 1, "tenant": "a|b"}"#)
        .value(text)
}

#[test]
fn a_row_of_postgresql_keeps_its_numbers_and_its_values_that_did_not_change() {
    let mut debezium = debezium(r#"{"exclude": ["internal"], "rename": {"bio": "biography"}}"#);
    debezium
        .project([
            postgres(
                "r",
                json!(null),
                r#"{"id": 1, "amount": 12345678901234567890.10, "bio": "long", "internal": 1}"#,
            ),
            postgres(
                "u",
                json!(null),
                r#"{"id": 1, "amount": 2.50, "bio": "__debezium_unavailable_value", "internal": 2}"#,
            ),
        ])
        .expect("rows");
    let document = debezium.document("1|a\\|b").expect("it was written");
    assert_eq!(
        document.get(),
        r#"{"id":1,"amount":2.50,"biography":"long"}"#
    );
}

#[test]
fn values_that_did_not_change_are_kept_in_whatever_form_the_placeholder_comes() {
    let text = "__debezium_unavailable_value";
    let bytes = "X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==";
    let hex = "5f5f646562657a69756d5f756e617661696c61626c655f76616c7565";
    let uuid = "b68a35a7-17ad-35b3-af2a-ae46edb4545a";
    let codes: Vec<u8> = text.bytes().collect();
    let doubles: Vec<f64> = text.bytes().map(f64::from).collect();
    let forms = [
        ("text", json!(text), json!("a long text")),
        ("base64", json!(bytes), json!("AAECAw==")),
        ("hex", json!(hex), json!("00010203")),
        ("texts", json!([text]), json!(["a", "b"])),
        ("byteas", json!([bytes]), json!(["AAEC"])),
        ("uuids", json!([uuid]), json!([])),
        ("integers", json!(codes), json!([1, 2, 3])),
        ("doubles", json!(doubles), json!([1.5])),
        ("map", json!({ text: text }), json!({"a": "1", "b": null})),
        (
            "map as JSON",
            json!(json!({ text: text }).to_string()),
            json!("{\"a\":\"1\"}"),
        ),
    ];
    for (name, placeholder, value) in &forms {
        let mut debezium = debezium("{}");
        let row = |n: u8, value: &Value| json!({"id": 1, "n": n, "large": value}).to_string();
        let before = || json!(null);
        let changes = [
            ("r", 1, value),
            ("u", 2, placeholder),
            ("u", 3, placeholder),
        ];
        for (op, n, value) in changes {
            let record = postgres(op, before(), &row(n, value));
            debezium.project([record]).expect("a row");
        }
        let kept = json!({"1|a\\|b": {"id": 1, "n": 3, "large": value}});
        assert_eq!(json!(debezium.documents()), kept, "{name}");

        // Where nothing is known of it, nothing is said of it.
        let mut unseen = self::debezium("{}");
        let record = postgres("u", before(), &row(2, placeholder));
        unseen.project([record]).expect("a row");
        let unknown = json!({"1|a\\|b": {"id": 1, "n": 2}});
        assert_eq!(json!(unseen.documents()), unknown, "{name}");
    }
}

#[test]
fn what_only_looks_like_a_placeholder_is_a_value() {
    let row = r#"{"id":1,"a":"say __debezium_unavailable_value","b":["__debezium_unavailable_value","x"],"c":{"__debezium_unavailable_value":"1"},"d":[95,95,100]}"#;
    let mut debezium = debezium("{}");
    debezium
        .project([postgres("c", json!(null), row)])
        .expect("a row");
    let document = debezium.document("1|a\\|b").expect("it was written");
    assert_eq!(document.get(), row);
}

#[test]
fn the_number_of_a_row_is_passed_on_to_the_letter() {
    let mut debezium = debezium("");
    let row = r#"{"amount":12345678901234567890.10,"z":1,"a":2}"#;
    debezium
        .project([postgres("c", json!(null), row)])
        .expect("a row");
    let document = debezium.document("1|a\\|b").expect("it was written");
    assert_eq!(document.get(), row);
}

#[test]
fn a_deleted_row_is_kept_if_asked_for_with_all_its_columns() {
    let mut debezium =
        debezium(r#"{"keep-deleted": true, "add-fields": ["op", "source.lsn", "source.gone"]}"#);
    let key_alone = json!({"id": 1, "name": null});
    debezium
        .project([postgres("c", json!(null), r#"{"id": 1, "name": "Anne"}"#)])
        .expect("a row");
    let there =
        json!({"id": 1, "name": "Anne", "__op": "c", "__source_lsn": 24023128, "__deleted": false});
    assert_eq!(json!(debezium.documents()), json!({"1|a\\|b": there}));
    debezium
        .project([
            postgres("d", key_alone.clone(), "null"),
            Record::tombstone(r#"{"id": 1, "tenant": "a|b"}"#),
        ])
        .expect("an end");
    let gone =
        json!({"id": 1, "name": "Anne", "__op": "d", "__source_lsn": 24023128, "__deleted": true});
    assert_eq!(json!(debezium.documents()), json!({"1|a\\|b": gone}));

    let mut unseen = self::debezium(r#"{"keep-deleted": true}"#);
    unseen
        .project([postgres("d", key_alone, "null")])
        .expect("an end");
    assert_eq!(
        json!(unseen.documents()),
        json!({"1|a\\|b": {"id": 1, "name": null, "__deleted": true}})
    );
}

fn mongodb(op: &str, id: &str, after: Option<&str>) -> Record {
    let key = wrapped("dbserver1.inventory.customers.Key", json!({ "id": id }));
    let envelope = json!({
        "before": null, "after": after, "op": op, "ts_ms": 1558965515240_u64,
        "updateDescription": null,
        "source": {
            "version": "3.0.0.Final", "connector": "mongodb", "name": "fulfillment",
            "ts_ms": 1558965508000_u64, "snapshot": false, "db": "inventory", "rs": "rs0",
            "collection": "customers", "ord": 31, "h": 1546547425148721999_i64,
        },
    });
    let envelope = wrapped("dbserver1.inventory.customers.Envelope", envelope);
    Record::json(&key.to_string(), &envelope)
}

#[test]
fn a_document_of_mongodb_is_read_out_of_its_text() {
    let mut debezium = debezium(r#"{"connector": "mongodb"}"#);
    let after = r#"{"_id": {"$numberLong": "1004"}, "first_name": "Anne", "score": {"$numberDecimal": "1.50"}}"#;
    debezium
        .project([
            mongodb("c", "1004", Some(after)),
            mongodb(
                "c",
                r#"{"$oid": "596e275826f08b2730779e1f"}"#,
                Some(r#"{"_id": 1, "n": 1}"#),
            ),
            mongodb("r", "\"text\"", Some(r#"{"_id": "text", "n": 2}"#)),
            mongodb("c", r#"{"a": 1, "b": 2}"#, Some(r#"{"n": 3}"#)),
            mongodb("c", "7", Some(r#"{"_id": 7}"#)),
            mongodb("d", "7", None),
        ])
        .expect("documents");
    assert_eq!(
        json!(debezium.documents()),
        json!({
            "1004": {"first_name": "Anne", "score": {"$numberDecimal": "1.50"}},
            "596e275826f08b2730779e1f": {"n": 1},
            "text": {"n": 2},
            r#"{"a": 1, "b": 2}"#: {"n": 3},
        })
    );
}

#[test]
fn ids_of_mongodb_are_one_document_only_where_they_are_one_value() {
    let oid = "596e275826f08b2730779e1f";
    let ids = [
        ("1", "1"),
        ("\"1\"", "\"1\""),
        (r#"{"$numberLong": "2"}"#, "2"),
        ("1.5", "1.5"),
        ("\"1.5\"", "\"1.5\""),
        ("true", "true"),
        ("\"true\"", "\"true\""),
        ("null", "null"),
        ("\"null\"", "\"null\""),
        (r#"{"$oid": "596e275826f08b2730779e1f"}"#, oid),
        (
            r#""596e275826f08b2730779e1f""#,
            "\"596e275826f08b2730779e1f\"",
        ),
        (r#"{"$date": 1}"#, r#"{"$date": 1}"#),
        (r#"{"$numberDecimal": "1"}"#, r#"{"$numberDecimal": "1"}"#),
        (
            r#"{"$binary": "AQI=", "$type": "04"}"#,
            r#"{"$binary": "AQI=", "$type": "04"}"#,
        ),
        (r#"{"a": 1}"#, r#"{"a": 1}"#),
        (r#""{\"a\": 1}""#, r#""{\"a\": 1}""#),
        (r#""\"1\"""#, r#""\"1\"""#),
        ("\"\"", "\"\""),
        ("\"a text\"", "a text"),
        ("\"01\"", "01"),
    ];
    let mut debezium = debezium(r#"{"connector": "mongodb"}"#);
    let after = |n: usize| format!(r#"{{"n": {n}}}"#);
    let inserts = ids.iter().enumerate();
    debezium
        .project(inserts.map(|(n, (id, _))| mongodb("c", id, Some(&after(n)))))
        .expect("documents");
    let expected: BTreeMap<String, Value> = ids
        .iter()
        .enumerate()
        .map(|(n, (_, id))| ((*id).to_owned(), json!({ "n": n })))
        .collect();
    assert_eq!(expected.len(), ids.len());
    assert_eq!(json!(debezium.documents()), json!(expected));
    debezium
        .project(ids.iter().map(|(id, _)| mongodb("d", id, None)))
        .expect("deletions");
    assert!(debezium.documents().is_empty());
}

#[test]
fn doubles_of_mongodb_that_are_no_numbers_are_read() {
    let mut debezium = debezium(r#"{"connector": "mongodb"}"#);
    let after =
        r#"{"_id": 1, "a": NaN, "b": [-Infinity, Infinity], "ü\"NaN\\": "x NaN, \\\" Infinity"}"#;
    debezium
        .project([
            mongodb("c", "1", Some(after)),
            mongodb("c", "NaN", Some(r#"{"n": 1}"#)),
        ])
        .expect("documents");
    let double = |word: &str| json!({ "$numberDouble": word });
    assert_eq!(
        json!(debezium.documents()),
        json!({
            "1": {
                "a": double("NaN"),
                "b": [double("-Infinity"), double("Infinity")],
                "ü\"NaN\\": "x NaN, \\\" Infinity",
            },
            r#"{"$numberDouble":"NaN"}"#: {"n": 1},
        })
    );
}

#[test]
fn an_update_of_a_document_that_is_gone_is_passed_and_its_deletion_follows() {
    let mut debezium = debezium(r#"{"connector": "mongodb"}"#);
    debezium
        .project([
            mongodb("c", "7", Some(r#"{"_id": 7, "n": 1}"#)),
            mongodb("u", "7", None),
        ])
        .expect("the update is passed");
    assert_eq!(json!(debezium.documents()), json!({"7": {"n": 1}}));
    debezium
        .project([mongodb("u", "7", None), mongodb("d", "7", None)])
        .expect("the deletion is folded");
    assert!(debezium.documents().is_empty());
}

#[test]
fn what_is_no_change_of_a_row_is_rejected_or_passed_over() {
    let event = |text: &str| Record::default().key("{\"id\": 1}").value(text);
    let truncate = || event(r#"{"op": "t", "before": null, "after": null}"#);
    let cases = [
        ("{}", truncate(), "truncate = \"ignore\""),
        (
            "{}",
            event(r#"{"id": 1, "name": "Anne"}"#),
            "it has no \"op\"",
        ),
        ("{}", event(r#"{"op": "x"}"#), "its op is \"x\""),
        (
            "{}",
            event(r#"{"op": "u", "after": null}"#),
            "has no \"after\", which is the row",
        ),
        (
            "{}",
            event(r#"{"op": "u", "after": "{}"}"#),
            "set connector = \"mongodb\"",
        ),
        ("{}", event("[]"), "expected an object"),
        (
            "{}",
            event(r#"{"op": "c", "after": {}}"#).key("7"),
            "the key is no JSON object",
        ),
        (
            "{}",
            event(r#"{"op": "c", "after": {}}"#).key(r#"{"id": null}"#),
            "the key's id is null",
        ),
        (
            r#"{"connector": "mongodb"}"#,
            mongodb("c", "1", None),
            "change_streams_update_full",
        ),
        (
            r#"{"connector": "mongodb"}"#,
            event(r#"{"op": "d"}"#),
            "no string of JSON",
        ),
        (
            "{}",
            Record::default().value(r#"{"op": "c", "after": {}}"#),
            "message.key.columns",
        ),
    ];
    for (config, record, reason) in cases {
        let rejected = debezium(config).project([record]).expect_err(reason);
        assert!(rejected.reason.contains(reason), "{}", rejected.reason);
    }
    let mut ignoring = debezium(r#"{"truncate": "ignore"}"#);
    let message = Record::default().value(r#"{"op": "m", "message": {"prefix": "p"}}"#);
    ignoring
        .project([truncate(), message])
        .expect("passed over");
    assert!(ignoring.documents().is_empty());
}

#[test]
fn a_wrong_configuration_says_why() {
    let cases = [
        (r#"{"connector": "oracle"}"#, "unknown variant `oracle`"),
        (
            r#"{"add-fields": ["a.b", "a_b"]}"#,
            "two fields that become __a_b",
        ),
        (r#"{"include": []}"#, "include is empty"),
        (r#"{"keep_deleted": true}"#, "unknown field `keep_deleted`"),
    ];
    for (config, reason) in cases {
        let problem = Harness::<Debezium>::new(config).err().expect(config);
        assert!(problem.contains(reason), "{config}: {problem}");
    }
}

proptest! {
    /// Whatever happens to the rows of a table, the documents are the table.
    #[test]
    fn the_documents_are_the_table(
        changes in prop::collection::vec((0u8..4, prop::option::of(0u32..100), any::<bool>()), 0..30),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut table: BTreeMap<String, Value> = BTreeMap::new();
        let mut records = Vec::new();
        for (id, value, with_tombstone) in changes {
            let key = json!({ "id": id }).to_string();
            let before = table.get(&id.to_string()).cloned();
            let (op, after) = match value {
                Some(n) if before.is_none() => ("c", json!({"id": id, "n": n})),
                Some(n) => ("u", json!({"id": id, "n": n})),
                None => ("d", json!(null)),
            };
            records.push(Record::json(&key, &json!({"before": before, "after": after, "op": op})));
            if after.is_null() {
                table.remove(&id.to_string());
                records.extend(with_tombstone.then(|| Record::tombstone(&key)));
            } else {
                table.insert(id.to_string(), after);
            }
        }
        let mut debezium = debezium("{}");
        let late = records.split_off(cut.index(records.len() + 1));
        for batch in [records, late] {
            debezium.project(batch).expect("changes of rows");
        }
        prop_assert_eq!(debezium.documents(), table);
    }
}
