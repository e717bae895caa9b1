//! The part of a date that names a group: its hour, day, month or year, in UTC.
//!
//! Dates are texts as RFC 3339 has them (`2024-05-01T12:00:00+02:00`; without a zone they are UTC,
//! without a time midnight), milliseconds since 1970, and MongoDB's `{"$date": …}` of either.
//!
//! Guarantee: one moment is one group, whatever its spelling.

use projection_fields::Object;
use serde::Deserialize;
use serde_json::value::RawValue;

const DAY_SECONDS: i64 = 24 * 60 * 60;

/// How much of a date names a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Unit {
    Hour,
    Day,
    Month,
    Year,
}

impl Unit {
    /// `2024-05-01T12`, `2024-05-01`, `2024-05` or `2024`; `None` where the value is no date of the
    /// years 0 to 9999.
    pub(crate) fn of(self, value: &RawValue) -> Option<String> {
        let seconds = seconds(value)?;
        let (year, month, day) = civil(seconds.div_euclid(DAY_SECONDS));
        let hour = seconds.rem_euclid(DAY_SECONDS) / (60 * 60);
        (0..=9999).contains(&year).then(|| match self {
            Unit::Hour => format!("{year:04}-{month:02}-{day:02}T{hour:02}"),
            Unit::Day => format!("{year:04}-{month:02}-{day:02}"),
            Unit::Month => format!("{year:04}-{month:02}"),
            Unit::Year => format!("{year:04}"),
        })
    }
}

/// Whole seconds since 1970, downwards.
fn seconds(value: &RawValue) -> Option<i64> {
    match value.get().as_bytes().first()? {
        b'"' => parse(&serde_json::from_str::<String>(value.get()).ok()?),
        b'{' => {
            let object = Object::read(value).ok()?;
            let date = object.get("$date")?;
            match object.iter().count() {
                1 if date.get().starts_with('{') => {
                    let millis = Object::read(date).ok()?.get("$numberLong")?.get();
                    Some(
                        millis
                            .trim_matches('"')
                            .parse::<i64>()
                            .ok()?
                            .div_euclid(1_000),
                    )
                }
                1 => seconds(date),
                _ => None,
            }
        }
        _ => Some(value.get().parse::<i64>().ok()?.div_euclid(1_000)),
    }
}

fn parse(text: &str) -> Option<i64> {
    let (date, time) = match text.split_at_checked(10)? {
        (date, "") => (date, ""),
        (date, rest) => (date, rest.strip_prefix(['T', 't', ' '])?),
    };
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    if !(1..=12).contains(&month) || day < 1 || day > month_days(year, month) {
        return None;
    }
    let midnight = days(year, month, day) * DAY_SECONDS;
    if time.is_empty() {
        return (text.len() == 10).then_some(midnight);
    }
    let zone_at = time.find(['Z', 'z', '+', '-']).unwrap_or(time.len());
    let (time, zone) = time.split_at(zone_at);
    let (clock, fraction) = time.split_once('.').unwrap_or((time, "0"));
    if fraction.is_empty() || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let [hour, minute, second] = match clock.len() {
        5 => numbers(clock, ':', [2, 2]).map(|[hour, minute]| [hour, minute, 0]),
        _ => numbers(clock, ':', [2, 2, 2]),
    }?;
    // A minute may have a leap second.
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    Some(midnight + (hour * 60 + minute) * 60 + second.min(59) - offset(zone)?)
}

/// A zone's distance from UTC in seconds.
fn offset(zone: &str) -> Option<i64> {
    let (sign, distance) = match zone.as_bytes().first() {
        None | Some(b'Z' | b'z') => return (zone.len() <= 1).then_some(0),
        Some(b'-') => (-1, &zone[1..]),
        Some(_) => (1, &zone[1..]),
    };
    let [hours, minutes] = match distance.len() {
        4 => numbers(
            &format!("{}:{}", &distance.get(..2)?, &distance.get(2..)?),
            ':',
            [2, 2],
        ),
        _ => numbers(distance, ':', [2, 2]),
    }?;
    (hours <= 23 && minutes <= 59).then_some(sign * (hours * 60 + minutes) * 60)
}

