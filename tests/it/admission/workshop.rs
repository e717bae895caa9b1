//! Files that end their compiler, the processes around it, and the cache of what they make.

use std::error::Error as _;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use projectionist::plugin::{About, Engine, Error, Failure, Workshop, examine};
use projectionist_tests::guests::{guest, path};
use projectionist_tests::host::binary;

use super::hostile::circular;
use super::refusals::hollow;
use super::{about, engine};

const ROUTING: &str = "projectionist:plugin/routing@0.1.0";

/// A directory for the cache, and what a host has by default.
struct Bench {
    folder: tempfile::TempDir,
    workshop: Workshop,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let workshop = Workshop {
            program: binary(),
            cache: folder.path().join("cache"),
            time_max: Duration::from_secs(60),
            memory_bytes_max: 1 << 30,
        };
        Bench { folder, workshop }
    }

    fn with(change: impl FnOnce(&mut Workshop)) -> Self {
        let mut bench = Bench::new();
        change(&mut bench.workshop);
        bench
    }

    /// A program in the place of the host's binary.
    fn with_script(script: &str) -> Self {
        let mut bench = Bench::new();
        let program = bench.folder.path().join("program");
        fs::write(&program, format!("#!/bin/sh\n{script}\n")).expect("a new file");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("our file");
        bench.workshop.program = program;
        bench
    }

    fn engine(&self) -> Arc<Engine> {
        let engine = Engine::with_workshop(self.workshop.clone());
        Arc::new(engine.expect("this machine runs Wasm"))
    }

    fn examine(&self, bytes: &[u8]) -> Result<About, Error> {
        examine(&self.engine(), "orders.wasm", bytes)
    }

    fn refusal(&self, bytes: &[u8]) -> String {
        match self.examine(bytes) {
            Err(error @ Error::Refused { .. }) => error.to_string(),
            Err(Error::Engine(error)) => panic!("not a refusal: {error}"),
            other => panic!("not a refusal: {other:?}"),
        }
    }

    fn failure(&self, bytes: &[u8]) -> String {
        match self.examine(bytes) {
            Err(error @ Error::Engine(_)) => {
                let source = error.source().expect("what failed");
                assert!(source.is::<Failure>(), "{source:?}");
                source.to_string()
            }
            other => panic!("not the host's failure: {other:?}"),
        }
    }

    /// The files in the cache.
    fn files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.workshop.cache).expect("the cache");
        entries
            .map(|entry| entry.expect("an entry").path())
            .collect()
    }

    fn only_file(&self) -> PathBuf {
        match <[PathBuf; 1]>::try_from(self.files()) {
            Ok([file]) => file,
            Err(files) => panic!("not one file: {files:?}"),
        }
    }
}

