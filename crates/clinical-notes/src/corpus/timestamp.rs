//! Times as the note files write them.

use std::fmt;

/// A point in time with the precision of the note files, one second, in their (shifted) calendar.
///
/// ```
/// use clinical_notes::corpus::Timestamp;
///
/// let early = Timestamp::parse("2150-01-31 08:05:00").unwrap();
/// assert!(early < Timestamp::parse("2150-02-01 00:00:00").unwrap());
/// assert_eq!(early.to_string(), "2150-01-31 08:05:00");
/// assert_eq!(Timestamp::parse("2150-02-30 00:00:00"), None);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    year: u16,
    month: u8,
    day: u8,
    hour: u8,
    minute: u8,
    second: u8,
}

impl Timestamp {
    /// Reads `YYYY-MM-DD hh:mm:ss`, as `strptime` does with `%Y-%m-%d %H:%M:%S`: all but the year
    /// may have one digit.
    pub fn parse(text: &str) -> Option<Self> {
        let (date, time) = text.split_once(' ')?;
        let (year, rest) = date.split_once('-')?;
        let (month, day) = rest.split_once('-')?;
        let (hour, rest) = time.split_once(':')?;
        let (minute, second) = rest.split_once(':')?;
        if year.len() != 4 {
            return None;
        }
        let year = number(year)?;
        let month = in_range(month, 1, 12)?;
        let days = match month {
            2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        Some(Self {
            year,
            month,
            day: in_range(day, 1, days)?,
            hour: in_range(hour, 0, 23)?,
            minute: in_range(minute, 0, 59)?,
            second: in_range(second, 0, 61)?,
        })
    }
}

fn in_range(text: &str, min: u8, max: u8) -> Option<u8> {
    let value = number(text).filter(|_| text.len() <= 2)?;
    u8::try_from(value)
        .ok()
        .filter(|value| (min..=max).contains(value))
}

fn number(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:04}-{:02}-{:02} {:02}:{:02}:{:02}",
            self.year, self.month, self.day, self.hour, self.minute, self.second
        )
    }
}

#[cfg(test)]
mod tests {
    use super::Timestamp;

    #[test]
    fn accepts_what_strptime_accepts() {
        for text in [
            "2150-1-2 3:4:5",
            "2152-02-29 23:59:59",
            "0001-12-31 00:00:00",
        ] {
            assert!(Timestamp::parse(text).is_some(), "{text}");
        }
        for text in [
            "",
            "2150-01-01",
            "2150-01-01T00:00:00",
            "150-01-01 00:00:00",
            "2150-13-01 00:00:00",
            "2150-00-01 00:00:00",
            "2151-02-29 00:00:00",
            "2150-01-01 24:00:00",
            "2150-01-01 00:60:00",
            "2150-01-01 00:00:00.0",
            "2150-01-001 00:00:00",
            "+150-01-01 00:00:00",
            "2150--1-01 00:00:00",
            "2150-01-01 00:00:",
            "NaN",
        ] {
            assert_eq!(Timestamp::parse(text), None, "{text}");
        }
    }
}
