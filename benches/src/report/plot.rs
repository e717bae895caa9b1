//! The medians of all cases as bars, in one SVG file.

use std::path::Path;

use anyhow::Context as _;
use plotters::prelude::*;

use super::{Case, Mode, Report, Summary};
use crate::contender::Contender;
use crate::statistics::Spread;

const WIDTH: u32 = 900;

const TITLE_HEIGHT: i32 = 34;

const BAR_HEIGHT: i32 = 26;

const PANEL_GAP: i32 = 18;

/// Where bars begin and how long the longest is, in pixels.
const BAR_START: i32 = 150;

const BAR_LENGTH: f64 = 520.0;

/// One bar of a panel.
struct Bar<'s> {
    summary: &'s Summary,
    spread: Option<Spread>,
}

/// Writes the plot: events per second, or p99 in steady mode; the lines are the spread over the
/// rounds.
///
/// # Errors
/// A file that cannot be written.
pub fn plot(report: &Report, path: &Path) -> anyhow::Result<()> {
    let height: i32 = report.cases.iter().map(panel_height).sum();
    let size = (WIDTH, u32::try_from(height.max(1))?);
    let area = SVGBackend::new(path, size).into_drawing_area();
    area.fill(&WHITE)?;
    let mut top = 0;
    for case in &report.cases {
        panel(&area, case, top)?;
        top += panel_height(case);
    }
    area.present()
        .with_context(|| format!("cannot write {}", path.display()))
}

type Area<'p> = DrawingArea<SVGBackend<'p>, plotters::coord::Shift>;

fn panel_height(case: &Case) -> i32 {
    TITLE_HEIGHT + case.summaries.len() as i32 * BAR_HEIGHT + PANEL_GAP
}

fn panel(area: &Area<'_>, case: &Case, top: i32) -> anyhow::Result<()> {
    let what = match case.mode {
        Mode::Flood => "events/s",
        Mode::Steady { .. } => "p99 from produced to visible, ms",
    };
    let bars: Vec<Bar<'_>> = case
        .summaries
        .iter()
        .map(|summary| Bar {
            summary,
            spread: match case.mode {
                Mode::Flood => summary.events_per_second,
                Mode::Steady { .. } => summary.p99_ms,
            },
        })
        .collect();
    let longest = bars
        .iter()
        .filter_map(|bar| bar.spread)
        .map(|spread| spread.max);
    let longest = longest.fold(f64::MIN_POSITIVE, f64::max);

    let title = format!("{}: {what}", case.title());
    let style = ("sans-serif", 16).into_font().color(&BLACK);
    area.draw(&Text::new(title, (12, top + 10), style))?;
    let mut y = top + TITLE_HEIGHT;
    for bar in &bars {
        draw_bar(area, bar, longest, y)?;
        y += BAR_HEIGHT;
    }
    Ok(())
}

fn draw_bar(area: &Area<'_>, bar: &Bar<'_>, longest: f64, y: i32) -> anyhow::Result<()> {
    let label = ("sans-serif", 13).into_font().color(&BLACK);
    let name = bar.summary.contender.name();
    area.draw(&Text::new(name, (12, y + 4), label.clone()))?;
    let x = |value: f64| BAR_START + (value / longest * BAR_LENGTH) as i32;
    let text = match bar.spread {
        None => "wrong".to_owned(),
        Some(Spread { median, min, max }) => {
            let corners = [(BAR_START, y), (x(median), y + BAR_HEIGHT - 8)];
            area.draw(&Rectangle::new(
                corners,
                colour(bar.summary.contender).filled(),
            ))?;
            let middle = y + (BAR_HEIGHT - 8) / 2;
            let line = vec![(x(min), middle), (x(max), middle)];
            area.draw(&PathElement::new(line, BLACK.stroke_width(2)))?;
            let decimals = if median < 1_000.0 { 1 } else { 0 };
            format!("{median:.decimals$}")
        }
    };
    let end = bar.spread.map_or(BAR_START, |spread| x(spread.max));
    area.draw(&Text::new(text, (end + 10, y + 4), label))?;
    Ok(())
}

fn colour(contender: Contender) -> RGBColor {
    match contender {
        Contender::Projectionist => RGBColor(0x1f, 0x77, 0xb4),
        Contender::Limit => RGBColor(0x9a, 0x9a, 0x9a),
        Contender::KafkaConnect => RGBColor(0xff, 0x7f, 0x0e),
        Contender::OneByOne => RGBColor(0xd6, 0x27, 0x28),
    }
}
