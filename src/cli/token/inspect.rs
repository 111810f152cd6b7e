//! `jotgate token inspect`: shows what is in a token, without verifying it.
//!
//! The opposite of the gateway's verifier: it takes whatever it is given and shows as much as can
//! be decoded, with everything that looks wrong. It proves nothing and says so.

use std::fmt::{self, Write as _};
use std::io::{self, Read, Write};
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::times::{date, distance, seconds};
use super::verdict::Verdict;
use crate::cli::run::LoadError;
use crate::clock::{Clock, NumericDate};
use crate::json;
use crate::keys::source::undecodable;
use crate::keys::{Algorithm, TRIED_WITHOUT_KID};
use crate::token::{Claims, InvalidToken, Jws, MAX_TOKEN_BYTES};

/// `jotgate token inspect`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct InspectArgs {
    /// The token, with or without "Bearer " before it. Absent or "-": read from standard input,
    /// so that it stays out of the shell's history and the list of processes
    token: Option<String>,
    /// Also tell which issuer and key of this configuration the token would meet, and whether
    /// they would accept it now; exits with 1 if not
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Why nothing could be shown.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// Standard input could not be read.
    #[error("cannot read the token from standard input")]
    Input(#[source] io::Error),
    /// There was nothing to inspect.
    #[error("there is no token: give one as the argument or on standard input")]
    Nothing,
    /// The configuration is not good.
    #[error(transparent)]
    Config(#[from] Box<LoadError>),
    /// The result could not be written.
    #[error("cannot write to standard output")]
    Output(#[source] io::Error),
}

impl InspectArgs {
    /// Reads the token, from `input` unless it is an argument, and describes it to `out`. Returns
    /// whether the configuration accepts it, if there is one.
    ///
    /// # Errors
    /// [`InspectError`]; a token that makes no sense is none.
    pub fn run(
        &self,
        clock: &Clock,
        input: &mut dyn Read,
        out: &mut dyn Write,
    ) -> Result<Option<bool>, InspectError> {
        let (token, now) = (self.token(input)?, clock.numeric_date());
        let report = Report::new(&token, now);
        write!(out, "{report}").map_err(InspectError::Output)?;
        let Some(config) = &self.config else {
            return Ok(None);
        };
        let verdict = Verdict::new(config, &token, &report, now)?;
        write!(out, "{verdict}").map_err(InspectError::Output)?;
        Ok(Some(verdict.is_good()))
    }

    /// The token without what people copy along with it.
    ///
    /// # Errors
    /// [`InspectError::Input`], [`InspectError::Nothing`].
    pub fn token(&self, input: &mut dyn Read) -> Result<String, InspectError> {
        let text = match self.token.as_deref() {
            Some(token) if token != "-" => token.to_owned(),
            Some(_) | None => {
                let mut bytes = Vec::new();
                input
                    .take(MAX_INPUT_BYTES)
                    .read_to_end(&mut bytes)
                    .map_err(InspectError::Input)?;
                String::from_utf8_lossy(&bytes).into_owned()
            }
        };
        let mut token = text.trim();
        for prefix in ["authorization:", "bearer "] {
            if let Some((_, rest)) = token
                .split_at_checked(prefix.len())
                .filter(|(start, _)| start.eq_ignore_ascii_case(prefix))
            {
                token = rest.trim_start();
            }
        }
        if token.is_empty() {
            Err(InspectError::Nothing)
        } else {
            Ok(token.to_owned())
        }
    }
}

/// What is in a token, for people. Nothing of it is verified.
#[derive(Debug)]
pub struct Report {
    /// The JOSE header, as far as it is JSON.
    pub header: Option<Value>,
    /// The claims set, as far as it is JSON.
    pub claims: Option<Value>,
    /// What looks wrong, one sentence each.
    pub warnings: Vec<String>,
    signature_bytes: Option<usize>,
    now: NumericDate,
}

impl Report {
    /// Takes a token apart, as far as that goes.
    pub fn new(token: &str, now: NumericDate) -> Self {
        let mut report = Self {
            header: None,
            claims: None,
            warnings: Vec::new(),
            signature_bytes: None,
            now,
        };
        report.judge_shape(token);
        let mut parts = token.splitn(PARTS, '.');
        report.header = parts
            .next()
            .and_then(|part| report.decode_json("header", part));
        report.claims = parts
            .next()
            .and_then(|part| report.decode_json("claims", part));
        report.signature_bytes = parts
            .next()
            .and_then(|part| report.decode("signature", part))
            .map(|bytes| bytes.len());
        if let Some(Value::Object(header)) = report.header.clone() {
            report.judge_header(&header);
        }
        if let Some(Value::Object(claims)) = report.claims.clone() {
            report.judge_claims(&claims);
        }
        if let Err(reason) = read_as_the_gateway_does(token) {
            report.warn(format!(
                "the gateway refuses it, whoever signed it: {}",
                reason.label()
            ));
        }
        report
    }

    fn judge_shape(&mut self, token: &str) {
        if token.len() > MAX_TOKEN_BYTES {
            self.warn(format!(
                "it has {} bytes; the gateway reads at most {MAX_TOKEN_BYTES}",
                token.len()
            ));
        }
        match token.bytes().filter(|byte| *byte == b'.').count() + 1 {
            PARTS => {}
            5 => self.warn(
                "it has five parts: an encrypted token (JWE), which the gateway does not take",
            ),
            _ if token.starts_with('{') => self
                .warn("it is JSON: the gateway takes the compact form only (RFC 7515 section 3.1)"),
            parts => self.warn(format!(
                "it has {parts} parts separated by dots instead of three: header.claims.signature"
            )),
        }
    }

    fn decode_json(&mut self, name: &str, part: &str) -> Option<Value> {
        let bytes = self.decode(name, part)?;
        let value = match json::parse(&bytes) {
            Ok(value) => value,
            Err(error) => {
                self.warn(format!("the {name} would be refused: {error}"));
                serde_json::from_slice(&bytes).ok()?
            }
        };
        if !value.is_object() {
            self.warn(format!("the {name} must be a JSON object"));
        }
        Some(value)
    }

    fn decode(&mut self, name: &str, part: &str) -> Option<Vec<u8>> {
        match URL_SAFE_NO_PAD.decode(part) {
            Ok(bytes) if bytes.is_empty() => {
                self.warn(format!("the {name} is empty"));
                None
            }
            Ok(bytes) => Some(bytes),
            Err(error) => {
                self.warn(format!(
                    "the {name} is not base64url: {}",
                    undecodable(&error)
                ));
                None
            }
        }
    }

    fn judge_header(&mut self, header: &Map<String, Value>) {
        match header.get("alg") {
            None => self.warn("alg is missing"),
            Some(Value::String(name)) if name.eq_ignore_ascii_case("none") => {
                self.warn("alg is \"none\": it is not signed at all");
            }
            Some(Value::String(name)) if Algorithm::from_name(name).is_some() => {}
            Some(other) => self.warn(format!("alg {other} is not one that the gateway verifies")),
        }
        match header.get("kid") {
            None => self.warn(format!(
                "kid is missing: the gateway tries the keys that fit alg, if they are at most {TRIED_WITHOUT_KID}"
            )),
            Some(Value::String(_)) => {}
            Some(_) => self.warn("kid is not a string"),
        }
        for name in ["crit", "b64", "zip", "enc"]
            .into_iter()
            .filter(|name| header.contains_key(*name))
        {
            self.warn(format!(
                "{name} asks for an extension; the gateway refuses it"
            ));
        }
        for name in ["jwk", "jku", "x5u", "x5c"]
            .into_iter()
            .filter(|name| header.contains_key(*name))
        {
            self.warn(format!(
                "{name} offers a key; the gateway never takes one from a token"
            ));
        }
    }

    fn judge_claims(&mut self, claims: &Map<String, Value>) {
        let now = self.now;
        match claims.get("exp").map(seconds) {
            None => self.warn("exp is missing: it would be valid for ever"),
            Some(None) => self.warn("exp is not a time"),
            Some(Some(exp)) if exp <= now.seconds() as f64 => {
                self.warn(format!("it expired {}", distance(exp, now)))
            }
            Some(Some(_)) => {}
        }
        for (name, complaint) in [
            ("nbf", "it is not valid yet: from nbf on"),
            ("iat", "it claims to be made in the future:"),
        ] {
            match claims.get(name).map(seconds) {
                Some(None) => self.warn(format!("{name} is not a time")),
                Some(Some(time)) if time > now.seconds() as f64 => {
                    self.warn(format!("{complaint} {}", distance(time, now)))
                }
                Some(Some(_)) | None => {}
            }
        }
        for name in ["iss", "sub"] {
            match claims.get(name) {
                None => self.warn(format!("{name} is missing")),
                Some(Value::String(text)) if !text.is_empty() => {}
                Some(_) => self.warn(format!("{name} is not a string with content")),
            }
        }
        match claims.get("aud") {
            None => self.warn("aud is missing"),
            Some(Value::String(_)) => {}
            Some(Value::Array(list)) if !list.is_empty() && list.iter().all(Value::is_string) => {}
            Some(_) => self.warn("aud is neither a string nor a list of strings"),
        }
    }

    fn warn(&mut self, text: impl Into<String>) {
        self.warnings.push(text.into());
    }

    fn write_times(&self, f: &mut String) -> fmt::Result {
        let claims = self.claims.as_ref().and_then(Value::as_object);
        let time = |name: &str| claims.and_then(|claims| claims.get(name)).and_then(seconds);
        let times: Vec<(&str, f64)> = ["iat", "nbf", "exp"]
            .into_iter()
            .filter_map(|name| Some((name, time(name)?)))
            .collect();
        if times.is_empty() {
            return Ok(());
        }
        writeln!(f, "times")?;
        for (name, time) in times {
            let verb = if name == "exp" && time <= self.now.seconds() as f64 {
                "expired "
            } else {
                ""
            };
            writeln!(
                f,
                "  {name}  {}  {verb}{}",
                date(time),
                distance(time, self.now)
            )?;
        }
        writeln!(f)
    }

    fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        writeln!(
            text,
            "NOT VERIFIED: anybody can write a token that looks like this one"
        )?;
        writeln!(text)?;
        for (name, value) in [("header", &self.header), ("claims", &self.claims)] {
            writeln!(text, "{name}")?;
            match value {
                Some(value) => writeln!(text, "{value:#}")?,
                None => writeln!(text, "(unreadable)")?,
            }
            writeln!(text)?;
        }
        self.write_times(&mut text)?;
        match self.signature_bytes {
            Some(bytes) => writeln!(text, "signature: {bytes} bytes, not checked so far")?,
            None => writeln!(text, "signature: none that can be read")?,
        }
        if !self.warnings.is_empty() {
            writeln!(text, "\nwarnings")?;
        }
        for warning in &self.warnings {
            writeln!(text, "  - {warning}")?;
        }
        Ok(text)
    }
}

/// Takes a token apart by the gateway's own code, which needs no key for that.
fn read_as_the_gateway_does(token: &str) -> Result<(), InvalidToken> {
    let (jws, mut room) = (Jws::parse(token)?, Vec::new());
    Claims::parse(jws.payload(&mut room)?)?;
    Ok(())
}

/// Printable text: a token can hold characters that steer a terminal or turn a line around.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.text()?.chars() {
            if c != '\n' && (c.is_control() || is_invisible(c)) {
                write!(f, "\\u{:04x}", u32::from(c))?;
            } else {
                f.write_char(c)?;
            }
        }
        Ok(())
    }
}

/// Characters of no width and those that change the direction (Unicode UAX 9).
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// Header, claims and signature.
const PARTS: usize = 3;

/// What is read of standard input.
const MAX_INPUT_BYTES: u64 = 1024 * 1024;

const EXAMPLES: &str = "\
Nothing is verified: this shows what a token says, not whether it is true.

Examples:
  From the clipboard or a file, so that the token is in no history:
    jotgate token inspect < token.txt

  What was just made:
    jotgate token mint --key keys/private/dev.pem --sub alice | jotgate token inspect";

#[cfg(test)]
mod tests;
