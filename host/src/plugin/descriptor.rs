//! Checks what a plugin says of itself.

use std::collections::HashSet;

use crate::projection::{Descriptor, Encoding, Ownership, View};

use super::about::PolicyDescriptor;
use super::bindings::placement::balancing;
use super::bindings::raw;
use super::schema;

const NAME_BYTES_MAX: usize = 128;
const DESCRIPTION_BYTES_MAX: usize = 4 << 10;
const VIEW_NAME_BYTES_MAX: usize = 64;
const VIEWS_MAX: usize = 64;
pub(super) const HEADERS_MAX: usize = 64;
const HEADER_BYTES_MAX: usize = 256;

/// Gives the first problem as a text that names the part at fault.
pub(super) fn check(raw: raw::Descriptor) -> Result<Descriptor, String> {
    check_label("name", &raw.name)?;
    check_label("version", &raw.version)?;
    check_description(&raw.description)?;
    check_views(&raw.views)?;
    check_headers(&raw.headers)?;
    schema::admit(&raw.config_schema)?;
    Ok(Descriptor {
        name: raw.name,
        version: raw.version,
        description: raw.description,
        encoding: match raw.encoding {
            raw::Encoding::Json => Encoding::Json,
            raw::Encoding::Bson => Encoding::Bson,
        },
        views: raw.views.into_iter().map(view).collect(),
        headers: raw.headers,
        config_schema: raw.config_schema,
    })
}

/// The same for a policy.
pub(super) fn check_policy(raw: balancing::Policy) -> Result<PolicyDescriptor, String> {
    check_label("name", &raw.name)?;
    check_label("version", &raw.version)?;
    check_description(&raw.description)?;
    schema::admit(&raw.config_schema)?;
    Ok(PolicyDescriptor {
        name: raw.name,
        version: raw.version,
        description: raw.description,
        config_schema: raw.config_schema,
    })
}

fn view(raw: raw::View) -> View {
    View {
        name: raw.name.into(),
        ownership: match raw.ownership {
            raw::Ownership::ByKey => Ownership::ByKey,
            raw::Ownership::Shared => Ownership::Shared,
        },
    }
}

fn check_label(what: &str, text: &str) -> Result<(), String> {
    if text.is_empty() || text.len() > NAME_BYTES_MAX || text.contains(char::is_control) {
        return Err(format!(
            "its {what} {text:?} is not a text of 1 to {NAME_BYTES_MAX} bytes"
        ));
    }
    Ok(())
}

fn check_description(text: &str) -> Result<(), String> {
    if text.len() > DESCRIPTION_BYTES_MAX || text.contains(|c: char| c.is_control() && c != '\n') {
        return Err(format!(
            "its description is not a text of at most {DESCRIPTION_BYTES_MAX} bytes without control \
             characters"
        ));
    }
    Ok(())
}

fn check_views(views: &[raw::View]) -> Result<(), String> {
    if views.is_empty() {
        return Err("it has no view; a projection writes at least one".to_owned());
    }
    if views.len() > VIEWS_MAX {
        return Err(format!(
            "it has {} views, and may have {VIEWS_MAX}",
            views.len()
        ));
    }
    let mut seen = HashSet::new();
    for view in views {
        check_view_name(&view.name)?;
        if !seen.insert(&view.name) {
            return Err(format!("it has two views named \"{}\"", view.name));
        }
    }
    Ok(())
}

/// Stores make collections and tables of these names, and put their own under `_`.
fn check_view_name(name: &str) -> Result<(), String> {
    let starts_well = name.starts_with(|c: char| c.is_ascii_lowercase());
    let goes_on_well = name
        .bytes()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-');
    if starts_well && goes_on_well && name.len() <= VIEW_NAME_BYTES_MAX {
        return Ok(());
    }
    Err(format!(
        "the name of view {name:?} is not 1 to {VIEW_NAME_BYTES_MAX} of a-z, 0-9, \"_\" and \"-\", a letter first"
    ))
}

