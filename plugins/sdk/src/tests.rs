//! Tests of the fold: what is written for a batch, what is rejected, and that neither depends on
//! how the events are cut into batches.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::bindings::exports::projectionist::plugin::projection::{Batch, Output};
use crate::column::Column;
use crate::fold::{self, Documents};
use crate::testing::{Harness, Record, Rejected};
use crate::{Event, Ids, Message, NoConfig, Ownership, Projection, Reject};

/// Moves money between accounts: two documents per event, each with its history.
struct Transfers {
    fee: i64,
}

/// Whoever owes more has transfers rejected, which depends on what came before.
const LIMIT_CENTS: i64 = 10;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    #[serde(default)]
    fee: i64,
}

#[derive(Serialize, Deserialize)]
struct Transfer {
    from: String,
    to: String,
    cents: i64,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Account {
    cents: i64,
    /// The amounts in the order of the events.
    history: Vec<i64>,
}

impl Projection for Transfers {
    const NAME: &str = "transfers";
    const VERSION: &str = "1";
    const VIEW: &str = "accounts";
    const OWNERSHIP: Ownership = Ownership::Shared;
    const HEADERS: &[&str] = &["void"];
    type Config = Config;
    type Event<'a> = Transfer;
    type Document = Account;

    fn new(config: Config) -> Result<Self, String> {
        match config.fee {
            0.. => Ok(Transfers { fee: config.fee }),
            fee => Err(format!("fee is {fee}; it cannot be negative")),
        }
    }

    /// A tombstone closes the account that is its key.
    fn ids<'a>(&self, event: &Event<'a, Transfer>, ids: &mut Ids<'_>) -> Result<(), Reject> {
        if event.header("void") == Some(b"yes") {
            return Ok(());
        }
        match &event.value {
            Some(transfer) => {
                ids.add(&transfer.from);
                ids.add(&transfer.to);
            }
            None => ids.add(event.key_str()?.ok_or(Reject::because("no account"))?),
        }
        Ok(())
    }

    fn fold(
        &self,
        event: &Event<'_, Transfer>,
        id: &str,
        account: &mut Option<Account>,
    ) -> Result<(), Reject> {
        let Some(transfer) = &event.value else {
            *account = None;
            return Ok(());
        };
        let mut add = |cents: i64| {
            let account = account.get_or_insert_default();
            account.cents += cents;
            account.history.push(cents);
        };
        if id == transfer.from {
            add(-transfer.cents - self.fee);
        }
        if id == transfer.to {
            add(transfer.cents);
        }
        if transfer.cents == 0 && id == transfer.to {
            return Err(Reject::because("nothing to transfer"));
        }
        if account
            .as_ref()
            .is_some_and(|account| account.cents < -LIMIT_CENTS)
        {
            return Err(Reject::because("the account is overdrawn"));
        }
        Ok(())
    }
}

fn transfers() -> Harness<Transfers> {
    Harness::new("{}").expect("the fee has a default")
}

fn transfer(from: &str, to: &str, cents: i64) -> Record {
    let value = Transfer {
        from: from.to_owned(),
        to: to.to_owned(),
        cents,
    };
    Record::json(from, &value)
}

fn account(history: &[i64]) -> Option<Account> {
    Some(Account {
        cents: history.iter().sum(),
        history: history.to_vec(),
    })
}

/// Stored documents that count how often they are asked for.
#[derive(Default)]
struct Stored {
    documents: Vec<(&'static str, &'static str)>,
    asked: Vec<Vec<String>>,
}

impl Documents for Stored {
    fn get_many(&mut self, ids: &Column) -> Column {
        let ids: Vec<String> = ids.iter().map(text).collect();
        let mut found = Column::new();
        for id in &ids {
            let document = self.documents.iter().find(|(known, _)| known == id);
            found.push_optional(document.map(|(_, json)| json.as_bytes()));
        }
        self.asked.push(ids);
        found
    }
}

fn text(item: Option<&[u8]>) -> String {
    item.map_or("(missing)".to_owned(), |bytes| {
        String::from_utf8(bytes.to_vec()).expect("the tests use UTF-8")
    })
}

