//! The OpenAPI document of the views that a reader may read.

use serde_json::{Map, Value, json};

use super::View;
use super::access::Caller;
use crate::store::list::ID;

/// As [`Token`](super::token::Token) reads it.
const AFTER: &str = "^[A-Za-z0-9._-]+:[0-9]+@[0-9]+(,[0-9]+@[0-9]+)*\
                     (;[A-Za-z0-9._-]+:[0-9]+@[0-9]+(,[0-9]+@[0-9]+)*)*$";

/// Ids are texts, and in quotes each of them is one.
const RANGE_OF_IDS: &str = r#"^(gte?|lte?):"[^"\\]*"$"#;

/// Numbers with units.
const WAIT: &str = "^([0-9]+ *(ns|us|ms|s|sec|m|min|h) *)+$";

pub(super) fn document<'v>(views: impl Iterator<Item = &'v View>, caller: &Caller) -> Value {
    let mut paths = Map::new();
    for view in views.filter(|view| caller.may_read(&view.id.name)) {
        let name = &*view.id.name;
        paths.insert(format!("/views/{name}"), json!({ "get": list(view) }));
        paths.insert(format!("/views/{name}/{{id}}"), json!({ "get": one(name) }));
        let events = format!("/views/{name}/{{id}}/events");
        paths.insert(
            events,
            json!({ "get": events_of(name), "post": ticket(name) }),
        );
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Projectionist, the views of a host",
            "version": env!("CARGO_PKG_VERSION"),
        },
        "paths": paths,
        "components": {
            "schemas": schemas(),
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
        },
        // Where no token is configured, none is needed.
        "security": [{ "token": [] }, {}],
    })
}

fn one(view: &str) -> Value {
    let mut parameters = vec![id()];
    parameters.extend(freshness());
    parameters.push(header(
        "If-None-Match",
        "the ETag of a version that is known",
    ));
    json!({
        "summary": format!("One document of view \"{view}\""),
        "operationId": format!("get-{view}"),
        "parameters": parameters,
        "responses": responses("200", "Document", "application/json", &[
            ("304", "The version is known"),
            ("404", "There is no such document"),
        ]),
    })
}

fn list(view: &View) -> Value {
    let name = &view.id.name;
    let mut fields: Vec<&str> = Vec::new();
    for field in view.indexes.iter().flat_map(|index| index.fields()) {
        if !fields.contains(&&**field) {
            fields.push(field);
        }
    }
    let orders: Vec<String> = fields
        .iter()
        .chain(&[ID])
        .flat_map(|field| [(*field).to_owned(), format!("-{field}")])
        .collect();
    let indexes: Vec<String> = view
        .indexes
        .iter()
        .map(|index| format!("({index})"))
        .collect();
    let mut parameters: Vec<Value> = fields
        .iter()
        .map(|field| {
            query(
                field,
                "a value, or the end of a range: gt:VALUE, gte:VALUE, lt:VALUE, lte:VALUE",
            )
        })
        .collect();
    parameters.push(pattern(
        query(
            ID,
            "the end of a range: gt:\"ID\", gte:\"ID\", lt:\"ID\", lte:\"ID\"",
        ),
        RANGE_OF_IDS,
    ));
    parameters.push(json!({
        "name": "sort", "in": "query",
        "description": "the field of the order; with a hyphen, descending",
        "schema": { "type": "string", "enum": orders },
    }));
    parameters.push(json!({
        "name": "limit", "in": "query", "description": "documents of a page",
        "schema": { "type": "integer", "minimum": 1, "maximum": 1000, "default": 100 },
    }));
    parameters.push(pattern(
        query("cursor", "\"next\" of the page before"),
        "^[A-Za-z0-9_-]+$",
    ));
    parameters.extend(freshness());
    json!({
        "summary": format!("Documents of view \"{name}\", page by page"),
        "description": format!("Served by the indexes {} and (_id).", indexes.join(", ")),
        "operationId": format!("list-{name}"),
        "parameters": parameters,
        "responses": responses("200", "Page", "application/json", &[]),
    })
}

fn events_of(view: &str) -> Value {
    json!({
        "summary": format!("A document of view \"{view}\" whenever it changes"),
        "operationId": format!("events-{view}"),
        "parameters": [
            id(),
            fields(),
            pattern(
                query("ticket", "in the place of a token, for those who cannot send one"),
                "^[0-9a-f]{64}$",
            ),
            header("Last-Event-ID", "the id of the event that came last"),
        ],
        "responses": responses("200", "Events", "text/event-stream", &[]),
    })
}

