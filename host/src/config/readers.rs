//! `[gateway.tokens.NAME]`, `[gateway.jwt]` and `[gateway.roles.NAME]`: who may read which views.

use std::collections::BTreeMap;
use std::path::PathBuf;

use toml::{Table, Value};

use super::effective::{path, table, text};
use super::reader::{Field, Section};
use super::secret::Secret;
use super::tokens::TokenSource;
use super::{suggest, tokens, values};

/// Who may read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Readers {
    pub tokens: BTreeMap<String, ReaderToken>,
    /// `None`, the default, takes none.
    pub jwt: Option<Jwt>,
    /// The views that each role may read; `*` stands for all.
    pub roles: BTreeMap<String, Vec<String>>,
}

/// A token that requests may name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReaderToken {
    pub token: TokenSource,
    /// One of [`Readers::roles`].
    pub role: String,
}

/// Tokens of another issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jwt {
    pub key: JwtKey,
    pub issuer: Option<String>,
    pub audience: Option<String>,
    /// The claim that holds a role, or a list of them; `role` by default.
    pub role_claim: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JwtKey {
    /// For HS256. Always hidden.
    Secret(Secret),
    /// A JWKS file, for RS256.
    Keys(PathBuf),
}

const ROLE_CLAIM: &str = "role";

/// HS256 needs a key as long as its digest (RFC 7518, 3.2).
const SECRET_LEN_MIN: usize = 32;

/// Reads the three sections of `[gateway]`. Answers, too, whether any of them says who may read:
/// it may be wrong, which has been noted.
pub(super) fn read(gateway: &mut Section<'_>) -> (Readers, bool) {
    let (tokens, jwt) = (gateway.section("tokens"), gateway.section("jwt"));
    let given = !tokens.named_sections().is_empty() || !jwt.is_absent();
    let given = given || gateway.is_wrong("tokens");
    let roles = gateway.section("roles");
    // Where the roles are no table, nothing can be said of one.
    let are_known = !gateway.is_wrong("roles") || !roles.named_sections().is_empty();
    let roles = read_roles(&roles);
    let readers = Readers {
        tokens: read_tokens(&tokens, Some(&roles).filter(|_| are_known)),
        jwt: read_jwt(jwt),
        roles,
    };
    (readers, given)
}

fn read_roles(section: &Section<'_>) -> BTreeMap<String, Vec<String>> {
    let mut roles = BTreeMap::new();
    for (name, mut role) in section.named_sections() {
        if let Err(message) = values::check_name(name) {
            role.own_problem(message);
        }
        let way_out = "list the views that the role may read, or write [\"*\"] for all";
        let items = role.require("views", way_out, values::items);
        let views = items.into_iter().flatten().filter_map(|item| {
            let view = values::line(&item);
            view.map_err(|message| item.problem(message)).ok()
        });
        let views = views.collect();
        role.finish();
        roles.insert(name.to_owned(), views);
    }
    roles
}

/// `roles` are those that there are, where that is known.
fn read_tokens(
    section: &Section<'_>,
    roles: Option<&BTreeMap<String, Vec<String>>>,
) -> BTreeMap<String, ReaderToken> {
    let mut found = BTreeMap::new();
    let mut known = tokens::Known::default();
    for (name, mut token) in section.named_sections() {
        if let Err(message) = values::check_name(name) {
            token.own_problem(message);
        }
        let way_out = "write it as a variable, such as \"${READER_TOKEN}\"";
        let secret = tokens::source(&mut token, way_out);
        known.note(name, secret.as_ref(), &token);
        let way_out = "name one of gateway.roles";
        let role = token.require("role", way_out, |field| known_role(field, roles));
        token.finish();
        if let Some((token, role)) = secret.zip(role) {
            found.insert(name.to_owned(), ReaderToken { token, role });
        }
    }
    found
}

fn known_role(
    field: &Field<'_>,
    roles: Option<&BTreeMap<String, Vec<String>>>,
) -> Result<String, String> {
    let text = field.text()?;
    let Some(roles) = roles.filter(|roles| !roles.contains_key(&text.text)) else {
        return Ok(text.text);
    };
    let quoted = text.quoted();
    let names: Vec<&str> = roles.keys().map(String::as_str).collect();
    Err(match suggest::nearest(&text.text, &names) {
        Some(name) => format!("there is no role {quoted}; did you mean {name:?}?"),
        None if text.secret => format!("there is no role {quoted}; add it to [gateway.roles]"),
        None => format!(
            "there is no role {quoted}; add [gateway.roles.{}]",
            text.text
        ),
    })
}

fn read_jwt(mut section: Section<'_>) -> Option<Jwt> {
    if section.is_absent() {
        return None;
    }
    let context = section.context();
    let secret = section.read("secret", jwt_secret);
    let keys = section.read("jwks", values::path(|path| context.resolve(path)));
    let has = |section: &mut Section<'_>, key| section.field(key).is_some();
    match (has(&mut section, "secret"), has(&mut section, "jwks")) {
        (true, true) => section.problem(
            "jwks",
            "does not go with a secret, or anybody who knows the public keys could sign; keep one \
             of them",
        ),
        (false, false) => section.own_problem(
            "has no key; add \"secret\" for HS256, or \"jwks\" with a file of keys for RS256",
        ),
        (true, false) | (false, true) => {}
    }
    let issuer = section.read("issuer", values::line);
    let audience = section.read("audience", values::line);
    let role_claim = section.read("role-claim", values::line);
    section.finish();
    let key = secret
        .map(JwtKey::Secret)
        .or_else(|| keys.map(JwtKey::Keys))?;
    Some(Jwt {
        key,
        issuer,
        audience,
        role_claim: role_claim.unwrap_or_else(|| ROLE_CLAIM.to_owned()),
    })
}

/// Messages never show it.
fn jwt_secret(field: &Field<'_>) -> Result<Secret, String> {
    let text = field.text()?.text;
    if text.len() < SECRET_LEN_MIN {
        return Err(format!(
            "must be of at least {SECRET_LEN_MIN} bytes, as HS256 needs it; make one with \
             \"openssl rand -hex 32\""
        ));
    }
    Ok(Secret::hidden(text))
}

/// The three sections, those of them that are there.
pub(super) fn to_toml(readers: &Readers) -> Table {
    let tokens = readers.tokens.iter().map(|(name, token)| {
        let entry = table([
            tokens::source_to_toml(&token.token),
            ("role", text(&token.role)),
        ]);
        (name.clone(), Value::Table(entry))
    });
    let roles = readers.roles.iter().map(|(name, views)| {
        let views = views.iter().map(|view| text(view)).collect();
        let entry = table([("views", Value::Array(views))]);
        (name.clone(), Value::Table(entry))
    });
    let mut entries = table([
        ("tokens", Value::Table(tokens.collect())),
        ("roles", Value::Table(roles.collect())),
    ]);
    if let Some(jwt) = &readers.jwt {
        entries.insert("jwt".to_owned(), jwt_to_toml(jwt).into());
    }
    entries
}

fn jwt_to_toml(jwt: &Jwt) -> Table {
    let key = match &jwt.key {
        JwtKey::Secret(secret) => ("secret", text(secret.shown())),
        JwtKey::Keys(keys) => ("jwks", path(keys)),
    };
    let mut entries = table([key, ("role-claim", text(&jwt.role_claim))]);
    for (name, value) in [("issuer", &jwt.issuer), ("audience", &jwt.audience)] {
        if let Some(value) = value {
            entries.insert(name.to_owned(), text(value));
        }
    }
    entries
}
