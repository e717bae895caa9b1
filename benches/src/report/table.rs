//! The table of a case, in Markdown, aligned so that it can be read as it is.

use crate::report::{Case, Mode, Summary};
use crate::statistics::Spread;

/// The cells of a row behind the number of events.
type Cells = fn(&Summary) -> Vec<String>;

/// Medians, with the least and the most of all rounds behind them.
pub fn table(case: &Case) -> String {
    let (head, cells): (&[&str], Cells) = match case.mode {
        Mode::Flood => (
            &[
                "contender",
                "events",
                "events/s",
                "first quarter",
                "last quarter",
                "CPU s/million",
                "peak MiB",
                "MongoDB ops/event",
                "start s",
            ],
            flood_cells,
        ),
        Mode::Steady { .. } => (
            &[
                "contender",
                "events",
                "p50 ms",
                "p99 ms",
                "p99.9 ms",
                "CPU s/million",
                "peak MiB",
                "MongoDB ops/event",
                "start s",
            ],
            steady_cells,
        ),
    };
    let mut rows = vec![head.iter().map(ToString::to_string).collect::<Vec<_>>()];
    let mut notes = String::new();
    for summary in &case.summaries {
        let (name, events) = (summary.contender.name(), summary.events.to_string());
        let mut row = vec![name.to_owned(), events];
        match &summary.wrong {
            None => row.extend(cells(summary)),
            Some(wrong) => {
                row.push("wrong".to_owned());
                let first = wrong.lines().next().unwrap_or_default();
                notes += &format!("{name}: {first}\n");
            }
        }
        row.resize(head.len(), String::new());
        rows.push(row);
    }
    for (contender, reason) in &case.left_out {
        notes += &format!("{}: left out, {reason}\n", contender.name());
    }
    format!("{}\n\n{}{notes}", case.title(), aligned(&rows))
}

fn flood_cells(summary: &Summary) -> Vec<String> {
    let mut cells = vec![
        cell(summary.events_per_second, 0),
        cell(summary.first_quarter_events_per_second, 0),
        cell(summary.last_quarter_events_per_second, 0),
    ];
    cells.extend(common_cells(summary));
    cells
}

fn steady_cells(summary: &Summary) -> Vec<String> {
    let mut cells = vec![
        cell(summary.p50_ms, 1),
        cell(summary.p99_ms, 1),
        cell(summary.p999_ms, 1),
    ];
    cells.extend(common_cells(summary));
    cells
}

fn common_cells(summary: &Summary) -> [String; 4] {
    const MIB: f64 = 1024.0 * 1024.0;
    let peak_mib = summary.peak_memory_bytes.map(|bytes| Spread {
        median: bytes.median / MIB,
        min: bytes.min / MIB,
        max: bytes.max / MIB,
    });
    [
        cell(summary.cpu_seconds_per_million_events, 1),
        cell(peak_mib, 0),
        cell(summary.operations_per_event, 2),
        cell(summary.start_seconds, 2),
    ]
}

fn cell(spread: Option<Spread>, decimals: usize) -> String {
    match spread {
        None => "-".to_owned(),
        // Of a single round, say.
        Some(Spread { median, min, max }) if min == max => format!("{median:.decimals$}"),
        Some(Spread { median, min, max }) => {
            format!("{median:.decimals$} ({min:.decimals$}–{max:.decimals$})")
        }
    }
}

/// The first column to the left, figures to the right.
fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.max().unwrap_or(0).max(3)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            text += &match column {
                0 => format!("| {cell:<width$} "),
                _ => format!("| {cell:>width$} "),
            };
        }
        text += "|\n";
        if number == 0 {
            for (column, width) in widths.iter().enumerate() {
                let line = "-".repeat(*width);
                text += &match column {
                    0 => format!("|-{line}-"),
                    _ => format!("|-{line}:"),
                };
            }
            text += "|\n";
        }
    }
    text
}