/// Event index, id and document of each write.
fn writes(output: &Output) -> Vec<(u32, String, String)> {
    let writes = &output.writes;
    assert_eq!(writes.views, vec![0; writes.events.len()]);
    assert_eq!(writes.ids.len(), writes.events.len());
    assert_eq!(writes.documents.len(), writes.events.len());
    let ids = writes.ids.iter().map(text);
    let documents = writes.documents.iter().map(text);
    let events = writes.events.iter().copied();
    events
        .zip(ids)
        .zip(documents)
        .map(|((event, id), document)| (event, id, document))
        .collect()
}

fn write(event: u32, id: &str, document: &str) -> (u32, String, String) {
    (event, id.to_owned(), document.to_owned())
}

fn batch(records: &[Record]) -> Batch {
    let mut batch = Batch {
        topic: "transfers".to_owned(),
        partition: 3,
        offsets: (100..).take(records.len()).collect(),
        timestamps_ms: vec![0; records.len()],
        keys: Column::new(),
        values: Column::new(),
        headers: vec![Column::new()],
    };
    for record in records {
        batch.keys.push_optional(record.key.as_deref());
        batch.values.push_optional(record.value.as_deref());
        let header = record.headers.first();
        batch.headers[0].push_optional(header.map(|(_, value)| value.as_slice()));
    }
    batch
}

fn project(records: &[Record], stored: &mut Stored) -> Output {
    fold::project(&Transfers { fee: 0 }, &batch(records), stored).expect("accounts have JSON forms")
}

