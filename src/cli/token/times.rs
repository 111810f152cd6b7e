//! Times of tokens as people read them.

use jiff::Timestamp;
use serde_json::Value;

use crate::clock::NumericDate;

/// A `NumericDate` (RFC 7519 §2) in seconds, fractions and all.
pub(super) fn seconds(value: &Value) -> Option<f64> {
    value.as_f64()
}

pub(super) fn date(time: f64) -> String {
    // Casting saturates, and what lies beyond the year 9999 has no timestamp.
    Timestamp::from_second(time as i64)
        .map_or_else(|_| format!("{time} s"), |timestamp| timestamp.to_string())
}

/// `5m ago`, `in 2h 5m`, `now`: the two largest units.
pub(super) fn distance(time: f64, now: NumericDate) -> String {
    let difference = time - now.seconds() as f64;
    let mut rest = difference.abs() as u64;
    let mut shown = Vec::new();
    for (unit, length) in [("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)] {
        if rest >= length && shown.len() < 2 {
            shown.push(format!("{}{unit}", rest / length));
            rest %= length;
        }
    }
    match (shown.is_empty(), difference < 0.0) {
        (true, _) => "now".to_owned(),
        (false, true) => format!("{} ago", shown.join(" ")),
        (false, false) => format!("in {}", shown.join(" ")),
    }
}
