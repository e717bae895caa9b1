//! The files of the templates. `{{name}}` stands for the plugin's name, `{{file}}` for that of the
//! .wasm file without its end.

use super::{Language, PolicyKind};

/// Path and text of a file.
pub(super) type File = (&'static str, &'static str);

pub(super) fn of(language: Language) -> &'static [File] {
    match language {
        Language::Rust => &RUST,
        Language::Js => &JS,
        Language::Python => &PYTHON,
        Language::Go => &GO,
        Language::C => &C,
    }
}

/// Those of policies are in Rust.
pub(super) fn of_policy(kind: PolicyKind) -> &'static [File] {
    match kind {
        PolicyKind::Routing => &ROUTING,
        PolicyKind::Placement => &PLACEMENT,
    }
}

macro_rules! template {
    ($folder:literal: $($file:literal),*; $($more:expr),*) => {
        [
            $((
                $file,
                include_str!(concat!("../../../templates/", $folder, "/", $file)),
            ),)*
            ("fixtures/payments.events.jsonl", EVENTS),
            $($more,)*
        ]
    };
}

/// The same for all languages: what they fold is the same.
const EVENTS: &str = include_str!("../../../templates/payments.events.jsonl");

const RUST: [File; 7] = template![
    "rust":
    "Cargo.toml", "README.md", "src/lib.rs", "sdk/Cargo.toml", "fixtures/payments.expected.json";
    (".gitignore", "/target\n")
];

macro_rules! policy {
    ($folder:literal) => {
        [
            policy!($folder, "README.md"),
            policy!($folder, "config.json"),
            policy!($folder, "src/lib.rs"),
            (
                "Cargo.toml",
                include_str!("../../../templates/rust/Cargo.toml"),
            ),
            (
                "sdk/Cargo.toml",
                include_str!("../../../templates/rust/sdk/Cargo.toml"),
            ),
            (".gitignore", "/target\n"),
        ]
    };
    ($folder:literal, $file:literal) => {
        (
            $file,
            include_str!(concat!("../../../templates/", $folder, "/", $file)),
        )
    };
}

const ROUTING: [File; 6] = policy!("rust-routing");

const PLACEMENT: [File; 6] = policy!("rust-placement");

const JS: [File; 11] = template![
    "js":
    "README.md", "build.js", "fixtures/payments.expected.json", "main.js", "package.json",
    "plugin.js", "plugin.test.js", "projectionist.js", "testing.js";
    (".gitignore", "/node_modules\n/{{file}}.wasm\n")
];

const PYTHON: [File; 10] = template![
    "python":
    "README.md", "fixtures/payments.expected.json", "main.py", "plugin.py", "projectionist.py",
    "requirements.txt", "test_plugin.py", "testing.py";
    (".gitignore", "/.venv\n__pycache__\n/{{file}}.wasm\n")
];

const GO: [File; 14] = template![
    "go":
    "README.md", "build/main.go", "fixtures/payments.expected.json", "go.mod", "plugin.go",
    "plugin_test.go", "projectionist/decode.go", "projectionist/decode_test.go",
    "projectionist/host.go", "projectionist/native.go", "projectionist/projectionist.go", "projectionist/testing.go";
    (".gitignore", "/{{file}}.wasm\n")
];

const C: [File; 9] = template![
    "c":
    "Makefile", "README.md", "fixtures/payments.expected.json", "json.c", "plugin.c",
    "projectionist.c", "projectionist.h";
    (".gitignore", "*.o\n/{{file}}.wasm\n")
];

pub(super) const CONTRACT: File = ("wit/plugin.wit", include_str!("../../../../wit/plugin.wit"));

macro_rules! sdk {
    ($($file:literal),*) => {
        [$((
            concat!("sdk/src/", $file),
            include_str!(concat!("../../../../plugins/sdk/src/", $file)),
        )),*]
    };
}

/// The Rust SDK without its own tests.
pub(super) const SDK: [File; 19] = sdk![
    "bindings.rs",
    "bson.rs",
    "bson/error.rs",
    "bson/read.rs",
    "bson/write.rs",
    "column.rs",
    "encoding.rs",
    "event.rs",
    "fold.rs",
    "guest.rs",
    "host.rs",
    "ids.rs",
    "lib.rs",
    "message.rs",
    "policies.rs",
    "policy.rs",
    "projection.rs",
    "repeats.rs",
    "testing.rs"
];

/// What differs in the SDK's copy: where the contract lies, and that its tests are not there.
pub(super) const SDK_CHANGES: [(&str, &str); 2] = [
    ("path: \"../../wit\"", "path: \"../wit\""),
    ("#[cfg(test)]\nmod tests;\n", ""),
];