/// Numbers of so many digits each.
fn numbers<const N: usize>(text: &str, between: char, lengths: [usize; N]) -> Option<[i64; N]> {
    let mut parts = text.split(between);
    let mut numbers = [0; N];
    for (number, length) in numbers.iter_mut().zip(lengths) {
        let part = parts.next()?;
        let is_number = part.len() == length && part.bytes().all(|b| b.is_ascii_digit());
        *number = is_number.then(|| part.parse().ok())??;
    }
    parts.next().is_none().then_some(numbers)
}

fn month_days(year: i64, month: i64) -> i64 {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 => 28 + i64::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970, as in Howard Hinnant's "chrono-Compatible Low-Level Date Algorithms".
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Year, month and day of days since 1970, from the same source.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = (shifted + 2) % 12 + 1;
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(unit: Unit, json: &str) -> Option<String> {
        unit.of(serde_json::from_str(json).expect("JSON"))
    }

    #[test]
    fn a_date_is_named_by_its_unit_whatever_its_spelling() {
        let cases = [
            (Unit::Hour, r#""2024-05-01T23:59:59.999Z""#, "2024-05-01T23"),
            (
                Unit::Hour,
                r#""2024-05-01T01:30:00+02:00""#,
                "2024-04-30T23",
            ),
            (Unit::Hour, r#""2024-05-01 12:30""#, "2024-05-01T12"),
            (Unit::Day, r#""2024-05-01""#, "2024-05-01"),
            (Unit::Day, r#""2024-02-29T23:30:00-0130""#, "2024-03-01"),
            (Unit::Day, "1714521599999", "2024-04-30"),
            (Unit::Day, "-1", "1969-12-31"),
            (
                Unit::Month,
                r#"{"$date":"2024-05-01T00:00:00Z"}"#,
                "2024-05",
            ),
            (
                Unit::Month,
                r#"{"$date":{"$numberLong":"1714521600000"}}"#,
                "2024-05",
            ),
            (Unit::Month, r#"{"$date":1714521600000}"#, "2024-05"),
            (Unit::Year, r#""0000-01-01""#, "0000"),
            (Unit::Year, r#""2016-12-31T23:59:60Z""#, "2016"),
            (Unit::Year, "253402300799999", "9999"),
        ];
        for (unit, value, expected) in cases {
            assert_eq!(of(unit, value).as_deref(), Some(expected), "{value}");
        }
    }

    #[test]
    fn what_is_no_date_names_no_group() {
        for value in [
            "\"\"",
            "\"today\"",
            "\"2024-13-01\"",
            "\"2023-02-29\"",
            "\"2024-05-01T\"",
            "\"2024-05-01T24:00:00Z\"",
            "\"2024-05-01T12:00:00ZZ\"",
            "\"2024-05-01T12:00:00+2\"",
            "\"2024-05-0\u{fc}\"",
            "\"+2024-05-01\"",
            "1.5",
            "true",
            "[]",
            "{}",
            "{\"$date\":1,\"a\":1}",
            "253402300800000",
            "9223372036854775808",
        ] {
            assert_eq!(of(Unit::Day, value), None, "{value}");
        }
    }

    proptest! {
        #[test]
        fn a_day_leads_back_to_itself(days_since in -719_528i64..2_932_897) {
            let (year, month, day) = civil(days_since);
            prop_assert_eq!(days(year, month, day), days_since);
            let text = format!("\"{year:04}-{month:02}-{day:02}\"");
            prop_assert_eq!(of(Unit::Day, &text), Some(text.trim_matches('"').to_owned()));
            prop_assert_eq!(
                of(Unit::Day, &(days_since * DAY_SECONDS * 1_000).to_string()),
                of(Unit::Day, &text)
            );
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,30}|[0-9TZ:.+-]{0,30}") {
            parse(&text);
        }
    }
}
