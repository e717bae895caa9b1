use std::time::{Duration, Instant};

use serde_json::json;

use super::*;

fn problems(schema: &Value, config: &Value) -> String {
    check(&schema.to_string(), config)
        .err()
        .unwrap_or_else(|| panic!("{config} passes {schema}"))
}

fn refusal(schema: &Value) -> String {
    admit(&schema.to_string())
        .err()
        .unwrap_or_else(|| panic!("{schema} is admitted"))
}

#[test]
fn a_configuration_that_fits_passes_as_does_any_without_a_schema() {
    let schema = json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "properties": {"fields": {"$ref": "#/definitions/names"}, "n": {"minimum": 1}},
        "definitions": {"names": {"type": "array", "items": {"pattern": "^[a-z]+$"}}}
    });
    let config = json!({"fields": ["a", "bc"], "n": 1});
    assert_eq!(check(&schema.to_string(), &config), Ok(()));
    assert_eq!(check("", &json!([1])), Ok(()));
    assert_eq!(check("{}", &json!([1])), Ok(()));
}

#[test]
fn a_problem_tells_its_place_what_is_wrong_and_what_is_allowed() {
    let number =
        json!({"properties": {"a": {"type": "object", "properties": {"n": {"minimum": 1}}}}});
    let closed = json!({
        "properties": {"inner": {"$ref": "#/$defs/inner"}},
        "$defs": {"inner": {"properties": {"in": {}, "out": {}}, "additionalProperties": false}}
    });
    let either = json!({"properties": {"id": {"anyOf": [{"const": "key"}, {"type": "array"}]}}});
    let cases = [
        (
            "a type",
            json!({"type": "object"}),
            json!("key"),
            "the configuration: a text is not of type \"object\"",
        ),
        (
            "a minimum",
            number,
            json!({"a": {"n": 0}}),
            "/a/n: a number is less than the minimum of 1",
        ),
        (
            "one of several",
            json!({"items": {"enum": ["a", "b"]}}),
            json!(["a", "c"]),
            "/1: a text is not one of \"a\" or \"b\"",
        ),
        (
            "a pattern",
            json!({"properties": {"x/y": {"pattern": "^a+$"}}}),
            json!({"x/y": "b"}),
            "/x~1y: a text does not match \"^a+$\"",
        ),
        (
            "a required key",
            json!({"required": ["group-by"]}),
            json!({}),
            "the configuration: \"group-by\" is missing",
        ),
        (
            "an unknown key",
            closed,
            json!({"inner": {"inn": 1}}),
            "/inner: unknown key \"inn\"; known here: in, out",
        ),
        (
            "unknown keys",
            json!({"properties": {"b": {}}, "additionalProperties": false}),
            json!({"c": 1, "b": 1, "a": 2}),
            "the configuration: unknown keys \"a\", \"c\"; known here: b",
        ),
        (
            "keys where none is known",
            json!({"additionalProperties": false}),
            json!({"b": 1, "a": 2}),
            "the configuration: has keys, and none is known here",
        ),
        (
            "alternatives",
            either,
            json!({"id": 7}),
            "/id: fits no alternative: (1) /id: \"key\" was expected (2) /id: a number is not of type \"array\"",
        ),
        (
            "nothing",
            json!({"properties": {"old": false}}),
            json!({"old": 1}),
            "/old: nothing may stand here",
        ),
    ];
    for (name, schema, config, text) in cases {
        assert_eq!(problems(&schema, &config), text, "{name}");
    }
}

#[test]
fn all_problems_are_told_at_once_up_to_a_limit() {
    let schema = json!({"additionalProperties": {"type": "string"}, "required": ["z"]});
    let text = problems(&schema, &json!({"a": 1, "b": null, "c": "fine"}));
    let mut told: Vec<&str> = text.split("; ").collect();
    told.sort_unstable();
    assert_eq!(
        told,
        [
            "/a: a number is not of type \"string\"",
            "/b: null is not of type \"string\"",
            "the configuration: \"z\" is missing"
        ]
    );

    let many: Value = (0..100).collect();
    let text = problems(&json!({"items": {"type": "string"}}), &many);
    assert_eq!(text.split("; ").count(), PROBLEMS_MAX + 1);
    assert!(text.ends_with("; and 90 more"), "{text}");
}

#[test]
fn no_value_of_a_configuration_is_told() {
    let secret = "hunter2";
    let schemas = [
        json!({"type": "number"}),
        json!({"const": 1}),
        json!({"enum": [1, 2]}),
        json!({"maxLength": 1}),
        json!({"pattern": "^x$"}),
        json!({"format": "ipv4"}),
        json!({"not": {"type": "string"}}),
        json!({"anyOf": [{"type": "number"}, {"oneOf": [{"oneOf": [{"anyOf": [{"maxLength": 2}]}]}]}]}),
        json!({"not": {}}),
    ];
    for schema in schemas {
        let text = problems(
            // The draft in which a format is more than a comment.
            &json!({"$schema": "http://json-schema.org/draft-07/schema#", "properties": {"password": schema}}),
            &json!({"password": secret}),
        );
        assert!(text.contains("/password"), "{schema}: {text}");
        assert!(!text.contains(secret), "{schema}: {text}");
    }
}

#[test]
fn a_problem_stays_short_whatever_the_schema_quotes() {
    let schema = json!({"const": "x".repeat(10_000)});
    let text = problems(&schema, &json!(1));
    assert!(text.len() < PROBLEM_BYTES_MAX + 100, "{}", text.len());
}

