//! Makes guests that ask for the extreme, as text: a list is a pointer and a length to the host, so
//! a guest that lays them out by itself can have lists of any length, of overlapping parts, and of
//! nothing at all.
//!
//! Memory: texts and what `describe` answers, the answer of a call, what `get-many` answers; from
//! [`BIG`] on what a body fills, and behind it what the host passes.

use std::path::Path;

use wit_component::{StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// Where a body may lay out what it hands over. All zero at first.
pub(crate) const BIG: usize = 1 << 20;

/// The lists of an answer, in the order of the contract.
#[derive(Clone, Copy)]
pub(crate) enum List {
    Events,
    Views,
    IdBytes,
    IdEnds,
    IdMissing,
    DocumentBytes,
    DocumentEnds,
    DocumentMissing,
    Messages,
    Rejects,
}

/// Says that a list of the answer starts there and has so many items.
pub(crate) fn list(list: List, start: usize, items: usize) -> String {
    let pair = 1028 + 8 * list as usize;
    format!("{}{}", store(pair, start), store(pair + 4, items))
}

pub(crate) fn store(at: usize, value: usize) -> String {
    format!("(i32.store (i32.const {at}) (i32.const {value}))\n")
}

/// Stores `first`, `first + step` and so on, `stride` bytes apart.
pub(crate) fn series(
    start: usize,
    items: usize,
    stride: usize,
    first: usize,
    step: usize,
) -> String {
    format!(
        "(call $series (i32.const {start}) (i32.const {items}) (i32.const {stride}) \
         (i32.const {first}) (i32.const {step}))\n"
    )
}

pub(crate) fn fill(start: usize, byte: char, bytes: usize) -> String {
    let byte = u32::from(byte);
    format!("(memory.fill (i32.const {start}) (i32.const {byte}) (i32.const {bytes}))\n")
}

/// Does it again and again.
pub(crate) fn again(times: usize, body: &str) -> String {
    format!(
        "(local.set $n (i32.const {times}))\n(loop $again {body}\n\
         (local.set $n (i32.sub (local.get $n) (i32.const 1)))\n\
         (br_if $again (local.get $n)))\n"
    )
}

/// Asks for documents of view 0: bytes, ends and missing, each by start and length.
pub(crate) fn get_many(lists: [(usize, usize); 3]) -> String {
    let lists = lists.map(|(start, length)| format!("(i32.const {start}) (i32.const {length})"));
    format!(
        "(call $get_many (i32.const 0) {} (i32.const 2048))\n",
        lists.join(" ")
    )
}

/// Logs a text of so many bytes, which are zero.
pub(crate) fn log(level: usize, bytes: usize) -> String {
    format!("(call $log (i32.const {level}) (i32.const {BIG}) (i32.const {bytes}))\n")
}

pub(crate) fn count(bytes: usize) -> String {
    format!("(call $count (i32.const {BIG}) (i32.const {bytes}) (i64.const 1))\n")
}

/// The answer is an error of so many bytes from `start`.
pub(crate) fn error(start: usize, bytes: usize) -> String {
    format!(
        "{}{}{}",
        store(1024, 1),
        store(1028, start),
        store(1032, bytes)
    )
}

/// What a guest does where it is asked; an empty one does nothing out of the ordinary.
#[derive(Default)]
pub(crate) struct Bodies {
    /// Of `describe`, before its answer at 128.
    pub(crate) describe: String,
    /// Of `configure`, before its answer at 1024.
    pub(crate) configure: String,
    /// Of `project`, `place` or `pick`, before its answer at 1024.
    pub(crate) call: String,
}

/// Who may write a guest's view, as the contract numbers them.
#[derive(Clone, Copy)]
#[allow(
    dead_code,
    reason = "of the two suites that have this file, each makes one of them"
)]
pub(crate) enum Ownership {
    ByKey,
    Shared,
}

/// A projection with one view. It starts with room for so many bytes from [`BIG`] on.
pub(crate) fn projection(bodies: &Bodies, big: usize, ownership: Ownership) -> Vec<u8> {
    let imports = r#"(import "projectionist:plugin/documents@0.1.0" "get-many"
        (func $get_many (param i32 i32 i32 i32 i32 i32 i32 i32)))"#;
    let call = "(param i32)";
    let guest = Guest {
        interface: "projection",
        world: "projection-plugin",
        imports,
        calls: &[("project", call)],
        ownership,
    };
    guest.module(bodies, big)
}

pub(crate) fn placement(bodies: &Bodies, big: usize) -> Vec<u8> {
    let call = format!("(param{})", " i32".repeat(7));
    let guest = Guest {
        interface: "placement",
        world: "placement-policy",
        imports: "",
        calls: &[("place", call.as_str())],
        ownership: Ownership::Shared,
    };
    guest.module(bodies, big)
}

