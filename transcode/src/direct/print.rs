//! Single values become JSON text, by the rules of ProtoJSON.

use base64::{Engine as _, prelude::BASE64_STANDARD};

use super::{fallback::NoJson, plan::Kind};

type Done = Result<(), NoJson>;

/// What a byte of a text takes at most: `\u001f`.
pub(crate) const LONGEST_ESCAPE: usize = 6;

/// How many bytes a text has between its quotes.
pub(crate) fn length(text: &str) -> usize {
    let escaped = |byte| match byte {
        b'"' | b'\\' | b'\x08' | b'\t' | b'\n' | b'\x0c' | b'\r' => 2,
        ..0x20 => LONGEST_ESCAPE,
        _ => 1,
    };
    text.bytes().map(escaped).sum()
}

/// How many bytes these have as base64.
pub(crate) const fn length_of_base64(bytes: &[u8]) -> usize {
    bytes.len().div_ceil(3) * 4
}

/// Appends a number, a boolean or an enum's name from its bits.
///
/// # Errors
/// A kind that is none of these.
#[expect(clippy::cast_possible_truncation, reason = "bits of a kind that is no wider: see `Kind::narrow`")]
pub(crate) fn number(kind: &Kind, bits: u64, out: &mut Vec<u8>) -> Done {
    match kind {
        Kind::Double => float(f64::from_bits(bits), f64::from_bits(bits), out)?,
        Kind::Float => {
            let value = f32::from_bits(bits as u32);
            float(value, value.into(), out)?;
        }
        Kind::Int32 | Kind::Sfixed32 => print(&(bits as i32), out)?,
        Kind::Uint32 | Kind::Fixed32 => print(&(bits as u32), out)?,
        Kind::Sint32 => print(&(unzigzag(bits) as i32), out)?,
        Kind::Int64 | Kind::Sfixed64 => quoted(&bits.cast_signed(), out)?,
        Kind::Sint64 => quoted(&unzigzag(bits), out)?,
        Kind::Uint64 | Kind::Fixed64 => quoted(&bits, out)?,
        Kind::Bool => out.extend_from_slice(if bits == 0 { b"false" } else { b"true" }),
        Kind::Enum(_, names) => match names.binary_search_by_key(&(bits as i32), |(number, _)| *number) {
            Ok(place) => out.extend_from_slice(&names[place].1),
            Err(_) => print(&(bits as i32), out)?,
        },
        Kind::Null => out.extend_from_slice(b"null"),
        Kind::String | Kind::Bytes | Kind::Message(_) => return Err(NoJson::Fallback),
    }
    Ok(())
}

/// Appends what serde_json makes of a value.
///
/// # Errors
/// None for texts and numbers.
pub(crate) fn print(value: &(impl serde::Serialize + ?Sized), out: &mut Vec<u8>) -> Done {
    serde_json::to_writer(out, value).map_err(|_| NoJson::Fallback)
}

/// JSON has no 64-bit integers: ProtoJSON makes them strings.
fn quoted(value: &impl serde::Serialize, out: &mut Vec<u8>) -> Done {
    out.push(b'"');
    print(value, out)?;
    out.push(b'"');
    Ok(())
}

/// Appends a number of 32 or 64 bits, or the name of what JSON has no number for; `wide` is the same value.
///
/// # Errors
/// None.
pub(crate) fn float(value: impl serde::Serialize, wide: f64, out: &mut Vec<u8>) -> Done {
    match wide {
        f64::INFINITY => print("Infinity", out),
        f64::NEG_INFINITY => print("-Infinity", out),
        _ if wide.is_nan() => print("NaN", out),
        _ => print(&value, out),
    }
}

/// Appends bytes.
pub(crate) fn base64(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let mut text = String::new();
    BASE64_STANDARD.encode_string(bytes, &mut text);
    out.extend_from_slice(text.as_bytes());
    out.push(b'"');
}

fn unzigzag(bits: u64) -> i64 {
    (bits >> 1).cast_signed() ^ -(bits & 1).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_those_of_what_is_printed() {
        let text: String = (0..0x100).filter_map(char::from_u32).collect();
        let mut out = Vec::new();
        print(&text, &mut out).expect("a text");
        assert_eq!(length(&text) + 2, out.len());
        for bytes in [&b""[..], b"a", b"ab", b"abc", b"abcd"] {
            out.clear();
            base64(bytes, &mut out);
            assert_eq!(length_of_base64(bytes) + 2, out.len());
        }
    }
}
