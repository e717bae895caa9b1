//! A host that is given a file that ends its compiler, or a cache that it may not use: what it says
//! before it ends.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use projectionist_tests::guests::path;
use projectionist_tests::host::{Config, command};

use super::workshop::bottomless;

/// With a store and a cache of its own, and no Kafka.
fn config(plugin: &str) -> Config {
    let text = format!(
        "[kafka]\nbrokers = \"localhost:1\"\n[stores.main]\nkind = \"embedded\"\n\
         path = \"views.db\"\n[projections.orders]\nplugin = \"{plugin}\"\n\
         topics = [\"orders\"]\n[plugins]\ncache = \"cache\"\n"
    );
    Config::new("host", &text).expect("a configuration")
}

fn refusal(config: &Config) -> String {
    let finished = command(&["run"], config).expect("a host");
    assert_eq!(finished.code, Some(64), "{finished:?}");
    finished.stderr
}

#[test]
fn a_host_outlives_a_file_that_ends_its_compiler_and_names_it() {
    let config = config("bottomless.wasm");
    let added = config.add_file("bottomless.wasm", &bottomless());
    added.expect("a new file");
    let text = refusal(&config);
    assert!(text.contains("projection \"orders\", "), "{text}");
    let reason = "plugin \"bottomless.wasm\" ended the process that compiled it (signal 6: ";
    assert!(text.contains(reason), "{text}");
}

#[test]
fn a_host_names_a_cache_that_it_may_not_use() {
    let config = config(&path("misbehaving").display().to_string());
    let cache = config.path().with_file_name("cache");
    fs::create_dir(&cache).expect("a new directory");
    fs::set_permissions(&cache, fs::Permissions::from_mode(0o777)).expect("our directory");
    let text = refusal(&config);
    let reason = format!(
        "plugins.cache: {} can be used by other users",
        cache.display()
    );
    assert!(text.contains(&reason), "{text}");
}