fn leb128(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(number & 0x7f).expect("seven bits");
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

fn sized(content: &[u8]) -> Vec<u8> {
    [leb128(content.len()), content.to_vec()].concat()
}

fn section(id: u8, content: &[u8]) -> Vec<u8> {
    [vec![id], sized(content)].concat()
}

/// A hollow routing policy with a section right after its head.
fn with_section(id: u8, content: &[u8]) -> Vec<u8> {
    let component = hollow(&[ROUTING], &[]);
    let (head, rest) = component.split_at(8);
    [head, &section(id, content), rest].concat()
}

/// Valid, and refused only after all of its functions are compiled.
fn large(functions: usize, function_bytes: usize) -> Vec<u8> {
    // No locals; then "local.get 0", over and over "i32.const, i32.mul, i32.const, i32.xor", "end".
    let mut body = vec![0, 0x20, 0];
    let mut number = 0_u8;
    while body.len() < function_bytes {
        number = number.wrapping_add(7);
        body.extend([0x41, number & 0x3f, 0x6c, 0x41, number >> 2, 0x73]);
    }
    body.push(0x0b);
    let mut module = b"\0asm\x01\0\0\0".to_vec();
    module.extend(section(1, &[1, 0x60, 1, 0x7f, 1, 0x7f]));
    module.extend(section(
        3,
        &[leb128(functions), vec![0; functions]].concat(),
    ));
    module.extend(section(
        10,
        &[leb128(functions), sized(&body).repeat(functions)].concat(),
    ));
    with_section(1, &module)
}

/// Component types in one another, so deep that reading them needs more stack than there is.
pub(super) fn bottomless() -> Vec<u8> {
    // "component type of one declaration, which is a type".
    let levels = [0x41, 1, 1].repeat(1_000_000);
    with_section(7, &[&[1], &levels[..], &[0x41, 0]].concat())
}

#[test]
fn what_a_child_says_of_a_plugin_is_what_the_checks_say() {
    let bench = Bench::new();
    for name in ["misbehaving", "placement_first", "routing_first"] {
        let told = bench.examine(&guest(name)).expect("its file is in order");
        assert_eq!(told, about(name), "{name}");
    }
    let refused = [
        hollow(&[ROUTING], &[]),
        hollow(&[], &[]),
        circular(),
        b"text".to_vec(),
    ];
    for bytes in refused {
        let here = examine(engine(), "orders.wasm", &bytes).expect_err("a refusal");
        assert_eq!(bench.refusal(&bytes), here.to_string());
    }
}

#[test]
fn a_file_that_ends_its_compiler_is_refused() {
    let text = Bench::new().refusal(&bottomless());
    let expected = "plugin \"orders.wasm\" ended the process that compiled it (signal 6: ";
    assert!(
        text.starts_with(expected) && text.contains("has overflowed its stack"),
        "{text}"
    );
}

#[test]
fn a_file_that_takes_too_long_is_refused_when_its_time_is_over() {
    let bench = Bench::with(|workshop| workshop.time_max = Duration::from_millis(100));
    let bytes = large(9_000, 2_000);
    let started = Instant::now();
    let text = bench.refusal(&bytes);
    assert_eq!(
        text,
        "plugin \"orders.wasm\" is not compiled after 100ms, and this host gives it no longer; \
         build it smaller (optimised, without debug information), or raise plugins.compile-timeout"
    );
    // Not by waiting for what it would have taken; the rest is for a busy machine.
    assert!(started.elapsed() < Duration::from_secs(30));
    assert_eq!(bench.files().len(), 0, "{:?}", bench.files());
}

#[test]
fn a_file_that_takes_too_much_memory_is_refused() {
    let bench = Bench::with(|workshop| workshop.memory_bytes_max = 256 << 20);
    assert_eq!(
        bench.refusal(&large(1, 7_000_000)),
        "plugin \"orders.wasm\" takes more than 256.0 MiB of memory to compile, and this host gives \
         it no more; build it smaller (optimised, without debug information), or raise \
         plugins.compile-memory"
    );
    assert_eq!(bench.files().len(), 0, "{:?}", bench.files());
}

#[test]
fn a_file_as_large_as_an_interpreter_is_compiled_within_the_default_memory() {
    // Its time depends on what else the machine does.
    let bench = Bench::with(|workshop| workshop.time_max = Duration::from_secs(600));
    let started = Instant::now();
    let text = bench.refusal(&large(9_000, 2_000));
    // A check that comes after the compiler.
    assert!(text.contains("does not fit the contract: "), "{text}");
    println!("18 MB of code took {:?}", started.elapsed());
}

#[test]
fn a_compiler_that_cannot_be_asked_is_no_refusal() {
    let bytes = guest("misbehaving");
    let cases = [
        ("exit 3", "the compiler process failed: exit status: 3"),
        (
            "echo hello",
            "the compiler process failed: its answer cannot be read: ",
        ),
        (
            r#"echo '"taken"'"#,
            "the compiler process failed: what it has written cannot be loaded",
        ),
        (
            r#"echo '{"failed":"no room"}'"#,
            "the compiler process failed: no room",
        ),
    ];
    for (script, expected) in cases {
        let text = Bench::with_script(script).failure(&bytes);
        assert!(text.starts_with(expected), "{script}: {text}");
    }
    let absent = Bench::with(|workshop| workshop.program = "/nowhere/projectionist".into());
    let text = absent.failure(&bytes);
    assert!(
        text.contains("cannot run a compiler process, /nowhere/projectionist: No such file"),
        "{text}"
    );
    let text = Bench::with_script("kill -SEGV $$").refusal(&bytes);
    assert!(
        text.contains("ended the process that compiled it (signal 11)"),
        "{text}"
    );
}

#[test]
fn a_second_start_loads_what_the_first_has_compiled() {
    let bench = Bench::with_script(&format!(
        "echo started >> \"${{0%/*}}/starts\"\nexec '{}' \"$@\"",
        binary().display()
    ));
    let starts = || {
        let text = fs::read_to_string(bench.folder.path().join("starts")).expect("it started");
        text.lines().count()
    };
    let bytes = guest("misbehaving");
    let timed = || {
        let engine = bench.engine();
        let started = Instant::now();
        let about = examine(&engine, "orders.wasm", &bytes).expect("in order");
        (about, started.elapsed())
    };
    let (first, compiled) = timed();
    assert_eq!(starts(), 1);
    let (second, loaded) = timed();
    assert_eq!(starts(), 1, "a cached file needs no process");
    assert_eq!(first, second);
    println!("compiled in {compiled:?}, loaded in {loaded:?}");
    // A refusal is not kept: another version of the host may take the file.
    for count in [2, 3] {
        bench.refusal(&hollow(&[ROUTING], &[]));
        assert_eq!(starts(), count);
    }
}

#[test]
fn what_is_damaged_or_not_ours_in_the_cache_is_compiled_again() {
    let bench = Bench::new();
    let bytes = guest("misbehaving");
    let about = bench.examine(&bytes).expect("in order");
    let file = bench.only_file();
    let whole = fs::read(&file).expect("the cached file");
    let elsewhere = bench.folder.path().join("elsewhere");
    fs::write(&elsewhere, &whole).expect("a new file");
    let flip = |at: usize| {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        changed
    };
    let write = |bytes: Vec<u8>| fs::write(&file, bytes).expect("our file");
    let cases: [(&str, &dyn Fn()); 6] = [
        ("a bit of its code", &|| write(flip(whole.len() / 2))),
        ("a bit of its head", &|| write(flip(40))),
        ("its end is missing", &|| {
            write(whole[..whole.len() - 1].to_vec())
        }),
        ("nothing is left", &|| write(Vec::new())),
        ("a link", &|| {
            fs::remove_file(&file).expect("our file");
            symlink(&elsewhere, &file).expect("a link");
        }),
        ("others may write to it", &|| {
            fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).expect("our file");
        }),
    ];
    for (name, damage) in cases {
        damage();
        assert_eq!(bench.examine(&bytes).expect(name), about, "{name}");
        assert_eq!(bench.only_file(), file, "{name}");
        let found = fs::symlink_metadata(&file).expect("the cached file");
        assert!(found.is_file(), "{name}");
        assert_eq!(found.permissions().mode() & 0o777, 0o600, "{name}");
        let again = fs::read(&file).expect("the cached file");
        assert_eq!(again.len(), whole.len(), "{name}");
    }
}

