//! Durations and sizes, which say their unit.

use std::time::Duration;

/// Reads a duration: numbers with units, from the large to the small.
pub(super) fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total = Duration::ZERO;
    let mut last_unit = u64::MAX;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(rest.len());
        let (_, unit) = *UNITS.iter().find(|(name, _)| *name == &rest[..letters])?;
        // From the large to the small, each once: "1h30m", never "30m1h".
        if unit >= last_unit {
            return None;
        }
        last_unit = unit;
        total = total.checked_add(Duration::from_millis(number.checked_mul(unit)?))?;
        rest = &rest[letters..];
    }
    (!text.is_empty()).then_some(total)
}

/// Writes a duration of whole milliseconds as [`parse_duration`] reads it.
pub(super) fn spell_duration(duration: Duration) -> String {
    let mut text = String::new();
    let mut rest = duration.as_millis();
    for (name, unit) in UNITS {
        let number = rest / u128::from(unit);
        rest %= u128::from(unit);
        if number > 0 {
            text.push_str(&format!("{number}{name}"));
        }
    }
    if text.is_empty() {
        text.push_str("0s");
    }
    text
}

/// Reads a size: a number with a binary unit.
pub(super) fn parse_size(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let number: u64 = text[..digits].parse().ok()?;
    let unit = match &text[digits..] {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(unit)
}

/// Units of time, from the large to the small, in milliseconds.
const UNITS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// What [`parse_duration`] reads, as a regular expression.
pub(super) const DURATION_PATTERN: &str = "^([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$";

/// What [`parse_size`] reads, as a regular expression.
pub(super) const SIZE_PATTERN: &str = "^[0-9]+(B|KiB|MiB|GiB)$";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units_from_large_to_small() {
        for (text, millis) in [
            ("30s", 30_000),
            ("10m", 600_000),
            ("1h30m", 5_400_000),
            ("500ms", 500),
            ("0s", 0),
        ] {
            assert_eq!(
                parse_duration(text),
                Some(Duration::from_millis(millis)),
                "{text}"
            );
        }
        for text in [
            "",
            "30",
            "s",
            "30 s",
            "1m1h",
            "1s1s",
            "-1s",
            "1.5s",
            "1w",
            "99999999999999999999s",
        ] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn durations_are_spelt_as_they_are_read() {
        for text in ["0s", "1ms", "30s", "1h30m", "1d", "1d2h3m4s5ms"] {
            let duration = parse_duration(text).unwrap();
            assert_eq!(spell_duration(duration), text);
        }
    }

    #[test]
    fn sizes_are_binary() {
        assert_eq!(parse_size("8KiB"), Some(8192));
        assert_eq!(parse_size("32MiB"), Some(33_554_432));
        for text in ["", "8", "8KB", "8 KiB", "KiB", "99999999999999999999GiB"] {
            assert_eq!(parse_size(text), None, "{text}");
        }
    }
}
