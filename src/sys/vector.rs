//! Reads many bytes of a text at once, with vector instructions. The compiler does not use them in loops where it is told
//! to make small code, which is five times as slow.

/// How many bytes are read at once: one for each bit of a register.
pub(crate) const CHUNK_BYTES: usize = 64;
/// How many bytes are copied at least, because a copy of a fixed size is fast.
pub(crate) const COPY_BYTES: usize = 16;

/// Converts to lower case, and the two alphabets of base64 to one.
pub(crate) const fn fold(byte: u8) -> u8 {
    match byte {
        b'+' => b'-',
        b'/' => b'_',
        byte => byte.to_ascii_lowercase(),
    }
}

/// Some bytes of a text.
#[cfg_attr(test, derive(Debug, PartialEq, Eq))]
pub(crate) struct Chunk {
    /// Followed by room, so that each can be copied with those behind it.
    pub folded: [u8; CHUNK_BYTES + COPY_BYTES],
    /// The bits of white space, controls and parts of multi-byte characters.
    pub unseen: u64,
    /// The bits of bytes that may begin a line wrap, a terminal sequence, or a character that stands for another.
    pub special: u64,
}

impl Chunk {
    pub(crate) const EMPTY: Chunk = Chunk { folded: [0; _], unseen: 0, special: 0 };

    /// Reads the first bytes of `text`; the last one is only looked at.
    #[inline]
    pub(crate) fn read(&mut self, text: &[u8; CHUNK_BYTES + 1]) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: every x86-64 processor has SSE2.
        unsafe {
            self.read_with_sse2(text);
        }
        #[cfg(not(target_arch = "x86_64"))]
        self.read_one_by_one(text);
    }

    #[cfg(any(test, not(target_arch = "x86_64")))]
    fn read_one_by_one(&mut self, text: &[u8; CHUNK_BYTES + 1]) {
        (self.unseen, self.special) = (0, 0);
        for at in 0..CHUNK_BYTES {
            let (byte, next) = (text[at], text[at + 1]);
            let special = match byte {
                b'=' | b'\\' => next <= b' ',
                b'<' => matches!(next | 0x20, b'b' | b'w'),
                0x1b | 0xe2 | 0xef => true,
                _ => false,
            };
            self.folded[at] = fold(byte);
            self.unseen |= u64::from(!(0x21..=0x7e).contains(&byte)) << at;
            self.special |= u64::from(special) << at;
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "sse2")]
    fn read_with_sse2(&mut self, text: &[u8; CHUNK_BYTES + 1]) {
        use std::arch::x86_64::{
            __m128i, _mm_add_epi8, _mm_and_si128, _mm_cmpeq_epi8, _mm_cmplt_epi8, _mm_cvtsi128_si64,
            _mm_movemask_epi8, _mm_or_si128, _mm_set_epi64x, _mm_set1_epi8, _mm_unpackhi_epi64,
            _mm_xor_si128,
        };
        const LANES: usize = 16;
        const HALF: usize = LANES / 2;
        let all = |byte: u8| _mm_set1_epi8(byte.cast_signed());
        let or = |a: __m128i, b: __m128i| _mm_or_si128(a, b);
        // Comparisons are signed: moved so that the first byte of the range is the lowest number.
        let in_range = |bytes: __m128i, first: u8, last: u8| {
            let moved = _mm_add_epi8(bytes, all(0x80_u8.wrapping_sub(first)));
            _mm_cmplt_epi8(moved, all(0x80_u8.wrapping_add(last - first + 1)))
        };
        let bits = |bytes: __m128i| u64::from(_mm_movemask_epi8(bytes).cast_unsigned());
        (self.unseen, self.special) = (0, 0);
        let (here, _) = text.as_chunks::<HALF>();
        let (ahead, _) = text[1..].as_chunks::<HALF>();
        let (folded, _) = self.folded.as_chunks_mut::<HALF>();
        let pairs = here.chunks_exact(2).zip(ahead.chunks_exact(2)).zip(folded.chunks_exact_mut(2));
        for (number, ((here, ahead), folded)) in pairs.enumerate() {
            let load = |pair: &[[u8; HALF]]| {
                _mm_set_epi64x(i64::from_le_bytes(pair[1]), i64::from_le_bytes(pair[0]))
            };
            let (bytes, next) = (load(here), load(ahead));
            let is = |byte: u8| _mm_cmpeq_epi8(bytes, all(byte));
            let change = |which: __m128i, from: u8, to: u8| _mm_and_si128(which, all(from ^ to));
            let changes = or(
                change(in_range(bytes, b'A', b'Z'), b'A', b'a'),
                or(change(is(b'+'), b'+', b'-'), change(is(b'/'), b'/', b'_')),
            );
            let lower = _mm_xor_si128(bytes, changes);
            folded[0] = _mm_cvtsi128_si64(lower).to_le_bytes();
            folded[1] = _mm_cvtsi128_si64(_mm_unpackhi_epi64(lower, lower)).to_le_bytes();
            let wraps_line = _mm_and_si128(or(is(b'='), is(b'\\')), in_range(next, 0, b' '));
            let next = or(next, all(0x20));
            let tag = or(_mm_cmpeq_epi8(next, all(b'b')), _mm_cmpeq_epi8(next, all(b'w')));
            let begins_tag = _mm_and_si128(is(b'<'), tag);
            let others = or(is(0x1b), or(is(0xe2), is(0xef)));
            let at = LANES * number;
            self.unseen |= (bits(in_range(bytes, 0x21, 0x7e)) ^ 0xffff) << at;
            self.special |= bits(or(or(wraps_line, begins_tag), others)) << at;
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Each pair of bytes at the beginning, between two registers, and at the end of a chunk.
    pub(crate) fn texts() -> impl Iterator<Item = [u8; CHUNK_BYTES + 1]> {
        (0..=u8::MAX).flat_map(|byte| (0..=u8::MAX).map(move |next| [byte, next])).map(|pair| {
            let mut text = [b'R'; CHUNK_BYTES + 1];
            for at in [1, 15, CHUNK_BYTES - 1] {
                text[at..=at + 1].copy_from_slice(&pair);
            }
            text
        })
    }

    #[test]
    fn many_bytes_at_once_are_read_as_one_by_one() {
        for text in texts() {
            let (mut chunk, mut expected) = (Chunk::EMPTY, Chunk::EMPTY);
            chunk.read(&text);
            expected.read_one_by_one(&text);
            assert_eq!(chunk, expected, "{}", text.escape_ascii());
        }
    }
}
