//! From when until when a certificate is good (RFC 5280 §4.1.2.5), in words for the operator.

use jiff::Timestamp;

use crate::clock::NumericDate;

/// The time in which a certificate is good, with both its ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// When it begins.
    pub begins: NumericDate,
    /// When it ends.
    pub ends: NumericDate,
}

impl Validity {
    /// Why the certificate is not good at `now`, if it is not.
    pub fn fault_at(self, now: NumericDate) -> Option<String> {
        if now < self.begins {
            // To the second: often a clock is wrong by an hour, or the time zone is.
            let begin = timestamp(self.begins)
                .map_or_else(|| "a day that never comes".to_owned(), |at| at.to_string());
            Some(format!("not valid before {begin}"))
        } else if now > self.ends {
            Some(format!("EXPIRED on {}", day(self.ends)?))
        } else {
            None
        }
    }

    /// What there is to say of it at `now`.
    pub fn describe_at(self, now: NumericDate) -> String {
        let left = self.ends.seconds().saturating_sub(now.seconds());
        self.fault_at(now).unwrap_or_else(|| match day(self.ends) {
            Some(day) => format!("valid until {day} ({} days)", left / SECONDS_A_DAY),
            None => "valid without an end".to_owned(),
        })
    }
}

fn day(at: NumericDate) -> Option<String> {
    timestamp(at).map(|at| at.strftime("%Y-%m-%d").to_string())
}

/// `None` from the last day of 9999 on. A certificate that ends with its last second has no
/// well-defined end, and there is none that ends later.
fn timestamp(at: NumericDate) -> Option<Timestamp> {
    Timestamp::from_second(at.seconds().cast_signed()).ok()
}

const SECONDS_A_DAY: u64 = 24 * 60 * 60;

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> NumericDate {
        NumericDate::from_seconds(seconds)
    }

    #[test]
    fn a_certificate_is_good_at_both_ends_and_not_a_second_longer() {
        let day = Validity {
            begins: at(86_400),
            ends: at(172_799),
        };
        for (now, said) in [
            (86_399, "not valid before 1970-01-02T00:00:00Z"),
            (86_400, "valid until 1970-01-02 (0 days)"),
            (172_799, "valid until 1970-01-02 (0 days)"),
            (172_800, "EXPIRED on 1970-01-02"),
        ] {
            assert_eq!(day.describe_at(at(now)), said, "{now}");
            let is_good = said.starts_with("valid");
            assert_eq!(day.fault_at(at(now)).is_none(), is_good, "{now}");
        }
    }

    #[test]
    fn the_last_second_of_9999_is_no_end() {
        let endless = Validity {
            begins: at(0),
            ends: at(253_402_300_799),
        };
        assert_eq!(
            endless.describe_at(at(1_800_000_000)),
            "valid without an end"
        );
    }
}