fn check_headers(headers: &[String]) -> Result<(), String> {
    if headers.len() > HEADERS_MAX {
        return Err(format!(
            "it asks for {} headers, and may see {HEADERS_MAX}",
            headers.len()
        ));
    }
    let mut seen = HashSet::new();
    for header in headers {
        if header.is_empty() || header.len() > HEADER_BYTES_MAX {
            return Err(format!(
                "the name of header {header:?} has not 1 to {HEADER_BYTES_MAX} bytes"
            ));
        }
        if !seen.insert(header) {
            return Err(format!("it asks twice for header {header:?}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn views(names: &[&str]) -> Vec<raw::View> {
        let view = |name: &&str| raw::View {
            name: (*name).to_owned(),
            ownership: raw::Ownership::ByKey,
        };
        names.iter().map(view).collect()
    }

    fn orders() -> raw::Descriptor {
        raw::Descriptor {
            name: "orders".to_owned(),
            version: "1.0.0".to_owned(),
            description: "Orders,\nand by customer".to_owned(),
            encoding: raw::Encoding::Json,
            views: views(&["orders", "by_customer-2"]),
            headers: vec!["ce_id".to_owned()],
            config_schema: r#"{"type":"object"}"#.to_owned(),
        }
    }

    #[test]
    fn a_proper_descriptor_is_taken_over() {
        let descriptor = check(orders()).expect("a proper descriptor");
        assert_eq!(descriptor.name, "orders");
        assert_eq!(descriptor.encoding, Encoding::Json);
        assert_eq!(&*descriptor.views[1].name, "by_customer-2");
        assert_eq!(descriptor.views[0].ownership, Ownership::ByKey);
        assert_eq!(descriptor.headers, ["ce_id"]);
    }

    #[test]
    fn a_policy_is_held_to_the_same_rules() {
        let policy = |name: &str, schema: &str| balancing::Policy {
            name: name.to_owned(),
            version: "1".to_owned(),
            description: String::new(),
            config_schema: schema.to_owned(),
        };
        let problem = |raw| check_policy(raw).err().unwrap_or_default();
        assert_eq!(problem(policy("hash", "")), "");
        assert!(problem(policy("", "")).contains("its name"));
        assert!(problem(policy("hash", "[]")).contains("JSON object"));
    }

    #[test]
    fn an_improper_descriptor_is_refused_with_the_reason() {
        type Change = fn(&mut raw::Descriptor);
        let cases: [(&str, Change, &str); 16] = [
            ("no name", |d| d.name.clear(), "its name \"\""),
            ("a name of lines", |d| d.name = "a\nb".into(), "its name"),
            ("no version", |d| d.version.clear(), "its version"),
            (
                "a bell in it",
                |d| d.description.push('\u{7}'),
                "its description",
            ),
            (
                "a book",
                |d| d.description = "x".repeat(5_000),
                "at most 4096 bytes",
            ),
            ("no view", |d| d.views.clear(), "no view"),
            ("65 views", |d| d.views = views(&["v"; 65]), "65 views"),
            (
                "a view twice",
                |d| d.views = views(&["a", "a"]),
                "two views",
            ),
            (
                "a view without name",
                |d| d.views = views(&[""]),
                "view \"\"",
            ),
            ("the host's", |d| d.views = views(&["_seen"]), "\"_seen\""),
            ("capitals", |d| d.views = views(&["Orders"]), "\"Orders\""),
            ("a dot", |d| d.views = views(&["a.v1"]), "\"a.v1\""),
            ("a nameless header", |d| d.headers[0].clear(), "header \"\""),
            (
                "a header twice",
                |d| d.headers.push("ce_id".into()),
                "twice for header",
            ),
            (
                "no schema",
                |d| d.config_schema = "[]".into(),
                "JSON object",
            ),
            (
                "a schema with a slip",
                |d| d.config_schema = r#"{"type":"strnig"}"#.into(),
                "no JSON Schema: /type: ",
            ),
        ];
        for (name, change, reason) in cases {
            let mut descriptor = orders();
            change(&mut descriptor);
            let problem = check(descriptor).expect_err(name);
            assert!(problem.contains(reason), "{name}: {problem}");
        }
    }
}
