//! Enumerated lists: one segment per item.

use super::Mode;
use crate::{Error, Result, py};

/// Cuts a segment before each item of its enumerated list.
///
/// The list starts at the first line that starts with a number and a full stop. Numbers are
/// counted up from there as long as each of them starts some line, in any order; the segment is
/// then cut that many times, each time before the next line that starts with any number and a full
/// stop. In [`Mode::Published`] the count accepts any character for the full stop, so it can run
/// past the list.
pub(super) fn split_items(segment: &str, mode: Mode, items: &mut Vec<String>) -> Result<()> {
    let segment = format!("\n{segment}");
    let Some((_, start)) = next_item(&segment) else {
        items.push(segment[1..].to_owned());
        return Ok(());
    };
    let count = match count(&segment, &start, mode) {
        1 if start == "0" => 0,
        count => count,
    };
    let mut rest = &*segment;
    for _ in 0..count {
        let Some((at, _)) = next_item(rest) else {
            if mode == Mode::Published {
                return Err(Error::ListCount);
            }
            break;
        };
        let (before, after) = rest.split_at(at);
        let before = py::strip(before);
        if !before.is_empty() {
            items.push(before.to_owned());
        }
        rest = py::strip(after);
    }
    // As published: without a cut the added newline stays.
    if !rest.is_empty() {
        items.push(rest.to_owned());
    }
    Ok(())
}

/// The first match of `\n\s*(\d+)\.`: where it starts, and the number without leading zeros.
fn next_item(text: &str) -> Option<(usize, String)> {
    let mut from = 0;
    while let Some(newline) = text[from..].find('\n').map(|at| from + at) {
        let line = text[newline..].trim_start_matches(py::is_space);
        let digits: String = line.chars().map_while(py::digit).map(ascii).collect();
        let after = line.trim_start_matches(|c| py::digit(c).is_some());
        if !digits.is_empty() && after.starts_with('.') {
            let number = match digits.trim_start_matches('0') {
                "" => "0",
                number => number,
            };
            return Some((newline, number.to_owned()));
        }
        from = text.len() - after.len();
    }
    None
}

fn ascii(digit: u8) -> char {
    char::from(b'0' + digit)
}

/// How many of the numbers `start`, `start + 1`, ... start a line.
fn count(text: &str, start: &str, mode: Mode) -> usize {
    // Each number at the start of a line with what follows it: a newline and the end of the text
    // count as nothing, everything else as one character that sorts after the digits.
    let mut numbers: Vec<String> = Vec::new();
    let mut from = 0;
    while let Some(newline) = text[from..].find('\n').map(|at| from + at) {
        let line = text[newline..].trim_start_matches(py::is_space);
        let after = line.trim_start_matches(|c: char| c.is_ascii_digit());
        let number = &line[..line.len() - after.len()];
        let next = after.chars().next().filter(|&c| c != '\n');
        if !number.is_empty() && (mode == Mode::Published || next == Some('.')) {
            numbers.push(format!("{number}{}", if next.is_some() { ":" } else { "" }));
        }
        from = text.len() - after.len();
    }
    numbers.sort_unstable();

    let mut wanted = start.to_owned();
    let mut count = 0;
    loop {
        let found = match mode {
            Mode::Published => numbers[numbers.partition_point(|number| *number <= wanted)..]
                .first()
                .is_some_and(|number| number.starts_with(&wanted)),
            Mode::Fixed => numbers.binary_search(&format!("{wanted}:")).is_ok(),
        };
        if !found {
            return count;
        }
        count += 1;
        wanted = successor(&wanted);
    }
}

/// The next decimal number. Numbers in notes can have any length.
fn successor(number: &str) -> String {
    let nines = number.len() - number.trim_end_matches('9').len();
    let (head, _) = number.split_at(number.len() - nines);
    let mut next = head.to_owned();
    match next.pop() {
        Some(last) => next.extend(char::from_digit(last.to_digit(10).unwrap_or(0) + 1, 10)),
        None => next.push('1'),
    }
    next.push_str(&"0".repeat(nines));
    next
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_past_every_power_of_ten() {
        let mut number = "0".to_owned();
        for expected in 0..1200 {
            assert_eq!(number, expected.to_string());
            number = successor(&number);
        }
        assert_eq!(
            successor("99999999999999999999999999"),
            "100000000000000000000000000"
        );
    }

    #[test]
    fn long_lists_take_linear_time() {
        let text: String = (1..100_000).map(|n| format!("\n{n}. item")).collect();
        for mode in [Mode::Fixed, Mode::Published] {
            let mut items = Vec::new();
            split_items(&text, mode, &mut items).unwrap();
            assert_eq!(items.len(), 99_999);
        }
    }

    #[test]
    fn hostile_white_space_and_digits_take_linear_time() {
        for unit in ["\n", "\n ", "1", "\n1", "\n1 ", "\n\u{663}"] {
            let text = unit.repeat(300_000);
            for mode in [Mode::Fixed, Mode::Published] {
                split_items(&text, mode, &mut Vec::new()).unwrap();
            }
        }
    }
}
