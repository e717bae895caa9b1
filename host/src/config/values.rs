//! What a value's text means: durations, sizes, counts, lists, names.
//!
//! Each reader answers the value, or what is wrong with it. No message shows a text that came
//! through a variable.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;

use super::reader::Field;
use super::suggest;
use super::tree::Value;

/// Nothing is waited for any longer, and a sum of a few such durations is still a time to come.
const DURATION_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// The longest line that servers are told: Kafka's protocol has 32,767 bytes for a text, to which
/// the names of copies may be added.
const LINE_BYTES_MAX: usize = 30_000;

/// The longest name of a store or projection.
const NAME_LEN_MAX: usize = 64;

/// A text of one line with something in it.
pub(super) fn line(field: &Field<'_>) -> Result<String, String> {
    let text = field.text()?;
    if text.text.trim().is_empty() {
        return Err("must not be empty".to_owned());
    }
    if text.text.len() > LINE_BYTES_MAX {
        return Err(format!("must not have more than {LINE_BYTES_MAX} bytes"));
    }
    if text.text.chars().any(char::is_control) {
        return Err("must not contain control characters or line breaks".to_owned());
    }
    Ok(text.text)
}

/// Names as they stand in the header `Host`; `*` stands for all.
pub(super) fn host_names(items: Vec<Field<'_>>) -> Vec<String> {
    let read = |item: Field<'_>| {
        let name = host_name(&item);
        name.map_err(|message| item.problem(message)).ok()
    };
    items.into_iter().filter_map(read).collect()
}

fn host_name(field: &Field<'_>) -> Result<String, String> {
    let text = field.text()?;
    let legal = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    if text.text == "*" || (!text.text.is_empty() && text.text.chars().all(legal)) {
        return Ok(text.text);
    }
    Err(format!(
        "{} is no name of a host; write it without scheme and port, such as \
         \"views.example.org\", or \"*\" for all names",
        text.quoted()
    ))
}

/// A path relative to the configuration's folder.
pub(super) fn path<'c>(
    resolve: impl Fn(&str) -> PathBuf,
) -> impl FnOnce(&Field<'c>) -> Result<PathBuf, String> {
    move |field| Ok(resolve(&line(field)?))
}

/// One of a few words.
pub(super) fn choice<'c, T: Copy>(
    choices: &[(&str, T)],
) -> impl FnOnce(&Field<'c>) -> Result<T, String> {
    move |field| {
        let text = field.text()?;
        if let Some((_, value)) = choices.iter().find(|(name, _)| *name == text.text) {
            return Ok(*value);
        }
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        let way_out = match suggest::nearest(&text.text, &names) {
            Some(name) => format!("did you mean {name:?}?"),
            None => format!("write one of: {}", names.join(", ")),
        };
        Err(format!("{} is unknown; {way_out}", text.quoted()))
    }
}

/// The word that [`choice`] reads as this value.
pub(super) fn word<T: Copy + PartialEq>(choices: &[(&str, T)], value: T) -> toml::Value {
    let word = choices.iter().find(|(_, choice)| *choice == value);
    let (word, _) = word.expect("every value has its word");
    toml::Value::String((*word).to_owned())
}

pub(super) fn boolean(field: &Field<'_>) -> Result<bool, String> {
    match field.typed() {
        Value::Boolean(boolean) => Ok(*boolean),
        other => Err(format!("expected true or false, found {}", other.kind())),
    }
}

/// A duration above zero: `500ms`, `3s`, `1m 30s`.
pub(super) fn duration(field: &Field<'_>) -> Result<Duration, String> {
    let duration = duration_or_zero(field)?;
    if duration.is_zero() {
        return Err("must be more than 0".to_owned());
    }
    Ok(duration)
}

pub(super) fn duration_or_zero(field: &Field<'_>) -> Result<Duration, String> {
    const EXAMPLE: &str = "a duration with its unit, such as \"500ms\", \"3s\" or \"2m\"";
    let text = field.text_as(EXAMPLE)?;
    let duration = humantime::parse_duration(&text.text)
        .map_err(|_| format!("{} is no duration; write {EXAMPLE}", text.quoted()))?;
    if duration > DURATION_MAX {
        return Err("must not be more than 365 days".to_owned());
    }
    Ok(duration)
}

/// A size in bytes, above zero: `8MiB`, `512 kB`, or a plain number.
pub(super) fn size(field: &Field<'_>) -> Result<u64, String> {
    const EXAMPLE: &str = "a number of bytes, or one with a unit such as \"8MiB\" or \"512kB\"";
    let size = match field.typed() {
        Value::Integer(bytes) => {
            u64::try_from(*bytes).map_err(|_| format!("out of range; write {EXAMPLE}"))?
        }
        Value::String(_) | Value::Variable { .. } => {
            let text = field.text()?;
            let size: Result<ByteSize, _> = text.text.parse();
            let size =
                size.map_err(|_| format!("{} is no size; write {EXAMPLE}", text.quoted()))?;
            size.as_u64()
        }
        other => return Err(format!("expected {EXAMPLE}, found {}", other.kind())),
    };
    match size {
        0 => Err("must be more than 0".to_owned()),
        // What is larger is cut to that when it is read.
        u64::MAX => Err(format!("out of range; write {EXAMPLE}")),
        size => Ok(size),
    }
}

/// A number from 1 to what 32 bits hold: beyond it nothing is a limit.
pub(super) fn count(field: &Field<'_>) -> Result<u32, String> {
    count_from(1, field)
}

pub(super) fn count_or_zero(field: &Field<'_>) -> Result<u32, String> {
    count_from(0, field)
}

fn count_from(least: u32, field: &Field<'_>) -> Result<u32, String> {
    match field.typed() {
        Value::Integer(number) => match u32::try_from(*number) {
            Ok(number) if number >= least => Ok(number),
            _ => Err(format!("must be from {least} to {}", u32::MAX)),
        },
        other => Err(format!("expected an integer, found {}", other.kind())),
    }
}

pub(super) fn socket_address(field: &Field<'_>) -> Result<SocketAddr, String> {
    const EXAMPLE: &str = "an IP address with a port, such as \"127.0.0.1:9464\"";
    let text = field.text_as(EXAMPLE)?;
    let address = text.text.parse();
    address.map_err(|_| format!("{} is no address; write {EXAMPLE}", text.quoted()))
}

/// The items of a list.
pub(super) fn items<'c>(field: &Field<'c>) -> Result<Vec<Field<'c>>, String> {
    match field.typed() {
        Value::Array(items) => Ok(items.iter().map(|item| field.item(item)).collect()),
        other => Err(format!("expected a list, found {}", other.kind())),
    }
}

/// What stores and projections are called. Without underscores or double hyphens, so that each
/// name has one spelling in the environment.
pub(super) fn check_name(name: &str) -> Result<(), String> {
    let starts = name.starts_with(|c: char| c.is_ascii_lowercase());
    let letters = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let hyphens = !name.contains("--") && !name.ends_with('-');
    if starts && hyphens && name.chars().all(letters) && name.len() <= NAME_LEN_MAX {
        return Ok(());
    }
    Err(format!(
        "not a valid name; use up to {NAME_LEN_MAX} lower-case letters, digits and single \
         hyphens, a letter first"
    ))
}
