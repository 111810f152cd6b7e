//! What nobody should read in an excerpt of the file: secrets, passwords and keys that stand in it,
//! where only the name of a file, or a URL without them, belongs.
//!
//! What the parser made of the file is searched, known keys or not, since mistakes are what is
//! shown. On a line that is no TOML it may have made nothing of the rest, so that goes as well.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Place;

/// The places of a file's `text` that are not to be shown. `unreadable` are those of its syntax
/// errors.
pub(super) fn places(table: &DeTable<'_>, text: &str, unreadable: &[Place]) -> Vec<Place> {
    let mut search = Search {
        text,
        found: Vec::new(),
    };
    search.table(table);
    search.blocks();
    for place in unreadable {
        search.line(place);
    }
    search.found
}

/// The text as it may be shown, in which every byte stands where it stood.
pub(super) fn masked(text: &str, places: &[Place]) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for place in places {
        let end = place.end.min(bytes.len());
        for byte in &mut bytes[place.start.min(end)..end] {
            if !byte.is_ascii_whitespace() {
                *byte = b'*';
            }
        }
    }
    // Of a character that is hidden in part, nothing can be shown.
    String::from_utf8(bytes).unwrap_or_else(|_| "*".repeat(text.len()))
}

/// Whether a text is what stands in a file of keys rather than the name of one.
pub(super) fn is_contents(text: &str) -> bool {
    text.contains(BEGIN) || text.contains('\n') || text.trim_start().starts_with('{')
}

/// Whether a text may hold somebody's password.
pub(super) fn may_hold_password(text: &str) -> bool {
    text.contains('@')
}

struct Search<'s> {
    text: &'s str,
    found: Vec<Place>,
}

impl Search<'_> {
    fn table(&mut self, table: &DeTable<'_>) {
        for (key, value) in table {
            self.value(key.get_ref(), value);
        }
    }

    fn value(&mut self, key: &str, value: &Spanned<DeValue<'_>>) {
        let place = value.span();
        if let Some(table) = value.get_ref().as_table() {
            // A table of its own may be called so, as in [issuer.secret].
            if is_confidential(key) && self.text[place.clone()].starts_with('{') {
                self.found.push(place);
            } else {
                self.table(table);
            }
        } else if let Some(array) = value.get_ref().as_array() {
            array.iter().for_each(|item| self.value(key, item));
        } else if is_confidential(key) || value.get_ref().as_str().is_some_and(is_contents) {
            self.found.push(place);
        } else if let Some(text) = value.get_ref().as_str()
            && may_hold_password(text)
            && (text.contains("//") || key == "to")
        {
            self.user_info(place);
        }
    }

    /// What stands before the `@` of a URL; all of it if that is spelt with an escape.
    fn user_info(&mut self, place: Place) {
        let written = &self.text[place.clone()];
        let start = written.find("//").map_or(1, |slashes| slashes + 2);
        self.found.push(match written.rfind('@') {
            Some(at) if start < at => place.start + start..place.start + at,
            Some(_) | None => place,
        });
    }

    /// PEM, wherever it stands: TOML does not take the lines of one for a text without being asked.
    fn blocks(&mut self) {
        for (start, _) in self.text.match_indices(BEGIN) {
            let end = self.text[start..].find(END);
            let end = end.map_or(self.text.len(), |end| start + end);
            self.found.push(start..end);
        }
    }

    /// The rest of a line, if there is something like a secret or a password on it.
    fn line(&mut self, place: &Place) {
        let at = place.start.min(self.text.len());
        let start = self.text[..at].rfind('\n').map_or(0, |end| end + 1);
        let end = self.text[at..].find('\n');
        let end = end.map_or(self.text.len(), |end| at + end);
        let line = self.text[start..end].to_ascii_lowercase();
        let words = CONFIDENTIAL.iter();
        let word = words.filter_map(|word| Some(line.find(word)? + word.len()));
        let url = line.find("//").filter(|_| may_hold_password(&line));
        if let Some(first) = word.chain(url).min() {
            self.found.push(start + first..end);
        }
    }
}

/// Whether what such a key names is one, or what people take for such a key.
fn is_confidential(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    key != "secret_encoding" && CONFIDENTIAL.iter().any(|word| key.contains(word))
}

const CONFIDENTIAL: [&str; 3] = ["secret", "password", "passphrase"];
const BEGIN: &str = "-----BEGIN";
const END: &str = "-----END";

#[cfg(test)]
mod tests {
    use crate::config::{Source, parse};

    /// What is drawn of a file with this line in it, and with mistakes on that and others.
    fn drawn(line: &str) -> String {
        let source = Source {
            path: "jotgate.toml".into(),
            text: format!("[issuer.main]\n{line}\n[zzz]\n"),
        };
        let (_, mut problems) = parse(&source);
        let line = "[issuer.main]\n".len()..source.text.find("\n[zzz]").unwrap();
        problems.push(crate::config::Problem::error(line, "about the line"));
        problems.render(&source, false)
    }

    #[test]
    fn no_excerpt_shows_a_secret_or_a_password() {
        for line in [
            r#"secret = "Sup3rS3cret""#,
            r#"secret = ["a", "Sup3rS3cret"]"#,
            r#"secret = { value = "Sup3rS3cret" }"#,
            "secret = \"\"\"\nSup3r\nS3cret\"\"\"",
            "secret = [\n\"a\",\n\"Sup3rS3cret\"]",
            "secret = 'Sup3rS3cret'\nlevel = 1",
            r#""secret" = "Sup3rS3cret""#,
            r#"hmac_secret = "Sup3rS3cret""#,
            r#"Password = "Sup3rS3cret""#,
            r#"secret = Sup3rS3cret"#,
            r#"secret = "Sup3rS3cret"#,
            r#"secret = "a"Sup3rS3cret""#,
            r#"secret "Sup3rS3cret""#,
            r#"secret: Sup3rS3cret"#,
            r#"iss = "https://user:Sup3rS3cret@host/""#,
            r#"iss = "https://user:Sup3r/S3@cret@host/""#,
            r#"keys = ["https://user:Sup3rS3cret@host/"]"#,
            r#"keys = "https://user:Sup3rS3cret\u0040host/""#,
            r#"keys = https://user:Sup3rS3cret@host/"#,
            r#"to = "user:Sup3rS3cret@host""#,
            "key = '''\n-----BEGIN PRIVATE KEY-----\nSup3rS3cret\n-----END PRIVATE KEY-----'''",
            "key = \"-----BEGIN PRIVATE KEY-----\nSup3rS3cret\n-----END PRIVATE KEY-----\"",
            "key = -----BEGIN PRIVATE KEY-----\nSup3rS3cret",
            r#"key = "-----BEGIN PRIVATE KEY-----\nSup3rS3cret""#,
            r#"keys = '{"kty":"oct","k":"Sup3rS3cret"}'"#,
        ] {
            let shown = drawn(line);
            let is_hidden = !shown.contains("Sup3r") && !shown.contains("cret@");
            assert!(is_hidden && shown.contains("about the line"), "{shown}");
        }
    }

    #[test]
    fn what_is_no_secret_is_shown() {
        for line in [
            r#"secret_encoding = "base65url""#,
            r#"keys = "secrets/""#,
            r#"aud = "mail@example.com""#,
            r#"iss = "https://issuer.example/secret""#,
            "[issuer.secret]\niss = \"https://x\"",
        ] {
            let shown = drawn(line);
            assert!(
                !shown.contains('*') && line.lines().all(|l| shown.contains(l)),
                "{shown}"
            );
        }
    }
}
