//! A log line as one JSON object: `timestamp`, `level`, the event's fields, `target`, and the innermost span as `span`.
//!
//! A span's fields become text once, when it begins, and that text is copied into each of its lines: the formatter of
//! `tracing-subscriber` reads it as JSON and writes it again for each line, which was a third of what a line cost.

use std::{
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
        mut line: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        // What comes from the crate `log` has its own target among its fields.
        let normalized = event.normalized_metadata();
        let metadata = normalized.as_ref().unwrap_or_else(|| event.metadata());
        line.write_str(r#"{"timestamp":""#)?;
        SystemTime.format_time(&mut line)?;
        line.write_str(r#"","level":""#)?;
        line.write_str(metadata.level().as_str())?;
        line.write_char('"')?;
        Visitor::members(&mut line, true, |visitor| event.record(visitor))?;
        line.write_str(r#","target":"#)?;
        string(&mut line, metadata.target())?;
        if let Some(span) = context.parent_span() {
            line.write_str(r#","span":{"name":"#)?;
            string(&mut line, span.name())?;
            if let Some(members) = span.extensions().get::<FormattedFields<Members>>()
                && !members.is_empty()
            {
                line.write_char(',')?;
                line.write_str(members)?;
            }
            line.write_char('}')?;
        }
        line.write_str("}\n")
    }
}

/// Makes members of a JSON object, without its braces, of fields.
#[derive(Debug)]
pub(super) struct Members;

impl<'w> FormatFields<'w> for Members {
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'w>, fields: R) -> fmt::Result {
        Visitor::members(&mut writer, false, |visitor| fields.record(visitor))
    }

    fn add_fields(&self, current: &'w mut FormattedFields<Self>, fields: &Record<'_>) -> fmt::Result {
        let begun = !current.fields.is_empty();
        Visitor::members(&mut current.as_writer(), begun, |visitor| fields.record(visitor))
    }
}

/// Writes fields as members.
struct Visitor<'a, 'w> {
    writer: &'a mut Writer<'w>,
    /// Whether there is a member before the next.
    begun: bool,
    outcome: fmt::Result,
}

impl<'a, 'w> Visitor<'a, 'w> {
    fn members(writer: &'a mut Writer<'w>, begun: bool, record: impl FnOnce(&mut Self)) -> fmt::Result {
        let mut visitor = Self { writer, begun, outcome: Ok(()) };
        record(&mut visitor);
        visitor.outcome
    }

    fn member(&mut self, field: &Field, value: impl FnOnce(&mut Writer<'w>) -> fmt::Result) {
        // They say where a line of the crate `log` comes from, which its target does.
        if self.outcome.is_ok() && !field.name().starts_with("log.") {
            self.outcome = self.write(field.name(), value);
        }
    }

    fn write(&mut self, name: &str, value: impl FnOnce(&mut Writer<'w>) -> fmt::Result) -> fmt::Result {
        if self.begun {
            self.writer.write_char(',')?;
        }
        self.begun = true;
        string(self.writer, name)?;
        self.writer.write_char(':')?;
        value(self.writer)
    }

    fn plain(&mut self, field: &Field, value: impl Display) {
        self.member(field, |writer| write!(writer, "{value}"));
    }

    fn text(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        self.member(field, |writer| {
            writer.write_char('"')?;
            Escaped(writer).write_fmt(value)?;
            writer.write_char('"')
        });
    }
}

impl Visit for Visitor<'_, '_> {
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
        self.member(field, |writer| string(writer, value));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.text(field, format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.text(field, format_args!("{value:?}"));
    }
}

fn string(writer: &mut Writer<'_>, text: &str) -> fmt::Result {
    writer.write_char('"')?;
    Escaped(writer).write_str(text)?;
    writer.write_char('"')
}

/// Writes the inside of a JSON string (RFC 8259, section 7).
struct Escaped<'a, 'w>(&'a mut Writer<'w>);

impl fmt::Write for Escaped<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        // All that is escaped is ASCII, a character of its own in UTF-8.
        while let Some(at) = rest.bytes().position(|byte| matches!(byte, b'"' | b'\\' | ..b' ')) {
            let (plain, special) = rest.split_at(at);
            self.0.write_str(plain)?;
            match special.as_bytes()[0] {
                b'\n' => self.0.write_str("\\n")?,
                byte @ ..b' ' => write!(self.0, "\\u{byte:04x}")?,
                byte => write!(self.0, "\\{}", char::from(byte))?,
            }
            rest = &special[1..];
        }
        self.0.write_str(rest)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write,
        sync::{Arc, Mutex},
    };

    use serde_json::{Value, json};
    use tracing::{info, info_span, subscriber::with_default, warn};
    use tracing_subscriber::{fmt, layer::SubscriberExt as _, registry};

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("it is not poisoned").write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// The lines that `act` logs, read as JSON.
    fn lines_of(act: impl FnOnce()) -> Vec<Value> {
        let kept = Kept::default();
        let writer = kept.clone();
        let layer = fmt::layer().fmt_fields(Members).event_format(Line).with_writer(move || writer.clone());
        with_default(registry().with(layer), act);
        let text = String::from_utf8(kept.0.lock().expect("it is not poisoned").clone()).expect("UTF-8");
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
