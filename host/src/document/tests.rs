use proptest::prelude::*;

use super::*;

fn round_trip(json: &str) -> String {
    let read = from_json(json.as_bytes()).expect("a valid document");
    String::from_utf8(to_json(&read.body).expect("valid BSON")).expect("JSON is UTF-8")
}

#[test]
fn json_keeps_its_values_and_their_order() {
    let json = r#"{"z":1,"a":-2.5,"n":null,"t":true,"s":"ü\n","l":[1,[],{}],"o":{"x":0.1}}"#;
    assert_eq!(round_trip(json), json);
}

#[test]
fn numbers_are_integers_doubles_or_decimals_and_never_rounded() {
    let json = br#"{"i":1,"d":1.0,"m":9223372036854775807,"l":[18446744073709551616,1e400]}"#;
    let read = from_json(json).expect("a valid document");
    let body = &read.body;
    assert_eq!(body.get("i").expect("valid"), Some(RawBsonRef::Int64(1)));
    assert_eq!(body.get("d").expect("valid"), Some(RawBsonRef::Double(1.0)));
    assert_eq!(
        body.get("m").expect("valid"),
        Some(RawBsonRef::Int64(i64::MAX))
    );
    let decimals = ["18446744073709551616", "1E+400"].map(|text| {
        let decimal: bson::Decimal128 = text.parse().expect("a decimal");
        RawBsonRef::Decimal128(decimal)
    });
    let list = body.get_array("l").expect("an array").into_iter();
    let list: Vec<_> = list.map(|item| item.expect("valid")).collect();
    assert_eq!(list, decimals);
    // The host's cache must hold what the store will give back.
    assert!(read.is_respelled);
}

