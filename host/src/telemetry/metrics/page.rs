//! The page of metrics: what the exporter renders, in an order that stays, without what is over.
//!
//! Guarantees: families come by their names and series by their labels, each time alike; a gauge
//! without a number (NaN) is not told, for that is how one is taken back.

use std::collections::BTreeMap;

/// The lines of one metric.
#[derive(Default)]
struct Family<'t> {
    /// `# HELP` and `# TYPE`.
    head: Vec<&'t str>,
    /// By their labels; those of one histogram keep their order.
    series: BTreeMap<String, Vec<&'t str>>,
}

/// Puts a page that the exporter has rendered in order.
pub(super) fn in_order(text: &str) -> String {
    let mut families: BTreeMap<&str, Family<'_>> = BTreeMap::new();
    let mut name = "";
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some(comment) = line.strip_prefix("# ") {
            name = comment.split(' ').nth(1).unwrap_or_default();
            families.entry(name).or_default().head.push(line);
        } else if !line.ends_with(" NaN") {
            let family = families.entry(name).or_default();
            family.series.entry(labels(line)).or_default().push(line);
        }
    }
    let mut page = String::with_capacity(text.len());
    for family in families.values().filter(|family| !family.series.is_empty()) {
        for line in family.head.iter().chain(family.series.values().flatten()) {
            page.push_str(line);
            page.push('\n');
        }
        page.push('\n');
    }
    page
}

/// What tells a series from others of its family: its labels, without the bound of a bucket.
fn labels(line: &str) -> String {
    let from_brace = line.find('{').map_or("", |brace| &line[brace + 1..]);
    let labels = from_brace.rfind('}').map_or("", |end| &from_brace[..end]);
    match labels.rfind("le=\"") {
        // The exporter puts it last.
        Some(0) => String::new(),
        Some(at) if labels[..at].ends_with(',') => labels[..at - 1].to_owned(),
        Some(_) | None => labels.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_and_series_come_in_their_order_and_what_is_over_does_not() {
        let rendered = "# TYPE b gauge\nb{p=\"2\"} 1\nb{p=\"1\"} NaN\nb{p=\"10\"} 3\n\n\
                        # HELP a of a\n# TYPE a histogram\n\
                        a_bucket{p=\"y\",le=\"0.5\"} 1\na_bucket{p=\"y\",le=\"10\"} 2\n\
                        a_bucket{p=\"y\",le=\"+Inf\"} 2\na_sum{p=\"y\"} 1\na_count{p=\"y\"} 2\n\
                        a_bucket{p=\"x\",le=\"0.5\"} 0\na_sum{p=\"x\"} 0\na_count{p=\"x\"} 0\n\n\
                        # TYPE c gauge\nc NaN\n";
        let expected = "# HELP a of a\n# TYPE a histogram\n\
                        a_bucket{p=\"x\",le=\"0.5\"} 0\na_sum{p=\"x\"} 0\na_count{p=\"x\"} 0\n\
                        a_bucket{p=\"y\",le=\"0.5\"} 1\na_bucket{p=\"y\",le=\"10\"} 2\n\
                        a_bucket{p=\"y\",le=\"+Inf\"} 2\na_sum{p=\"y\"} 1\na_count{p=\"y\"} 2\n\n\
                        # TYPE b gauge\nb{p=\"10\"} 3\nb{p=\"2\"} 1\n\n";
        assert_eq!(in_order(rendered), expected);
        assert_eq!(in_order(expected), expected);
    }
}
