//! How long each benchmark of this folder takes.

use std::time::Duration;

use criterion::Criterion;

/// Short, for there are many: what is wanted are ratios within one run.
pub(crate) fn brief() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(30)
        .without_plots()
}
