//! `[host.tokens.NAME]`: who may use the admin API.

use std::collections::BTreeMap;

use toml::{Table, Value};

use super::effective::{table, text};
use super::reader::{Field, Section};
use super::secret::Secret;
use super::values;

/// A token that requests may name, and what they may then do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Always hidden.
    pub token: Secret,
    pub role: Role,
}

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
    pub(super) fn note(&mut self, name: &'n str, token: Option<&Secret>, section: &Section<'_>) {
        let Some(token) = token else {
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

pub(super) fn read(section: &Section<'_>) -> BTreeMap<String, Token> {
    let mut tokens = BTreeMap::new();
    let mut known = Known::default();
    for (name, mut token) in section.named_sections() {
        if let Err(message) = values::check_name(name) {
            token.own_problem(message);
        }
        let secret = token.require(
            "token",
            "write it as a variable, such as \"${CI_TOKEN}\"",
            secret,
        );
        known.note(name, secret.as_ref(), &token);
        let way_out = "write \"read\", \"deploy\" or \"operate\"";
        let role = token.require("role", way_out, values::choice(&ROLES));
        token.finish();
        if let Some((token, role)) = secret.zip(role) {
            tokens.insert(name.to_owned(), Token { token, role });
        }
    }
    tokens
}

/// Messages never show it.
pub(super) fn secret(field: &Field<'_>) -> Result<Secret, String> {
    let text = field.text()?.text;
    // What a header may hold, and nothing that is lost on the way.
    if text.len() < TOKEN_LEN_MIN || !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(format!(
            "must be of at least {TOKEN_LEN_MIN} ASCII letters, digits and signs, without blanks; \
             make one with \"openssl rand -hex 32\""
        ));
    }
    Ok(Secret::hidden(text))
}

pub(super) fn to_toml(tokens: &BTreeMap<String, Token>) -> Table {
    let entries = tokens.iter().map(|(name, token)| {
        let entry = table([
            ("token", text(token.token.shown())),
            ("role", values::word(&ROLES, token.role)),
        ]);
        (name.clone(), Value::Table(entry))
    });
    entries.collect()
}
