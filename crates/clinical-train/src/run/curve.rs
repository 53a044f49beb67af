//! `loss.svg`: the losses of a run over its steps.

use std::error::Error as StdError;
use std::path::Path;

use clinical_files::write_file;
use plotters::prelude::*;

use super::metrics;
use crate::{Error, Result};

const SIZE: (u32, u32) = (960, 540);
const TRAINING: RGBColor = RGBColor(0x2b, 0x6c, 0xb0);
const DEVELOPMENT: RGBColor = RGBColor(0xc0, 0x56, 0x21);
/// Most points of a line: more cannot be told apart.
const POINTS: usize = 480;

/// Draws what `metrics.jsonl` has. A run without steps gets no picture.
pub(super) fn write(run: &Path) -> Result<()> {
    let [training, development] = metrics::losses(run)?;
    if training.is_empty() {
        return Ok(());
    }
    let path = run.join("loss.svg");
    let svg = drawn(&thinned(&training), &development)
        .map_err(|error| Error::written(&path)(std::io::Error::other(error.to_string())))?;
    Ok(write_file(&path, svg.as_bytes())?)
}

/// Means of as many steps at a time as leave [`POINTS`] points.
fn thinned(line: &[(u64, f64)]) -> Vec<(u64, f64)> {
    line.chunks(line.len().div_ceil(POINTS).max(1))
        .filter_map(|chunk| {
            let mean = chunk.iter().map(|(_, loss)| loss).sum::<f64>() / chunk.len() as f64;
            Some((chunk.last()?.0, mean))
        })
        .collect()
}

fn drawn(training: &[(u64, f64)], development: &[(u64, f64)]) -> Result<String, Box<dyn StdError>> {
    let points = || training.iter().chain(development);
    let last = points().map(|(step, _)| *step).max().unwrap_or(1);
    let most = points().map(|(_, loss)| *loss).fold(0.0, f64::max);
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        area.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&area)
            .margin(16)
            .x_label_area_size(48)
            .y_label_area_size(64)
            .build_cartesian_2d(0..last.max(1), 0.0..(most * 1.05).max(1e-6))?;
        chart
            .configure_mesh()
            .light_line_style(RGBColor(0xee, 0xee, 0xee))
            .x_desc("step")
            .y_desc("loss in nats")
            .draw()?;
        for (line, name, color) in [
            (training, "training", TRAINING),
            (development, "development", DEVELOPMENT),
        ] {
            if line.is_empty() {
                continue;
            }
            let series = LineSeries::new(line.iter().copied(), color.stroke_width(2));
            chart
                .draw_series(series)?
                .label(name)
                .legend(move |(x, y)| {
                    PathElement::new([(x, y), (x + 24, y)], color.stroke_width(2))
                });
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperRight)
            .background_style(WHITE)
            .border_style(RGBColor(0xcc, 0xcc, 0xcc))
            .draw()?;
        area.present()?;
    }
    Ok(svg)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_thinned_to_means() {
        let line: Vec<(u64, f64)> = (1..=1000).map(|step| (step, step as f64)).collect();
        let thin = thinned(&line);
        assert!(thin.len() <= POINTS);
        assert_eq!(thin[0], (3, 2.0));
        assert_eq!(thin.last().map(|(step, _)| *step), Some(1000));
        assert_eq!(thinned(&line[..5]), line[..5]);
    }
}
