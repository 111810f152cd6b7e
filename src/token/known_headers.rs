//! The headers of tokens that were verified lately.
//!
//! All tokens of one signing key begin alike, to the letter, so that hardly any header has to be
//! read: the text says what it said before. Only those of verified tokens enter, so no flood of
//! bad ones can push a good one out.

use super::{InvalidToken, JoseHeader, Jws};

/// A few headers, with the base64url text of each.
#[derive(Debug, Default)]
pub(super) struct KnownHeaders {
    known: Vec<(Box<str>, JoseHeader)>,
    /// The place of the one that goes first.
    oldest: usize,
}

impl KnownHeaders {
    /// What a header says.
    ///
    /// # Errors
    /// As [`JoseHeader::decode`].
    pub(super) fn read(&self, text: &str) -> Result<JoseHeader, InvalidToken> {
        self.find(text)
            .map_or_else(|| JoseHeader::decode(text), |header| Ok(header.clone()))
    }

    /// Keeps the header of a token that was verified.
    pub(super) fn remember(&mut self, jws: &Jws<'_>) {
        if self.find(jws.header_text()).is_some() {
            return;
        }
        let entry = (jws.header_text().into(), jws.header().clone());
        if self.known.len() < MOST_KNOWN {
            self.known.push(entry);
        } else {
            self.known[self.oldest] = entry;
            self.oldest = (self.oldest + 1) % MOST_KNOWN;
        }
    }

    fn find(&self, text: &str) -> Option<&JoseHeader> {
        let mut known = self.known.iter();
        let (_, header) = known.find(|(known, _)| **known == *text)?;
        Some(header)
    }
}

/// As many as most gateways have signing keys at one time; more would be read anew now and then.
const MOST_KNOWN: usize = 8;

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;

    fn text(kid: usize) -> String {
        URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"RS256","kid":"{kid}"}}"#))
    }

    #[test]
    fn a_header_says_what_it_said_and_the_oldest_is_forgotten_first() {
        let mut headers = KnownHeaders::default();
        let last = MOST_KNOWN + 1;
        for kid in 0..=last {
            for _again in 0..2 {
                let token = format!("{}.e30.c2ln", text(kid));
                let jws = Jws::parse_with(&token, |header| headers.read(header)).unwrap();
                assert_eq!(jws.header().kid.as_deref(), Some(&*kid.to_string()));
                headers.remember(&jws);
            }
        }
        let known: Vec<_> = (0..=last)
            .filter(|kid| headers.find(&text(*kid)).is_some())
            .collect();
        assert_eq!(known, Vec::from_iter(2..=last));
    }

    #[test]
    fn t23_a_header_that_is_not_known_is_read_as_strictly_as_ever() {
        let mut headers = KnownHeaders::default();
        let good = format!("{}.e30.c2ln", text(1));
        headers.remember(&Jws::parse(&good).unwrap());
        let twice = URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256","kid":"1","kid":"2"}"#);
        assert_eq!(headers.read(&twice), Err(InvalidToken::MalformedHeader));
        let padded = format!("{}=", text(1));
        assert_eq!(headers.read(&padded), Err(InvalidToken::MalformedToken));
    }
}
