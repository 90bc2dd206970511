//! Paths and queries become the message that a reader of google/api/http.proto of its own makes of them, with protobuf for Python for values
//! (`oracles/bindings.py`): templates, escapes, every kind of scalar, repetition, fields in fields, and well-known types.
//!
//! `ORACLE_SEED` says which requests are generated, `PROPTEST_CASES` how many.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
    thread,
};

use proptest::{
    collection::vec,
    prelude::*,
    sample::select,
    strategy::ValueTree as _,
    test_runner::{RngAlgorithm, TestRng, TestRunner},
};
use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Value as Json, json};
use transcode::{Input, Lookup, Routes, request_from_json};

const MESSAGE: &str = "every.v1.Every";

/// A part of a path.
#[derive(Debug, Clone, Copy)]
enum Part {
    Literal(&'static str),
    /// One segment, which is the value of this field.
    Field(&'static str),
    /// One segment of any text.
    Text,
    /// Any number of them.
    Texts,
}

use Part::{Field, Literal, Text, Texts};

/// The templates of `proto/bindings.proto`, and how their paths are made.
static TEMPLATES: [(&str, &[Part]); 10] = [
    ("/v1/every", &[Literal("every")]),
    ("/v1/strings/{a_string}", &[Literal("strings"), Field("a_string")]),
    ("/v1/{a_string=shelves/*/books/*}", &[Literal("shelves"), Text, Literal("books"), Text]),
    ("/v1/{a_string=shelves/*}:check", &[Literal("shelves"), Text]),
    ("/v1/{a_string=files/**}:read", &[Literal("files"), Texts]),
    ("/v1/under/{inner.a_string=**}", &[Literal("under"), Texts]),
    ("/v1/numbers/{an_int64}/{inner.a_uint32}", &[Literal("numbers"), Field("an_int64"), Field("a_uint32")]),
    (
        "/v1/kinds/{color}/{a_bool}/{a_double}/{some_bytes}/{at}/{wrapped_int64}",
        &[
            Literal("kinds"),
            Field("color"),
            Field("a_bool"),
            Field("a_double"),
            Field("some_bytes"),
            Field("at"),
            Field("wrapped_int64"),
        ],
    ),
    (
        "/v1/{inner.a_string=a/*}/b/{maybe_string}/c/*",
        &[Literal("a"), Text, Literal("b"), Field("maybe_string"), Literal("c"), Text],
    ),
    ("/v1/{third.a_string=choices/*}", &[Literal("choices"), Text]),
];

/// Names that no parameter may have: messages, a map, what is in none of both, and what nobody knows.
static NO_PARAMETERS: [&str; 7] =
    ["object", "by_int32", "inner", "anything", "inner.nope", "wrapped_int64.value", "nope"];

/// A request, with the values in it.
#[derive(Debug, Clone)]
struct Case {
    template: &'static str,
    path: String,
    query: String,
    values: Vec<(Kind, String)>,
}

/// How a text is escaped: what need not be, where a bit is set, and in lower case or not.
type Escapes = (u32, bool);

fn escapes() -> impl Strategy<Value = Escapes> {
    (prop_oneof![3 => Just(0), 2 => any::<u32>(), 1 => Just(u32::MAX)], any::<bool>())
}

/// A text with escapes; `plain` says which bytes may do without.
fn escaped(text: &str, plain: &[u8], (odd, lower): Escapes) -> String {
    let mut out = String::new();
    for (at, byte) in text.bytes().enumerate() {
        let may_be_plain = byte.is_ascii_alphanumeric() || plain.contains(&byte);
        match (may_be_plain && (odd >> (at % 32)) & 1 == 0, lower) {
            (true, _) => out.push(char::from(byte)),
            (false, true) => write!(out, "%{byte:02x}").expect("there is room"),
            (false, false) => write!(out, "%{byte:02X}").expect("there is room"),
        }
    }
    out
}

/// What a segment may have as it is (RFC 3986, section 3.3).
const SEGMENT: &[u8] = b"-._~!$&'()*+,;=:@";
/// What a name or a value of a query may have as it is.
const QUERY: &[u8] = b"-._~!$'()*,;:@/?";

fn odd(fits: BoxedStrategy<String>, others: &'static [&'static str]) -> BoxedStrategy<String> {
    prop_oneof![12 => fits, 1 => select(others).prop_map(str::to_owned)].boxed()
}

fn one_of(texts: &'static [&'static str]) -> BoxedStrategy<String> {
    select(texts).prop_map(str::to_owned).boxed()
}