#[test]
fn a_schema_that_is_none_is_refused_with_the_place() {
    let cases = [
        (json!([]), "not a JSON object"),
        (
            json!({"type": "strnig"}),
            "no JSON Schema: /type: \"strnig\"",
        ),
        (
            json!({"properties": {"a": {"minimum": "1"}}}),
            "no JSON Schema: /properties/a/minimum: ",
        ),
        (
            json!({"pattern": "("}),
            "; a pattern has neither look-around nor back-references",
        ),
        (
            json!({"pattern": "^(?=a)"}),
            "; a pattern has neither look-around nor back-references",
        ),
        (
            json!({"$schema": "http://json-schema.org/draft-04/schema#"}),
            "this host reads http://json-schema.org/draft-06/schema, ",
        ),
        (
            json!({"$schema": "https://example.org/own"}),
            "is written in",
        ),
        (json!({"$schema": 7}), "is written in 7"),
    ];
    for (schema, reason) in cases {
        let text = refusal(&schema);
        assert!(text.contains(reason), "{schema}: {text}");
    }
    assert!(admit("{").is_err_and(|text| text.contains("not a JSON object")));
}

#[test]
fn a_schema_refers_to_its_own_parts_alone() {
    for reference in [
        "https://example.org/schema.json",
        "file:///etc/passwd",
        "other.json",
        "#name",
        "#/$defs/a%62",
        "",
    ] {
        let text = refusal(&json!({"$defs": {"a": {"$ref": reference}}}));
        assert!(text.contains("its own parts alone"), "{reference}: {text}");
    }
    let cases = [
        (json!({"$ref": "#/$defs/a"}), "which is not in it"),
        (json!({"items": {"$dynamicRef": "#a"}}), "use $ref"),
        (
            json!({"items": {"$id": "https://example.org/"}}),
            "at the top only",
        ),
    ];
    for (schema, reason) in cases {
        let text = refusal(&schema);
        assert!(text.contains(reason), "{schema}: {text}");
    }
    let names = json!({"properties": {"$ref": {"type": "string"}, "$id": {}, "pattern": {}}});
    assert_eq!(admit(&names.to_string()), Ok(()));
}

/// Definitions of which each has the next one in two places.
fn doubling(levels: usize, keyword: &str) -> Value {
    let mut definitions = serde_json::Map::new();
    for level in 0..levels {
        let next = json!({"$ref": format!("#/$defs/{}", level + 1)});
        let both = match keyword {
            "properties" => json!({"a": next, "b": next}),
            _ => json!([next, next]),
        };
        definitions.insert(level.to_string(), json!({keyword: both}));
    }
    definitions.insert(levels.to_string(), json!({"type": "string"}));
    json!({"$ref": "#/$defs/0", "$defs": definitions, "unevaluatedProperties": false})
}

#[test]
fn a_schema_that_would_take_for_ever_is_refused_at_once() {
    let mut deep = json!({});
    for _ in 0..100 {
        deep = json!({"not": deep});
    }
    let chain: serde_json::Map<String, Value> = (0..1_000)
        .map(|n: u32| (n.to_string(), json!({"$ref": format!("#/$defs/{}", n + 1)})))
        .collect();
    let patterns: Vec<Value> = (0..65).map(|_| json!({"pattern": "a"})).collect();
    let cases = [
        (
            "doubling in place",
            doubling(25, "allOf"),
            "more than 10000 schemas",
        ),
        (
            "doubling below",
            doubling(25, "properties"),
            "more than 10000 schemas",
        ),
        (
            "itself",
            json!({"properties": {"a": {"$ref": "#"}}}),
            "within that part itself",
        ),
        (
            "itself by a detour",
            json!({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"items": {"$ref": "#/$defs/a"}}}}),
            "within that part itself",
        ),
        ("deep", deep, "64 schemas deep"),
        (
            "a chain",
            json!({"$ref": "#/$defs/0", "$defs": chain}),
            "64 schemas deep",
        ),
        ("patterns", json!({"anyOf": patterns}), "65 patterns"),
        (
            "a huge pattern",
            json!({"pattern": "(\\w{1000}){1000}"}),
            "takes at most 1024 KiB",
        ),
        (
            "a book",
            json!({"description": "x".repeat(65_536)}),
            "may have 65536",
        ),
    ];
    for (name, schema, reason) in cases {
        let start = Instant::now();
        let text = refusal(&schema);
        assert!(text.contains(reason), "{name}: {text}");
        assert!(start.elapsed() < Duration::from_secs(5), "{name}");
    }
}

#[test]
fn the_costliest_schemas_within_the_bounds_are_checked_in_bounded_time() {
    let patterns: Vec<Value> = (0..64)
        .map(|n| json!({"pattern": format!("^({n}|\\w{{0,20}})*$")}))
        .collect();
    let object = json!({"a": "!".repeat(10_000), "b": 1});
    let cases = [
        (doubling(11, "allOf"), object.clone()),
        (doubling(11, "anyOf"), object),
        (doubling(11, "properties"), json!({"c": 1})),
        (json!({"allOf": patterns}), json!("!".repeat(10_000))),
    ];
    for (schema, config) in cases {
        let start = Instant::now();
        assert_eq!(admit(&schema.to_string()), Ok(()));
        let text = problems(&schema, &config);
        assert!(text.len() < (PROBLEMS_MAX + 1) * (PROBLEM_BYTES_MAX + 100));
        assert!(
            start.elapsed() < Duration::from_secs(10),
            "{:?}",
            start.elapsed()
        );
    }
}
