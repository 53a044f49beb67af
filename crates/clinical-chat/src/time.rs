//! The date that a template may print.

use std::fmt::Write;

use chrono::format::{Item, StrftimeItems};
use chrono::{Local, NaiveDate, NaiveDateTime, Timelike};

/// A local date and time, without a zone, as `datetime.now()` has it in Python.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalTime(NaiveDateTime);

impl LocalTime {
    /// What the clock of this machine shows.
    #[must_use]
    pub fn now() -> Self {
        Self(Local::now().naive_local())
    }

    /// A date (month and day from 1) and a time; `None` where the calendar has no such day.
    #[must_use]
    pub fn new(
        year: i32,
        month: u32,
        day: u32,
        hour: u32,
        minute: u32,
        second: u32,
    ) -> Option<Self> {
        NaiveDate::from_ymd_opt(year, month, day)?
            .and_hms_opt(hour, minute, second)
            .map(Self)
    }

    /// Python's `strftime` in the C locale: a directive that does not exist stays as it is.
    #[must_use]
    pub fn strftime(&self, format: &str) -> String {
        let mut text = String::with_capacity(format.len() + 16);
        let mut rest = format;
        while let Some(at) = rest.find('%') {
            text.push_str(&rest[..at]);
            let directive = directive(&rest[at..]);
            self.write(&mut text, directive);
            rest = &rest[at + directive.len()..];
        }
        text.push_str(rest);
        text
    }

    fn write(&self, text: &mut String, directive: &str) {
        match directive {
            // A time without a zone.
            "%z" | "%Z" => return,
            "%f" => {
                let micros = self.0.nanosecond() / 1000 % 1_000_000;
                text.push_str(&format!("{micros:06}"));
                return;
            }
            _ => {}
        }
        let start = text.len();
        let items: Vec<Item<'_>> = StrftimeItems::new(directive).collect();
        let known = !items.iter().any(|item| matches!(item, Item::Error));
        if !known || write!(text, "{}", self.0.format_with_items(items.iter())).is_err() {
            text.truncate(start);
            text.push_str(directive);
        }
    }
}

/// The directive at the start of `text`: a percent sign, perhaps a flag of the C library, and a letter.
fn directive(text: &str) -> &str {
    let flag = text[1..].starts_with(['-', '_', '0', '^', '#']);
    let letter = text[1 + usize::from(flag)..].chars().next();
    let length = 1 + usize::from(flag) + letter.map_or(0, char::len_utf8);
    &text[..length]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives_are_those_of_python() {
        let time = LocalTime::new(2024, 7, 6, 14, 5, 9).unwrap();
        for (format, expected) in [
            ("%d %b %Y", "06 Jul 2024"),
            ("%B %-d, %Y", "July 6, 2024"),
            ("%H:%M:%S %p %I", "14:05:09 PM 02"),
            ("100%", "100%"),
            ("%é %", "%é %"),
            ("%f|%z|%Z|%%", "000000|||%"),
            ("", ""),
        ] {
            assert_eq!(time.strftime(format), expected, "{format}");
        }
        assert!(LocalTime::new(2023, 2, 29, 0, 0, 0).is_none());
    }
}
