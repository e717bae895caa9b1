//! Goes through JSON text: strict as RFC 8259 has it, each number as its text.
//!
//! Guarantees:
//! - What is taken here for JSON is JSON, and the other way round; but for lone halves of
//!   surrogate pairs, which are no Unicode, and what is nested too deep.
//! - No number is read: whoever wants one gets the text, which no double has rounded.
//!
//! Not here: what is wrong where something is. That costs, so it is found out afterwards
//! ([`Malformed::tell`]).

use std::borrow::Cow;

use serde::de::{Error as _, IgnoredAny};

use super::DEPTH_MAX;

/// A text and a place in it.
pub(crate) struct Text<'a> {
    text: &'a str,
    at: usize,
}

/// The text is no JSON.
#[derive(Debug)]
pub(crate) struct Malformed;

/// A number as it stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Number<'a> {
    pub(crate) text: &'a str,
    /// It has neither a fraction nor an exponent.
    pub(crate) is_whole: bool,
}

impl Malformed {
    /// What is wrong with the text, and where.
    pub(crate) fn tell(text: &str) -> serde_json::Error {
        match serde_json::from_str::<IgnoredAny>(text) {
            Err(error) => error,
            Ok(_) => serde_json::Error::custom(
                "a text in it has half of a surrogate pair, which is no character, or values lie \
                 too deep in one another",
            ),
        }
    }
}

