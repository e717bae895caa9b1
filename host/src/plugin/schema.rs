//! Holds a projection's configuration against the plugin's `config-schema`, a JSON Schema.
//!
//! Guarantees:
//! - A schema is its plugin's word, so it may be hostile: it fetches nothing, and it costs a
//!   bounded amount of time, memory and stack ([`bounds`]). Its patterns match in linear time.
//! - What is wrong with a configuration is told all at once, each with its place, and without a
//!   value of it, which may be secret.
//!
//! Not here: what a schema cannot say; that is for the plugin's own `configure`.

use jsonschema::error::ValidationErrorKind;
use jsonschema::{PatternOptions, ValidationError, Validator};
use serde_json::Value;

use super::fault::clip;

mod bounds;

/// Of one compiled pattern. With [`bounds::PATTERNS_MAX`] of them this is what a schema may take.
const PATTERN_BYTES_MAX: usize = 1 << 20;

/// More problems than this are only counted.
const PROBLEMS_MAX: usize = 10;

/// Of the text for one problem: a schema may hold a book.
const PROBLEM_BYTES_MAX: usize = 500;

/// Of alternatives in alternatives, to whose problems a message goes down.
const ALTERNATIVES_DEPTH_MAX: usize = 2;

/// Makes sure that a plugin's schema is one that [`check`] can use. Gives the reason if not.
pub(super) fn admit(text: &str) -> Result<(), String> {
    read(text).map(|_| ())
}

/// Finds what is wrong with a configuration; gives all of it as one text. `text` is the plugin's
/// schema, and where it is empty, everything is right.
pub(super) fn check(text: &str, config: &Value) -> Result<(), String> {
    let Some((schema, validator)) = read(text)? else {
        return Ok(());
    };
    let mut problems = Vec::new();
    let mut more = 0;
    for error in validator.iter_errors(config) {
        if problems.len() < PROBLEMS_MAX {
            problems.push(problem(&schema, &error, 0));
        } else {
            more += 1;
        }
    }
    if problems.is_empty() {
        return Ok(());
    }
    if more > 0 {
        problems.push(format!("and {more} more"));
    }
    Err(problems.join("; "))
}

/// `None` where the plugin has no schema.
fn read(text: &str) -> Result<Option<(Value, Validator)>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let schema = bounds::read(text)?;
    let patterns = PatternOptions::regex()
        .size_limit(PATTERN_BYTES_MAX)
        .dfa_size_limit(PATTERN_BYTES_MAX);
    let validator = jsonschema::options()
        .offline()
        .with_pattern_options(patterns)
        .build(&schema)
        .map_err(|error| invalid(&error))?;
    Ok(Some((schema, validator)))
}

/// What is wrong with the schema itself, which hides nothing.
fn invalid(error: &ValidationError<'_>) -> String {
    let place = match error.instance_path().as_str() {
        "" => "it",
        place => place,
    };
    let way_out = match error.kind() {
        ValidationErrorKind::Format { format } if format == "regex" => format!(
            "; a pattern has neither look-around nor back-references, and takes at most {} KiB",
            PATTERN_BYTES_MAX >> 10
        ),
        _ => String::new(),
    };
    let text = error.to_string();
    format!(
        "its config-schema is no JSON Schema: {place}: {}{way_out}",
        clip(&text, PROBLEM_BYTES_MAX)
    )
}

/// One problem of a configuration: where, what, and what is allowed.
fn problem(schema: &Value, error: &ValidationError<'_>, depth: usize) -> String {
    let place = match error.instance_path().as_str() {
        "" => "the configuration",
        place => place,
    };
    let text = match error.kind() {
        ValidationErrorKind::AdditionalProperties { unexpected }
        | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
            unknown_keys(schema, error.schema_path().as_str(), unexpected)
        }
        ValidationErrorKind::Required { property } => format!("{property} is missing"),
        ValidationErrorKind::FalseSchema
            if error
                .schema_path()
                .as_str()
                .ends_with("/additionalProperties") =>
        {
            "has keys, and none is known here".to_owned()
        }
        ValidationErrorKind::FalseSchema => "nothing may stand here".to_owned(),
        ValidationErrorKind::AnyOf { context } | ValidationErrorKind::OneOfNotValid { context }
            if depth < ALTERNATIVES_DEPTH_MAX =>
        {
            alternatives(schema, context, depth)
        }
        _ => error.masked_with(kind(error.instance())).to_string(),
    };
    format!("{place}: {}", clip(&text, PROBLEM_BYTES_MAX))
}

/// `keyword` is the place in the schema that allows no others.
fn unknown_keys(schema: &Value, keyword: &str, unexpected: &[String]) -> String {
    let quoted: Vec<String> = unexpected.iter().map(|key| format!("{key:?}")).collect();
    let object = keyword.rsplit_once('/').map_or("", |(object, _)| object);
    let known = schema
        .pointer(object)
        .and_then(|object| object.get("properties"))
        .and_then(Value::as_object)
        .map(|properties| properties.keys().cloned().collect::<Vec<_>>())
        .filter(|known| !known.is_empty());
    let unknown = match &*quoted {
        [key] => format!("unknown key {key}"),
        keys => format!("unknown keys {}", keys.join(", ")),
    };
    match known {
        Some(known) => format!("{unknown}; known here: {}", known.join(", ")),
        None => unknown,
    }
}

/// What keeps a value from being each of the alternatives.
fn alternatives(schema: &Value, context: &[Vec<ValidationError<'_>>], depth: usize) -> String {
    let alternatives = (1..).zip(context).map(|(number, errors)| {
        let problems: Vec<String> = errors
            .iter()
            .map(|error| problem(schema, error, depth + 1))
            .collect();
        format!("({number}) {}", problems.join(", "))
    });
    let alternatives: Vec<String> = alternatives.take(PROBLEMS_MAX).collect();
    format!("fits no alternative: {}", alternatives.join(" "))
}

/// A value without its content.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests;
