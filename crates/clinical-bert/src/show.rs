//! Texts with their spans, for people.

use std::fmt::Write;

use crate::Entity;

/// Colours that a reader can tell apart, for terminals (256-colour codes) and pages.
const COLOURS: [(u8, &str); 8] = [
    (217, "#ffd3d3"),
    (153, "#cfe6ff"),
    (157, "#d3f5d3"),
    (222, "#ffe6b3"),
    (183, "#e9d7ff"),
    (159, "#ccf5f5"),
    (224, "#fbe0ec"),
    (187, "#eeecc5"),
];

/// The text for a terminal: each span with a coloured ground, then its label and probability.
///
/// Control characters of the text other than line breaks and tabs are shown (here and by [`html`]) as `\u{FFFD}`, so
/// that a note cannot steer the terminal. `entities` are those of [`tag`](crate::ClinicalBert::tag) for this text; a
/// range that does not fit is left out.
#[must_use]
pub fn ansi(text: &str, entities: &[Entity]) -> String {
    let mut shown = String::with_capacity(text.len() * 2);
    walk(text, entities, |piece, entity, colour| match entity {
        None => shown.push_str(&safe(piece)),
        Some(entity) => {
            let _ = write!(
                shown,
                "\x1b[30;48;5;{}m{}\x1b[0m\x1b[2m {} {:.2}\x1b[0m",
                COLOURS[colour].0,
                safe(piece),
                safe(&entity.label),
                entity.score
            );
        }
    });
    shown
}

/// The text as a complete HTML page without scripts or links: each span with a coloured ground and its label.
///
/// `entities` as in [`ansi`]. The page holds the text: treat it like the note itself.
#[must_use]
pub fn html(text: &str, entities: &[Entity]) -> String {
    let mut page = String::from(concat!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>Tagged note</title>\n<style>\n",
        "body { font: 16px/1.7 system-ui, sans-serif; max-width: 50em; margin: 2em auto; padding: 0 1em; color: #222 }\n",
        "main { white-space: pre-wrap }\nmark { padding: .1em .25em; border-radius: .25em; color: inherit }\n",
        "mark sup { font-size: .65em; padding-left: .3em; color: #555 }\n</style>\n<main>",
    ));
    walk(text, entities, |piece, entity, colour| match entity {
        None => page.push_str(&escaped(piece)),
        Some(entity) => {
            let _ = write!(
                page,
                "<mark style=\"background: {}\" title=\"{:.3}\">{}<sup>{}</sup></mark>",
                COLOURS[colour].1,
                entity.score,
                escaped(piece),
                escaped(&entity.label)
            );
        }
    });
    page.push_str("</main>\n</html>\n");
    page
}

/// Calls `piece` for each part of the text in order, with its span and the colour of the span's label.
fn walk<'t>(
    text: &'t str,
    entities: &[Entity],
    mut piece: impl FnMut(&'t str, Option<&Entity>, usize),
) {
    let mut labels: Vec<&str> = Vec::new();
    let mut at = 0;
    for entity in entities {
        let (Some(before), Some(inside)) = (
            text.get(at..entity.range.start),
            text.get(entity.range.clone()),
        ) else {
            continue;
        };
        let colour = labels
            .iter()
            .position(|&label| label == entity.label)
            .unwrap_or_else(|| {
                labels.push(&entity.label);
                labels.len() - 1
            });
        piece(before, None, 0);
        piece(inside, Some(entity), colour % COLOURS.len());
        at = entity.range.end;
    }
    piece(&text[at..], None, 0);
}

/// The text without control characters other than line breaks and tabs.
fn safe(text: &str) -> String {
    // A carriage return alone would write over the line in a terminal.
    text.replace("\r\n", "\n").replace(
        |c: char| c.is_control() && !matches!(c, '\n' | '\t'),
        "\u{fffd}",
    )
}

fn escaped(text: &str) -> String {
    safe(text)
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entity(label: &str, range: std::ops::Range<usize>) -> Entity {
        Entity {
            label: label.to_owned(),
            range,
            score: 0.5,
        }
    }

    #[test]
    fn pages_hold_the_text_and_no_markup_of_it() {
        let text = "BP <b>low</b> & \"fever\"";
        let page = html(text, &[entity("te<st", 3..13), entity("problem", 17..22)]);
        assert!(page.contains("BP <mark style=\"background: #ffd3d3\" title=\"0.500\">&lt;b&gt;low&lt;/b&gt;<sup>te&lt;st"));
        assert!(page.contains("&amp; &quot;<mark style=\"background: #cfe6ff\""));
        assert!(!page.contains("<b>"));
        assert!(html("a\0\x1b\r\n\r", &[]).contains("<main>a\u{fffd}\u{fffd}\n\u{fffd}</main>"));
    }

    #[test]
    fn terminals_are_not_steered_by_notes() {
        let shown = ansi("a\x1b[2Jb\n", &[entity("x", 5..6)]);
        assert_eq!(shown.matches('\x1b').count(), 4);
        assert!(shown.starts_with("a\u{fffd}[2J\x1b[30;48;5;217mb\x1b[0m"));
        assert!(shown.ends_with('\n'));
    }

    #[test]
    fn ranges_that_do_not_fit_are_left_out() {
        let odd = [entity("x", 1..2), entity("x", 0..1), entity("x", 2..99)];
        assert_eq!(html("\u{e9}b", &odd).matches("<mark").count(), 0);
        assert!(html("\u{e9}b", &odd).contains("<main>\u{e9}b</main>"));
    }
}