impl<'a> Text<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Text { text, at: 0 }
    }

    /// The first byte of the next token.
    pub(crate) fn peek(&mut self) -> Result<u8, Malformed> {
        let bytes = self.text.as_bytes();
        while let Some(&byte) = bytes.get(self.at) {
            match byte {
                b' ' | b'\n' | b'\r' | b'\t' => self.at += 1,
                _ => return Ok(byte),
            }
        }
        Err(Malformed)
    }

    /// Takes one of `{}[],:` where it comes next.
    pub(crate) fn take(&mut self, byte: u8) -> Result<bool, Malformed> {
        let found = self.peek()? == byte;
        self.at += usize::from(found);
        Ok(found)
    }

    /// The same where nothing else may come.
    pub(crate) fn expect(&mut self, byte: u8) -> Result<(), Malformed> {
        match self.take(byte)? {
            true => Ok(()),
            false => Err(Malformed),
        }
    }

    /// Nothing may come any more.
    pub(crate) fn end(&mut self) -> Result<(), Malformed> {
        match self.peek() {
            Err(Malformed) => Ok(()),
            Ok(_) => Err(Malformed),
        }
    }

    /// Where the next token begins, for [`Text::since`] and [`Text::back_to`].
    pub(crate) fn place(&mut self) -> Result<usize, Malformed> {
        self.peek()?;
        Ok(self.at)
    }

    pub(crate) fn since(&self, place: usize) -> &'a str {
        &self.text[place..self.at]
    }

    pub(crate) fn back_to(&mut self, place: usize) {
        self.at = place;
    }

    /// A field's name and the colon behind it.
    pub(crate) fn name(&mut self) -> Result<Cow<'a, str>, Malformed> {
        let name = self.string()?;
        self.expect(b':')?;
        Ok(name)
    }

    /// A string, borrowed where it has no escapes.
    pub(crate) fn string(&mut self) -> Result<Cow<'a, str>, Malformed> {
        if self.peek()? != b'"' {
            return Err(Malformed);
        }
        let start = self.at + 1;
        let bytes = self.text.as_bytes();
        let end = plain_end(bytes, start);
        match bytes.get(end) {
            Some(b'"') => {
                self.at = end + 1;
                Ok(Cow::Borrowed(&self.text[start..end]))
            }
            Some(b'\\') => self.escaped(start, end).map(Cow::Owned),
            _ => Err(Malformed),
        }
    }

    /// A string from its first escape on.
    #[cold]
    fn escaped(&mut self, mut start: usize, mut end: usize) -> Result<String, Malformed> {
        let bytes = self.text.as_bytes();
        let mut string = String::new();
        loop {
            string.push_str(&self.text[start..end]);
            match bytes.get(end) {
                Some(b'"') => {
                    self.at = end + 1;
                    return Ok(string);
                }
                Some(b'\\') => {
                    self.at = end + 1;
                    string.push(self.escape()?);
                    start = self.at;
                    end = plain_end(bytes, start);
                }
                _ => return Err(Malformed),
            }
        }
    }

    /// What stands behind a backslash.
    fn escape(&mut self) -> Result<char, Malformed> {
        let byte = *self.text.as_bytes().get(self.at).ok_or(Malformed)?;
        self.at += 1;
        Ok(match byte {
            b'"' | b'\\' | b'/' => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.unicode(),
            _ => return Err(Malformed),
        })
    }

    fn unicode(&mut self) -> Result<char, Malformed> {
        let first = self.hex()?;
        let code = match first {
            0xd800..=0xdbff => {
                if !self.text[self.at..].starts_with("\\u") {
                    return Err(Malformed);
                }
                self.at += 2;
                let second = self.hex()?;
                if !(0xdc00..=0xdfff).contains(&second) {
                    return Err(Malformed);
                }
                0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00)
            }
            code => code,
        };
        char::from_u32(code).ok_or(Malformed)
    }

    fn hex(&mut self) -> Result<u32, Malformed> {
        let digits = self.text.as_bytes().get(self.at..self.at + 4);
        let digits = digits.ok_or(Malformed)?;
        self.at += 4;
        digits.iter().try_fold(0, |code, &digit| {
            let digit = char::from(digit).to_digit(16).ok_or(Malformed)?;
            Ok(code * 16 + digit)
        })
    }

    /// `true`, `false` or `null`.
    pub(crate) fn word(&mut self, word: &str) -> Result<(), Malformed> {
        self.peek()?;
        let found = self.text.as_bytes()[self.at..].starts_with(word.as_bytes());
        self.at += word.len();
        found.then_some(()).ok_or(Malformed)
    }

    /// Whatever follows a number, a token follows that the caller looks for.
    pub(crate) fn number(&mut self) -> Result<Number<'a>, Malformed> {
        let is_negative = self.peek()? == b'-';
        let start = self.at;
        let bytes = self.text.as_bytes();
        let mut at = start + usize::from(is_negative);
        at = match bytes.get(at) {
            Some(b'0') => at + 1,
            _ => digits_end(bytes, at)?,
        };
        let mut is_whole = true;
        if let Some(b'.') = bytes.get(at) {
            at = digits_end(bytes, at + 1)?;
            is_whole = false;
        }
        if let Some(b'e' | b'E') = bytes.get(at) {
            let sign = matches!(bytes.get(at + 1), Some(b'+' | b'-'));
            at = digits_end(bytes, at + 1 + usize::from(sign))?;
            is_whole = false;
        }
        self.at = at;
        Ok(Number {
            text: &self.text[start..at],
            is_whole,
        })
    }

    /// Passes over a value, `depth` levels below the outermost one.
    pub(crate) fn skip(&mut self, depth: usize) -> Result<(), Malformed> {
        if depth > DEPTH_MAX {
            return Err(Malformed);
        }
        match self.peek()? {
            b'{' => self.fields(|text, _| text.skip(depth + 1)),
            b'[' => self.items(|text, _| text.skip(depth + 1)),
            b'"' => self.string().map(drop),
            b't' => self.word("true"),
            b'f' => self.word("false"),
            b'n' => self.word("null"),
            _ => self.number().map(drop),
        }
    }

    /// Goes through an object. `value` takes the value of each name.
    pub(crate) fn fields<E: From<Malformed>>(
        &mut self,
        mut value: impl FnMut(&mut Self, Cow<'a, str>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.expect(b'{')?;
        if self.take(b'}')? {
            return Ok(());
        }
        loop {
            let name = self.name()?;
            value(self, name)?;
            if !self.take(b',')? {
                return Ok(self.expect(b'}')?);
            }
        }
    }

    /// Goes through an array. `value` takes each item.
    pub(crate) fn items<E: From<Malformed>>(
        &mut self,
        mut value: impl FnMut(&mut Self, usize) -> Result<(), E>,
    ) -> Result<(), E> {
        self.expect(b'[')?;
        if self.take(b']')? {
            return Ok(());
        }
        for index in 0.. {
            value(self, index)?;
            if !self.take(b',')? {
                break;
            }
        }
        Ok(self.expect(b']')?)
    }
}

/// Behind at least one digit.
fn digits_end(bytes: &[u8], start: usize) -> Result<usize, Malformed> {
    let mut at = start;
    while let Some(b'0'..=b'9') = bytes.get(at) {
        at += 1;
    }
    if at == start { Err(Malformed) } else { Ok(at) }
}

/// Where a string has a quote, a backslash, a control character, or its text ends; eight bytes at
/// a time.
fn plain_end(bytes: &[u8], mut at: usize) -> usize {
    const ONES: u64 = u64::MAX / 255;
    const HIGH: u64 = ONES << 7;
    // The lowest byte that is marked is zero; higher ones may be marked wrongly.
    let zero = |word: u64| word.wrapping_sub(ONES) & !word;
    while let Some(chunk) = bytes.get(at..).and_then(<[u8]>::first_chunk) {
        let word = u64::from_le_bytes(*chunk);
        let control = word.wrapping_sub(ONES * 0x20) & !word;
        let quote = zero(word ^ (ONES * u64::from(b'"')));
        let backslash = zero(word ^ (ONES * u64::from(b'\\')));
        let found = (control | quote | backslash) & HIGH;
        if found != 0 {
            return at + (found.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    let is_plain = |&&byte: &&u8| byte >= 0x20 && byte != b'"' && byte != b'\\';
    let rest = bytes.get(at..).unwrap_or_default();
    at + rest.iter().take_while(is_plain).count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is_json(text: &str) -> bool {
        let mut reader = Text::new(text);
        reader.skip(0).and_then(|()| reader.end()).is_ok()
    }

    #[test]
    fn a_string_is_read_with_all_its_escapes() {
        let cases = [
            (r#""""#, Some("")),
            (
                r#""plain, and longer than 8 bytes""#,
                Some("plain, and longer than 8 bytes"),
            ),
            (r#""\"\\\/\b\f\n\r\t""#, Some("\"\\/\u{8}\u{c}\n\r\t")),
            (r#""a\u00fc\u20AC""#, Some("aü€")),
            (r#""\ud83d\ude00x""#, Some("😀x")),
            (r#""\ud83d""#, None),
            (r#""\ude00""#, None),
            (r#""\ud83d\u0041""#, None),
            (r#""\u12""#, None),
            (r#""\x""#, None),
            ("\"a\u{1f}\"", None),
            ("\"12345678\u{1}\"", None),
            ("\"open", None),
        ];
        for (text, expected) in cases {
            let read = Text::new(text).string();
            assert_eq!(read.ok().as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn a_number_is_its_text() {
        for text in [
            "0",
            "-0",
            "10",
            "1.50",
            "1e400",
            "-1.5E+03",
            "123456789012345678901234567890",
        ] {
            let number = Text::new(text).number().expect(text);
            assert_eq!(number.text, text);
            assert_eq!(number.is_whole, !text.contains(['.', 'e', 'E']));
        }
        for text in [
            "", "-", "+1", ".5", "1.", "1e", "1e+", "01", "NaN", "Infinity", "0x1",
        ] {
            assert!(!is_json(text), "{text}");
        }
    }

    proptest! {
        /// The library knows what JSON is.
        #[test]
        fn what_is_json_here_is_json_to_the_library(
            text in prop_oneof![
                "[\\[\\]{},:\"a\\\\un0-2.eE+ \t-]{0,12}",
                "(\\[|\\{\"a\":|1|,|\"\\\\u00e9\"|true|null|\\]|\\}| ){0,8}",
            ],
        ) {
            let library = serde_json::from_str::<IgnoredAny>(&text).is_ok();
            prop_assert_eq!(is_json(&text), library);
            if !library {
                prop_assert!(!Malformed::tell(&text).to_string().is_empty());
            }
        }

        #[test]
        fn what_is_written_is_read(string in any::<String>()) {
            let text = serde_json::to_string(&string).expect("a string");
            let read = Text::new(&text).string().expect("a string");
            prop_assert_eq!(&*read, &*string);
        }
    }
}