/// Texts for a field: most of them fit.
fn text(kind: &Kind) -> BoxedStrategy<String> {
    const INTEGERS: &[&str] =
        &["0", "-1", "1e3", "1.0", "01", "+1", "1_0", "1.5", "0x1", "", " 1", "99999999999999999999"];
    const NUMBERS: &[&str] =
        &["NaN", "Infinity", "-Infinity", "1e3", "0", "inf", "1.", "+1", "", "x", "1e400"];
    match kind {
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => {
            odd(any::<i32>().prop_map(|n| n.to_string()).boxed(), INTEGERS)
        }
        Kind::Uint32 | Kind::Fixed32 => odd(any::<u32>().prop_map(|n| n.to_string()).boxed(), INTEGERS),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => {
            odd(any::<i64>().prop_map(|n| n.to_string()).boxed(), INTEGERS)
        }
        Kind::Uint64 | Kind::Fixed64 => odd(any::<u64>().prop_map(|n| n.to_string()).boxed(), INTEGERS),
        Kind::Float => {
            odd((1..1_000_000_i32).prop_map(|n| format!("{:?}", n as f32 / 64.0)).boxed(), NUMBERS)
        }
        Kind::Double => odd((1..i64::MAX).prop_map(|n| format!("{:?}", n as f64 / 64.0)).boxed(), NUMBERS),
        Kind::Bool => one_of(&["true", "false", "true", "1", "f", "TRUE", "yes", ""]),
        Kind::String => prop_oneof!["[a-z%+&=#:/é€😀 ]{0,8}", Just("*".to_owned())].boxed(),
        Kind::Bytes => one_of(&["AQI=", "AQI", "_-8", "+/8=", "", "AAAA"]),
        Kind::Enum(descriptor) if descriptor.name() == "NullValue" => one_of(&["NULL_VALUE", "0", "null"]),
        Kind::Enum(_) => {
            one_of(&["RED", "CRIMSON", "GREEN", "BELOW", "2", "-1", "77", "0", "red", "", "1.0"])
        }
        Kind::Message(message) => match message.name() {
            "Timestamp" => odd(
                (-62_135_596_800..253_402_300_799_i64, select(vec![0, 5_000_000, 7_000, 1]))
                    .prop_map(|(seconds, nanos)| prost_types::Timestamp { seconds, nanos }.to_string())
                    .boxed(),
                &["2024-02-29T12:00:00.5+01:00", "2023-02-29T00:00:00Z", "2024-01-01T00:00:00", ""],
            ),
            "Duration" => one_of(&["1.5s", "-3s", "0s", "-0.000000001s", "1", "s", "315576000001s"]),
            "FieldMask" => one_of(&["a", "a,bC.dE", "a_b.c_d", "aBool", ""]),
            _ => text(&message.get_field(1).expect("a wrapper").kind()),
        },
    }
}

/// Whether a parameter can be this field.
fn is_parameter(field: &FieldDescriptor) -> bool {
    let is_textual = |message: &MessageDescriptor| {
        let name = message.full_name().strip_prefix("google.protobuf.").unwrap_or_default();
        let is_wrapper = name.ends_with("Value") && !["Value", "ListValue"].contains(&name);
        is_wrapper || ["Timestamp", "Duration", "FieldMask"].contains(&name)
    };
    match field.kind() {
        Kind::Message(message) => !field.is_list() && is_textual(&message),
        _ => true,
    }
}

