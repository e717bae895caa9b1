//! Reads JSON into BSON in one pass, straight into one buffer.
//!
//! Every document of every batch comes through here. Built from the library's own documents and
//! arrays, each level would be copied into the one around it, and each key be looked at again.
//!
//! An element is its type, its name and its value; the type is known last, and filled in.

use std::borrow::Cow;
use std::fmt;

use bson::raw::{RawDocumentBuf, cstr};
use bson::spec::ElementType;

use super::number::Stored;
use super::text::{Malformed, Text};
use super::{DEPTH_MAX, DOCUMENT_BYTES_MAX, Error, RESERVED_FIELDS, extended, repeats};

/// What a document or an array begins with.
const LENGTH_BYTES: usize = 4;

/// The names with a dollar that a document may have, which then has `$ref` first: MongoDB's way to
/// name a document of another collection.
pub(super) const REFERENCE_FIELDS: [&str; 3] = ["$ref", "$id", "$db"];

/// A document read from JSON.
#[derive(Debug)]
pub struct FromJson {
    pub body: RawDocumentBuf,
    /// True where [`to_json`](super::to_json) may give another text than the one that was read, in
    /// more than its layout: values in MongoDB's extended form, numbers that became decimals,
    /// names that came twice.
    pub is_respelled: bool,
}

/// Reads documents one after the other, in memory of its own that it keeps.
#[derive(Debug, Default)]
pub struct JsonReader {
    bytes: Vec<u8>,
    names: Vec<Name>,
}

/// Why a text becomes no document, and where in it.
#[derive(Debug, PartialEq, Eq)]
pub struct Refusal {
    reason: String,
    /// From the inside out.
    steps: Vec<String>,
}

/// What ends the reading.
#[derive(Debug)]
enum Problem {
    Malformed,
    TooDeep,
    /// It has so many bytes already.
    TooLarge(usize),
    /// Apart, for most results are of the good kind and shall be small.
    Refused(Box<Refusal>),
}

/// An element of a document that is being written.
#[derive(Debug)]
struct Name {
    /// Where the element starts: its type, then its name.
    start: usize,
    len: usize,
    print: u32,
}

/// What is written of one document.
struct Writer<'w, 't> {
    text: Text<'t>,
    bytes: &'w mut Vec<u8>,
    /// The elements of the documents that are open, outer ones first.
    names: &'w mut Vec<Name>,
    written: Written,
}

/// What is known of a document once it is written.
#[derive(Default)]
struct Written {
    is_respelled: bool,
    /// The host's own field that it has.
    reserved: Option<&'static str>,
}

impl JsonReader {
    /// Reads one JSON object as a document's body. The body takes just as much memory as it has
    /// bytes, for many stay in caches.
    pub fn read(&mut self, json: &[u8]) -> Result<FromJson, Error> {
        // All of it at once: else each string would be looked through by itself.
        let text = str::from_utf8(json).map_err(<serde_json::Error as serde::de::Error>::custom)?;
        let written = self.write(text, 0).map_err(|problem| match problem {
            Problem::Malformed => Error::Json(Malformed::tell(text)),
            Problem::TooDeep => Error::TooDeep,
            Problem::TooLarge(bytes) => Error::TooLarge { bytes },
            Problem::Refused(refusal) => Error::Refused(*refusal),
        })?;
        if let Some(field) = written.reserved {
            return Err(Error::ReservedField(field.to_owned()));
        }
        super::check_size(self.bytes.len())?;
        let body = RawDocumentBuf::from_bytes(self.bytes.to_vec())?;
        Ok(FromJson {
            body,
            is_respelled: written.is_respelled,
        })
    }

    /// Writes the document into `bytes`.
    fn write(&mut self, text: &str, depth: usize) -> Result<Written, Problem> {
        self.bytes.clear();
        self.names.clear();
        let mut writer = Writer {
            text: Text::new(text),
            bytes: &mut self.bytes,
            names: &mut self.names,
            written: Written::default(),
        };
        if writer.text.peek()? != b'{' {
            writer.text.skip(0)?;
            writer.text.end()?;
            return Err(refused("a document is a JSON object, and this is none"));
        }
        writer.document(depth)?;
        writer.text.end()?;
        Ok(writer.written)
    }
}

