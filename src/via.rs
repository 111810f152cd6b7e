//! Who we are in `Via` (RFC 9110 §7.6.3).

use http::{HeaderValue, Version};

/// Our name, which tells us our own requests when they come back.
#[derive(Debug, Clone)]
pub struct Pseudonym {
    name: String,
    /// What is written of a request that came over HTTP/1, and over HTTP/2.
    hops: [HeaderValue; 2],
}

impl Pseudonym {
    /// One that nobody else has.
    ///
    /// # Panics
    /// Never: the number is hexadecimal.
    pub fn new(number: u32) -> Self {
        let name = format!("jotgate-{number:08x}");
        let hop = |version| {
            HeaderValue::try_from(format!("{version} {name}")).expect("digits and letters alone")
        };
        Self {
            hops: [hop("1.1"), hop("2.0")],
            name,
        }
    }

    /// As others write it behind the version.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The member of the list for a request that came to us so.
    pub fn hop(&self, version: Version) -> &HeaderValue {
        let [http1, http2] = &self.hops;
        match version {
            Version::HTTP_2 => http2,
            _ => http1,
        }
    }
}