/// A parameter: its name and its value, both with escapes, and what it is.
fn parameter(every: &MessageDescriptor) -> BoxedStrategy<(String, Option<(Kind, String)>)> {
    let fields: Vec<FieldDescriptor> = every.fields().filter(is_parameter).collect();
    let before = select(vec!["", "", "", "inner.", "inner.inner.", "third."]);
    let right = (select(fields), before, any::<bool>(), escapes(), escapes(), any::<bool>());
    let right = right.prop_flat_map(|(field, before, json, of_name, of_value, plus)| {
        let name = if json { field.json_name() } else { field.name() };
        let name = escaped(&format!("{before}{name}"), QUERY, of_name);
        let kind = field.kind();
        text(&kind).prop_map(move |text| {
            let value = escaped(&text, QUERY, of_value);
            let value = if plus { value.replace("%20", "+") } else { value };
            (format!("{name}={value}"), Some((kind.clone(), text)))
        })
    });
    let wrong = select(&NO_PARAMETERS[..]).prop_map(|name| (format!("{name}=1"), None::<(Kind, String)>));
    let broken = select(vec!["a_string=%", "a_string=%zz", "a_string=%ff", "%ff=a", "a_string", "=", ""]);
    let broken = broken.prop_map(|pair| (pair.to_owned(), None::<(Kind, String)>));
    prop_oneof![40 => right, 1 => wrong, 1 => broken].boxed()
}

/// A segment of a path, and its value where it is that of a field.
fn segment(every: &MessageDescriptor, part: Part) -> BoxedStrategy<(String, Vec<(Kind, String)>)> {
    let texts = || ("[a-z%+:/é ]{1,6}", escapes()).prop_map(|(text, odd)| escaped(&text, SEGMENT, odd));
    match part {
        Literal(text) => escapes().prop_map(move |odd| (escaped(text, SEGMENT, odd), Vec::new())).boxed(),
        Text => texts().prop_map(|text| (text, Vec::new())).boxed(),
        Texts => vec(texts(), 0..4).prop_map(|texts| (texts.join("/"), Vec::new())).boxed(),
        Field(name) => {
            let kind = every.get_field_by_name(name).expect("it is there").kind();
            let texts = (text(&kind), escapes());
            texts
                .prop_map(move |(text, odd)| (escaped(&text, SEGMENT, odd), vec![(kind.clone(), text)]))
                .boxed()
        }
    }
}

fn case(every: &MessageDescriptor) -> impl Strategy<Value = Case> + use<> {
    let parameters = vec(parameter(every), 0..4);
    let every = every.clone();
    let path = select(&TEMPLATES[..]).prop_flat_map(move |(template, parts)| {
        let segments: Vec<_> = parts.iter().map(|part| segment(&every, *part)).collect();
        segments.prop_map(move |segments| (template, segments))
    });
    (path, parameters).prop_map(|((template, segments), parameters)| {
        let texts = segments.iter().map(|(text, _)| text.as_str());
        // No segment at all is no empty one.
        let texts: Vec<&str> = texts.filter(|text| !text.is_empty() || template.contains("kinds")).collect();
        let verb = template.rsplit_once("}:").map(|(_, verb)| format!(":{verb}")).unwrap_or_default();
        let path = format!("/v1/{}{verb}", texts.join("/"));
        let pairs: Vec<&str> = parameters.iter().map(|(pair, _)| pair.as_str()).collect();
        let values = segments.iter().flat_map(|(_, values)| values.clone());
        let values = values.chain(parameters.iter().filter_map(|(_, value)| value.clone())).collect();
        Case { template, path, query: pairs.join("&"), values }
    })
}

/// Where protobuf for Python is not as the specification is: it takes what its language takes for a number.
fn deviates((kind, text): &(Kind, String)) -> bool {
    let is_number = |most: f64| {
        let number = serde_json::from_str::<f64>(text).ok().filter(|_| text.trim() == text);
        number.is_some_and(|number| number.abs() <= most)
            || ["NaN", "Infinity", "-Infinity"].contains(&text.as_str())
    };
    match kind {
        // RFC 8259, section 6: a number is no `1.`, no `inf` and no `+1`, and a larger one than there are is none of them.
        Kind::Double => !is_number(f64::MAX),
        Kind::Float => !is_number(f32::MAX.into()),
        // The same; "int32, fixed32, uint32: JSON value will be a decimal number" (https://protobuf.dev/programming-guides/json).
        Kind::Bool | Kind::String | Kind::Bytes | Kind::Enum(_) => false,
        Kind::Message(message) => message
            .get_field(1)
            .filter(|_| message.name().ends_with("Value"))
            .is_some_and(|value| deviates(&(value.kind(), text.clone()))),
        _ => text.contains(['+', '_']),
    }
}

