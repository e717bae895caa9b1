//! Lines of what a module prints.

use super::super::logs::LINE_BYTES_MAX;

/// Where a module prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Stream {
    Output,
    Error,
}

/// What has been printed since the last line's end, for each stream.
#[derive(Debug, Default)]
pub(in super::super) struct Lines {
    output: Vec<u8>,
    error: Vec<u8>,
}

impl Stream {
    pub(super) fn of_descriptor(descriptor: u32) -> Option<Self> {
        match descriptor {
            1 => Some(Stream::Output),
            2 => Some(Stream::Error),
            _ => None,
        }
    }
}

impl Lines {
    /// Gives each line that these bytes complete. One that is longer than the log takes becomes
    /// several; empty ones are left out, and what is not UTF-8 becomes a question mark a byte.
    pub(in super::super) fn print(
        &mut self,
        stream: Stream,
        bytes: &[u8],
        mut line: impl FnMut(&str),
    ) {
        let kept = self.of(stream);
        for (number, part) in bytes.split(|byte| *byte == b'\n').enumerate() {
            if number > 0 {
                flush(kept, &mut line);
            }
            let mut part = part;
            while kept.len() + part.len() > LINE_BYTES_MAX {
                let (fits, rest) = part.split_at(LINE_BYTES_MAX - kept.len());
                kept.extend_from_slice(fits);
                part = rest;
                let begun = begun_character(kept);
                let begun = kept.split_off(kept.len() - begun);
                flush(kept, &mut line);
                kept.extend(begun);
            }
            kept.extend_from_slice(part);
        }
    }

    /// Gives what has no line's end yet.
    pub(in super::super) fn end(&mut self, mut line: impl FnMut(Stream, &str)) {
        for stream in [Stream::Output, Stream::Error] {
            flush(self.of(stream), |text| line(stream, text));
        }
    }

    fn of(&mut self, stream: Stream) -> &mut Vec<u8> {
        match stream {
            Stream::Output => &mut self.output,
            Stream::Error => &mut self.error,
        }
    }
}

fn flush(kept: &mut Vec<u8>, mut line: impl FnMut(&str)) {
    if kept.is_empty() {
        return;
    }
    let mut text = String::with_capacity(kept.len());
    for chunk in kept.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| '?'));
    }
    line(&text);
    kept.clear();
}

/// How many bytes at the end begin a character that is not complete.
fn begun_character(bytes: &[u8]) -> usize {
    match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() => bytes.len() - error.valid_up_to(),
        Ok(_) | Err(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(pieces: &[&[u8]]) -> Vec<String> {
        let mut printed = Vec::new();
        let mut lines = Lines::default();
        for piece in pieces {
            lines.print(Stream::Output, piece, |line| printed.push(line.to_owned()));
        }
        lines.end(|_, line| printed.push(line.to_owned()));
        printed
    }

    #[test]
    fn bytes_become_lines_wherever_they_are_cut() {
        let text = "one\n\nzwei ü€😀\nthree".as_bytes();
        let whole = ["one", "zwei ü€😀", "three"];
        for cut in 0..text.len() {
            assert_eq!(lines(&[&text[..cut], &text[cut..]]), whole, "{cut}");
        }
    }

    #[test]
    fn a_long_line_is_cut_between_characters() {
        for start in 0..4 {
            let text = format!("{}{}", "x".repeat(start), "😀".repeat(3_000));
            let lines = lines(&[text.as_bytes()]);
            assert_eq!(lines.len(), 3);
            assert!(lines.iter().all(|line| line.len() <= LINE_BYTES_MAX));
            assert_eq!(lines.concat(), text);
        }
    }

    #[test]
    fn streams_are_kept_apart() {
        let mut lines = Lines::default();
        let mut printed = Vec::new();
        lines.print(Stream::Output, b"out", |line| printed.push(line.to_owned()));
        lines.print(Stream::Error, b"err\n", |line| {
            printed.push(line.to_owned())
        });
        lines.print(Stream::Output, b"put\n", |line| {
            printed.push(line.to_owned())
        });
        assert_eq!(printed, ["err", "output"]);
    }
}
