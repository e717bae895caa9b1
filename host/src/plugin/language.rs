//! What a plugin is written in, from the notes that its tools leave in the sections `producers`, and
//! from the libraries that a component names.

use wasmparser::{KnownCustom, Parser, Payload};

/// Of a name that the file gives and the host shows.
const NAME_CHARS_MAX: usize = 32;

/// Tools that say more than the notes on languages: an engine that interprets a plugin is itself
/// written in something else.
const TOOLS: [(&str, &str); 7] = [
    ("componentize-py", "Python"),
    (PYTHON, "Python"),
    ("componentize-js", "JavaScript"),
    ("ComponentizeJS", "JavaScript"),
    ("TinyGo", "Go"),
    ("wit-bindgen-go", "Go"),
    ("wit-bindgen-c", "C"),
];

/// Stands for the library of this name: `componentize-py` leaves no note of its own.
const PYTHON: &str = "libpython";

/// One note, from a component or from a module within.
struct Note {
    is_language: bool,
    /// How many components and modules the part lies in.
    depth: usize,
    name: String,
}

/// Looks through a component's bytes. What cannot be read tells nothing.
pub(super) fn of(component: &[u8]) -> Option<String> {
    let notes = notes(component);
    let by_tool = TOOLS
        .iter()
        .find(|(tool, _)| {
            notes
                .iter()
                .any(|note| !note.is_language && note.name == *tool)
        })
        .map(|(_, language)| (*language).to_owned());
    by_tool.or_else(|| {
        let languages = notes.into_iter().filter(|note| note.is_language);
        languages
            .min_by_key(|note| note.depth)
            .map(|note| plain(&note.name))
    })
}

fn notes(component: &[u8]) -> Vec<Note> {
    let mut notes = Vec::new();
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(component) {
        match payload {
            Ok(Payload::ModuleSection { .. } | Payload::ComponentSection { .. }) => depth += 1,
            Ok(Payload::End(_)) => depth = depth.saturating_sub(1),
            Ok(Payload::CustomSection(section)) => {
                if section.name() == "component-name" && names(section.data(), PYTHON) {
                    notes.push(Note {
                        is_language: false,
                        depth,
                        name: PYTHON.to_owned(),
                    });
                }
                if let KnownCustom::Producers(fields) = section.as_known() {
                    for field in fields.into_iter().flatten() {
                        let is_language = field.name == "language";
                        notes.extend(field.values.into_iter().flatten().map(|value| Note {
                            is_language,
                            depth,
                            name: value.name.to_owned(),
                        }));
                    }
                }
            }
            Ok(_) => {}
            Err(_) => break,
        }
    }
    notes
}

/// Whether a section that gives the parts of a component their names has one that starts so.
fn names(section: &[u8], start: &str) -> bool {
    let mut parts = section.windows(start.len());
    parts.any(|part| part == start.as_bytes())
}

/// Compilers name the edition too: `C11`, `C_plus_plus_14`.
fn plain(name: &str) -> String {
    if name.starts_with("C_plus_plus") {
        return "C++".to_owned();
    }
    let edition = name.strip_prefix('C');
    if edition.is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_digit())) {
        return "C".to_owned();
    }
    let printable = name.chars().filter(|c| !c.is_control());
    printable.take(NAME_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A component with these fields in its section, and a module of Rust within.
    fn component(fields: &[(&str, &str)]) -> Vec<u8> {
        // Magic, version 1 and layer 0 for a module; version 13 and layer 1 for a component.
        let mut module = b"\0asm\x01\0\0\0".to_vec();
        module.extend(producers(&[("language", "Rust")]));
        let mut component = b"\0asm\x0d\0\x01\0".to_vec();
        component.extend(section(1, &module));
        component.extend(producers(fields));
        component
    }

    fn producers(fields: &[(&str, &str)]) -> Vec<u8> {
        let mut content = text("producers");
        content.push(u8::try_from(fields.len()).expect("few"));
        for (name, value) in fields {
            content.extend([text(name), vec![1], text(value), text("")].concat());
        }
        section(0, &content)
    }

    fn text(text: &str) -> Vec<u8> {
        let length = u8::try_from(text.len()).expect("short");
        [&[length], text.as_bytes()].concat()
    }

    fn section(id: u8, content: &[u8]) -> Vec<u8> {
        let length = u8::try_from(content.len()).expect("short");
        assert!(length < 0x80, "one byte of LEB128");
        [&[id, length], content].concat()
    }

    #[test]
    fn a_language_is_told_by_the_tools_and_then_by_the_outermost_note() {
        type Fields = &'static [(&'static str, &'static str)];
        let cases: [(&str, Fields, &str); 5] = [
            ("the module's own", &[], "Rust"),
            (
                "an engine within",
                &[("processed-by", "componentize-py")],
                "Python",
            ),
            ("an edition", &[("language", "C11")], "C"),
            ("another edition", &[("language", "C_plus_plus_14")], "C++"),
            ("no edition", &[("language", "Cobol")], "Cobol"),
        ];
        for (name, fields, expected) in cases {
            assert_eq!(of(&component(fields)).as_deref(), Some(expected), "{name}");
        }
    }

    #[test]
    fn a_component_that_holds_pythons_library_is_written_in_python() {
        let mut named = component(&[]);
        let content = [text("component-name"), text("libpython3.14.so")].concat();
        named.extend(section(0, &content));
        assert_eq!(of(&named).as_deref(), Some("Python"));
    }

    #[test]
    fn what_says_nothing_has_no_language() {
        assert_eq!(of(b"\0asm\x0d\0\x01\0"), None);
        assert_eq!(of(b"no Wasm"), None);
    }
}
