//! `[plugins]`: how plugin files are compiled, and what plugins may take together.

use std::path::PathBuf;
use std::time::Duration;

use toml::{Table, Value};

use super::effective::{duration, path, size, table};
use super::environment::Variables;
use super::reader::Section;
use super::values;

/// Bounds for compilers, and the place for what they make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plugins {
    /// How long one file may take to compile; a minute by default.
    pub compile_timeout: Duration,
    /// What compiling one file may take of memory; 1 GiB by default, at least 256 MiB.
    pub compile_memory_bytes: u64,
    /// The directory for compiled code; by default below the user's own cache directory.
    pub cache: PathBuf,
    /// What all plugins together may cause of memory; by default 512 MiB, or what the projection
    /// with the largest limits needs.
    pub memory_budget_bytes: Option<u64>,
    /// How many may be uploaded; 1,000 by default.
    pub uploads_max: u32,
}

/// With less, hardly any plugin would be compiled.
const MEMORY_BYTES_MIN: u64 = 256 << 20;

impl Plugins {
    /// What holds where nothing is configured, for a user with these variables.
    pub fn defaults(environment: impl IntoIterator<Item = (String, String)>) -> Self {
        Plugins::with_variables(&environment.into_iter().collect())
    }

    fn with_variables(variables: &Variables) -> Self {
        let folder = |name: &str| {
            let value = PathBuf::from(variables.get(name)?);
            // What is relative is to be ignored, by the XDG base directory specification.
            value.is_absolute().then_some(value)
        };
        // The first of systemd's list, for a service with CacheDirectory=.
        let of_service = variables
            .get("CACHE_DIRECTORY")
            .and_then(|list| list.split(':').next())
            .map(PathBuf::from)
            .filter(|directory| directory.is_absolute());
        let of_user = || {
            let cache = folder("XDG_CACHE_HOME");
            let cache = cache.or_else(|| Some(folder("HOME")?.join(".cache")));
            cache.map(|cache| cache.join("projectionist"))
        };
        let cache = of_service
            .or_else(of_user)
            .unwrap_or_else(|| std::env::temp_dir().join("projectionist-cache"));
        Plugins {
            compile_timeout: Duration::from_secs(60),
            compile_memory_bytes: 1 << 30,
            cache: cache.join("plugins"),
            memory_budget_bytes: None,
            uploads_max: 1_000,
        }
    }
}

pub(super) fn read(mut section: Section<'_>, variables: &Variables) -> Plugins {
    let default = Plugins::with_variables(variables);
    let context = section.context();
    let plugins = Plugins {
        compile_timeout: section
            .read("compile-timeout", values::duration)
            .unwrap_or(default.compile_timeout),
        compile_memory_bytes: section
            .read("compile-memory", |field| match values::size(field)? {
                bytes if bytes < MEMORY_BYTES_MIN => Err(
                    "must be at least 256MiB; with less, hardly any plugin would be compiled"
                        .to_owned(),
                ),
                bytes => Ok(bytes),
            })
            .unwrap_or(default.compile_memory_bytes),
        cache: section
            .read("cache", values::path(|path| context.resolve(path)))
            .unwrap_or(default.cache),
        memory_budget_bytes: section.read("memory-budget", values::size),
        uploads_max: section
            .read("uploads", values::count)
            .unwrap_or(default.uploads_max),
    };
    section.finish();
    plugins
}

pub(super) fn to_toml(plugins: &Plugins) -> Table {
    let mut entries = table([
        ("compile-timeout", duration(plugins.compile_timeout)),
        ("compile-memory", size(plugins.compile_memory_bytes)),
        ("cache", path(&plugins.cache)),
        ("uploads", Value::from(plugins.uploads_max)),
    ]);
    if let Some(bytes) = plugins.memory_budget_bytes {
        entries.insert("memory-budget".to_owned(), size(bytes));
    }
    entries
}
