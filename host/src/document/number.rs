//! What a number of JSON becomes in a document.
//!
//! The rule:
//!
//! - a whole number that fits: a 64-bit integer;
//! - with a fraction or an exponent: a double, if the shortest text of the double is the same
//!   number, as of `0.1`, `1.50` and `1e3`;
//! - else a Decimal128 that has exactly this value, if 34 digits and an exponent of -6176 to 6111
//!   are enough for it;
//! - else it is refused.
//!
//! Guarantee: what is stored, written out again, is the number that was read. None is rounded.

use std::fmt;

use super::text::Number;

/// The digits that a Decimal128 has.
const DIGITS_MAX: usize = 34;

/// The exponents of a Decimal128.
const EXPONENTS: std::ops::RangeInclusive<i64> = -6176..=6111;

/// Whoever reads a reason needs no more of a number.
const SHOWN_MAX: usize = 60;

/// A number as it is stored.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Stored {
    Int64(i64),
    Double(f64),
    Decimal128([u8; 16]),
}

/// No type of the store holds a number exactly.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Inexact {
    shown: String,
}

/// The parts of a number's text.
#[derive(Clone, Copy)]
struct Parts<'a> {
    is_negative: bool,
    whole: &'a str,
    fraction: &'a str,
    /// `None` where it is more than 64 bits hold.
    exponent: Option<i64>,
}

/// A number's value, 10^`exponent` times `digits`, which have no zeros at either end. So equal
/// numbers are equal here.
#[derive(PartialEq, Eq)]
pub(crate) struct Value {
    is_negative: bool,
    digits: String,
    exponent: i64,
}

impl Stored {
    pub(super) fn of(number: Number<'_>) -> Result<Self, Inexact> {
        let text = number.text;
        if number.is_whole {
            match text.parse() {
                // An integer has no negative zero.
                Ok(0) if text.starts_with('-') => return Ok(Stored::Double(-0.0)),
                Ok(integer) => return Ok(Stored::Int64(integer)),
                Err(_) => {}
            }
        } else if let Some(double) = exact_double(text) {
            return Ok(Stored::Double(double));
        }
        decimal128(text).map(Stored::Decimal128).ok_or_else(|| {
            let mut shown: String = text.chars().take(SHOWN_MAX).collect();
            if shown.len() < text.len() {
                shown.push('…');
            }
            Inexact { shown }
        })
    }
}

/// The double whose shortest text is this number.
fn exact_double(text: &str) -> Option<f64> {
    let double: f64 = text.parse().ok()?;
    // Fifteen digits, a point and a sign: all of these come back.
    if text.len() <= 16 && !text.contains(['e', 'E']) {
        return Some(double);
    }
    if !double.is_finite() {
        return None;
    }
    // The longest has 17 digits, two signs, a point and an exponent of three digits.
    let mut shortest = [0; 32];
    let mut rest = &mut shortest[..];
    serde_json::to_writer(&mut rest, &double).ok()?;
    let unused = rest.len();
    let shortest = str::from_utf8(&shortest[..32 - unused]).ok()?;
    let is_exact = match (Short::of(text), Short::of(shortest)) {
        (Some(one), Some(other)) => one == other,
        _ => Value::of(text) == Value::of(shortest),
    };
    is_exact.then_some(double)
}

/// A number's value, where its digits and its exponent are few. Equal numbers are equal here.
#[derive(PartialEq, Eq)]
struct Short {
    is_negative: bool,
    digits: u64,
    exponent: i32,
}

impl Short {
    fn of(text: &str) -> Option<Self> {
        // So many digits fit.
        const LEN_MAX: usize = 19;
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse().ok()?),
            None => (text, 0_i16),
        };
        let unsigned = mantissa.strip_prefix('-').unwrap_or(mantissa);
        let (mut digits, mut exponent) = (0_u64, i32::from(exponent));
        let mut is_fraction = false;
        if unsigned.len() > LEN_MAX {
            return None;
        }
        for byte in unsigned.bytes() {
            if byte == b'.' {
                is_fraction = true;
                continue;
            }
            digits = digits * 10 + u64::from(byte - b'0');
            exponent -= i32::from(is_fraction);
        }
        while digits != 0 && digits % 10 == 0 {
            digits /= 10;
            exponent += 1;
        }
        Some(Short {
            is_negative: unsigned.len() < mantissa.len(),
            digits,
            exponent: if digits == 0 { 0 } else { exponent },
        })
    }
}

