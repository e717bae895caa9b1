use std::collections::BTreeMap;

use bson::{Bson, doc};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use super::*;

fn written<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(value, &mut bytes).expect("it has a form in BSON");
    bytes
}

/// As the library reads it that every host and MongoDB's own tools share.
fn library(bytes: &[u8]) -> bson::Document {
    bson::Document::from_reader(bytes).expect("valid BSON")
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Shape {
    Point,
    Circle(f64),
    Box(u8, u8),
    Label { text: String },
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Pair(i64, Option<String>);

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Extra {
    more: BTreeMap<String, i64>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Everything {
    small: i8,
    large: u64,
    fraction: f64,
    letter: char,
    text: String,
    yes: bool,
    nothing: Option<i64>,
    something: Option<i64>,
    unit: (),
    list: Vec<Pair>,
    shapes: Vec<Shape>,
    by_number: BTreeMap<u16, bool>,
    #[serde(flatten)]
    extra: Extra,
}

fn everything() -> Everything {
    let text = |text: &str| text.to_owned();
    Everything {
        small: -1,
        large: i64::MAX as u64,
        fraction: 0.5,
        letter: 'ü',
        text: text("a\"b\n"),
        yes: true,
        nothing: None,
        something: Some(7),
        unit: (),
        list: vec![Pair(1, None), Pair(2, Some(text("two")))],
        shapes: vec![
            Shape::Point,
            Shape::Circle(1.0),
            Shape::Box(1, 2),
            Shape::Label { text: text("x") },
        ],
        by_number: BTreeMap::from([(1, true), (20, false)]),
        extra: Extra {
            more: BTreeMap::from([(text("a"), 1)]),
        },
    }
}

#[test]
fn it_writes_what_others_read() {
    let expected = doc! {
        "small": -1_i64,
        "large": i64::MAX,
        "fraction": 0.5,
        "letter": "ü",
        "text": "a\"b\n",
        "yes": true,
        "nothing": null,
        "something": 7_i64,
        "unit": null,
        "list": [[1_i64, null], [2_i64, "two"]],
        "shapes": ["Point", { "Circle": 1.0 }, { "Box": [1_i64, 2_i64] }, { "Label": { "text": "x" } }],
        "by_number": { "1": true, "20": false },
        "more": { "a": 1_i64 },
    };
    assert_eq!(library(&written(&everything())), expected);
}

#[test]
fn it_reads_what_it_has_written() {
    let read: Everything = read(&written(&everything())).expect("its own");
    assert_eq!(read, everything());
}

#[test]
fn it_reads_the_integers_and_dates_of_others() {
    #[derive(Debug, PartialEq, Deserialize)]
    struct Small {
        n: u64,
        at: i64,
    }
    let date = bson::DateTime::from_millis(1_357_034_400_000);
    let document = bson::serialize_to_vec(&doc! { "n": 5_i32, "other": [1], "at": date });
    assert_eq!(
        read(&document.expect("valid")),
        Ok(Small {
            n: 5,
            at: 1_357_034_400_000
        })
    );
}

#[test]
fn what_has_no_form_in_bson_is_refused_with_the_reason() {
    let refused = |result: Result<(), Error>| result.expect_err("refused").to_string();
    let field = |value: u64| BTreeMap::from([("n", value)]);
    let cases = [
        ("no object", refused(write(&1, &mut Vec::new())), "object"),
        (
            "too large",
            refused(write(&field(u64::MAX), &mut Vec::new())),
            "64-bit signed",
        ),
        (
            "a null byte",
            refused(write(&BTreeMap::from([("a\0", 1)]), &mut Vec::new())),
            "null byte",
        ),
        (
            "a key that is a list",
            refused(write(&BTreeMap::from([(vec![1], 1)]), &mut Vec::new())),
            "no text",
        ),
    ];
    for (name, error, reason) in cases {
        assert!(error.contains(reason), "{name}: {error}");
    }
}

#[test]
fn a_type_that_json_lacks_is_refused_by_its_number() {
    let document = bson::serialize_to_vec(&doc! { "id": bson::oid::ObjectId::new() });
    let error = read::<BTreeMap<String, i64>>(&document.expect("valid")).expect_err("no integer");
    assert!(error.to_string().contains("type 7"), "{error}");
}

fn value() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>()
            .prop_filter("JSON has finite numbers only", |n| n.is_finite())
            .prop_map(Into::into),
        "[^\0]{0,8}".prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 32, 12, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..12).prop_map(Into::into),
            prop::collection::btree_map("[a-zü]{0,4}", inner, 0..4)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn what_was_written_is_read(fields in prop::collection::btree_map("[a-z]{1,4}", value(), 0..6)) {
        let document = serde_json::Value::Object(fields.into_iter().collect());
        let bytes = written(&document);
        let json = Bson::Document(library(&bytes)).into_relaxed_extjson();
        prop_assert_eq!(&json, &document);
        prop_assert_eq!(read::<serde_json::Value>(&bytes), Ok(document));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..64), cut in 0..200_usize) {
        drop(read::<serde_json::Value>(&bytes));
        let whole = written(&everything());
        drop(read::<Everything>(&whole[..cut.min(whole.len())]));
        let mut flipped = whole;
        for (at, byte) in bytes.iter().enumerate() {
            let at = at * 7 % flipped.len();
            flipped[at] = *byte;
        }
        drop(read::<Everything>(&flipped));
    }
}
