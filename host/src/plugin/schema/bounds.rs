//! What a schema may cost, found before anything is made of it.
//!
//! A few lines of schema can ask for years of work: definitions that use the next one twice, or
//! that use themselves. So a schema may refer to its own parts only, and is counted as if each
//! part were written out wherever it is referred to. Checking a value then takes at most that many
//! steps for each part of the value.

use serde_json::{Map, Value};

/// Of a schema's text.
const SCHEMA_BYTES_MAX: usize = 64 << 10;

/// Of schemas in a schema, with those that are referred to counted each time.
const SCHEMAS_MAX: usize = 10_000;

/// Of schemas in one another: each takes stack.
const DEPTH_MAX: usize = 64;

/// In the whole schema.
pub(super) const PATTERNS_MAX: usize = 64;

/// The drafts whose schemas are counted right.
const DRAFTS: [&str; 4] = [
    "http://json-schema.org/draft-06/schema",
    "http://json-schema.org/draft-07/schema",
    "https://json-schema.org/draft/2019-09/schema",
    "https://json-schema.org/draft/2020-12/schema",
];

/// Keywords whose value is a schema.
const SCHEMA: [&str; 12] = [
    "additionalItems",
    "additionalProperties",
    "contains",
    "contentSchema",
    "else",
    "if",
    "items",
    "not",
    "propertyNames",
    "then",
    "unevaluatedItems",
    "unevaluatedProperties",
];

/// Keywords whose value is a list of schemas. `items` was one in the older drafts.
const SCHEMAS: [&str; 5] = ["allOf", "anyOf", "items", "oneOf", "prefixItems"];

/// Keywords whose value is an object of schemas.
const SCHEMAS_BY_NAME: [&str; 4] = [
    "dependencies",
    "dependentSchemas",
    "patternProperties",
    "properties",
];

/// Reads a schema that keeps to the bounds; gives the reason where it does not.
pub(super) fn read(text: &str) -> Result<Value, String> {
    if text.len() > SCHEMA_BYTES_MAX {
        return Err(format!(
            "its config-schema has {} bytes, and may have {SCHEMA_BYTES_MAX}",
            text.len()
        ));
    }
    let schema: Map<String, Value> = serde_json::from_str(text)
        .map_err(|error| format!("its config-schema is not a JSON object: {error}"))?;
    check_draft(&schema)?;
    let schema = Value::Object(schema);
    let mut patterns = 0;
    check_words(&schema, true, &mut patterns)?;
    if patterns > PATTERNS_MAX {
        return Err(format!(
            "its config-schema has {patterns} patterns, and may have {PATTERNS_MAX}"
        ));
    }
    let mut count = Count {
        root: &schema,
        left: SCHEMAS_MAX,
        followed: Vec::new(),
    };
    count.schema(&schema, 0)?;
    Ok(schema)
}

fn check_draft(schema: &Map<String, Value>) -> Result<(), String> {
    match schema.get("$schema") {
        None => Ok(()),
        Some(Value::String(draft)) if DRAFTS.contains(&draft.trim_end_matches('#')) => Ok(()),
        Some(draft) => Err(format!(
            "its config-schema is written in {draft}; this host reads {}",
            DRAFTS.join(", ")
        )),
    }
}

/// Looks at every object, for anything that would make a reference lead elsewhere than where
/// [`Count`] follows it, and counts patterns.
fn check_words(value: &Value, is_root: bool, patterns: &mut usize) -> Result<(), String> {
    match value {
        Value::Array(items) => items
            .iter()
            .try_for_each(|item| check_words(item, false, patterns)),
        Value::Object(object) => {
            let text = |word: &str| object.get(word).and_then(Value::as_str);
            for word in ["$dynamicRef", "$recursiveRef"] {
                if text(word).is_some() {
                    return Err(format!(
                        "its config-schema has a {word}, which this host does not follow; use $ref"
                    ));
                }
            }
            for word in ["$id", "$schema"] {
                if !is_root && text(word).is_some() {
                    return Err(format!(
                        "its config-schema has a {word} within, and may have one at the top only"
                    ));
                }
            }
            if let Some(reference) = text("$ref") {
                check_reference(reference)?;
            }
            *patterns += usize::from(text("pattern").is_some());
            let by_pattern = object.get("patternProperties").and_then(Value::as_object);
            *patterns += by_pattern.map_or(0, Map::len);
            object
                .values()
                .try_for_each(|value| check_words(value, false, patterns))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
    }
}

fn check_reference(reference: &str) -> Result<(), String> {
    let is_local = reference == "#" || reference.starts_with("#/");
    // An escape would be decoded by one reader and not by another.
    if is_local && !reference.contains('%') {
        return Ok(());
    }
    Err(format!(
        "its config-schema refers to {reference:?}; it may refer to its own parts alone, by their \
         path, as in \"#/$defs/name\""
    ))
}

/// Counts schemas as if references were written out.
struct Count<'a> {
    root: &'a Value,
    left: usize,
    /// The references on the way from the top to here.
    followed: Vec<&'a str>,
}

impl<'a> Count<'a> {
    fn schema(&mut self, schema: &'a Value, depth: usize) -> Result<(), String> {
        if depth > DEPTH_MAX {
            return Err(format!(
                "its config-schema is more than {DEPTH_MAX} schemas deep"
            ));
        }
        self.left = self.left.checked_sub(1).ok_or_else(|| {
            format!(
                "its config-schema comes to more than {SCHEMAS_MAX} schemas, with each counted as \
                 often as it is referred to"
            )
        })?;
        let Some(schema) = schema.as_object() else {
            return Ok(());
        };
        if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
            self.reference(reference, depth)?;
        }
        for keyword in SCHEMA {
            // A list is one of the older drafts' `items`, which comes below.
            if let Some(inner) = schema.get(keyword).filter(|inner| !inner.is_array()) {
                self.schema(inner, depth + 1)?;
            }
        }
        for keyword in SCHEMAS {
            let inner = schema.get(keyword).and_then(Value::as_array);
            for schema in inner.into_iter().flatten() {
                self.schema(schema, depth + 1)?;
            }
        }
        for keyword in SCHEMAS_BY_NAME {
            let inner = schema.get(keyword).and_then(Value::as_object);
            for schema in inner.into_iter().flat_map(Map::values) {
                self.schema(schema, depth + 1)?;
            }
        }
        Ok(())
    }

    fn reference(&mut self, reference: &'a str, depth: usize) -> Result<(), String> {
        if reference == "#" || self.followed.contains(&reference) {
            return Err(format!(
                "its config-schema refers to {reference:?} within that part itself; write out as \
                 many levels as are of use, or leave that part to the plugin's own check"
            ));
        }
        let target = self.root.pointer(&reference[1..]).ok_or_else(|| {
            format!("its config-schema refers to {reference:?}, which is not in it")
        })?;
        self.followed.push(reference);
        self.schema(target, depth + 1)?;
        self.followed.pop();
        Ok(())
    }
}