/// The Decimal128 of exactly this value, with its zeros at the end as far as they fit.
fn decimal128(text: &str) -> Option<[u8; 16]> {
    let parts = Parts::of(text);
    let mut digits = parts.digits();
    let mut exponent = parts.scaled(parts.exponent?)?;
    while digits.len() > DIGITS_MAX || exponent < *EXPONENTS.start() {
        if digits.pop()? != '0' {
            return None;
        }
        exponent += 1;
    }
    while exponent > *EXPONENTS.end() {
        if digits.len() == DIGITS_MAX {
            return None;
        }
        digits.push('0');
        exponent -= 1;
    }
    let coefficient: u128 = digits.parse().ok()?;
    let exponent = u128::try_from(exponent - EXPONENTS.start()).ok()?;
    let sign = u128::from(parts.is_negative) << 127;
    Some((sign | exponent << 113 | coefficient).to_le_bytes())
}

impl<'a> Parts<'a> {
    fn of(text: &'a str) -> Self {
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse().ok()),
            None => (text, Some(0)),
        };
        let unsigned = mantissa.strip_prefix('-');
        let (whole, fraction) = match unsigned.unwrap_or(mantissa).split_once('.') {
            Some(parts) => parts,
            None => (unsigned.unwrap_or(mantissa), ""),
        };
        Parts {
            is_negative: unsigned.is_some(),
            whole,
            fraction,
            exponent,
        }
    }

    /// All digits but zeros at the front.
    fn digits(self) -> String {
        let whole = self.whole.trim_start_matches('0');
        match whole {
            "" => self.fraction.trim_start_matches('0').to_owned(),
            whole => [whole, self.fraction].concat(),
        }
    }

    /// The exponent of the last digit.
    fn scaled(self, exponent: i64) -> Option<i64> {
        exponent.checked_sub(i64::try_from(self.fraction.len()).ok()?)
    }
}

impl Value {
    /// `None` where the exponent is more than 64 bits hold.
    pub(crate) fn of(text: &str) -> Option<Self> {
        let parts = Parts::of(text);
        let mut digits = parts.digits();
        let all = digits.len();
        digits.truncate(digits.trim_end_matches('0').len());
        if digits.is_empty() {
            // Zero is zero, whatever its exponent. Its sign counts.
            return Some(Value {
                is_negative: parts.is_negative,
                digits,
                exponent: 0,
            });
        }
        let zeros = i64::try_from(all - digits.len()).ok()?;
        let exponent = parts.scaled(parts.exponent?)?.checked_add(zeros)?;
        Some(Value {
            is_negative: parts.is_negative,
            digits,
            exponent,
        })
    }
}

/// One text for one value.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.is_negative { "-" } else { "" };
        write!(f, "{sign}{}e{}", self.digits, self.exponent)
    }
}