impl Writer<'_, '_> {
    /// Begins a document or an array; [`Writer::close`] takes what this gives.
    fn open(&mut self) -> usize {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; LENGTH_BYTES]);
        start
    }

    fn close(&mut self, start: usize) -> Result<(), Problem> {
        self.bytes.push(0);
        let len = length(self.bytes.len() - start)?;
        self.bytes[start..start + LENGTH_BYTES].copy_from_slice(&len);
        Ok(())
    }

    /// Reads the outermost object.
    fn document(&mut self, depth: usize) -> Result<(), Problem> {
        let start = self.open();
        self.text.expect(b'{')?;
        if !self.text.take(b'}')? {
            loop {
                let name = self.text.name()?;
                if name.starts_with('$') {
                    return Err(refused(format!(
                        "field \"{name}\" of the document starts with \"$\""
                    )));
                }
                if let Some(reserved) = RESERVED_FIELDS.iter().find(|&&field| field == name) {
                    self.written.reserved.get_or_insert(reserved);
                }
                self.element(name, depth)?;
                if !self.text.take(b',')? {
                    break;
                }
            }
            self.text.expect(b'}')?;
        }
        self.end_document(start, 0)
    }

    /// Reads any value, and says which type it became.
    fn value(&mut self, depth: usize) -> Result<ElementType, Problem> {
        if depth > DEPTH_MAX {
            return Err(Problem::TooDeep);
        }
        // A text can come to a document of eight times its size; it is not made to the end.
        if self.bytes.len() > DOCUMENT_BYTES_MAX {
            return Err(Problem::TooLarge(self.bytes.len()));
        }
        match self.text.peek()? {
            b'"' => {
                let string = self.text.string()?;
                self.string(&string)?;
                Ok(ElementType::String)
            }
            b'{' => self.object(depth),
            b'[' => self.array(depth),
            b't' => {
                self.text.word("true")?;
                self.bytes.push(1);
                Ok(ElementType::Boolean)
            }
            b'f' => {
                self.text.word("false")?;
                self.bytes.push(0);
                Ok(ElementType::Boolean)
            }
            b'n' => {
                self.text.word("null")?;
                Ok(ElementType::Null)
            }
            _ => self.number(),
        }
    }

    fn number(&mut self) -> Result<ElementType, Problem> {
        let number = self.text.number()?;
        let (bytes, kind): (&[u8], _) = match Stored::of(number).map_err(refused)? {
            Stored::Int64(integer) => (&integer.to_le_bytes(), ElementType::Int64),
            Stored::Double(double) => (&double.to_le_bytes(), ElementType::Double),
            Stored::Decimal128(bytes) => {
                self.written.is_respelled = true;
                (&bytes.clone(), ElementType::Decimal128)
            }
        };
        self.bytes.extend_from_slice(bytes);
        Ok(kind)
    }

    fn object(&mut self, depth: usize) -> Result<ElementType, Problem> {
        let place = self.text.place()?;
        let (start, first) = (self.open(), self.names.len());
        self.text.expect(b'{')?;
        if !self.text.take(b'}')? {
            let mut is_reference = false;
            loop {
                let name = self.text.name()?;
                if name.starts_with('$') {
                    let is_first = self.names.len() == first;
                    is_reference |= is_first && name == REFERENCE_FIELDS[0];
                    if is_first && !is_reference {
                        self.bytes.truncate(start);
                        self.text.back_to(place);
                        return self.extended_value(&name, depth);
                    }
                    if !is_reference || !REFERENCE_FIELDS.contains(&&*name) {
                        return Err(refused(format!(
                            "field \"{name}\" starts with \"$\" but is not the first of its object"
                        )));
                    }
                }
                self.element(name, depth)?;
                if !self.text.take(b',')? {
                    break;
                }
            }
            self.text.expect(b'}')?;
        }
        self.end_document(start, first)?;
        Ok(ElementType::EmbeddedDocument)
    }

    fn array(&mut self, depth: usize) -> Result<ElementType, Problem> {
        let start = self.open();
        self.text.expect(b'[')?;
        if !self.text.take(b']')? {
            for index in 0.. {
                let kind = self.index(index);
                let item = self.value(depth + 1);
                self.bytes[kind] = item.map_err(|problem| problem.within(&index))? as u8;
                if !self.text.take(b',')? {
                    break;
                }
            }
            self.text.expect(b']')?;
        }
        self.close(start)?;
        Ok(ElementType::Array)
    }

    /// Writes an element: its name, and the value that comes next.
    fn element(&mut self, name: Cow<'_, str>, depth: usize) -> Result<(), Problem> {
        // Written out, a null byte would be no JSON.
        if matches!(name, Cow::Owned(_)) && name.as_bytes().contains(&0) {
            return Err(refused(format!(
                "field \"{}\" has a null byte in its name",
                name.escape_default()
            )));
        }
        let kind = self.name(name.as_bytes());
        self.names.push(Name {
            start: kind,
            len: name.len(),
            print: repeats::print(name.as_bytes()),
        });
        let value = self.value(depth + 1);
        self.bytes[kind] = value.map_err(|problem| problem.within(&name))? as u8;
        Ok(())
    }

    /// Writes an element's name and says where its type goes.
    fn name(&mut self, name: &[u8]) -> usize {
        let kind = self.bytes.len();
        self.bytes.reserve(name.len() + 2);
        self.bytes.push(0);
        self.bytes.extend_from_slice(name);
        self.bytes.push(0);
        kind
    }

    /// The same for an item of an array, whose name is its index.
    fn index(&mut self, index: usize) -> usize {
        // The digits of the largest index there is.
        let mut digits = [0; 20];
        let mut start = digits.len();
        let mut rest = index;
        loop {
            start -= 1;
            digits[start] = b'0' + u8::try_from(rest % 10).expect("one digit");
            rest /= 10;
            if rest == 0 {
                return self.name(&digits[start..]);
            }
        }
    }

    fn string(&mut self, value: &str) -> Result<(), Problem> {
        let len = length(value.len() + 1)?;
        self.bytes.reserve(value.len() + 5);
        self.bytes.extend_from_slice(&len);
        self.bytes.extend_from_slice(value.as_bytes());
        self.bytes.push(0);
        Ok(())
    }

    /// Ends a document whose elements are those from `first` on.
    fn end_document(&mut self, start: usize, first: usize) -> Result<(), Problem> {
        let names = &self.names[first..];
        let bytes = &*self.bytes;
        if repeats::exist(names, |name| name.print, |name| name.of(bytes)) {
            let lasting = repeats::lasting(names.iter().map(|name| name.of(bytes)));
            let ends = names[1..].iter().map(|name| name.start);
            let ends = ends.chain([bytes.len()]);
            let mut kept = Vec::new();
            for ((name, end), is_lasting) in names.iter().zip(ends).zip(lasting) {
                if is_lasting {
                    kept.extend_from_slice(&bytes[name.start..end]);
                }
            }
            self.bytes.truncate(start + LENGTH_BYTES);
            self.bytes.append(&mut kept);
            self.written.is_respelled = true;
        }
        self.names.truncate(first);
        self.close(start)
    }

    /// Reads an object whose first name starts with `$`.
    fn extended_value(&mut self, first: &str, depth: usize) -> Result<ElementType, Problem> {
        let place = self.text.place()?;
        self.text.skip(depth)?;
        let scope = |text: &str| {
            let mut reader = JsonReader::default();
            reader.write(text, depth + 1)?;
            RawDocumentBuf::from_bytes(reader.bytes).map_err(refused)
        };
        let value = extended::read::<Problem>(self.text.since(place), first, scope)?;
        self.written.is_respelled = true;
        // As the only element of a document, without a name: length, type and name's end come
        // before the value, and a null after it.
        let kind = value.element_type();
        let mut around = RawDocumentBuf::new();
        around.append(cstr!(""), value);
        let bytes = around.as_bytes();
        self.bytes
            .extend_from_slice(&bytes[LENGTH_BYTES + 2..bytes.len() - 1]);
        Ok(kind)
    }
}

