//! With which keys a token is verified: algorithms, keys, sets of them, and the files they are in.
//!
//! Keys come from local files alone and are judged when they are loaded. Nothing in a token adds
//! a key, an algorithm or a place to look: `jwk`, `jku`, `x5u` and `x5c` are not read here
//! (RFC 8725 §3.10), and a `kid` is compared, never used as a path.

mod algorithm;
mod key;
mod material;
mod set;
pub mod source;
#[cfg(test)]
mod vectors;
mod weak;

pub use algorithm::{Algorithm, AlgorithmSet};
pub use key::{Key, Origin};
pub use set::{KeySet, TRIED_WITHOUT_KID};

/// The longest `kid`: a key identifier, not a letter. A token with a longer one is refused, and so
/// is a key.
pub const MAX_KID_BYTES: usize = 128;