fn set() -> Vec<u8> {
    let folders =
        ["tests/proto", "../proto"].map(|folder| format!("{}/{folder}", env!("CARGO_MANIFEST_DIR")));
    let mut compiler = protox::Compiler::new(folders).expect("the folders are there");
    compiler.include_imports(true).open_file("bindings.proto").expect("a valid contract");
    compiler.encode_file_descriptor_set()
}

/// The answers of the judge to cases, in their order.
fn judged(set: &[u8], cases: &[Case]) -> Vec<Option<Vec<u8>>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("set.binpb");
    std::fs::write(&file, set).expect("a file");
    let python = root.join("../target/tools/python/bin/python");
    let mut child = Command::new(&python)
        .arg(root.join("tests/oracles/bindings.py"))
        .args([file.as_os_str(), MESSAGE.as_ref()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}: run scripts/setup", python.display()));
    let mut input = child.stdin.take().expect("piped");
    let line = |case: &Case| json!({"template": case.template, "path": case.path, "query": case.query});
    let lines: String = cases.iter().map(|case| format!("{}\n", line(case))).collect();
    let writer = thread::spawn(move || input.write_all(lines.as_bytes()).expect("it reads"));
    let outcome = child.wait_with_output().expect("it ends");
    writer.join().expect("all is written");
    assert!(outcome.status.success(), "{:?}", outcome.status);
    let bytes = |hex: &str| -> Vec<u8> {
        let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal");
        (0..hex.len()).step_by(2).map(byte).collect()
    };
    let answers = String::from_utf8(outcome.stdout).expect("text");
    let answers = answers.lines().map(|line| serde_json::from_str::<Json>(line).expect("JSON"));
    let answers: Vec<_> = answers.map(|answer| answer["wire"].as_str().map(bytes)).collect();
    assert_eq!(answers.len(), cases.len());
    answers
}

/// What the edge makes of a request.
fn ours(routes: &Routes, case: &Case) -> Option<Vec<u8>> {
    let Lookup::Found(place, captures) = routes.find("GET", &case.path) else { return None };
    let route = &routes.list()[place];
    assert_eq!(route.template.text, case.template, "{case:?}");
    let input = Input { captures, query: &case.query, ..Input::default() };
    request_from_json(route, &input, false).ok().map(|encoded| encoded.wire.to_vec())
}

fn generated(every: &MessageDescriptor) -> Vec<Case> {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let (seed, count): (u64, u64) =
        (number("ORACLE_SEED").unwrap_or(1), number("PROPTEST_CASES").unwrap_or(12_500));
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(ProptestConfig::default(), rng);
    let cases = case(every);
    (0..count).map(|_| cases.new_tree(&mut runner).expect("a case").current()).collect()
}

#[test]
fn another_reader_of_the_rules_makes_the_same_message_of_paths_and_queries() {
    let set = set();
    let routes = Routes::compile(&set).expect("valid routes");
    let pool = DescriptorPool::decode(set.as_slice()).expect("a complete set");
    let every = pool.get_message_by_name(MESSAGE).expect("it is there");
    // The same bytes for the same message, whoever made it.
    let meaning = |wire: Vec<u8>| {
        DynamicMessage::decode(every.clone(), wire.as_slice()).expect("a message").encode_to_vec()
    };
    let cases = generated(&every);
    let (mut wrong, mut excused, mut read) = (Vec::new(), 0, BTreeMap::new());
    for (case, theirs) in cases.iter().zip(judged(&set, &cases)) {
        let (ours, theirs) = (ours(&routes, case).map(meaning), theirs.map(meaning));
        if ours.is_some() {
            *read.entry(case.template).or_insert(0) += 1;
        }
        if ours == theirs {
            continue;
        }
        if case.values.iter().any(deviates) {
            excused += 1;
        } else {
            wrong.push(format!("{case:?}\n  edge:  {ours:02x?}\n  judge: {theirs:02x?}"));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        cases.len(),
        wrong[..wrong.len().min(20)].join("\n")
    );
    assert!(excused * 10 < cases.len(), "the table excuses {excused} of {}", cases.len());
    // Most are right, of each template.
    let least = read.values().min().copied().unwrap_or(0);
    assert!(read.len() == TEMPLATES.len() && least * 100 > cases.len(), "{read:?} of {}", cases.len());
}
