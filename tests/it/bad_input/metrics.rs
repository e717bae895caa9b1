//! What a host exports, and what it takes back.

use std::collections::{BTreeMap, BTreeSet};

use projectionist::telemetry::metrics::{Kind, Metric, TABLE};
use projectionist_tests::host::{Host, free_address};
use projectionist_tests::kafka::Topic;
use projectionist_tests::wait;

use crate::settings::{Settings, number, produce, until_stored};

/// A sample: its metric, and its labels but the bound of a bucket.
type Sample = (&'static Metric, BTreeMap<String, String>);

fn metric(name: &str) -> Option<&'static Metric> {
    TABLE.iter().find(|metric| metric.name == name)
}

fn page(host: &Host) -> String {
    let (status, text) = host.get("/metrics").expect("an answer");
    assert_eq!(status, 200, "{text}");
    text
}

/// The samples of a page; fails where one is not in the table, or has no help.
fn samples(text: &str) -> Vec<Sample> {
    let helped: BTreeSet<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# HELP "))
        .filter_map(|line| line.split(' ').next())
        .collect();
    let lines = text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| sample(line, &helped)).collect()
}

fn sample(line: &str, helped: &BTreeSet<&str>) -> Sample {
    let (series, _) = line.rsplit_once(' ').expect("a value");
    let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
    let of_a_histogram = ["_bucket", "_sum", "_count"]
        .iter()
        .filter_map(|end| metric(name.strip_suffix(end)?))
        .find(|metric| metric.kind == Kind::Histogram);
    let metric = of_a_histogram.or_else(|| metric(name));
    let metric = metric.unwrap_or_else(|| panic!("{name} is not in the table"));
    assert!(helped.contains(metric.name), "{} has no help", metric.name);
    let labels = labels.strip_suffix('}').expect("labels end");
    let labels = labels.split("\",").filter_map(|label| {
        let (name, value) = label.split_once("=\"")?;
        Some((name.to_owned(), value.trim_end_matches('"').to_owned()))
    });
    let mut labels: BTreeMap<String, String> = labels.collect();
    labels.remove("le");
    let names: BTreeSet<&str> = labels.keys().map(String::as_str).collect();
    let expected: BTreeSet<&str> = metric.labels.iter().copied().collect();
    assert_eq!(names, expected, "{line}");
    (metric, labels)
}

/// The partitions that gauges of single partitions are told of.
fn partitions_told(text: &str) -> BTreeSet<String> {
    let samples = samples(text);
    let samples = samples
        .iter()
        .filter(|(metric, _)| metric.labels.contains(&"partition"));
    samples
        .map(|(_, labels)| labels["partition"].clone())
        .collect()
}

/// An error while the host does not listen yet.
fn partitions_owned(host: &Host) -> Result<BTreeSet<String>, String> {
    let readiness = host.readiness().map_err(|error| error.to_string())?;
    let partitions = readiness["projections"]["tally"]["partitions"].as_object();
    let names = partitions.into_iter().flatten();
    let numbers = names.filter_map(|(name, _)| Some(name.rsplit_once('/')?.1.to_owned()));
    Ok(numbers.collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_host_exports_is_in_the_table_and_what_it_gave_up_is_gone() {
    let topic = Topic::create("metrics", 4).await.expect("a topic");
    let gateway = free_address().expect("a port");
    let more = "dedupe = { id = \"value:/id\" }";
    let first = Settings::tally(
        &topic,
        &format!("{more}\n[gateway]\nlisten = \"{gateway}\"\n"),
    );
    let config = first.config();
    let host = Host::start(&config).expect("a host");
    host.wait_until_ready().await;
    let mut numbers: Vec<_> = (0..20)
        .map(|key| number(&format!("key-{key}"), 1))
        .collect();
    numbers.push(number("poison", -1));
    produce(&topic, &numbers);
    until_stored(&first.database().await, numbers.len()).await;
    wait::until("the lag of all partitions", async || {
        let page = page(&host);
        let lag = page.matches("projectionist_lag_events{").count();
        match lag == 4 {
            true => Ok(()),
            false => Err(page),
        }
    })
    .await;
    let text = page(&host);
    let told: BTreeSet<&str> = samples(&text)
        .iter()
        .map(|(metric, _)| metric.name)
        .collect();
    for name in [
        "projectionist_build_info",
        "projectionist_events_folded_total",
        "projectionist_fold_seconds",
        "projectionist_dedupe_ids",
        "projectionist_parked_keys",
    ] {
        assert!(told.contains(name), "{name}: {text}");
    }
    let series = |text: &str| -> Vec<String> {
        let lines = text.lines().filter_map(|line| line.rsplit_once(' '));
        lines.map(|(series, _)| series.to_owned()).collect()
    };
    let order = series(&text);
    assert_eq!(order, series(&page(&host)), "the order stays");
    assert_eq!(partitions_told(&text).len(), 4, "{text}");

    let mut second = Settings::tally(&topic, more);
    second.database.clone_from(&first.database);
    let other_config = second.config();
    let other = Host::start(&other_config).expect("another host");
    wait::until("each host to have two partitions", async || {
        let owned = [&host, &other].map(|host| partitions_owned(host).map(|owned| owned.len()));
        match owned {
            [Ok(2), Ok(2)] => Ok(()),
            owned => Err(format!("{owned:?}; {}", host.log())),
        }
    })
    .await;
    // A partition that is given up leaves the health and the metrics one after the other.
    wait::until("the others to be told by their owner", async || {
        let (text, owned) = (page(&host), partitions_owned(&host));
        match owned == Ok(partitions_told(&text)) {
            true => Ok(()),
            false => Err(format!("{owned:?} are owned; {text}")),
        }
    })
    .await;
    drop((host, other));
    let database = first.database().await;
    database.drop().await.expect("it is the test's own");
}
