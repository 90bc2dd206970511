//! Statuses quote what clients sent: no more of it than the trailers of a call may be long.

use super::Fault;

/// What a status keeps of its message, in bytes. Percent-encoded, as a trailer has it, that is three times as much at most.
const MESSAGE_BYTES: usize = 512;
/// What a status keeps of the path of a field, in bytes.
const FIELD_BYTES: usize = 128;
/// What a status keeps of the description of a violation, in bytes.
const DESCRIPTION_BYTES: usize = 256;
/// What a status keeps of all violations together, in bytes; those that come after it are left out.
const VIOLATIONS_BYTES: usize = 2_048;

/// What a status keeps of its metadata: entries, and the bytes of each.
const METADATA_ENTRIES: usize = 4;
const METADATA_BYTES: usize = 256;

/// Cuts a text to so many bytes, and marks the cut.
pub fn clip(text: &mut String, most: usize) {
    const CUT: &str = "…";
    if text.len() > most {
        text.truncate(text.floor_char_boundary(most.saturating_sub(CUT.len())));
        text.push_str(CUT);
    }
}

impl Fault {
    /// The same, short enough for the trailers of a call: messages and violations quote what clients sent, and a client of HTTP/2
    /// that takes shorter trailers (8 KiB is a usual limit) would lose the answer, or its connection with all calls on it.
    #[must_use]
    pub fn clipped(mut self) -> Self {
        clip(&mut self.message, MESSAGE_BYTES);
        let mut left = VIOLATIONS_BYTES;
        self.violations.retain_mut(|violation| {
            clip(&mut violation.field, FIELD_BYTES);
            clip(&mut violation.description, DESCRIPTION_BYTES);
            let bytes = violation.field.len() + violation.description.len();
            let fits = bytes <= left;
            left -= if fits { bytes } else { left };
            fits
        });
        // Words of ours, all of them: a service that answers more is not one of the mesh.
        self.metadata.retain(|key, value| key.len() + value.len() <= METADATA_BYTES);
        while self.metadata.len() > METADATA_ENTRIES {
            self.metadata.pop_last();
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use tonic::Status;

    use super::*;
    use crate::status::{Reason, Violation};

    #[test]
    fn what_clients_sent_makes_no_status_long() {
        for piece in ["x", "ü", "\u{1F4B8}"] {
            let mut fault = Fault::new(Reason::OrderNotFound, piece.repeat(60_000));
            let violation = Violation { field: piece.repeat(9_000), description: piece.repeat(60_000) };
            fault.violations = vec![violation; 1_000];
            fault.metadata =
                (0..100).map(|n| (format!("{n}{}", piece.repeat(40)), piece.repeat(20))).collect();
            let mut trailers = http::HeaderMap::new();
            Status::from(fault).add_header(&mut trailers).expect("trailers");
            // As RFC 9113, section 6.5.2, counts it.
            let size: usize =
                trailers.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum();
            assert!(size < 8 << 10, "{size} bytes of trailers");
            assert!(Status::from_header_map(&trailers).is_some_and(|status| status.message().ends_with('…')));
        }
    }
}
