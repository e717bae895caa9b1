//! The table, the code and the guide say the same.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::table::TABLE;

const OPERATIONS: &str = include_str!("../../../../docs/guide/operations.md");
const OTHERS: [&str; 2] = [
    include_str!("../../../../docs/guide/balancing.md"),
    include_str!("../../../../docs/guide/copies.md"),
];

/// A row of the guide: name, kind, labels, meaning.
type Row = (String, String, Vec<String>, String);

fn rows(guide: &str) -> Vec<Row> {
    let rows = guide
        .lines()
        .filter(|line| line.starts_with("| `projectionist_"));
    let row = |line: &str| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let bare = |cell: &str| cell.trim_matches('`').to_owned();
        let labels = cells[3].split(',').map(str::trim).map(bare);
        (
            bare(cells[1]),
            cells[2].to_owned(),
            labels.filter(|label| !label.is_empty()).collect(),
            without_links(cells[4]),
        )
    };
    rows.map(row).collect()
}

/// `[parked](#parked-events)` is `parked`.
fn without_links(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, link)) = rest.split_once('[') {
        let (label, behind) = link.split_once("](").expect("a link");
        let (_, behind) = behind.split_once(')').expect("a link ends");
        plain = plain + before + label;
        rest = behind;
    }
    plain + rest
}

#[test]
fn the_guide_has_the_table() {
    let table: Vec<Row> = (TABLE.iter())
        .map(|metric| {
            (
                metric.name.to_owned(),
                metric.kind.word().to_owned(),
                metric.labels.iter().map(ToString::to_string).collect(),
                metric.help.to_owned(),
            )
        })
        .collect();
    assert_eq!(rows(OPERATIONS), table);
    let known: BTreeMap<&String, (&String, &Vec<String>)> = (table.iter())
        .map(|(name, kind, labels, _)| (name, (kind, labels)))
        .collect();
    for (name, kind, labels, _) in OTHERS.into_iter().flat_map(rows) {
        assert_eq!(known.get(&name), Some(&(&kind, &labels)), "{name}");
    }
}

/// Whatever the code names as a metric stands in the table, and the other way about.
#[test]
fn the_table_has_what_the_code_exports() {
    let mut named = BTreeSet::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![root];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ext| ext == "rs")
                && !path.ends_with("metrics/table.rs")
            {
                let text = std::fs::read_to_string(&path).expect("a source");
                named.extend(quoted_names(&text));
            }
        }
    }
    let table: BTreeSet<String> = TABLE.iter().map(|m| m.name.to_owned()).collect();
    assert_eq!(named, table);
}

/// What stands in quotes and is called like a metric. Crates have such names, too.
fn quoted_names(text: &str) -> impl Iterator<Item = String> + '_ {
    const CRATES: [&str; 3] = [
        "projectionist_plugin_kit",
        "projectionist_sdk",
        "projectionist_tests",
    ];
    let quoted = text.split('"').skip(1);
    let is_name = |part: &&str| {
        part.strip_prefix("projectionist_").is_some_and(|rest| {
            !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
        })
    };
    let names = quoted.filter(is_name);
    names
        .filter(|name| !CRATES.contains(name))
        .map(str::to_owned)
}