#[test]
fn a_number_that_would_be_rounded_is_refused_with_its_place() {
    let number = "1234567890123456789012345678901234567890";
    let json = format!(r#"{{"a":[{{"x":1}},{{"b/c":{number}}}]}}"#);
    let reason = from_json(json.as_bytes())
        .expect_err("40 digits")
        .to_string();
    assert!(reason.contains(number), "{reason}");
    assert!(reason.ends_with("(at /a/1/b~1c)"), "{reason}");
}

#[test]
fn of_a_name_that_comes_twice_the_last_one_counts() {
    let json = r#"{"a":1,"b":{"x":1,"y":2,"x":{"z":1,"\u007a":2}},"a":[{"n":1,"n":2}]}"#;
    let expected = r#"{"b":{"y":2,"x":{"z":2}},"a":[{"n":2}]}"#;
    assert_eq!(round_trip(json), expected);
    assert!(from_json(json.as_bytes()).expect("valid").is_respelled);
    // Many of them, so that they are looked up and not compared each with each.
    let fields = (0..100).map(|n| format!("\"k{}\":{n}", n % 50));
    let many = format!("{{{}}}", fields.collect::<Vec<_>>().join(","));
    let fields = (50..100).map(|n| format!("\"k{}\":{n}", n % 50));
    let last = format!("{{{}}}", fields.collect::<Vec<_>>().join(","));
    assert_eq!(round_trip(&many), last);
}

#[test]
fn of_a_name_that_bson_has_twice_the_last_one_counts() {
    let mut inner = bson::rawdoc! { "x": 1 };
    inner.append(bson::raw::cstr!("x"), 2);
    let mut outer = bson::rawdoc! { "a": inner.clone(), "l": [inner] };
    outer.append(bson::raw::cstr!("a"), "last");
    let body = from_bson(outer.as_bytes()).expect("valid");
    assert_eq!(body, bson::rawdoc! { "l": [{ "x": 2 }], "a": "last" });
    let many = |names: std::ops::Range<i32>| {
        let mut document = RawDocumentBuf::new();
        for n in names {
            let name = bson::raw::CString::try_from(format!("k{}", n % 50)).expect("no null byte");
            document.append(&name, bson::rawdoc! { "n": n });
        }
        document
    };
    assert_eq!(
        from_bson(many(0..50).as_bytes()).expect("valid"),
        many(0..50)
    );
    assert_eq!(
        from_bson(many(0..100).as_bytes()).expect("valid"),
        many(50..100)
    );
}

#[test]
fn bson_without_a_form_in_json_is_refused() {
    for document in [
        bson::rawdoc! { "$set": 1 },
        bson::rawdoc! { "a": { "$date": 1 } },
        bson::rawdoc! { "a": [{ "b": 1, "$c": 1 }] },
        bson::rawdoc! { "$ref": "c", "$id": 1 },
    ] {
        let error = from_bson(document.as_bytes()).expect_err("a dollar");
        assert!(error.to_string().contains("starts with \"$\""), "{error}");
    }
    let reference = bson::rawdoc! { "a": { "$ref": "c", "$id": 1, "n": 1 } };
    assert_eq!(from_bson(reference.as_bytes()).expect("valid"), reference);
}

#[test]
fn extended_json_names_bson_types() {
    let read = from_json(br#"{"at":{"$date":"2013-01-01T10:00:00Z"}}"#).expect("valid");
    assert!(read.is_respelled);
    let at = read.body.get_datetime("at").expect("a date");
    assert_eq!(at.timestamp_millis(), 1_357_034_400_000);
    assert_eq!(
        to_json(&read.body).expect("valid BSON"),
        br#"{"at":{"$date":"2013-01-01T10:00:00Z"}}"#
    );
}

#[test]
fn what_is_no_document_is_refused_with_the_reason() {
    let cases = [
        ("not JSON", "{", "EOF"),
        ("no object", "[1]", "a JSON object"),
        ("two documents", "{}{}", "trailing"),
        (
            "a field of the host",
            r#"{"_id":"x"}"#,
            "belongs to the host",
        ),
        ("the host's metadata", r#"{"_m":{}}"#, "belongs to the host"),
        ("a key with a null byte", r#"{"a\u0000b":1}"#, "null"),
        ("an operator", r#"{"$set":{}}"#, "starts with"),
        ("an unknown type", r#"{"a":{"$nope":1}}"#, "names no type"),
        ("a late dollar", r#"{"a":{"b":1,"$c":1}}"#, "not the first"),
        (
            "a number of too many digits",
            r#"{"a":0.12345678901234567890123456789012345}"#,
            "would have to be rounded",
        ),
        (
            "a number past all decimals",
            r#"{"a":1e9999}"#,
            "would have to be rounded",
        ),
        ("half a character", r#"{"a":"\ud800"}"#, "surrogate"),
    ];
    for (name, json, reason) in cases {
        let error = from_json(json.as_bytes()).expect_err(name).to_string();
        assert!(error.contains(reason), "{name}: {error}");
    }
}

/// Arrays or documents, so many levels in one another, as BSON bytes.
fn nested(kind: u8, levels: usize) -> Vec<u8> {
    let mut bytes = vec![5, 0, 0, 0, 0];
    for _ in 0..levels {
        let len = u32::try_from(bytes.len() + 8).expect("a small document");
        let mut outer = len.to_le_bytes().to_vec();
        outer.extend([kind, b'0', 0]);
        outer.append(&mut bytes);
        outer.push(0);
        bytes = outer;
    }
    bytes
}

#[test]
fn bson_that_would_end_the_stack_is_refused() {
    for kind in [0x03, 0x04] {
        assert!(from_bson(&nested(kind, DEPTH_MAX)).is_ok());
        let error = from_bson(&nested(kind, DEPTH_MAX + 1)).expect_err("too deep");
        assert!(error.to_string().contains("128 levels"), "{error}");
    }
}

#[test]
fn bson_is_validated_to_the_last_element() {
    // A boolean in an array in an array, first true and then neither true nor false.
    let valid = bson::rawdoc! { "a": [[true]] };
    let mut bytes = valid.as_bytes().to_vec();
    assert!(from_bson(&bytes).is_ok());
    let boolean = bytes.iter().rposition(|&b| b == 1).expect("it is there");
    bytes[boolean] = 7;
    assert!(from_bson(&bytes).is_err());
}

fn json_value() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>()
            .prop_filter("JSON has finite numbers only", |n| n.is_finite())
            .prop_map(Into::into),
        "[^\0]{0,8}".prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            prop::collection::btree_map("[a-z]{1,4}", inner, 0..4)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn json_survives_the_way_through_bson(
        fields in prop::collection::btree_map("[a-z]{1,4}", json_value(), 0..6)
    ) {
        let object = serde_json::Value::Object(fields.into_iter().collect());
        let body = from_json(object.to_string().as_bytes()).expect("valid").body;
        let back: serde_json::Value =
            serde_json::from_slice(&to_json(&body).expect("valid BSON")).expect("valid JSON");
        prop_assert_eq!(&back, &object);
        let again = from_json(back.to_string().as_bytes()).expect("valid").body;
        prop_assert_eq!(again, body);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        drop(from_json(&bytes));
        drop(from_bson(&bytes));
    }

    /// All types, all values: what a JSON plugin is given and stores again is what was there.
    #[test]
    fn each_value_survives_the_way_through_json(
        fields in prop::collection::btree_map("[a-z]{1,4}", bson_value(), 0..6)
    ) {
        let mut document = RawDocumentBuf::new();
        for (name, value) in fields {
            let name = bson::raw::CString::try_from(name).expect("no null byte");
            document.append(&name, value);
        }
        let body = from_bson(document.as_bytes()).expect("valid");
        prop_assert_eq!(&body, &document);
        let json = to_json(&body).expect("valid BSON");
        let again = from_json(&json).expect("its own");
        prop_assert_eq!(again.body, body, "{}", String::from_utf8_lossy(&json));
    }
}

fn bson_value() -> impl Strategy<Value = bson::raw::RawBson> {
    use bson::raw::{RawArrayBuf, RawBson, RawJavaScriptCodeWithScope};
    let bytes = || prop::collection::vec(any::<u8>(), 0..6);
    let date = prop_oneof![
        any::<i64>(),
        Just(i64::MAX),
        Just(i64::MIN),
        253_402_300_799_990i64..253_402_300_800_010,
        -10i64..10,
    ];
    let decimal = (any::<bool>(), any::<u128>(), 0u128..12_288, 0u32..35);
    let leaf = prop_oneof![
        Just(RawBson::Null),
        Just(RawBson::MinKey),
        Just(RawBson::MaxKey),
        Just(RawBson::Undefined),
        any::<bool>().prop_map(RawBson::Boolean),
        any::<i64>().prop_map(RawBson::Int64),
        any::<f64>()
            .prop_filter("NaNs are one", |n| !n.is_nan())
            .prop_map(RawBson::Double),
        prop_oneof![Just(f64::INFINITY), Just(f64::NEG_INFINITY), Just(-0.0)]
            .prop_map(RawBson::Double),
        "[^\0]{0,8}".prop_map(RawBson::String),
        "[a-z]{0,4}".prop_map(RawBson::Symbol),
        "[a-z]{0,4}".prop_map(RawBson::JavaScriptCode),
        date.prop_map(|ms| RawBson::DateTime(bson::DateTime::from_millis(ms))),
        (any::<u32>(), any::<u32>()).prop_map(|(time, increment)| {
            RawBson::Timestamp(bson::Timestamp { time, increment })
        }),
        any::<[u8; 12]>().prop_map(|id| RawBson::ObjectId(bson::oid::ObjectId::from_bytes(id))),
        (
            bytes(),
            prop_oneof![Just(0u8), Just(3), Just(4), Just(5), Just(200)]
        )
            .prop_map(|(bytes, subtype)| RawBson::Binary(bson::Binary {
                subtype: subtype.into(),
                bytes
            })),
        decimal.prop_map(|(is_negative, coefficient, exponent, digits)| {
            let coefficient = coefficient % 10u128.pow(digits);
            let bits = u128::from(is_negative) << 127 | exponent << 113 | coefficient;
            RawBson::Decimal128(bson::Decimal128::from_bytes(bits.to_le_bytes()))
        }),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        let document = prop::collection::btree_map("[a-z]{1,4}", inner.clone(), 0..4);
        let document = document.prop_map(|fields| {
            let mut document = RawDocumentBuf::new();
            for (name, value) in fields {
                let name = bson::raw::CString::try_from(name).expect("no null byte");
                document.append(&name, value);
            }
            document
        });
        let items = prop::collection::vec(inner, 0..4).prop_map(|items| {
            let mut array = RawArrayBuf::new();
            items.into_iter().for_each(|item| array.push(item));
            RawBson::Array(array)
        });
        prop_oneof![
            items,
            document.clone().prop_map(RawBson::Document),
            document.prop_map(|scope| RawBson::JavaScriptCodeWithScope(
                RawJavaScriptCodeWithScope {
                    code: "f".to_owned(),
                    scope
                }
            )),
        ]
    })
}
