//! `[host.tokens.NAME]`: who may use the admin API.

use std::collections::BTreeMap;
use std::path::PathBuf;

use toml::{Table, Value};

use super::effective::{path, table, text};
use super::reader::{Field, Section};
use super::secret::Secret;
use super::{suggest, values};

/// A token that requests may name, and what they may then do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    pub token: TokenSource,
    pub role: Role,
    /// `None`, the default, means all.
    pub projections: Option<Vec<String>>,
}

/// Where a token stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenSource {
    /// Always hidden.
    Text(Secret),
    /// One a line; read again when it changes.
    File(PathBuf),
}

/// Projections that tokens name, to be held against those that there are.
pub(super) type Named<'c> = Vec<(Field<'c>, String)>;

/// Each may what the one before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Look.
    Read,
    /// Upload plugins.
    Deploy,
    /// Decide about parked events.
    Operate,
}

const ROLES: [(&str, Role); 3] = [
    ("read", Role::Read),
    ("deploy", Role::Deploy),
    ("operate", Role::Operate),
];

/// Fewer can be guessed.
const TOKEN_LEN_MIN: usize = 16;

/// The tokens so far, each with its name: one that two names have would be one of them by chance.
#[derive(Default)]
pub(super) struct Known<'n>(Vec<(&'n str, Secret)>);

impl<'n> Known<'n> {
    /// Notes a problem of `section`, which has the token, where another name has it as well.
    pub(super) fn note(
        &mut self,
        name: &'n str,
        token: Option<&TokenSource>,
        section: &Section<'_>,
    ) {
        // What stands in a file is not known yet, and may change.
        let Some(TokenSource::Text(token)) = token else {
            return;
        };
        let same = self
            .0
            .iter()
            .find(|(_, other)| other.expose() == token.expose());
        if let Some((other, _)) = same {
            let message = format!("is that of {other:?}, too; give each a token of its own");
            section.problem("token", message);
        }
        self.0.push((name, token.clone()));
    }
}

pub(super) fn read<'c>(section: &Section<'c>) -> (BTreeMap<String, Token>, Named<'c>) {
    let mut tokens = BTreeMap::new();
    let mut named = Named::new();
    let mut known = Known::default();
    for (name, mut token) in section.named_sections() {
        if let Err(message) = values::check_name(name) {
            token.own_problem(message);
        }
        let secret = source(
            &mut token,
            "write it as a variable, such as \"${CI_TOKEN}\"",
        );
        known.note(name, secret.as_ref(), &token);
        let way_out = "write \"read\", \"deploy\" or \"operate\"";
        let role = token.require("role", way_out, values::choice(&ROLES));
        let projections = token.read("projections", values::items);
        let projections = projections.map(|items| {
            let read = |item: Field<'c>| match values::line(&item) {
                Ok(name) => {
                    named.push((item, name.clone()));
                    Some(name)
                }
                Err(message) => {
                    item.problem(message);
                    None
                }
            };
            items.into_iter().filter_map(read).collect()
        });
        token.finish();
        if let Some((token, role)) = secret.zip(role) {
            let token = Token {
                token,
                role,
                projections,
            };
            tokens.insert(name.to_owned(), token);
        }
    }
    (tokens, named)
}

/// Notes which of these projections there are not.
pub(super) fn check_named(named: Named<'_>, known: &[&str]) {
    for (field, name) in named {
        if known.contains(&name.as_str()) {
            continue;
        }
        field.problem(match suggest::nearest(&name, known) {
            Some(near) => format!("there is no projection {name:?}; did you mean {near:?}?"),
            None => format!(
                "there is no projection {name:?}; there are {}",
                known.join(", ")
            ),
        });
    }
}

/// Reads `token`, or `token-file`.
pub(super) fn source(section: &mut Section<'_>, way_out: &str) -> Option<TokenSource> {
    let context = section.context();
    let file = section.read("token-file", values::path(|path| context.resolve(path)));
    if section.field("token-file").is_none() {
        return section
            .require("token", way_out, secret)
            .map(TokenSource::Text);
    }
    if section.field("token").is_some() {
        section.problem("token-file", "does not go with a token; keep one of them");
    }
    file.map(TokenSource::File)
}

pub(super) fn source_to_toml(source: &TokenSource) -> (&'static str, Value) {
    match source {
        TokenSource::Text(secret) => ("token", text(secret.shown())),
        TokenSource::File(file) => ("token-file", path(file)),
    }
}

/// Messages never show it.
pub(super) fn secret(field: &Field<'_>) -> Result<Secret, String> {
    let text = field.text()?.text;
    check_token(&text)?;
    Ok(Secret::hidden(text))
}

/// What a header may hold, and nothing that is lost on the way.
pub fn check_token(text: &str) -> Result<(), String> {
    if text.len() < TOKEN_LEN_MIN || !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(format!(
            "must be of at least {TOKEN_LEN_MIN} ASCII letters, digits and signs, without blanks; \
             make one with \"openssl rand -hex 32\""
        ));
    }
    Ok(())
}

pub(super) fn to_toml(tokens: &BTreeMap<String, Token>) -> Table {
    let entries = tokens.iter().map(|(name, token)| {
        let mut entry = table([
            source_to_toml(&token.token),
            ("role", values::word(&ROLES, token.role)),
        ]);
        if let Some(projections) = &token.projections {
            let projections = projections.iter().map(|name| text(name)).collect();
            entry.insert("projections".to_owned(), Value::Array(projections));
        }
        (name.clone(), Value::Table(entry))
    });
    entries.collect()
}
