//! Keys that are well formed and still worth nothing.

/// Whether an RSA modulus (big-endian) bears the mark of ROCA (CVE-2017-15361): its factors can
/// be computed.
///
/// The flawed generator made primes `k·M + (65537^a mod M)`, where `M` is the product of the
/// first small primes. So the modulus is a power of 65537 modulo each of them, which a random one
/// is not: it passes all 125 with a probability far below 2^-100. For moduli of 2048 bits and
/// more, `M` goes up to at least 701. (Nemec, Sys, Svenda, Klinec, Matyas: The Return of
/// Coppersmith's Attack, CCS 2017, §2.)
pub(super) fn is_roca(modulus: &[u8]) -> bool {
    (3..=LARGEST_ROCA_PRIME)
        .filter(|n| is_prime(*n))
        .all(|prime| {
            let residue = modulus
                .iter()
                .fold(0, |rest, byte| (rest * 256 + u32::from(*byte)) % prime);
            is_power_of_65537(residue, prime)
        })
}

fn is_power_of_65537(residue: u32, prime: u32) -> bool {
    let mut power = 1;
    loop {
        if power == residue {
            return true;
        }
        power = power * (65537 % prime) % prime;
        if power == 1 {
            return false;
        }
    }
}

fn is_prime(n: u32) -> bool {
    (2..n)
        .take_while(|divisor| divisor * divisor <= n)
        .all(|divisor| !n.is_multiple_of(divisor))
}

/// Whether an Ed25519 public key is a point of small order (RFC 8032 §5.1, RFC 7748 §7): with
/// such a key everybody can sign.
///
/// These are the encodings of the eight points with the sign bit cleared, canonical or not.
pub(super) fn has_small_order(public_key: &[u8; 32]) -> bool {
    let mut y = *public_key;
    y[31] &= 0x7f;
    SMALL_ORDER.contains(&y)
}

/// Whether a secret is obviously not random: few different bytes, or a pattern that is repeated.
///
/// A random secret of 32 bytes has fewer than [`FEWEST_DISTINCT_BYTES`] distinct ones with a
/// probability below 2^-122, and two equal halves with one of 2^-128.
pub(super) fn is_monotonous(secret: &[u8]) -> bool {
    let mut seen = [false; 256];
    for byte in secret {
        seen[usize::from(*byte)] = true;
    }
    let distinct = seen.iter().filter(|seen| **seen).count();
    let repeats = |period: usize| secret[period..] == secret[..secret.len() - period];
    let longest = LONGEST_PATTERN.min(secret.len() / 2);
    distinct < FEWEST_DISTINCT_BYTES || (1..=longest).any(repeats)
}

/// Whether a secret stands in a document that everybody copies from: RFC 7515 (A.1), and what
/// jwt.io signs its examples with.
pub(super) fn is_published(secret: &[u8]) -> bool {
    PUBLISHED.contains(&secret)
}

const PUBLISHED: [&[u8]; 3] = [
    b"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow",
    b"a-string-secret-at-least-256-bits-long",
    b"a-valid-string-secret-that-is-at-least-512-bits-long-which-is-very-long",
];

/// So many bytes are compared with those that follow; a longer pattern is one nobody types twice.
const LONGEST_PATTERN: usize = 128;

/// How many different bytes a secret has at least.
pub(super) const FEWEST_DISTINCT_BYTES: usize = 8;

const LARGEST_ROCA_PRIME: u32 = 701;

/// Little-endian y: 0, 1, the two of order eight, p - 1, p and p + 1.
const SMALL_ORDER: [[u8; 32]; 7] = [
    [0; 32],
    y_near_zero(1),
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98,
        0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53,
        0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67,
        0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac,
        0x03, 0x7a,
    ],
    y_near_p(0xec),
    y_near_p(0xed),
    y_near_p(0xee),
];

const fn y_near_zero(lowest: u8) -> [u8; 32] {
    let mut y = [0; 32];
    y[0] = lowest;
    y
}

/// `p = 2^255 - 19` ends in `0xed`.
const fn y_near_p(lowest: u8) -> [u8; 32] {
    let mut y = [0xff; 32];
    y[0] = lowest;
    y[31] = 0x7f;
    y
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_126_primes_without_two_are_tested() {
        assert_eq!(
            (3..=LARGEST_ROCA_PRIME).filter(|n| is_prime(*n)).count(),
            125
        );
    }

    #[test]
    fn a_power_of_65537_is_a_roca_modulus_and_its_neighbour_is_not() {
        // 65537^16 = (2^16 + 1)^16, big-endian, digit by digit in base 2^16: binomial coefficients.
        let mut digits = vec![1_u32];
        for _ in 0..16 {
            let mut next = vec![1];
            next.extend(digits.windows(2).map(|pair| pair[0] + pair[1]));
            next.push(1);
            digits = next;
        }
        let mut number: Vec<u8> = digits
            .iter()
            .flat_map(|digit| (*digit as u16).to_be_bytes())
            .collect();
        assert!(is_roca(&number));
        *number.last_mut().unwrap() += 2;
        assert!(!is_roca(&number));
    }

    #[test]
    fn a_fresh_rsa_modulus_is_not_a_roca_modulus() {
        for seed in 0_u8..64 {
            let modulus: Vec<u8> = (0..8)
                .flat_map(|block| crate::crypto::sha256(&[seed, block]))
                .collect();
            assert!(!is_roca(&modulus));
        }
    }

    #[test]
    fn a_secret_of_seven_distinct_bytes_or_two_equal_halves_is_monotonous() {
        assert!(is_monotonous(&[0; 64]));
        assert!(is_monotonous(&b"1234567".repeat(9)));
        assert!(is_monotonous(&b"12345678".repeat(8)));
        assert!(is_monotonous(
            b"correct horse battery, correct horse battery, c"
        ));
        assert!(!is_monotonous(
            b"correct horse battery, staple correct horse"
        ));
    }
}
