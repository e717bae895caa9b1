//! `projections.NAME.view` and `projections.NAME.views`: what a plugin's views are called in the
//! store, where they shall not be called what the plugin calls them.
//!
//! Not here: which views a plugin has, which only its file tells (`app::catalogue`).

use std::collections::BTreeMap;

use toml::{Table, Value};

use super::effective::text;
use super::reader::{Field, Section};

/// The names of a projection's views in its store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ViewNames {
    /// Those that the plugin gives them.
    #[default]
    Plugins,
    /// The plugin's only view has this one.
    Only(String),
    /// New names by the plugin's own; the other views keep theirs.
    Each(BTreeMap<String, String>),
}

/// As long as a plugin's own may be.
const NAME_BYTES_MAX: usize = 64;

impl ViewNames {
    /// What a plugin's views are called, in their order; `own` are the plugin's names for them.
    ///
    /// # Errors
    /// Which key names a view that the plugin does not have, and the way out.
    pub fn of<'a>(&'a self, own: &[&'a str]) -> Result<Vec<&'a str>, String> {
        match self {
            ViewNames::Plugins => Ok(own.to_vec()),
            ViewNames::Only(name) if own.len() == 1 => Ok(vec![name.as_str()]),
            ViewNames::Only(name) => Err(format!(
                "view = \"{name}\" is for a plugin with one view, and this one has {}; name each, as \
                 in views = {{ {} = \"{name}\" }}",
                own.join(", "),
                own.first().unwrap_or(&"NAME"),
            )),
            ViewNames::Each(names) => each(names, own),
        }
    }

    /// The key that says so; `None` where none does.
    pub fn key(&self) -> Option<&'static str> {
        match self {
            ViewNames::Plugins => None,
            ViewNames::Only(_) => Some("view"),
            ViewNames::Each(_) => Some("views"),
        }
    }
}

fn each<'a>(names: &'a BTreeMap<String, String>, own: &[&'a str]) -> Result<Vec<&'a str>, String> {
    if let Some(unknown) = names.keys().find(|name| !own.contains(&name.as_str())) {
        return Err(format!(
            "views gives a name to \"{unknown}\", which is no view of the plugin; it has {}",
            own.join(", ")
        ));
    }
    let called: Vec<&str> = (own.iter())
        .map(|&name| names.get(name).map_or(name, String::as_str))
        .collect();
    for (index, name) in called.iter().enumerate() {
        if let Some(first) = called[..index].iter().position(|other| other == name) {
            return Err(format!(
                "the plugin's views \"{}\" and \"{}\" would both be called \"{name}\"; give one of \
                 them another name in views",
                own[first], own[index]
            ));
        }
    }
    Ok(called)
}

pub(super) fn read(section: &mut Section<'_>) -> ViewNames {
    let only = section.read("view", name);
    let has_only = section.field("view").is_some();
    let table = section.section("views");
    let has_table = !table.is_absent();
    let mut names = BTreeMap::new();
    for (own, field) in table.named_fields() {
        match name(&field) {
            Ok(name) => {
                names.insert(own.to_owned(), name);
            }
            Err(message) => field.problem(message),
        }
    }
    if has_only && has_table {
        section.problem(
            "views",
            "does not go with \"view\", which names the plugin's only view; keep one of them",
        );
    }
    match only {
        Some(name) => ViewNames::Only(name),
        None if names.is_empty() => ViewNames::Plugins,
        None => ViewNames::Each(names),
    }
}

/// What a plugin may call a view itself, so that every store takes it.
fn name(field: &Field<'_>) -> Result<String, String> {
    let text = field.text()?;
    let name = &text.text;
    let starts_well = name.starts_with(|c: char| c.is_ascii_lowercase());
    let goes_on_well = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(c);
    if starts_well && name.chars().all(goes_on_well) && name.len() <= NAME_BYTES_MAX {
        return Ok(text.text);
    }
    Err(format!(
        "{} is no name of a view; use up to {NAME_BYTES_MAX} lower-case letters, digits, \
         underscores and hyphens, a letter first",
        text.quoted()
    ))
}

pub(super) fn to_toml(names: &ViewNames, projection: &mut Table) {
    let value = match names {
        ViewNames::Plugins => return,
        ViewNames::Only(name) => text(name),
        ViewNames::Each(names) => {
            let names = names.iter().map(|(own, name)| (own.clone(), text(name)));
            Value::Table(names.collect())
        }
    };
    let key = names.key().expect("there are names");
    projection.insert(key.to_owned(), value);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn each(names: &[(&str, &str)]) -> ViewNames {
        let names = names.iter().map(|&(own, name)| (own.into(), name.into()));
        ViewNames::Each(names.collect())
    }

    #[test]
    fn views_are_called_what_the_configuration_says() {
        let only = ViewNames::Only("orders".to_owned());
        let cases = [
            (ViewNames::Plugins, vec!["a", "b"], vec!["a", "b"]),
            (only, vec!["mirror"], vec!["orders"]),
            (each(&[("b", "c")]), vec!["a", "b"], vec!["a", "c"]),
            (
                each(&[("a", "b"), ("b", "a")]),
                vec!["a", "b"],
                vec!["b", "a"],
            ),
        ];
        for (names, own, called) in cases {
            assert_eq!(names.of(&own), Ok(called), "{names:?}");
        }
    }

    #[test]
    fn names_that_do_not_fit_the_plugin_are_told_with_its_views() {
        let only = ViewNames::Only("orders".to_owned());
        let cases = [
            (
                only,
                "has a, b; name each, as in views = { a = \"orders\" }",
            ),
            (
                each(&[("c", "d")]),
                "\"c\", which is no view of the plugin; it has a, b",
            ),
            (
                each(&[("b", "a")]),
                "\"a\" and \"b\" would both be called \"a\"",
            ),
        ];
        for (names, words) in cases {
            let problem = names.of(&["a", "b"]).expect_err(words);
            assert!(problem.contains(words), "{problem}");
        }
    }
}
