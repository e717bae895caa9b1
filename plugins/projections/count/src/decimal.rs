//! Decimal numbers without rounding, as far as MongoDB's Decimal128 holds them: 34 digits.
//!
//! Guarantee: a sum does not depend on the order of its terms, for nothing is ever rounded; what
//! would have to be is refused.

use std::cmp::Ordering;
use std::fmt;

use serde_json::{Value, json};

const DIGITS_MAX: u32 = 34;
const LIMIT: i128 = 10i128.pow(DIGITS_MAX);

/// `digits` / 10^`scale`, with the smallest scale that will do: equal numbers are equal here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Decimal {
    /// Below 10^34, either side of 0.
    digits: i128,
    /// At most 34.
    scale: u32,
}

/// The number takes more digits than there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooLong;

impl Decimal {
    /// Reads a number as JSON or MongoDB writes it; `None` where it has more digits than fit.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()),
            None => (text, Some(0)),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let fraction = fraction.trim_end_matches('0');
        let mut digits: i128 = 0;
        for digit in whole.bytes().chain(fraction.bytes()).filter(|&b| b != b'-') {
            let digit = digit.is_ascii_digit().then(|| i128::from(digit - b'0'))?;
            digits = digits.checked_mul(10)?.checked_add(digit)?;
        }
        if mantissa.starts_with('-') {
            digits = -digits;
        }
        if digits == 0 {
            return Some(Decimal { digits, scale: 0 });
        }
        let scale = i64::try_from(fraction.len()).ok()? - i64::from(exponent?);
        match u32::try_from(scale) {
            Ok(scale) => Decimal::normal(digits, scale),
            Err(_) => {
                let zeros = u32::try_from(-scale).ok()?;
                Decimal::normal(digits.checked_mul(10i128.checked_pow(zeros)?)?, 0)
            }
        }
    }

    /// A field of a stored document; `None` where it is none that a sum has written.
    pub(crate) fn from_field(field: &Value) -> Option<Self> {
        match field {
            Value::Number(number) => match number.as_i64() {
                Some(integer) => Some(Decimal {
                    digits: integer.into(),
                    scale: 0,
                }),
                None => Decimal::parse(&number.to_string()),
            },
            _ => Decimal::parse(field.get("$numberDecimal")?.as_str()?),
        }
    }

    /// A 64-bit integer where it is one, and a Decimal128 else.
    pub(crate) fn to_field(self) -> Value {
        match i64::try_from(self.digits) {
            Ok(integer) if self.scale == 0 => integer.into(),
            _ => json!({ "$numberDecimal": self.to_string() }),
        }
    }

    pub(crate) fn add(self, other: Decimal) -> Result<Self, TooLong> {
        let scale = self.scale.max(other.scale);
        let sum = || {
            let one = self.digits.checked_mul(power(scale - self.scale))?;
            let other = other.digits.checked_mul(power(scale - other.scale))?;
            Decimal::normal(one.checked_add(other)?, scale)
        };
        sum().ok_or(TooLong)
    }

    fn normal(mut digits: i128, mut scale: u32) -> Option<Self> {
        while scale > 0 && digits % 10 == 0 {
            digits /= 10;
            scale -= 1;
        }
        (digits.abs() < LIMIT && scale <= DIGITS_MAX).then_some(Decimal { digits, scale })
    }
}

/// The exponent is a scale, or the difference of two.
fn power(exponent: u32) -> i128 {
    10i128.pow(exponent)
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        let parts = |number: &Decimal| {
            let one = power(number.scale);
            let fraction = number.digits.rem_euclid(one);
            let aligned = fraction * power(DIGITS_MAX - number.scale);
            (number.digits.div_euclid(one), aligned)
        };
        parts(self).cmp(&parts(other))
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let one = power(self.scale);
        let sign = if self.digits < 0 { "-" } else { "" };
        let (whole, fraction) = (self.digits.abs() / one, self.digits.abs() % one);
        match self.scale {
            0 => write!(f, "{sign}{whole}"),
            scale => write!(
                f,
                "{sign}{whole}.{fraction:0scale$}",
                scale = scale as usize
            ),
        }
    }
}

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "more than {DIGITS_MAX} digits")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn number(text: &str) -> Decimal {
        Decimal::parse(text).unwrap_or_else(|| panic!("{text} does not fit"))
    }

    #[test]
    fn numbers_are_read_in_every_form_and_written_in_one() {
        let cases = [
            ("0", "0"),
            ("-0.0", "0"),
            ("0e400", "0"),
            ("7", "7"),
            ("-12.3400", "-12.34"),
            ("-0.05", "-0.05"),
            ("1.5e3", "1500"),
            ("1.5E+1", "15"),
            ("15e-1", "1.5"),
            ("1e-34", "0.0000000000000000000000000000000001"),
            (
                "9999999999999999999999999999999999",
                "9999999999999999999999999999999999",
            ),
            ("0.1", "0.1"),
        ];
        for (text, written) in cases {
            assert_eq!(number(text).to_string(), written, "{text}");
        }
        for text in [
            "1e34",
            "1e-35",
            "1e999999999999",
            "1e2147483647",
            "0.12345678901234567890123456789012345",
            "NaN",
            "1x",
        ] {
            assert_eq!(Decimal::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_field_is_an_integer_or_a_decimal_and_reads_back_as_it_was() {
        let cases = [
            ("9223372036854775807", json!(i64::MAX)),
            (
                "9223372036854775808",
                json!({"$numberDecimal": "9223372036854775808"}),
            ),
            ("0.30", json!({"$numberDecimal": "0.3"})),
        ];
        for (text, field) in cases {
            assert_eq!(number(text).to_field(), field);
            assert_eq!(Decimal::from_field(&field), Some(number(text)));
        }
        assert_eq!(Decimal::from_field(&json!(1.5)), Some(number("1.5")));
        assert_eq!(Decimal::from_field(&json!("1.5")), None);
    }

    #[test]
    fn a_sum_is_exact_or_refused() {
        let sum = |one: &str, other: &str| number(one).add(number(other));
        assert_eq!(sum("0.1", "0.2"), Ok(number("0.3")));
        assert_eq!(sum("0.5", "0.50"), Ok(number("1")));
        assert_eq!(
            sum("9007199254740993", "-1"),
            Ok(number("9007199254740992"))
        );
        assert_eq!(sum("9999999999999999999999999999999999", "1"), Err(TooLong));
        assert_eq!(
            sum("9999999999999999999999999999999999", "1e-34"),
            Err(TooLong)
        );
    }

    proptest! {
        #[test]
        fn sums_and_order_are_those_of_integers(
            one in -10i64.pow(17)..10i64.pow(17),
            other in -10i64.pow(17)..10i64.pow(17),
            scale in 0u32..20,
        ) {
            let at_scale = |integer: i128| number(&format!("{integer}e-{scale}"));
            let (a, b) = (at_scale(one.into()), at_scale(other.into()));
            prop_assert_eq!(a.add(b), Ok(at_scale(i128::from(one) + i128::from(other))));
            prop_assert_eq!(a.cmp(&b), one.cmp(&other));
        }

        #[test]
        fn what_is_written_reads_back(digits in -(10i128.pow(33))..10i128.pow(33), scale in 0u32..34) {
            let number = number(&format!("{digits}e-{scale}"));
            prop_assert_eq!(Decimal::parse(&number.to_string()), Some(number));
            prop_assert_eq!(Decimal::from_field(&number.to_field()), Some(number));
        }
    }
}