fn ticket(view: &str) -> Value {
    let mut responses = responses("201", "Ticket", "application/json", &[]);
    // It reads nothing.
    if let Some(responses) = responses.as_object_mut() {
        let is_of_a_read = |status: &str| ["409", "412", "502", "503", "504"].contains(&status);
        responses.retain(|status, _| !is_of_a_read(status));
    }
    json!({
        "summary": format!("A ticket for a stream of view \"{view}\""),
        "operationId": format!("ticket-{view}"),
        "parameters": [id()],
        "responses": responses,
    })
}

/// An id is a text with something in it; a slash in it is written with %2F.
fn id() -> Value {
    json!({
        "name": "id", "in": "path", "required": true,
        "schema": { "type": "string", "minLength": 1 },
    })
}

/// A parameter whose values have a form.
fn pattern(mut parameter: Value, pattern: &str) -> Value {
    parameter["schema"]["pattern"] = pattern.into();
    parameter
}

fn fields() -> Value {
    pattern(
        query("fields", "fields to show, with commas between"),
        "^[^,]+(,[^,]+)*$",
    )
}

fn query(name: &str, description: &str) -> Value {
    json!({
        "name": name, "in": "query", "description": description, "schema": { "type": "string" },
    })
}

fn header(name: &str, description: &str) -> Value {
    json!({
        "name": name, "in": "header", "description": description, "schema": { "type": "string" },
    })
}

fn freshness() -> [Value; 3] {
    [
        pattern(
            query(
                "after",
                "a position that the answer must include, as in flights:0@41",
            ),
            AFTER,
        ),
        pattern(query("wait", "how long to wait for it, as in 2s"), WAIT),
        fields(),
    ]
}

fn responses(success: &str, schema: &str, media: &str, more: &[(&str, &str)]) -> Value {
    let reference = |schema: &str| json!({ "$ref": format!("#/components/schemas/{schema}") });
    let mut answers = Map::new();
    let headers = json!({
        "Projectionist-Position": {
            "description": "the position that the answer includes",
            "schema": { "type": "string" },
        },
        "ETag": { "description": "of one document", "schema": { "type": "string" } },
    });
    answers.insert(
        success.to_owned(),
        json!({
            "description": "OK",
            "headers": headers,
            "content": { media: { "schema": reference(schema) } },
        }),
    );
    let problems = [
        ("400", "The request is not understood"),
        ("401", "There is no valid token"),
        ("403", "The token's role may not read the view"),
        ("409", "An event before the position is parked"),
        (
            "412",
            "The position is not reached, and the request does not wait",
        ),
        ("429", "Too many requests"),
        ("502", "The store refuses"),
        ("503", "No store answers"),
        (
            "504",
            "The position was not reached in time, or there was no answer",
        ),
    ];
    for (status, description) in problems.iter().chain(more) {
        let mut answer = json!({ "description": description });
        if *status != "304" {
            answer["content"] =
                json!({ "application/problem+json": { "schema": reference("Problem") } });
        }
        answers.insert((*status).to_owned(), answer);
    }
    Value::Object(answers)
}

fn schemas() -> Value {
    json!({
        "Document": {
            "type": "object",
            "description": "Types that JSON lacks are in MongoDB's relaxed extended form.",
            "properties": { "_id": { "type": "string" } },
            "required": ["_id"],
        },
        "Page": {
            "type": "object",
            "properties": {
                "documents": {
                    "type": "array",
                    "items": { "$ref": "#/components/schemas/Document" },
                },
                "next": {
                    "type": "string",
                    "description": "The cursor of the next page; missing on the last one.",
                },
            },
            "required": ["documents"],
            "additionalProperties": false,
        },
        "Ticket": {
            "type": "object",
            "properties": {
                "ticket": {
                    "type": "string",
                    "description": "Opens streams of the view, as ?ticket=…, for a short while.",
                },
                "expires_in": { "type": "integer", "description": "in seconds" },
            },
            "required": ["ticket", "expires_in"],
            "additionalProperties": false,
        },
        "Events": {
            "type": "string",
            "description": "Server-sent events: \"document\" with the document, or \"missing\".",
        },
        "Problem": {
            "type": "object",
            "description": "RFC 9457",
            "properties": {
                "title": { "type": "string" },
                "status": { "type": "integer" },
                "detail": { "type": "string" },
                "outcome": { "enum": ["stale", "timed-out", "parked"] },
                "lag": { "type": "integer", "description": "offsets that are missing" },
                "parked": { "type": "string", "description": "names the parked key" },
            },
            "required": ["title", "status", "detail"],
            "additionalProperties": false,
        },
    })
}
