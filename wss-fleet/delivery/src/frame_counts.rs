//! Counts WebSocket frames below the frame parser (RFC 6455 5.2). Fragments count as frames too:
//! otherwise, a client that never finishes a message could send any number of them.

/// Parses the frame headers in a stream of bytes. It validates nothing: the parser refuses bytes
/// that are not frames, and counts of such bytes do no harm.
#[derive(Debug, Default)]
pub struct FrameMeter {
    header: [u8; HEADER_BYTES_MAX],
    have: usize,
    payload_left: u64,
    /// The first fragment of a message arrived, but not its last one.
    in_message: bool,
}

/// Counts for a run of bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FrameCounts {
    /// Bytes.
    pub bytes: usize,
    /// Frames that began, each counted once its header is complete.
    pub frames: u32,
    /// Whether, at some point, the client had finished everything that it began.
    pub finished: bool,
    /// Whether a frame, or a message in fragments, is unfinished at the end.
    pub unfinished: bool,
    /// Whether a length was encoded in more bytes than needed, which RFC 6455 5.2 forbids.
    pub malformed: bool,
}

impl FrameCounts {
    /// Combines this run with the next one.
    #[must_use]
    pub fn then(self, next: Self) -> Self {
        Self {
            bytes: self.bytes + next.bytes,
            frames: self.frames + next.frames,
            finished: self.finished || next.finished,
            unfinished: next.unfinished,
            malformed: self.malformed || next.malformed,
        }
    }
}

impl FrameMeter {
    /// Counts the next bytes.
    pub fn feed(&mut self, mut bytes: &[u8]) -> FrameCounts {
        let mut metered = FrameCounts { bytes: bytes.len(), ..FrameCounts::default() };
        while let Some((first, rest)) = bytes.split_first() {
            if self.payload_left > 0 {
                let skip =
                    usize::try_from(self.payload_left).unwrap_or(usize::MAX).min(bytes.len());
                self.payload_left -= skip as u64;
                bytes = bytes.get(skip..).unwrap_or_default();
                metered.finished |= !self.is_unfinished();
                continue;
            }
            if let Some(place) = self.header.get_mut(self.have) {
                *place = *first;
                self.have += 1;
            }
            bytes = rest;
            if let Some(payload) = self.payload() {
                metered.frames += 1;
                self.have = 0;
                self.payload_left = payload;
                let [first, second, ..] = self.header;
                metered.malformed |= match second & 0x7f {
                    126 => payload < 126,
                    127 => payload <= u64::from(u16::MAX),
                    _ => false,
                };
                // Control frames may come between the fragments of a message.
                if first & CONTROL == 0 {
                    self.in_message = first & FINAL == 0;
                }
                metered.finished |= !self.is_unfinished();
            }
        }
        metered.unfinished = self.is_unfinished();
        metered
    }

    /// Whether a frame, or a message in fragments, is unfinished.
    #[must_use]
    pub const fn is_unfinished(&self) -> bool {
        self.have > 0 || self.payload_left > 0 || self.in_message
    }

    /// The payload's length, if the header is complete.
    fn payload(&self) -> Option<u64> {
        let [_, second, extended @ ..] = self.header;
        let (mask, length) = (usize::from(second >> 7) * MASK_BYTES, second & 0x7f);
        let [a, b, rest @ ..] = extended;
        let [c, d, e, f, g, h, ..] = rest;
        let (header, payload) = match length {
            126 => (4, u64::from(u16::from_be_bytes([a, b]))),
            127 => (10, u64::from_be_bytes([a, b, c, d, e, f, g, h])),
            short => (2, u64::from(short)),
        };
        (self.have >= 2 && self.have >= header + mask).then_some(payload)
    }
}

/// Bit of a frame's first byte: last fragment.
const FINAL: u8 = 0x80;
/// Bit of a frame's first byte: control frame, not part of a message.
const CONTROL: u8 = 0x08;
const MASK_BYTES: usize = 4;
const HEADER_BYTES_MAX: usize = 2 + 8 + MASK_BYTES;

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(payload: usize) -> Vec<u8> {
        let mut bytes = vec![0x81];
        match u8::try_from(payload) {
            Ok(short) if short < 126 => bytes.push(0x80 | short),
            _ if payload < 65_536 => {
                bytes.push(0x80 | 126);
                bytes.extend(u16::try_from(payload).unwrap().to_be_bytes());
            }
            _ => {
                bytes.push(0x80 | 127);
                bytes.extend((payload as u64).to_be_bytes());
            }
        }
        bytes.extend([1, 2, 3, 4]);
        bytes.extend(vec![0xff; payload]);
        bytes
    }

    #[test]
    fn frames_of_every_length_are_counted_however_they_are_cut() {
        let lengths = [0, 1, 125, 126, 127, 65_535, 65_536, 0, 3];
        let stream: Vec<u8> = lengths.into_iter().flat_map(frame).collect();
        for piece in [1, 2, 3, 7, 1_000, stream.len()] {
            let mut meter = FrameMeter::default();
            let metered = stream
                .chunks(piece)
                .map(|bytes| meter.feed(bytes))
                .fold(FrameCounts::default(), FrameCounts::then);
            assert_eq!(metered.frames as usize, lengths.len(), "in pieces of {piece}");
            assert_eq!(metered.bytes, stream.len());
            assert!(metered.finished && !metered.unfinished);
        }
    }

    #[test]
    fn what_is_begun_is_told_from_what_is_finished() {
        let (whole, ping) = (frame(3), [&[0x89][..], &frame(0)[1..]].concat());
        let first = [&[0x01][..], &frame(3)[1..]].concat();
        let last = [&[0x80][..], &frame(0)[1..]].concat();
        let begun = &whole[..1];
        for (name, stream, finished, unfinished) in [
            ("nothing", vec![], false, false),
            ("one byte", begun.to_vec(), false, true),
            ("a header without its payload", whole[..6].to_vec(), false, true),
            ("a frame", whole.clone(), true, false),
            ("a frame and the begin of the next", [&whole[..], begun].concat(), true, true),
            ("a first fragment", first.clone(), false, true),
            ("a ping behind a first fragment", [&first[..], &ping].concat(), false, true),
            ("a message in fragments", [&first[..], &ping, &last].concat(), true, false),
        ] {
            let metered = FrameMeter::default().feed(&stream);
            assert_eq!((metered.finished, metered.unfinished), (finished, unfinished), "{name}");
        }
    }

    #[test]
    fn lengths_in_more_bytes_than_they_need_are_malformed() {
        for (length, malformed) in [
            (&[125][..], false),
            (&[126, 0, 125], true),
            (&[126, 0, 126], false),
            (&[127, 0, 0, 0, 0, 0, 0, 0xff, 0xff], true),
            (&[127, 0, 0, 0, 0, 0, 1, 0, 0], false),
        ] {
            let metered = FrameMeter::default().feed(&[&[0x81], length].concat());
            assert_eq!(metered.malformed, malformed, "{length:?}");
        }
    }

    #[test]
    fn garbage_does_no_harm() {
        let mut meter = FrameMeter::default();
        for byte in 0..=255_u8 {
            meter.feed(&[byte; 40]);
        }
    }
}
