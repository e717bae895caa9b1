//! The fields of an event, message and all, without anything that ends a line or commands a
//! terminal.

use std::fmt;

use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::{DefaultFields, Writer};

use crate::printable;

/// Formats as usual, and escapes what comes of it. What is outside of the fields (time, level,
/// target) is the host's own, and may have colours.
pub(super) struct OneLine;

impl<'w> FormatFields<'w> for OneLine {
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'w>, fields: R) -> fmt::Result {
        let mut text = String::new();
        DefaultFields::new().format_fields(Writer::new(&mut text), fields)?;
        writer.write_str(&printable::line(&text))
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use proptest::prelude::*;
    use tracing_subscriber::fmt::MakeWriter;

    use super::*;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("one thread").extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl MakeWriter<'_> for Page {
        type Writer = Page;

        fn make_writer(&self) -> Page {
            self.clone()
        }
    }

    /// What is logged of a text, wherever it stands.
    fn logged(text: &str) -> String {
        let page = Page::default();
        let subscriber = tracing_subscriber::fmt()
            .fmt_fields(OneLine)
            .with_writer(page.clone())
            .with_ansi(false)
            .finish();
        let error = io::Error::other(text);
        tracing::subscriber::with_default(subscriber, || {
            let span = tracing::info_span!("span", text, shown = %text);
            span.in_scope(|| {
                let error: &(dyn std::error::Error + 'static) = &error;
                tracing::info!(text, shown = %text, debug = ?text, error, "said: {text}");
            });
        });
        let bytes = page.0.lock().expect("one thread").clone();
        String::from_utf8(bytes).expect("text")
    }

    #[test]
    fn a_reader_cannot_forge_a_line_of_the_log() {
        let forged = "x\n2026-01-01T00:00:00Z  INFO projectionist::changes: changed by=\"root\"";
        let text = logged(forged);
        assert_eq!(text.matches('\n').count(), 1, "{text}");
        assert!(text.contains(r"x\n2026-01-01"), "{text}");
    }

    proptest! {
        #[test]
        fn a_line_is_one_line_of_visible_characters(text in any::<String>()) {
            let logged = logged(&text);
            let line = logged.strip_suffix('\n').expect("it ends");
            prop_assert!(!line.contains(printable::is_hidden), "{line:?}");
        }
    }
}
