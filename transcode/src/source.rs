//! A message as source of proto3, with all that it needs of its package: for documents that hold a whole schema.

use std::{collections::BTreeSet, fmt::Write as _};

use prost_reflect::{EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor, Syntax};

use crate::comments::Comments;

/// What readers that take one message of a file have to be shown it by, where others are in the file that nothing refers to
/// (<https://github.com/asyncapi/protobuf-schema-parser>).
const ROOT: &str = "@RootNode";

/// The source of a message, which stands first; further messages are those of its package that it refers to. `None` where one file cannot hold it:
/// what it needs is in another package that is not Google's, or is not proto3. Options are left out.
#[must_use]
pub fn source(message: &MessageDescriptor) -> Option<String> {
    let needed = Needed::of(message)?;
    let mut source =
        Source { text: String::new(), package: message.package_name(), comments: Comments::default() };
    source.line(0, "syntax = \"proto3\";\n");
    source.line(0, &format!("package {};", message.package_name()));
    for import in &needed.imports {
        source.line(0, &format!("\nimport \"{import}\";"));
    }
    for (at, top) in needed.tops.iter().enumerate() {
        source.text.push('\n');
        match top {
            Top::Message(message) => source.message(0, message, (at == 0).then_some(ROOT)),
            Top::Enum(descriptor) => source.enumeration(0, descriptor),
        }
    }
    Some(source.text)
}

/// The comment on a message; empty where it has none, or the descriptors came without comments.
#[must_use]
pub fn comment(message: &MessageDescriptor) -> String {
    Comments::default().of(&message.parent_file(), message.path())
}

/// What stands in a file by itself.
#[derive(PartialEq)]
enum Top {
    Message(MessageDescriptor),
    Enum(EnumDescriptor),
}

/// What a file with a message has to have.
#[derive(Default)]
struct Needed {
    tops: Vec<Top>,
    imports: BTreeSet<String>,
}

impl Needed {
    fn of(message: &MessageDescriptor) -> Option<Self> {
        let mut needed = Self { tops: vec![Top::Message(top(message))], ..Self::default() };
        let mut next = 0;
        while let Some(found) = needed.tops.get(next) {
            next += 1;
            if let Top::Message(found) = found {
                let found = found.clone();
                needed.fields(&found, message.package_name())?;
            }
        }
        Some(needed)
    }

    /// What the fields of a message need, and those of the messages in it.
    fn fields(&mut self, message: &MessageDescriptor, package: &str) -> Option<()> {
        if message.parent_file().syntax() != Syntax::Proto3 {
            return None;
        }
        for field in message.fields() {
            let (of, file, top) = match field.kind() {
                Kind::Message(of) if of.is_map_entry() => continue,
                Kind::Message(of) => (of.package_name().to_owned(), of.parent_file(), Top::Message(top(&of))),
                Kind::Enum(of) => {
                    let holder = of.parent_message().map(|message| Top::Message(self::top(&message)));
                    (of.package_name().to_owned(), of.parent_file(), holder.unwrap_or(Top::Enum(of)))
                }
                _ => continue,
            };
            if of == package {
                if !self.tops.contains(&top) {
                    self.tops.push(top);
                }
            } else if of == "google.protobuf" {
                self.imports.insert(file.name().to_owned());
            } else {
                return None;
            }
        }
        // The values of maps are fields of such a message.
        message.child_messages().try_for_each(|child| self.fields(&child, package))
    }
}

/// The message that a message stands in, or itself.
fn top(message: &MessageDescriptor) -> MessageDescriptor {
    let mut top = message.clone();
    while let Some(holder) = top.parent_message() {
        top = holder;
    }
    top
}

struct Source<'p> {
    text: String,
    package: &'p str,
    comments: Comments,
}