impl Name {
    fn of<'b>(&self, bytes: &'b [u8]) -> &'b [u8] {
        &bytes[self.start + 1..self.start + 1 + self.len]
    }
}

/// A length as BSON has it.
fn length(bytes: usize) -> Result<[u8; 4], Problem> {
    let bytes = i32::try_from(bytes)
        .map_err(|_| refused("it takes more than 2 GiB, which no document may"))?;
    Ok(bytes.to_le_bytes())
}

#[cold]
fn refused(reason: impl fmt::Display) -> Problem {
    Problem::Refused(Box::new(Refusal {
        reason: reason.to_string(),
        steps: Vec::new(),
    }))
}

impl Problem {
    /// The same, seen from the object or array around.
    #[cold]
    fn within(mut self, step: &impl fmt::Display) -> Self {
        if let Problem::Refused(refusal) = &mut self {
            let step = step.to_string().replace('~', "~0").replace('/', "~1");
            refusal.steps.push(step);
        }
        self
    }
}

impl From<Malformed> for Problem {
    fn from(_: Malformed) -> Self {
        Problem::Malformed
    }
}

impl From<String> for Problem {
    fn from(reason: String) -> Self {
        refused(reason)
    }
}

/// The reason, and a JSON pointer to the place.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)?;
        if self.steps.is_empty() {
            return Ok(());
        }
        f.write_str(" (at ")?;
        for step in self.steps.iter().rev() {
            write!(f, "/{step}")?;
        }
        f.write_str(")")
    }
}
