//! Counts WebSocket frames below the frame parser (RFC 6455 5.2): fragments are frames too, and a
//! client that never finishes a message must not be able to send them for nothing.

/// Follows the frame headers in a stream of bytes. It judges nothing: bytes that are no frames are
/// the parser's to refuse, and whatever is counted of them until then does no harm.
#[derive(Debug, Default)]
pub struct FrameMeter {
    header: [u8; HEADER_BYTES_MAX],
    have: usize,
    payload_left: u64,
}

impl FrameMeter {
    /// Takes the next bytes; how many frames began in them, each counted when its header is whole.
    pub fn feed(&mut self, mut bytes: &[u8]) -> u32 {
        let mut frames = 0;
        while let Some((first, rest)) = bytes.split_first() {
            if self.payload_left > 0 {
                let skip =
                    usize::try_from(self.payload_left).unwrap_or(usize::MAX).min(bytes.len());
                self.payload_left -= skip as u64;
                bytes = bytes.get(skip..).unwrap_or_default();
                continue;
            }
            if let Some(place) = self.header.get_mut(self.have) {
                *place = *first;
                self.have += 1;
            }
            bytes = rest;
            if let Some(payload) = self.payload() {
                frames += 1;
                self.have = 0;
                self.payload_left = payload;
            }
        }
        frames
    }

    /// The payload's length, once the header is whole.
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
            let counted: u32 = stream.chunks(piece).map(|bytes| meter.feed(bytes)).sum();
            assert_eq!(counted as usize, lengths.len(), "in pieces of {piece}");
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