#[test]
fn several_events_of_a_document_are_one_read_and_one_write() {
    let mut stored = Stored {
        documents: vec![("b", r#"{"cents":7,"history":[7]}"#)],
        ..Stored::default()
    };

    let output = project(
        &[
            transfer("a", "b", 5),
            transfer("b", "c", 2),
            transfer("a", "b", 1),
        ],
        &mut stored,
    );

    assert_eq!(stored.asked, [["a", "b", "c"]]);
    assert_eq!(
        writes(&output),
        [
            write(2, "a", r#"{"cents":-6,"history":[-5,-1]}"#),
            write(2, "b", r#"{"cents":11,"history":[7,5,-2,1]}"#),
            write(1, "c", r#"{"cents":2,"history":[2]}"#),
        ]
    );
    assert_eq!(output.rejects.len(), 0);
}

#[test]
fn of_a_name_that_an_event_has_twice_the_last_one_counts() {
    let mut bank = transfers();
    let twice = r#"{"from":"x","to":"b","cents":9,"from":"a","cents":2}"#;
    bank.project([
        transfer("a", "b", 1),
        Record::default().key("a").value(twice),
    ])
    .expect("both are transfers");
    assert_eq!(bank.document("a"), account(&[-1, -2]));
    assert_eq!(bank.document("b"), account(&[1, 2]));
    assert_eq!(bank.document("x"), None);
}

#[test]
fn a_deletion_is_written_only_where_something_was_stored() {
    let mut stored = Stored {
        documents: vec![("a", r#"{"cents":7,"history":[7]}"#)],
        ..Stored::default()
    };

    let output = project(
        &[
            Record::tombstone("a"),
            Record::tombstone("never"),
            transfer("new", "b", 1),
            Record::tombstone("new"),
        ],
        &mut stored,
    );

    assert_eq!(
        writes(&output),
        [
            write(0, "a", "(missing)"),
            write(2, "b", r#"{"cents":1,"history":[1]}"#),
        ]
    );
}

#[test]
fn a_document_that_is_deleted_and_recreated_in_a_batch_starts_anew() {
    let mut stored = Stored {
        documents: vec![("a", r#"{"cents":7,"history":[7]}"#)],
        ..Stored::default()
    };

    let output = project(
        &[Record::tombstone("a"), transfer("a", "a", 4)],
        &mut stored,
    );

    assert_eq!(
        writes(&output),
        [write(1, "a", r#"{"cents":0,"history":[-4,4]}"#)]
    );
}

#[test]
fn events_that_touch_nothing_ask_and_write_nothing() {
    let mut stored = Stored::default();

    let output = project(&[transfer("a", "b", 5).header("void", "yes")], &mut stored);

    assert_eq!(stored.asked, [[""; 0]; 0]);
    assert_eq!(writes(&output), []);
}

#[test]
fn a_rejected_event_leaves_the_events_before_it_alone_and_stops_those_after() {
    let void = transfer("x", "y", 1).header("void", "yes");
    let cases = [
        ("by fold", transfer("a", "b", 0), "nothing to transfer"),
        (
            "by decoding",
            Record::json("a", &json!({"from": "a", "to": 5})),
            "the value is not what this projection reads: \
             invalid type: integer `5`, expected a string at line 1 column 18",
        ),
        ("by ids", Record::default(), "no account"),
        (
            "by its key",
            Record::default().key([0xff]),
            "the key is not UTF-8 (invalid utf-8 sequence of 1 bytes from index 0), \
             so it names no document",
        ),
    ];
    for (name, poison, reason) in cases {
        let mut harness = transfers();
        let rejected = harness.project([
            void.clone(),
            transfer("a", "b", 5),
            poison,
            transfer("a", "c", 1),
        ]);

        let expected = Rejected {
            record: 2,
            reason: reason.to_owned(),
        };
        assert_eq!(rejected, Err(expected), "{name}");
        assert_eq!(harness.document("a"), account(&[-5]), "{name}");
        assert_eq!(harness.document("b"), account(&[5]), "{name}");
        assert_eq!(harness.documents().len(), 2, "{name}");
    }
}

fn rejects(output: &Output) -> Vec<u32> {
    output.rejects.iter().map(|reject| reject.event).collect()
}

#[test]
fn all_rejected_events_are_named_but_those_behind_one_of_their_key() {
    let no_json = |key: &str| Record::default().key(key).value("no JSON");
    let output = project(
        &[
            transfer("a", "b", 0),
            no_json("a"),
            no_json("c"),
            transfer("d", "e", 1),
            transfer("f", "g", 0),
            Record::default(),
            Record::default(),
        ],
        &mut Stored::default(),
    );

    assert_eq!(rejects(&output), [0, 2, 4, 5, 6]);
    let ids: Vec<String> = writes(&output).into_iter().map(|write| write.1).collect();
    assert_eq!(ids, ["d", "e"], "what the others came to");
}

#[test]
fn what_a_rejected_event_may_have_changed_is_as_if_it_had_not_been() {
    let output = project(
        &[
            transfer("x", "b", 7),
            transfer("a", "b", 0),
            transfer("y", "b", 0),
            transfer("z", "b", 2),
            transfer("p", "q", 0),
        ],
        &mut Stored {
            documents: vec![("q", r#"{"cents":7,"history":[7]}"#)],
            ..Stored::default()
        },
    );

    assert_eq!(rejects(&output), [1, 2, 4]);
    assert_eq!(
        writes(&output),
        [
            write(0, "x", r#"{"cents":-7,"history":[-7]}"#),
            write(3, "b", r#"{"cents":9,"history":[7,2]}"#),
            write(3, "z", r#"{"cents":-2,"history":[-2]}"#),
        ]
    );
}

/// So many that their documents are not folded anew one by one, but all at once.
#[test]
fn of_many_rejected_events_each_is_named_and_the_others_are_written() {
    let transfers = (0..1_000).map(|number| {
        let amount = i64::from(number % 3 > 0);
        transfer(&format!("from-{number}"), &format!("to-{number}"), amount)
    });
    let output = project(&transfers.collect::<Vec<_>>(), &mut Stored::default());

    let expected: Vec<u32> = (0..1_000).step_by(3).collect();
    assert_eq!(rejects(&output), expected);
    assert_eq!(writes(&output).len(), 2 * (1_000 - expected.len()));
}

#[test]
fn a_stored_document_of_another_shape_rejects_the_event_that_touches_it() {
    let mut stored = Stored {
        documents: vec![("b", r#"{"dollars":7}"#)],
        ..Stored::default()
    };

    let output = project(&[transfer("a", "c", 5), transfer("a", "b", 5)], &mut stored);

    assert_eq!(rejects(&output), [1]);
    assert_eq!(
        output.rejects[0].reason,
        "the stored document \"b\" is not what this projection reads: missing field `cents` at \
         line 1 column 13; a new shape of document needs a new version of the view"
    );
}

/// Looks at everything that an event has besides its value.
struct Coordinates;

impl Projection for Coordinates {
    const NAME: &str = "coordinates";
    const VERSION: &str = "1";
    const VIEW: &str = "coordinates";
    const HEADERS: &[&str] = &["void", "trace"];
    type Config = NoConfig;
    type Event<'a> = serde_json::Value;
    type Document = serde_json::Value;

    fn new(_: NoConfig) -> Result<Self, String> {
        Ok(Coordinates)
    }

    fn fold(
        &self,
        event: &Event<'_, serde_json::Value>,
        id: &str,
        document: &mut Option<serde_json::Value>,
    ) -> Result<(), Reject> {
        let seen = json!({
            "id": id,
            "key": event.key(),
            "at": (event.topic(), event.partition(), event.offset(), event.timestamp_ms()),
            "trace": event.header("trace"),
            "is_tombstone": event.value.is_none(),
        });
        *document = Some(seen);
        Ok(())
    }
}

#[test]
fn an_event_knows_where_and_when_it_was() {
    let mut harness = Harness::<Coordinates>::new("").expect("there are no settings");

    harness
        .project([
            Record::json("k", &1).header("trace", "t1").timestamp_ms(-5),
            Record::tombstone("l").header("other", "o"),
            Record::json("", &json!(null)).header("trace", ""),
            Record::default().value("1"),
        ])
        .expect("all are taken");

    let at = |offset: u64, ms: i64| json!(("test", 0, offset, ms));
    assert_eq!(
        json!(harness.documents()),
        json!({
            "k": {"id": "k", "key": [107], "at": at(0, -5), "trace": [116, 49], "is_tombstone": false},
            "l": {"id": "l", "key": [108], "at": at(1, 0), "trace": null, "is_tombstone": true},
            "": {"id": "", "key": [], "at": at(2, 0), "trace": [], "is_tombstone": false},
        })
    );
}

#[test]
fn a_wrong_configuration_says_why() {
    let cases = [
        (r#"{"fee": -1}"#, "fee is -1; it cannot be negative"),
        (
            r#"{"fees": 1}"#,
            "the configuration is not what transfers reads: \
             unknown field `fees`, expected `fee` at line 1 column 7",
        ),
    ];
    for (config, reason) in cases {
        assert_eq!(
            Harness::<Transfers>::new(config).err().as_deref(),
            Some(reason)
        );
    }
    let error = Harness::<Coordinates>::new(r#"{"a": 1}"#).err();
    let expected = "the configuration is not what coordinates reads: \
                    unknown field `a`, there are no fields at line 1 column 4";
    assert_eq!(error.as_deref(), Some(expected));
}

#[test]
fn a_setting_reaches_the_fold() {
    let mut harness = Harness::<Transfers>::new(r#"{"fee": 3}"#).expect("3 is a fee");

    harness
        .project([transfer("a", "b", 5)])
        .expect("it is a transfer");

    assert_eq!(harness.document("a"), account(&[-8]));
    assert_eq!(harness.document("b"), account(&[5]));
}

fn any_record() -> impl Strategy<Value = Record> {
    let name = || prop::sample::select(vec!["a", "b", "c", "d", ""]);
    prop_oneof![
        6 => (name(), name(), 0..20_i64).prop_map(|(from, to, cents)| transfer(from, to, cents)),
        1 => name().prop_map(Record::tombstone),
        1 => name().prop_map(|name| transfer(name, "e", 1).header("void", "yes")),
        1 => Just(Record::default().key("a").value("no JSON")),
    ]
}

/// Projects as the host does: what is rejected is left out, what comes after it goes again.
fn project_all(records: &[Record], cut: usize) -> (Harness<Transfers>, usize) {
    let mut harness = transfers();
    let mut rejected_count = 0;
    for mut batch in records.chunks(cut) {
        while let Err(Rejected { record, .. }) = harness.project(batch.to_vec()) {
            rejected_count += 1;
            batch = &batch[record + 1..];
        }
    }
    (harness, rejected_count)
}

proptest! {
    #[test]
    fn the_cut_into_batches_changes_nothing(
        records in prop::collection::vec(any_record(), 0..60),
        cut in 2..70_usize,
    ) {
        let (one_by_one, rejected_one_by_one) = project_all(&records, 1);
        let (in_batches, rejected_in_batches) = project_all(&records, cut);

        prop_assert_eq!(one_by_one.documents(), in_batches.documents());
        prop_assert_eq!(rejected_one_by_one, rejected_in_batches);
    }
}

/// Few accounts, so that many are overdrawn, and keys that are not the payer.
fn any_payment() -> impl Strategy<Value = Record> {
    let name = || prop::sample::select(vec!["a", "b", "c", "d", "e", "f", "g", "h"]);
    let key = prop::option::weighted(0.9, name());
    (key, name(), name(), 0..6_i64).prop_map(|(key, from, to, cents)| Record {
        key: key.map(Into::into),
        ..transfer(from, to, cents)
    })
}

/// Each transfer is folded by itself, and the later ones of a rejected one's key are left out.
/// Answers which are rejected.
fn park_one_by_one(records: &[Record]) -> (Harness<Transfers>, Vec<usize>) {
    let mut harness = transfers();
    let (mut parked, mut rejected) = (Vec::new(), Vec::new());
    for (index, record) in records.iter().enumerate() {
        if record.key.is_some() && parked.contains(&record.key) {
            continue;
        }
        if harness.project([record.clone()]).is_err() {
            parked.push(record.key.clone());
            rejected.push(index);
        }
    }
    (harness, rejected)
}

fn contents(output: &Output) -> BTreeMap<String, String> {
    let writes = writes(output).into_iter();
    writes.map(|(_, id, document)| (id, document)).collect()
}

/// Folds a batch without these events and the later ones of their keys.
fn project_rest(records: &[Record], rejected: &[u32]) -> Output {
    let (mut keys, mut rest) = (Vec::new(), Vec::new());
    for (index, record) in (0..).zip(records) {
        if record.key.is_some() && keys.contains(&&record.key) {
            continue;
        }
        if rejected.contains(&index) {
            keys.push(&record.key);
        } else {
            rest.push(record.clone());
        }
    }
    project(&rest, &mut Stored::default())
}

/// The whole batch is folded, again and again without what the answers name.
fn park_in_a_batch(records: &[Record]) -> (Harness<Transfers>, Vec<usize>) {
    let (mut harness, mut rejected) = (transfers(), Vec::new());
    loop {
        let mut parked = Vec::new();
        let mut left = Vec::new();
        for (index, record) in records.iter().enumerate() {
            if record.key.is_some() && parked.contains(&&record.key) {
                continue;
            }
            if rejected.contains(&index) {
                parked.push(&record.key);
            } else {
                left.push(index);
            }
        }
        let taken: Vec<Record> = left.iter().map(|&index| records[index].clone()).collect();
        let output = project(&taken, &mut Stored::default());
        if output.rejects.is_empty() {
            harness.project(taken).expect("nothing is rejected");
            rejected.sort_unstable();
            return (harness, rejected);
        }
        if !output.writes.events.is_empty() {
            let rest = project_rest(&taken, &rejects(&output));
            assert_eq!(contents(&output), contents(&rest));
        }
        let named = rejects(&output).into_iter();
        rejected.extend(named.map(|event| left[event as usize]));
    }
}

proptest! {
    #[test]
    fn what_is_named_at_once_is_what_is_rejected_one_by_one(
        records in prop::collection::vec(prop_oneof![8 => any_payment(), 1 => any_record()], 0..60),
    ) {
        let (one_by_one, expected) = park_one_by_one(&records);
        let (in_a_batch, named) = park_in_a_batch(&records);

        prop_assert_eq!(named, expected);
        prop_assert_eq!(in_a_batch.documents(), one_by_one.documents());
    }
}

/// Tells of each event twice: by its ids, and by each of its documents.
struct Crier;

impl Projection for Crier {
    const NAME: &str = "crier";
    const VERSION: &str = "1";
    const VIEW: &str = "cries";
    const OWNERSHIP: Ownership = Ownership::Shared;
    type Config = NoConfig;
    type Event<'a> = Vec<String>;
    type Document = u64;

    fn new(_: NoConfig) -> Result<Self, String> {
        Ok(Crier)
    }

    fn ids<'a>(&self, event: &Event<'a, Vec<String>>, ids: &mut Ids<'_>) -> Result<(), Reject> {
        event.send(Message::to("heard").key(event.offset().to_string()));
        for id in event.value.iter().flatten() {
            ids.add(id);
        }
        Ok(())
    }

    fn fold(
        &self,
        event: &Event<'_, Vec<String>>,
        id: &str,
        count: &mut Option<u64>,
    ) -> Result<(), Reject> {
        event.send(
            Message::to("folded")
                .key(event.offset().to_string())
                .value(id),
        );
        if id == "poison" {
            return Err(Reject::because("it is poison"));
        }
        *count = Some(count.unwrap_or(0) + 1);
        Ok(())
    }
}

/// Each message as `topic offset id`.
fn cries(harness: &mut Harness<Crier>) -> Vec<String> {
    let text = |bytes: Option<Vec<u8>>| String::from_utf8(bytes.unwrap_or_default());
    let messages = harness.take_messages().into_iter();
    messages
        .map(|message| {
            let key = text(message.key).expect("an offset");
            let value = text(message.value).expect("an id");
            format!("{} {key} {value}", message.topic).trim().to_owned()
        })
        .collect()
}

#[test]
fn messages_go_out_in_the_order_of_their_events_and_of_the_calls() {
    let mut harness = Harness::<Crier>::new("{}").expect("no configuration");

    harness
        .project([
            Record::json("a", &["x", "y"]),
            Record::json("b", &[""; 0]),
            Record::json("c", &["x"]),
        ])
        .expect("no poison");

    let expected = [
        "heard 0",
        "folded 0 x",
        "folded 0 y",
        "heard 1",
        "heard 2",
        "folded 2 x",
    ];
    assert_eq!(cries(&mut harness), expected);
    assert_eq!(cries(&mut harness), [""; 0], "they are taken once");
}

#[test]
fn a_rejected_event_sends_nothing_and_those_before_it_send_once() {
    let mut harness = Harness::<Crier>::new("{}").expect("no configuration");

    let rejected = harness
        .project([
            Record::json("a", &["x"]),
            Record::json("b", &["x", "poison"]),
            Record::json("c", &["x"]),
        ])
        .expect_err("poison");

    assert_eq!(rejected.record, 1);
    assert_eq!(cries(&mut harness), ["heard 0", "folded 0 x"]);
    assert_eq!(harness.document("x"), Some(1));
}

#[test]
fn what_is_left_out_sends_nothing_and_the_rest_sends_once() {
    let records = [
        Record::json("a", &["x"]),
        Record::json("b", &["y", "poison"]),
        Record::json("b", &[""; 0]),
        Record::json("c", &["x"]),
    ];
    let output = fold::project(&Crier, &batch(&records), &mut Stored::default());
    let output = output.expect("counts have JSON forms");

    assert_eq!(rejects(&output), [1]);
    let sent = output.messages.iter();
    let sent: Vec<(u32, &str)> = sent.map(|sent| (sent.event, &*sent.topic)).collect();
    assert_eq!(
        sent,
        [(0, "heard"), (0, "folded"), (3, "heard"), (3, "folded")]
    );
    assert_eq!(writes(&output), [write(3, "x", "2")]);
}

#[test]
fn an_event_that_cannot_be_read_sends_nothing() {
    let mut harness = Harness::<Crier>::new("{}").expect("no configuration");

    let rejected = harness
        .project([
            Record::json("a", &["x"]),
            Record::default().key("b").value("no JSON"),
        ])
        .expect_err("no JSON");

    assert_eq!(rejected.record, 1);
    assert_eq!(cries(&mut harness), ["heard 0", "folded 0 x"]);
}

#[test]
fn a_message_carries_what_it_was_given() {
    let message = Message::to("payments")
        .key("o-1")
        .json(&json!({"cents": 5}))
        .expect("it has a JSON form")
        .header("kind", "request")
        .header("kind", "repeated");

    assert_eq!(
        Record::from(message),
        Record::default()
            .key("o-1")
            .value(r#"{"cents":5}"#)
            .header("kind", "request")
            .header("kind", "repeated")
    );
    let tombstone = Record::from(Message::to("payments").key("o-1"));
    assert_eq!(tombstone, Record::tombstone("o-1"));
}
