//! The edge's ProtoJSON under the protobuf conformance runner: `conformance DESCRIPTOR_SET`, started by the runner.
//!
//! The runner sends a 4-byte little-endian length and a `conformance.ConformanceRequest`, and reads a `ConformanceResponse` in
//! the same frame, until it closes standard input
//! (<https://github.com/protocolbuffers/protobuf/blob/main/conformance/conformance.proto>). The descriptor set holds that
//! contract and the messages of the tests. What the edge does not speak (proto2, text format) is answered as skipped.

use std::{
    env, fs,
    io::{self, Read, Write},
};

use anyhow::{Context as _, ensure};
use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, Value};
use transcode::Type;

/// `conformance.WireFormat`.
const PROTOBUF: i32 = 1;
const JSON: i32 = 2;

/// `conformance.TestCategory`.
const JSON_IGNORE_UNKNOWN: i32 = 3;

/// Far more than any case of the suite.
const MAX_FRAME_BYTES: usize = 64 << 20;

const TEST_MESSAGE: &str = "protobuf_test_messages.proto3.TestAllTypesProto3";

fn main() -> anyhow::Result<()> {
    let file = env::args_os().nth(1).context("usage: conformance DESCRIPTOR_SET")?;
    let pool = DescriptorPool::decode(fs::read(file)?.as_slice())?;
    let message = |name| pool.get_message_by_name(name).with_context(|| format!("{name} is not in the set"));
    let peer = Peer {
        request: message("conformance.ConformanceRequest")?,
        response: message("conformance.ConformanceResponse")?,
        tested: Type::new(&message(TEST_MESSAGE)?),
    };
    let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());
    while let Some(frame) = frame(&mut input)? {
        let answer = peer.answer(&frame)?;
        output.write_all(&u32::try_from(answer.len())?.to_le_bytes())?;
        output.write_all(&answer)?;
        output.flush()?;
    }
    Ok(())
}

/// The next frame; `None` once the runner is done.
fn frame(input: &mut impl Read) -> anyhow::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    match input.read_exact(&mut length) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let length = usize::try_from(u32::from_le_bytes(length))?;
    ensure!(length <= MAX_FRAME_BYTES, "a frame of {length} bytes");
    let mut frame = vec![0; length];
    input.read_exact(&mut frame)?;
    Ok(Some(frame))
}

struct Peer {
    request: MessageDescriptor,
    response: MessageDescriptor,
    tested: Type,
}

/// The field of the response, and what it holds.
type Answer = (&'static str, Value);

impl Peer {
    fn answer(&self, frame: &[u8]) -> anyhow::Result<Vec<u8>> {
        let request = DynamicMessage::decode(self.request.clone(), frame)?;
        let (field, value) = self.outcome(&request);
        let mut response = DynamicMessage::new(self.response.clone());
        response.set_field_by_name(field, value);
        Ok(response.encode_to_vec())
    }

    fn outcome(&self, request: &DynamicMessage) -> Answer {
        let text = |name| request.get_field_by_name(name).and_then(|value| value.as_str().map(str::to_owned));
        let number = |name| request.get_field_by_name(name).and_then(|value| value.as_enum_number());
        let bytes = |name| {
            let there = request.has_field_by_name(name);
            request.get_field_by_name(name).filter(|_| there).and_then(|value| value.as_bytes().cloned())
        };
        let given = |name| request.has_field_by_name(name).then(|| text(name)).flatten();
        let skipped = |why: &str| ("skipped", Value::String(why.to_owned()));
        // The runner's first question: which failures are known. None is.
        if text("message_type").as_deref() == Some("conformance.FailureSet") {
            return ("protobuf_payload", Value::Bytes(Vec::new().into()));
        }
        if text("message_type").as_deref() != Some(TEST_MESSAGE) {
            return skipped("only proto3");
        }
        let lenient = number("test_category") == Some(JSON_IGNORE_UNKNOWN);
        let wire = match (bytes("protobuf_payload"), given("json_payload")) {
            (Some(wire), _) => Ok(wire.to_vec()),
            (_, Some(json)) => self.tested.wire(json.as_bytes(), lenient).map_err(|error| error.to_string()),
            _ => return skipped("only protobuf and JSON"),
        };
        let wire = match wire {
            Ok(wire) => wire,
            Err(problem) => return ("parse_error", Value::String(problem)),
        };
        match number("requested_output_format") {
            Some(JSON) => match self.tested.json(&wire) {
                // serde_json writes UTF-8.
                Ok(json) => ("json_payload", Value::String(String::from_utf8_lossy(&json).into_owned())),
                Err(error) if error.is_decode() => ("parse_error", Value::String(error.to_string())),
                Err(error) => ("serialize_error", Value::String(error.to_string())),
            },
            Some(PROTOBUF) if request.has_field_by_name("json_payload") => {
                ("protobuf_payload", Value::Bytes(wire.into()))
            }
            Some(PROTOBUF) => skipped("the edge does not read protobuf to write it again"),
            _ => skipped("only protobuf and JSON"),
        }
    }
}
