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
    /// Reads a time as the files and their exports write it: `YYYY-MM-DD hh:mm:ss` as `strptime` does (all but the year
    /// may have one digit), also with `T` between date and time, without seconds, with a fraction of a second (left
    /// out), and with `Z`, `UTC` or an offset such as `-05:00` at the end; a date alone is its midnight. These are the
    /// ways of Postgres, BigQuery, SQL Server, Spark, R and pandas.
    ///
    /// An offset is left out as well: the calendar is shifted anyway, and the time stays as the clock showed it.
    pub fn parse(text: &str) -> Option<Self> {
        let (date, time) = match text.split_once([' ', 'T']) {
            Some((date, time)) => (date, Some(time)),
            None => (text, None),
        };
        let (year, rest) = date.split_once('-')?;
        let (month, day) = rest.split_once('-')?;
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
        let day = in_range(day, 1, days)?;
        let [hour, minute, second] = time.map_or(Some([0; 3]), clock)?;
        Some(Self {
            year,
            month,
            day,
            hour,
            minute,
            second,
        })
    }
}

/// Hour, minute and second of `hh:mm[:ss[.fraction]]`, with a zone or without.
fn clock(text: &str) -> Option<[u8; 3]> {
    let is_clock = |c: char| c.is_ascii_digit() || c == ':' || c == '.';
    let (time, zone) = text.split_at(text.find(|c| !is_clock(c)).unwrap_or(text.len()));
    if !is_zone(zone.strip_prefix(' ').unwrap_or(zone)) {
        return None;
    }
    let (hour, rest) = time.split_once(':')?;
    let (minute, second) = rest.split_once(':').unwrap_or((rest, "0"));
    let (second, fraction) = second.split_once('.').unwrap_or((second, "0"));
    let is_fraction = (1..=9).contains(&fraction.len()) && number_of_any_length(fraction);
    is_fraction.then_some([
        in_range(hour, 0, 23)?,
        in_range(minute, 0, 59)?,
        in_range(second, 0, 61)?,
    ])
}

/// Nothing, `Z`, `UTC`, `GMT`, or an offset: `+01`, `-0500`, `+05:30`.
fn is_zone(zone: &str) -> bool {
    if matches!(zone, "" | "Z" | "UTC" | "GMT") {
        return true;
    }
    let Some(offset) = zone.strip_prefix(['+', '-']) else {
        return false;
    };
    let (hours, minutes) = match offset.split_once(':') {
        Some(parts) => parts,
        None => offset.split_at_checked(2).unwrap_or((offset, "")),
    };
    let minutes = if minutes.is_empty() && !offset.ends_with(':') {
        "00"
    } else {
        minutes
    };
    let two = |text: &str, max| text.len() == 2 && in_range(text, 0, max).is_some();
    two(hours, 18) && two(minutes, 59)
}

fn number_of_any_length(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
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
            "150-01-01 00:00:00",
            "2150-13-01 00:00:00",
            "2150-00-01 00:00:00",
            "2151-02-29 00:00:00",
            "2150-01-01 24:00:00",
            "2150-01-01 00:60:00",
            "2150-01-001 00:00:00",
            "+150-01-01 00:00:00",
            "2150--1-01 00:00:00",
            "2150-01-01 00:00:",
            "NaN",
        ] {
            assert_eq!(Timestamp::parse(text), None, "{text}");
        }
    }

    #[test]
    fn accepts_what_databases_r_and_pandas_export() {
        for text in [
            "2150-01-01 08:00:00",
            "2150-01-01T08:00:00",
            "2150-01-01 08:00:00 UTC",
            "2150-01-01 08:00:00.123456 UTC",
            "2150-01-01 08:00:00.000",
            "2150-01-01 08:00:00.0000000 +00:00",
            "2150-01-01T08:00:00Z",
            "2150-01-01T08:00:00.000Z",
            "2150-01-01T08:00:00.000-05:00",
            "2150-01-01 08:00:00+00",
            "2150-01-01 08:00:00-0430",
            "2150-01-01 08:00",
        ] {
            let time = Timestamp::parse(text).map(|time| time.to_string());
            assert_eq!(time.as_deref(), Some("2150-01-01 08:00:00"), "{text}");
        }
        let midnight = Timestamp::parse("2150-01-01").map(|time| time.to_string());
        assert_eq!(midnight.as_deref(), Some("2150-01-01 00:00:00"));
        for text in [
            "01/02/2150 08:00",
            "2150-01-01 8",
            "2150-01-01 08:00:00.",
            "2150-01-01 08:00:00 PM",
            "2150-01-01 08:00:00+1",
            "2150-01-01 08:00:00+99:00",
            "2150-01-01 08:00:00+01:",
            "2150-01-01 08:00:00 +01:00:00",
            "2150-01-01  08:00:00",
            "2150-01-01T",
            "2150-01-01 08:00:00é",
        ] {
            assert_eq!(Timestamp::parse(text), None, "{text}");
        }
    }
}
