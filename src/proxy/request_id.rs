//! A name for each request, to find its line in the log by.

use std::cell::Cell;

use crate::crypto;

/// Makes the request ids of one worker: unique without asking anybody.
#[derive(Debug)]
pub(super) struct RequestIds {
    prefix: u64,
    next: Cell<u64>,
}

impl RequestIds {
    /// A new series, with a random beginning.
    pub(super) fn new() -> Self {
        Self {
            prefix: u64::from_ne_bytes(crypto::random()),
            next: Cell::new(0),
        }
    }

    /// The next id: 32 hexadecimal digits.
    pub(super) fn next(&self) -> String {
        let number = self.next.get();
        self.next.set(number.wrapping_add(1));
        format!("{:016x}{number:016x}", self.prefix)
    }
}
