//! What a report says, before it is Markdown or HTML.

use super::{Report, ReportRow};
use crate::Method;

/// A page.
pub(crate) struct Page {
    pub(crate) title: String,
    pub(crate) blocks: Vec<Block>,
}

pub(crate) enum Block {
    Heading(String),
    Text(String),
    Table {
        head: Vec<String>,
        rows: Vec<Vec<String>>,
    },
    /// `curve.svg`, with what it shows.
    Picture(String),
}

pub(super) fn of(report: &Report) -> Page {
    let metric = report.metric.name();
    let examples = report.task.examples();
    let mut blocks = vec![
        Block::Text(format!(
            "{} ({}) on {}, by {}. {} training {examples}, {} of development, {} of test. {}",
            report.model,
            report.model_kind,
            report.task.title(),
            report.method,
            report.training,
            report.development,
            report.test,
            chosen(report),
        )),
        Block::Text(
            "Values are means over the seeds, ± the standard deviation over them; in brackets the 95 % interval of the \
             mean by resampling the test examples. With one seed there is no deviation. Neither says how another model \
             directory, another recipe or other data would do."
                .to_owned(),
        ),
    ];
    if report.unfinished > 0 {
        let text = format!(
            "{} parts of this study are not finished.",
            report.unfinished
        );
        blocks.push(Block::Text(text));
    }
    blocks.push(Block::Picture(format!(
        "{metric} on the test part over the part of the training data"
    )));
    blocks.push(Block::Heading("Figures on the test part".to_owned()));
    blocks.push(figures(report));
    if let Some(last) = report.rows.last()
        && !last.labels.is_empty()
    {
        blocks.push(Block::Heading(format!("Labels, with {}", part(last))));
        blocks.push(labels(last));
    }
    blocks.push(Block::Heading("Cost".to_owned()));
    blocks.push(Block::Text(format!(
        "Of all seeds of a row. Floating-point operations are estimates: {} operations for each of {} parameters and each \
         training token, 2 for each that is read or written without training; attention is not counted. Seconds are those \
         of the training steps and of the test, on the machine that ran them.",
        if report.cells.iter().any(has_adapter) { "4 (an adapter)" } else { "6" },
        report.cost.parameters,
    )));
    blocks.push(cost(report));
    Page {
        title: format!("{} on {}", report.model, report.task.title()),
        blocks,
    }
}

fn has_adapter(cell: &crate::CellResult) -> bool {
    let full = 6.0 * cell.cost.parameters as f64 * cell.cost.training_tokens as f64;
    full > 0.0 && cell.cost.training_flops < 0.9 * full
}

fn chosen(report: &Report) -> String {
    let metric = report.metric.name();
    let trained = report.rows.iter().any(|row| row.percent > 0);
    match (trained, report.method == Method::Head.name()) {
        (false, _) => format!("Nothing was trained; the figure of interest is {metric}."),
        _ => {
            format!("The weights with the best {metric} on the development part were tested, once.")
        }
    }
}

fn part(row: &ReportRow) -> String {
    match row.percent {
        0 => "no training".to_owned(),
        percent => format!("{percent} % of the data"),
    }
}

fn head(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn figures(report: &Report) -> Block {
    let metric = report.metric.name();
    let last = report.rows.last();
    let others = last.iter().flat_map(|row| row.mean.keys());
    let others: Vec<&String> = others.filter(|name| *name != metric).collect();
    let mut names = head(&["data", "examples", "seeds", metric]);
    names.extend(others.iter().map(|name| (*name).clone()));
    let mut rows = Vec::new();
    for baseline in &report.baselines {
        let value = |name: &str| {
            let value = baseline.test.get(name);
            value.map_or_else(String::new, |value| format!("{value:.3}"))
        };
        let mut row = vec![
            format!("{} (no model)", baseline.name),
            String::new(),
            String::new(),
        ];
        row.push(value(metric));
        row.extend(others.iter().map(|name| value(name)));
        rows.push(row);
    }
    for found in &report.rows {
        let value = |name: &str| {
            let value = found.mean.get(name);
            let deviation = found.deviation.get(name);
            let deviation = deviation.map_or_else(String::new, |value| format!(" ± {value:.3}"));
            value.map_or_else(String::new, |value| format!("{value:.3}{deviation}"))
        };
        let interval = format!(" [{:.3}, {:.3}]", found.interval.low, found.interval.high);
        let mut row = vec![
            part(found),
            found.examples.to_string(),
            found.seeds.len().to_string(),
            value(metric) + &interval,
        ];
        row.extend(others.iter().map(|name| value(name)));
        rows.push(row);
    }
    Block::Table { head: names, rows }
}

fn labels(row: &ReportRow) -> Block {
    let rows = row.labels.iter().map(|label| {
        vec![
            label.label.clone(),
            format!("{:.3}", label.precision),
            format!("{:.3}", label.recall),
            format!("{:.3}", label.f1),
            label.support.to_string(),
        ]
    });
    Block::Table {
        head: head(&["label", "precision", "recall", "F1", "references"]),
        rows: rows.collect(),
    }
}

fn cost(report: &Report) -> Block {
    let rows = report.rows.iter().map(|row| {
        let cost = &row.cost;
        vec![
            part(row),
            cost.steps.to_string(),
            cost.training_tokens.to_string(),
            format!("{:.2e}", cost.training_flops),
            format!("{:.1}", cost.training_seconds),
            cost.test_tokens.to_string(),
            format!("{:.2e}", cost.reading_flops),
            format!("{:.1}", cost.test_seconds),
        ]
    });
    Block::Table {
        head: head(&[
            "data",
            "steps",
            "training tokens",
            "operations of training",
            "seconds of training",
            "test tokens",
            "operations of reading",
            "seconds of the test",
        ]),
        rows: rows.collect(),
    }
}