#[test]
fn a_cache_that_others_could_write_to_is_not_used() {
    let bytes = guest("misbehaving");
    let bench = Bench::new();
    let cache = &bench.workshop.cache;
    fs::create_dir(cache).expect("a new directory");
    for mode in [0o777, 0o770, 0o705] {
        fs::set_permissions(cache, fs::Permissions::from_mode(mode)).expect("our directory");
        let text = bench.failure(&bytes);
        let expected = format!(
            "plugins.cache: {} can be used by other users, so code in it could be another's; \
             remove it, or name another directory, which the host makes itself",
            cache.display()
        );
        assert_eq!(text, expected, "{mode:o}");
    }
    fs::set_permissions(cache, fs::Permissions::from_mode(0o700)).expect("our directory");
    bench.examine(&bytes).expect("it is ours alone now");

    let link = bench.folder.path().join("link");
    symlink(cache, &link).expect("a link");
    let linked = Bench::with(|workshop| workshop.cache = link);
    let text = linked.failure(&bytes);
    assert!(text.contains("link is a link to a directory"), "{text}");

    let file = bench.folder.path().join("file");
    fs::write(&file, "").expect("a new file");
    let text = Bench::with(|workshop| workshop.cache = file).failure(&bytes);
    assert!(text.contains("file cannot be used: "), "{text}");
    assert!(
        text.ends_with("name a directory that the host may write to"),
        "{text}"
    );
}

#[test]
fn the_cache_is_made_for_its_user_alone_and_stays_below_64_files() {
    let bench = Bench::new();
    let bytes = guest("misbehaving");
    bench.examine(&bytes).expect("in order");
    let found = fs::metadata(&bench.workshop.cache).expect("the cache");
    assert_eq!(found.permissions().mode() & 0o777, 0o700);

    let newest = bench.only_file();
    for number in 0..70 {
        let name = format!("{number}.compiled");
        fs::copy(&newest, bench.workshop.cache.join(name)).expect("a copy");
    }
    bench.examine(&guest("routing_first")).expect("in order");
    assert_eq!(bench.files().len(), 64);
    // What was used last stays.
    bench.examine(&guest("routing_first")).expect("in order");
    assert_eq!(bench.files().len(), 64);
}

#[test]
fn hosts_that_start_at_once_share_a_cache() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let check = |file: &Path| {
        Command::new(binary())
            .args(["plugin", "check"])
            .arg(file)
            .env("XDG_CACHE_HOME", folder.path())
            .env_remove("CACHE_DIRECTORY")
            .output()
            .expect("the host's binary; build it with `make build`")
    };
    std::thread::scope(|scope| {
        let checks: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| check(&path("misbehaving"))))
            .collect();
        for host in checks {
            let output = host.join().expect("it only waits");
            assert!(output.status.success(), "{output:?}");
        }
    });
    let cache = folder.path().join("projectionist/plugins");
    let files: Vec<PathBuf> = fs::read_dir(cache)
        .expect("the cache")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    assert_eq!(files.len(), 1, "{files:?}");
}