pub(crate) fn routing(bodies: &Bodies, big: usize) -> Vec<u8> {
    let pick = format!("(param{})", " i32".repeat(8));
    let guest = Guest {
        interface: "routing",
        world: "routing-policy",
        imports: "",
        calls: &[("pick", pick.as_str())],
        ownership: Ownership::Shared,
    };
    guest.module(bodies, big)
}

/// What a guest is, whatever it does.
struct Guest<'g> {
    interface: &'g str,
    world: &'g str,
    imports: &'g str,
    /// The functions that are asked for an answer, with their parameters.
    calls: &'g [(&'g str, &'g str)],
    ownership: Ownership,
}

impl Guest<'_> {
    fn module(&self, bodies: &Bodies, big: usize) -> Vec<u8> {
        let text = self.text(bodies, big);
        let mut module = wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        let mut resolve = Resolve::default();
        let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit");
        let (package, _) = resolve.push_dir(wit).expect("wit/ parses");
        let world = resolve.select_world(&[package], Some(self.world));
        let world = world.expect("wit/ has it");
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)
            .expect("the world can be encoded");
        module
    }

    fn text(&self, bodies: &Bodies, big: usize) -> String {
        let Guest {
            interface, imports, ..
        } = self;
        let calls = self.calls;
        let name = |function: &str| format!("projectionist:plugin/{interface}@0.1.0#{function}");
        let calls: String = calls
            .iter()
            .map(|(function, parameters)| {
                format!(
                    "(func (export \"{}\") {parameters} (result i32) (local $n i32)
                   (memory.fill (i32.const 1024) (i32.const 0) (i32.const 128))
                   (global.set $free (global.get $heap))
                   {} (i32.const 1024))",
                    name(function),
                    bodies.call
                )
            })
            .collect();
        let observe = match *interface {
            "routing" => format!(
                "(func (export \"{}\") (param i32 i32 i32))",
                name("observe")
            ),
            _ => String::new(),
        };
        // A policy's description ends with its schema, where a projection's goes on with its encoding.
        let rest = match *interface {
            "projection" => {
                r#""\00\00\00\00" "\40\00\00\00\01\00\00\00" "\10\00\00\00\00\00\00\00""#
            }
            _ => "",
        };
        let heap = (BIG + big).next_multiple_of(1 << 16);
        format!(
            r#"(module
          (import "projectionist:plugin/host@0.1.0" "log" (func $log (param i32 i32 i32)))
          (import "projectionist:plugin/host@0.1.0" "count" (func $count (param i32 i32 i64)))
          {imports}
          (memory (export "memory") {pages})
          (table $table 1 funcref)
          (global $heap i32 (i32.const {heap}))
          (global $free (mut i32) (i32.const {heap}))
          (data (i32.const 16) "greedy1v")
          (data (i32.const 64) "\17\00\00\00\01\00\00\00\0{ownership}")
          (data (i32.const 128) "\10\00\00\00\06\00\00\00" "\16\00\00\00\01\00\00\00"
            "\10\00\00\00\00\00\00\00" {rest} "\10\00\00\00\00\00\00\00")
          (func $series (param $at i32) (param $n i32) (param $stride i32) (param $value i32)
              (param $step i32)
            (loop $next
              (i32.store (local.get $at) (local.get $value))
              (local.set $at (i32.add (local.get $at) (local.get $stride)))
              (local.set $value (i32.add (local.get $value) (local.get $step)))
              (local.set $n (i32.sub (local.get $n) (i32.const 1)))
              (br_if $next (local.get $n))))
          (func $recurse (param i32) (result i32)
            (i32.add (local.get 0) (call $recurse (i32.add (local.get 0) (i32.const 1)))))
          (func (export "cabi_realloc") (param i32 i32 i32) (param $size i32) (result i32)
            (local $at i32) (local $pages i32)
            (local.set $at (global.get $free))
            (global.set $free (i32.and
              (i32.add (i32.add (local.get $at) (local.get $size)) (i32.const 15)) (i32.const -8)))
            (local.set $pages (i32.sub
              (i32.shr_u (i32.add (global.get $free) (i32.const 65535)) (i32.const 16))
              (memory.size)))
            (if (i32.gt_s (local.get $pages) (i32.const 0))
              (then (if (i32.eq (memory.grow (local.get $pages)) (i32.const -1))
                (then unreachable))))
            (local.get $at))
          (func (export "{describe}") (result i32) (local $n i32) {describe_body} (i32.const 128))
          (func (export "{configure}") (param i32 i32) (result i32) (local $n i32)
            {configure_body} (i32.const 1024))
          {calls} {observe})"#,
            pages = heap / (1 << 16) + 1,
            ownership = self.ownership as usize,
            describe = name("describe"),
            configure = name("configure"),
            describe_body = bodies.describe,
            configure_body = bodies.configure,
        )
    }
}