impl Source<'_> {
    fn line(&mut self, depth: usize, line: &str) {
        let _infallible = writeln!(self.text, "{}{line}", "  ".repeat(depth));
    }

    fn comment(&mut self, depth: usize, comment: &str) {
        comment.lines().for_each(|line| self.line(depth, format!("// {line}").trim_end()));
    }

    fn message(&mut self, depth: usize, message: &MessageDescriptor, mark: Option<&str>) {
        let comment = self.comments.of(&message.parent_file(), message.path());
        self.comment(depth, &comment);
        self.comment(depth, mark.unwrap_or_default());
        self.line(depth, &format!("message {} {{", message.name()));
        for child in message.child_enums() {
            self.enumeration(depth + 1, &child);
        }
        for child in message.child_messages().filter(|child| !child.is_map_entry()) {
            self.message(depth + 1, &child, None);
        }
        for field in message.fields().filter(|field| choice(field).is_none()) {
            self.field(depth + 1, &field);
        }
        for choice in message.oneofs().filter(|choice| !choice.is_synthetic()) {
            self.line(depth + 1, &format!("oneof {} {{", choice.name()));
            choice.fields().for_each(|field| self.field(depth + 2, &field));
            self.line(depth + 1, "}");
        }
        self.line(depth, "}");
    }

    fn field(&mut self, depth: usize, field: &FieldDescriptor) {
        let comment = self.comments.of(&field.parent_file(), field.path());
        self.comment(depth, &comment);
        let of = match field.kind() {
            Kind::Message(entry) if field.is_map() => {
                let [key, value] = [entry.map_entry_key_field(), entry.map_entry_value_field()];
                format!("map<{}, {}>", self.kind(&key), self.kind(&value))
            }
            _ => self.kind(field),
        };
        let label = if field.is_list() {
            "repeated "
        } else if field.field_descriptor_proto().proto3_optional() {
            "optional "
        } else {
            ""
        };
        self.line(depth, &format!("{label}{of} {} = {};", field.name(), field.number()));
    }

    fn enumeration(&mut self, depth: usize, descriptor: &EnumDescriptor) {
        let comment = self.comments.of(&descriptor.parent_file(), descriptor.path());
        self.comment(depth, &comment);
        self.line(depth, &format!("enum {} {{", descriptor.name()));
        if descriptor.enum_descriptor_proto().options.as_ref().is_some_and(|options| options.allow_alias()) {
            self.line(depth + 1, "option allow_alias = true;");
        }
        // As they were declared, not by their numbers: the first one has to be 0.
        let mut values: Vec<_> = descriptor.values().collect();
        values.sort_by_key(|value| value.path().last().copied());
        for value in values {
            let comment = self.comments.of(&descriptor.parent_file(), value.path());
            self.comment(depth + 1, &comment);
            self.line(depth + 1, &format!("{} = {};", value.name(), value.number()));
        }
        self.line(depth, "}");
    }

    /// The type of a field, by its name within the package.
    fn kind(&self, field: &FieldDescriptor) -> String {
        let name = match field.kind() {
            Kind::Message(message) => message.full_name().to_owned(),
            Kind::Enum(descriptor) => descriptor.full_name().to_owned(),
            // `TYPE_INT64` of `google.protobuf.FieldDescriptorProto`.
            _ => field
                .field_descriptor_proto()
                .r#type()
                .as_str_name()
                .trim_start_matches("TYPE_")
                .to_lowercase(),
        };
        let own = name.strip_prefix(self.package).and_then(|name| name.strip_prefix('.'));
        own.map(str::to_owned).unwrap_or(name)
    }
}

/// The `oneof` that a field is of.
fn choice(field: &FieldDescriptor) -> Option<String> {
    field.containing_oneof().filter(|choice| !choice.is_synthetic()).map(|choice| choice.name().to_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use prost_reflect::DescriptorPool;

    use super::*;
    use crate::fixture::{EVERY, message};

    /// What a compiler makes of a source.
    fn compiled(source: &str, name: &str) -> MessageDescriptor {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("event.proto"), source).expect("it can be written");
        let mut compiler = protox::Compiler::new([folder.path()]).expect("the folder is there");
        compiler
            .include_imports(true)
            .open_file("event.proto")
            .unwrap_or_else(|error| panic!("{error}: {source}"));
        let pool =
            DescriptorPool::decode(compiler.encode_file_descriptor_set().as_slice()).expect("a complete set");
        pool.get_message_by_name(name).expect("it is there")
    }

    /// What is on the wire, by the fields' numbers.
    fn shape(message: &MessageDescriptor) -> Vec<String> {
        let fields = message.fields().map(|field| {
            let (cardinality, choice) = (field.cardinality(), choice(&field));
            format!(
                "{} {:?} {:?} {choice:?} {}",
                field.number(),
                field.kind(),
                cardinality,
                field.supports_presence()
            )
        });
        fields.collect()
    }

    #[test]
    fn a_compiler_makes_the_same_message_of_it() {
        let decided = message("ordermesh/payments/v1/events.proto", "ordermesh.payments.v1.PaymentDecided");
        for original in [&*EVERY, &decided] {
            let source = source(original).expect("it is proto3 of one package");
            let made = compiled(&source, original.full_name());
            assert_eq!(shape(&made), shape(original), "{source}");
            let of = |message: &MessageDescriptor| {
                let package = message.package_name().to_owned();
                let all = message.parent_pool().all_messages().filter(|one| one.package_name() == package);
                all.map(|one| (one.full_name().to_owned(), shape(&one))).collect::<Vec<_>>()
            };
            let known = of(original);
            assert!(of(&made).iter().all(|message| known.contains(message)), "{source}");
        }
    }

    /// The events of payments, with their comments.
    fn commented(name: &str) -> MessageDescriptor {
        let proto = format!("{}/../proto", env!("CARGO_MANIFEST_DIR"));
        let mut compiler = protox::Compiler::new([proto]).expect("the folder is there");
        compiler.include_imports(true).include_source_info(true);
        compiler.open_file("ordermesh/payments/v1/events.proto").expect("a valid contract");
        let pool = DescriptorPool::decode(compiler.encode_file_descriptor_set().as_slice());
        pool.expect("a complete set").get_message_by_name(name).expect("it is there")
    }

    #[test]
    fn it_has_the_comments_and_nothing_that_is_not_needed() {
        let void = commented("ordermesh.payments.v1.VoidPayment");
        let source = source(&void).expect("it is proto3 of one package");
        let first = source.find("message VoidPayment").expect("it is there");
        assert!(
            source[..first].contains("// Asks that an order be never paid.")
                && source[..first].ends_with("// @RootNode\n")
        );
        assert!(
            source.contains("  // USER_REQUESTED or PAYMENT_EXPIRED.\n  Payment.Reason reason = 5;\n"),
            "{source}"
        );
        assert!(source.contains("import \"google/protobuf/timestamp.proto\";"), "{source}");
        assert!(!source.contains("Account {") && !source.contains("(buf."), "{source}");
    }

    #[test]
    fn what_one_file_cannot_hold_has_none() {
        let explanation = message("ordermesh/orders/v1/admin.proto", "ordermesh.orders.v1.Difference");
        assert_eq!(source(&explanation), None);
    }
}
