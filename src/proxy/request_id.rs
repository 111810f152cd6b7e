//! A name for each request, to find its line in the log by.

use std::cell::{Cell, RefCell};

use bytes::BytesMut;
use http::HeaderValue;

use crate::crypto;
use crate::observe::RequestId;

/// Makes the request ids of one worker: unique without asking anybody.
///
/// They are pieces of larger blocks, so that most of them cost no allocation, wherever they go.
#[derive(Debug)]
pub(super) struct RequestIds {
    prefix: [u8; 16],
    next: Cell<u64>,
    block: RefCell<BytesMut>,
}

impl RequestIds {
    /// A new series, with a random beginning.
    pub(super) fn new() -> Self {
        Self {
            prefix: digits(crypto::random()),
            next: Cell::new(0),
            block: RefCell::default(),
        }
    }

    /// The next id: 32 hexadecimal digits.
    pub(super) fn next(&self) -> RequestId {
        let number = self.next.get();
        self.next.set(number.wrapping_add(1));
        let mut block = self.block.borrow_mut();
        if block.capacity() < LENGTH {
            block.reserve(LENGTH * IDS_IN_A_BLOCK);
        }
        block.extend_from_slice(&self.prefix);
        block.extend_from_slice(&digits(number.to_be_bytes()));
        let id = block.split().freeze();
        HeaderValue::from_maybe_shared(id)
            .ok()
            .and_then(RequestId::from_field)
            .expect("hexadecimal digits are a request id")
    }
}

fn digits(bytes: [u8; 8]) -> [u8; 16] {
    let mut digits = [0; 16];
    for (pair, byte) in digits.chunks_exact_mut(2).zip(bytes) {
        pair.copy_from_slice(&PAIRS[usize::from(byte)]);
    }
    digits
}

/// The two digits of each byte.
const PAIRS: [[u8; 2]; 256] = {
    let digits = b"0123456789abcdef";
    let mut pairs = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        pairs[byte] = [digits[byte >> 4], digits[byte & 15]];
        byte += 1;
    }
    pairs
};

/// The digits of two numbers of 64 bits.
const LENGTH: usize = 32;

/// A block is freed with the last of its ids, so it is a small one.
const IDS_IN_A_BLOCK: usize = 64;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_id_is_another_one_of_32_digits() {
        let ids = RequestIds::new();
        let some: Vec<RequestId> = (0..1_000).map(|_| ids.next()).collect();
        let distinct: HashSet<&str> = some.iter().map(RequestId::as_str).collect();
        assert_eq!(distinct.len(), 1_000);
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        assert!(
            distinct
                .iter()
                .all(|id| id.len() == 32 && id.bytes().all(is_digit))
        );
    }
}