impl fmt::Display for Inexact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the number {} would have to be rounded: no type of the store has more than \
             {DIGITS_MAX} digits, or an exponent beyond 6144; send it as a text",
            self.shown
        )
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::text::Text;
    use super::*;

    fn stored(text: &str) -> Result<Stored, Inexact> {
        Stored::of(Text::new(text).number().expect("a number"))
    }

    fn decimal(text: &str) -> Stored {
        let decimal: bson::Decimal128 = text.parse().expect("a decimal");
        Stored::Decimal128(decimal.bytes())
    }

    #[test]
    fn a_number_is_stored_as_it_is() {
        let smallest = "1e-6176";
        let cases = [
            ("0", Stored::Int64(0)),
            ("-0", Stored::Double(-0.0)),
            ("9223372036854775807", Stored::Int64(i64::MAX)),
            ("-9223372036854775808", Stored::Int64(i64::MIN)),
            ("9223372036854775808", decimal("9223372036854775808")),
            ("18446744073709551616", decimal("18446744073709551616")),
            ("-9223372036854775809", decimal("-9223372036854775809")),
            ("0.1", Stored::Double(0.1)),
            ("1.0", Stored::Double(1.0)),
            ("1.5e3", Stored::Double(1500.0)),
            ("1e20", Stored::Double(1e20)),
            ("100000000000000000000", decimal("100000000000000000000")),
            ("0.30000000000000004", Stored::Double(0.1 + 0.2)),
            (
                "9007199254740992.0",
                Stored::Double(9_007_199_254_740_992.0),
            ),
            ("9007199254740993.5", decimal("9007199254740993.5")),
            ("9007199254740993.50", decimal("9007199254740993.50")),
            ("0.10000000000000001", decimal("0.10000000000000001")),
            ("1.7976931348623157e308", Stored::Double(f64::MAX)),
            ("5e-324", Stored::Double(5e-324)),
            ("4e-324", decimal("4E-324")),
            ("1e400", decimal("1E+400")),
            ("-1.5e-400", decimal("-1.5E-400")),
            ("0e99999999999999999999", Stored::Double(0.0)),
            (smallest, decimal("1E-6176")),
            ("1e6144", decimal("1E+6144")),
            (
                "9999999999999999999999999999999999",
                decimal("9999999999999999999999999999999999"),
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(stored(text).as_ref(), Ok(&expected), "{text}");
        }
        let zeros = format!("1{}", "0".repeat(6144));
        assert_eq!(stored(&zeros), Ok(decimal("1E+6144")));
        let Ok(Stored::Double(zero)) = stored("-0.0e5") else {
            panic!("a double");
        };
        assert!(zero == 0.0 && zero.is_sign_negative());
    }

    #[test]
    fn what_would_be_rounded_is_refused() {
        let cases = [
            "1234567890123456789012345678901234567890",
            "0.12345678901234567890123456789012345",
            "1e6145",
            "1e-6177",
            "1e99999999999999999999",
            "1e-99999999999999999999",
        ];
        for text in cases {
            let reason = stored(text).expect_err(text).to_string();
            assert!(reason.contains(&format!("the number {text} ")), "{reason}");
        }
        let long = "9".repeat(1_000);
        assert!(stored(&long).expect_err("long").to_string().len() < 300);
    }

    /// What a document's reader is shown.
    fn shown(stored: Stored) -> String {
        match stored {
            Stored::Int64(integer) => integer.to_string(),
            Stored::Double(double) => serde_json::to_string(&double).expect("a number"),
            Stored::Decimal128(bytes) => bson::Decimal128::from_bytes(bytes).to_string(),
        }
    }

    fn number() -> impl Strategy<Value = String> {
        prop_oneof![
            any::<i64>().prop_map(|n| n.to_string()),
            any::<i128>().prop_map(|n| n.to_string()),
            any::<f64>()
                .prop_filter("JSON has finite numbers only", |n| n.is_finite())
                .prop_map(|n| format!("{n:?}")),
            "-?(0|[1-9][0-9]{0,20})",
            "-?(0|[1-9][0-9]{0,20})\\.[0-9]{1,24}",
            "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,20})?[eE][+-]?[0-9]{1,5}",
            "-?[1-9]0{0,40}(\\.0{1,20})?",
        ]
    }

    proptest! {
        /// The exact value of what is stored is that of the text, or nothing is stored.
        #[test]
        fn no_number_is_rounded(text in number()) {
            match stored(&text) {
                Ok(stored) => {
                    let shown = shown(stored);
                    prop_assert!(Value::of(&shown) == Value::of(&text), "{} is {}", text, shown);
                }
                Err(_) => {
                    // Neither an integer nor a double, nor a decimal of the library's.
                    prop_assert!(text.parse::<i64>().is_err());
                    prop_assert!(text.parse::<bson::Decimal128>().is_err());
                }
            }
        }

        #[test]
        fn a_double_stays_a_double(double in any::<f64>()) {
            prop_assume!(double.is_finite());
            let text = serde_json::to_string(&double).expect("a number");
            prop_assert_eq!(stored(&text), Ok(Stored::Double(double)));
        }

        #[test]
        fn equal_values_have_one_text(digits in 1u64..1_000_000, zeros in 0usize..5) {
            let plain = Value::of(&digits.to_string()).expect("small").to_string();
            let spelled = format!("{digits}{}e-{zeros}", "0".repeat(zeros));
            prop_assert_eq!(Value::of(&spelled).expect("small").to_string(), plain.clone());
            let other = Value::of(&(digits + 1).to_string()).expect("small").to_string();
            prop_assert_ne!(other, plain);
        }
    }
}
