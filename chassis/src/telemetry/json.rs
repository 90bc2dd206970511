//! A log line as one JSON object: `timestamp`, `level`, the event's fields, `target`, and the innermost span as `span`.
//!
//! A span's fields become text once, when it begins, and that text is copied into each of its lines: the formatter of
//! `tracing-subscriber` reads it as JSON and writes it again for each line, which was a third of what a line cost.

use std::{
    cell::Cell,
    error::Error,
    fmt::{self, Debug, Display, Write as _},
};

use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
    span::Record,
};
use tracing_log::NormalizeEvent as _;
use tracing_subscriber::{
    field::RecordFields,
    fmt::{
        FmtContext, FormatEvent, FormatFields, FormattedFields,
        format::Writer,
        time::{FormatTime as _, SystemTime},
    },
    registry::LookupSpan,
};

/// Makes a line of an event.
#[derive(Debug)]
pub(super) struct Line;

impl<S> FormatEvent<S, Members> for Line
where
    S: Subscriber + for<'s> LookupSpan<'s>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, Members>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        // What comes from the crate `log` has its own target among its fields.
        let normalized = event.normalized_metadata();
        let metadata = normalized.as_ref().unwrap_or_else(|| event.metadata());
        in_one_piece(&mut writer, |line| {
            line.push_str(r#"{"timestamp":""#);
            SystemTime.format_time(&mut Writer::new(line))?;
            line.push_str(r#"","level":""#);
            line.push_str(metadata.level().as_str());
            line.push('"');
            event.record(&mut Visitor { text: line, begun: true });
            line.push_str(r#","target":"#);
            string(line, metadata.target());
            if let Some(span) = context.parent_span() {
                line.push_str(r#","span":{"name":"#);
                string(line, span.name());
                if let Some(members) = span.extensions().get::<FormattedFields<Members>>()
                    && !members.is_empty()
                {
                    line.push(',');
                    line.push_str(members);
                }
                line.push('}');
            }
            line.push_str("}\n");
            Ok(())
        })
    }
}

/// Makes members of a JSON object, without its braces, of fields.
#[derive(Debug)]
pub(super) struct Members;

impl<'w> FormatFields<'w> for Members {
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'w>, fields: R) -> fmt::Result {
        in_one_piece(&mut writer, |text| {
            fields.record(&mut Visitor { text, begun: false });
            Ok(())
        })
    }

    fn add_fields(&self, current: &'w mut FormattedFields<Self>, fields: &Record<'_>) -> fmt::Result {
        let text = &mut current.fields;
        let begun = !text.is_empty();
        fields.record(&mut Visitor { text, begun });
        Ok(())
    }
}

/// Writes what `make` makes by a single call: a writer is behind a pointer, and what it writes into grows with each call.
fn in_one_piece(writer: &mut Writer<'_>, make: impl FnOnce(&mut String) -> fmt::Result) -> fmt::Result {
    thread_local! {
        static TEXT: Cell<String> = const { Cell::new(String::new()) };
    }
    // Taken rather than borrowed, for a value that logs while it is shown.
    let mut text = TEXT.take();
    let outcome = make(&mut text).and_then(|()| writer.write_str(&text));
    text.clear();
    TEXT.set(text);
    outcome
}

/// Writes fields as members.
struct Visitor<'a> {
    text: &'a mut String,
    /// Whether there is a member before the next.
    begun: bool,
}

impl Visitor<'_> {
    /// The text to write a field's value to, unless the field is to be left out.
    fn value_of(&mut self, field: &Field) -> Option<&mut String> {
        // They say where a line of the crate `log` comes from, which its target does.
        if field.name().starts_with("log.") {
            return None;
        }
        if self.begun {
            self.text.push(',');
        }
        self.begun = true;
        string(self.text, field.name());
        self.text.push(':');
        Some(self.text)
    }

    fn plain(&mut self, field: &Field, value: impl Display) {
        if let Some(text) = self.value_of(field) {
            let _never = write!(text, "{value}");
        }
    }

    /// A value that fails to show itself ends where it failed.
    fn shown(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        if let Some(text) = self.value_of(field) {
            text.push('"');
            let _failed = Escaped(text).write_fmt(value);
            text.push('"');
        }
    }
}

