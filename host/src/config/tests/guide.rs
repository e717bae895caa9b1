//! The guide's reference says what the code does.

use super::{FULL, SMALLEST, right};
use crate::config::kafka;

const GUIDE: &str = include_str!("../../../../docs/guide/configuration.md");

/// The cells of the guide's rows about keys: | `key` | type | default | meaning |
fn rows_of_the_guide() -> impl Iterator<Item = Vec<&'static str>> {
    let sections = [
        "host.",
        "kafka.",
        "plugins.",
        "stores.",
        "projections.",
        "gateway.",
        "views.",
    ];
    GUIDE
        .lines()
        .map(|line| line.split('|').map(|cell| cell.trim().trim_matches('`')))
        .map(|cells| cells.skip(1).collect::<Vec<_>>())
        .filter(move |cells| {
            sections
                .iter()
                .any(|s| cells.first().is_some_and(|key| key.starts_with(s)))
        })
}

#[test]
fn the_guide_names_every_key_and_no_other() {
    let mut documented: Vec<String> = rows_of_the_guide().map(|row| row[0].to_owned()).collect();
    documented.sort();

    let token = "[host.tokens.ci]\ntoken = \"0123456789abcdef\"\nrole = \"read\"\n\
                 [host.tokens.team]\ntoken-file = \"team\"\nrole = \"read\"\n\
                 projections = [\"air-craft\"]\n";
    let reader = "[gateway.tokens.ci]\ntoken = \"0123456789abcdef\"\nrole = \"board\"\n\
                  [gateway.tokens.team]\ntoken-file = \"team\"\nrole = \"board\"\n";
    // A secret and a file of keys do not go together.
    let secret = format!("secret = \"{}\"", "x".repeat(32));
    let with_secret = FULL.replace("jwks = \"keys.json\"", &secret);
    // Nor do a name for the only view and names for several.
    let views = "views = { aircraft = \"planes\", airports = \"air-ports\" }";
    let with_secret = with_secret.replace(views, "view = \"planes\"");
    let mut keys = Vec::new();
    for text in [format!("{FULL}{token}{reader}"), with_secret] {
        let full = right(&text, &[]);
        let full: toml::Table = full.to_toml_redacted().parse().expect("TOML");
        collect_keys("", &full, &mut keys);
    }
    keys.sort();
    keys.dedup();

    assert_eq!(documented, keys);
}

#[test]
fn the_guide_names_the_defaults_in_force() {
    let config = right(SMALLEST, &[]);
    let effective: toml::Table = config.to_toml_redacted().parse().expect("TOML");
    let mut compared = 0;
    for row in rows_of_the_guide() {
        // A default in words is none that can be compared.
        let Ok(default) =
            format!("v = {}", row[2].replace("NAME", "aircraft")).parse::<toml::Table>()
        else {
            continue;
        };
        let key = row[0].replace("projections.NAME", "projections.aircraft");
        let (first, rest) = key.split_once('.').expect("every key is in a section");
        let value = rest
            .split('.')
            .fold(&effective[first], |table, name| &table[name]);
        assert_eq!(&default["v"], value, "{key}");
        compared += 1;
    }
    assert_eq!(compared, 48);
}

#[test]
fn the_guide_names_every_reserved_property() {
    for (property, _) in kafka::RESERVED {
        assert!(GUIDE.contains(&format!("`{property}`")), "{property}");
    }
}

/// As the guide writes them: `projections.NAME.batch.events`.
fn collect_keys(prefix: &str, table: &toml::Table, keys: &mut Vec<String>) {
    for (name, value) in table {
        let name = match prefix {
            "stores."
            | "stores.NAME.copies."
            | "projections."
            | "host.tokens."
            | "gateway.tokens."
            | "gateway.roles."
            | "views." => "NAME",
            _ => name,
        };
        let key = format!("{prefix}{name}");
        let free = [".config", ".properties", ".views"];
        let free = free.iter().any(|end| key.ends_with(end));
        match value.as_table() {
            Some(table) if !free => collect_keys(&format!("{key}."), table, keys),
            _ => keys.push(key),
        }
    }
}
