//! A good token that is changed in one place before it is signed.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;

use super::{Signer, now};

/// The text of a token to be. Values are JSON texts, so that what is no good JSON can be said too.
#[derive(Clone)]
pub struct Draft {
    header: Members,
    claims: Members,
    algorithm: Algorithm,
}

impl Draft {
    /// An RS256 token of `main` for `alice`, good for ten minutes from now.
    pub fn good() -> Self {
        Self::at(now())
    }

    /// The same, made at another time.
    pub fn at(now: u64) -> Self {
        Self {
            header: Members::of(&[
                ("alg", r#""RS256""#),
                ("kid", r#""main""#),
                ("typ", r#""JWT""#),
            ]),
            claims: Members::of(&[
                ("iss", r#""https://issuer.test""#),
                ("aud", r#""api""#),
                ("sub", r#""alice""#),
                ("iat", &now.to_string()),
                ("exp", &(now + 600).to_string()),
            ]),
            algorithm: Algorithm::RS256,
        }
    }

    /// Says and means this algorithm.
    pub fn algorithm(mut self, algorithm: Algorithm) -> Self {
        self.algorithm = algorithm;
        self.header("alg", &format!("\"{algorithm:?}\""))
    }

    /// Is signed with this algorithm, whatever it says.
    pub fn signed_as(mut self, algorithm: Algorithm) -> Self {
        self.algorithm = algorithm;
        self
    }

    /// Names this key.
    pub fn kid(self, kid: &str) -> Self {
        self.header("kid", &serde_json::json!(kid).to_string())
    }

    /// Sets a header member.
    pub fn header(mut self, name: &str, json: &str) -> Self {
        self.header.set(name, json);
        self
    }

    /// Adds a header member, even if there is one of that name.
    pub fn header_again(mut self, name: &str, json: &str) -> Self {
        self.header.0.push((name.to_owned(), json.to_owned()));
        self
    }

    pub fn without_header(mut self, name: &str) -> Self {
        self.header.remove(name);
        self
    }

    /// Sets a claim.
    pub fn claim(mut self, name: &str, json: &str) -> Self {
        self.claims.set(name, json);
        self
    }

    /// Adds a claim, even if there is one of that name.
    pub fn claim_again(mut self, name: &str, json: &str) -> Self {
        self.claims.0.push((name.to_owned(), json.to_owned()));
        self
    }

    pub fn without_claim(mut self, name: &str) -> Self {
        self.claims.remove(name);
        self
    }

    /// The header's text.
    pub fn header_text(&self) -> String {
        self.header.text()
    }

    /// The claims' text.
    pub fn claims_text(&self) -> String {
        self.claims.text()
    }

    /// Signed by [`Signer::rsa`], whom everybody trusts.
    pub fn signed(&self) -> String {
        self.signed_by(Signer::rsa())
    }

    pub fn signed_by(&self, signer: &Signer) -> String {
        signer.token_of(&self.header.text(), &self.claims.text(), self.algorithm)
    }

    /// With an HMAC of the algorithm that was chosen, empty secrets included: the JOSE library signs
    /// nothing with those.
    pub fn hmac(&self, secret: &[u8]) -> String {
        let (_, hash) = [
            (Algorithm::HS256, hmac::HMAC_SHA256),
            (Algorithm::HS384, hmac::HMAC_SHA384),
            (Algorithm::HS512, hmac::HMAC_SHA512),
        ]
        .into_iter()
        .find(|(algorithm, _)| *algorithm == self.algorithm)
        .expect("an algorithm that takes a secret");
        let input = self.signing_input();
        let tag = hmac::sign(&hmac::Key::new(hash, secret), input.as_bytes());
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(tag))
    }

    /// Signed by [`Signer::rsa`] over other bytes than JSON: the header's.
    pub fn with_header_bytes(&self, bytes: &[u8]) -> String {
        sign_parts(bytes, self.claims.text().as_bytes())
    }

    /// And the payload's.
    pub fn with_payload_bytes(&self, bytes: &[u8]) -> String {
        sign_parts(self.header.text().as_bytes(), bytes)
    }

    /// What is signed.
    pub fn signing_input(&self) -> String {
        let encode = |members: &Members| URL_SAFE_NO_PAD.encode(members.text());
        format!("{}.{}", encode(&self.header), encode(&self.claims))
    }
}

/// Any two parts, signed by [`Signer::rsa`] with RS256.
fn sign_parts(header: &[u8], payload: &[u8]) -> String {
    let encode = |bytes| URL_SAFE_NO_PAD.encode(bytes);
    let input = format!("{}.{}", encode(header), encode(payload));
    let signature = Signer::rsa().sign(input.as_bytes(), Algorithm::RS256);
    format!("{input}.{signature}")
}

/// The members of a JSON object, in order, names perhaps more than once.
#[derive(Clone)]
struct Members(Vec<(String, String)>);

impl Members {
    fn of(members: &[(&str, &str)]) -> Self {
        let owned = |(name, json): &(&str, &str)| ((*name).to_owned(), (*json).to_owned());
        Self(members.iter().map(owned).collect())
    }

    fn set(&mut self, name: &str, json: &str) {
        match self.0.iter_mut().find(|(n, _)| n == name) {
            Some((_, value)) => json.clone_into(value),
            None => self.0.push((name.to_owned(), json.to_owned())),
        }
    }

    fn remove(&mut self, name: &str) {
        let before = self.0.len();
        self.0.retain(|(n, _)| n != name);
        assert!(self.0.len() < before, "there was no {name}");
    }

    fn text(&self) -> String {
        let members: Vec<_> = self
            .0
            .iter()
            .map(|(name, json)| format!("\"{name}\":{json}"))
            .collect();
        format!("{{{}}}", members.join(","))
    }
}