impl Visit for Visitor<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON has no name for what is not finite.
        if value.is_finite() { self.plain(field, value) } else { self.plain(field, "null") }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.plain(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.plain(field, value);
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        self.plain(field, value);
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        self.plain(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.plain(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if let Some(text) = self.value_of(field) {
            string(text, value);
        }
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.shown(field, format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.shown(field, format_args!("{value:?}"));
    }
}

fn string(text: &mut String, value: &str) {
    text.push('"');
    escape(text, value);
    text.push('"');
}

/// Adds `value` as the inside of a JSON string (RFC 8259, section 7).
fn escape(text: &mut String, value: &str) {
    let special = |byte: &u8| matches!(byte, b'"' | b'\\' | ..b' ');
    // Without an early end the compiler looks at many at once.
    if !value.as_bytes().iter().fold(false, |found, byte| found | special(byte)) {
        return text.push_str(value);
    }
    for character in value.chars() {
        match character {
            '"' | '\\' => text.extend(['\\', character]),
            '\n' => text.push_str("\\n"),
            '\0'..' ' => {
                let _never = write!(text, "\\u{:04x}", u32::from(character));
            }
            _ => text.push(character),
        }
    }
}

/// The inside of a JSON string, to be written to.
struct Escaped<'a>(&'a mut String);

impl fmt::Write for Escaped<'_> {
    fn write_str(&mut self, value: &str) -> fmt::Result {
        escape(self.0, value);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, pipe},
        sync::Arc,
    };

    use serde_json::{Value, json};
    use tracing::{info, info_span, subscriber::with_default, warn};
    use tracing_subscriber::{fmt, layer::SubscriberExt as _, registry};

    use super::*;

    /// The lines that `act` logs, read as JSON.
    fn lines_of(act: impl FnOnce()) -> Vec<Value> {
        let (mut read, write) = pipe().expect("a pipe");
        let layer = fmt::layer().fmt_fields(Members).event_format(Line).with_writer(Arc::new(write));
        with_default(registry().with(layer), act);
        let mut text = String::new();
        read.read_to_string(&mut text).expect("UTF-8");
        text.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
    }

    #[test]
    fn a_line_has_the_fields_of_its_event_and_of_its_span() {
        let lines = lines_of(|| {
            let span = info_span!(
                "request",
                http.path = "/v1/orders",
                retried = false,
                later = tracing::field::Empty
            );
            let _inside = span.enter();
            span.record("later", 7);
            info!(latency_us = 12_u128, share = 0.5, endless = f64::INFINITY, less = -3, "answered");
        });
        let [line] = &lines[..] else { panic!("{lines:?}") };
        assert!(line["timestamp"].as_str().is_some_and(|time| time.ends_with('Z')), "{line}");
        assert_eq!(line["level"], "INFO");
        assert_eq!(line["message"], "answered");
        assert_eq!(line["latency_us"], json!(12));
        assert_eq!(
            (&line["share"], &line["endless"], &line["less"]),
            (&json!(0.5), &Value::Null, &json!(-3))
        );
        assert_eq!(line["target"], module_path!());
        assert_eq!(
            line["span"],
            json!({"name": "request", "http.path": "/v1/orders", "retried": false, "later": 7})
        );
    }

    #[test]
    fn a_line_without_a_span_says_so_by_silence() {
        let lines = lines_of(|| warn!(error = "none", "alone"));
        assert_eq!(lines[0]["level"], "WARN");
        assert_eq!(lines[0].get("span"), None);
        let lines = lines_of(|| info_span!("bare").in_scope(|| warn!("within")));
        assert_eq!(lines[0]["span"], json!({"name": "bare"}));
    }

    #[test]
    fn what_a_client_sends_cannot_end_its_string_or_its_line() {
        let hostile: String = (0..=0xff_u8).map(char::from).chain("\"}\n{\u{2028}😀\\".chars()).collect();
        let lines = lines_of(|| {
            let span = info_span!("request", path = hostile.as_str());
            span.in_scope(
                || info!(debugged = ?hostile, shown = %hostile, text = hostile.as_str(), "answered"),
            );
        });
        let [line] = &lines[..] else { panic!("{} lines", lines.len()) };
        assert_eq!(line["shown"], hostile);
        assert_eq!(line["text"], hostile);
        assert_eq!(line["debugged"], format!("{hostile:?}"));
        assert_eq!(line["span"]["path"], hostile);
    }
}
