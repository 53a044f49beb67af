//! `loss.svg` and `loss.png`: the losses of a run over its steps.

use std::error::Error as StdError;
use std::path::Path;

use clinical_files::write_file;
use plotters::coord::Shift;
use plotters::prelude::*;

use super::metrics;
use crate::picture::{self, Drawing};
use crate::{Error, Result};

const SIZE: (u32, u32) = (960, 540);
const TRAINING: RGBColor = RGBColor(0x2b, 0x6c, 0xb0);
const DEVELOPMENT: RGBColor = RGBColor(0xc0, 0x56, 0x21);
/// Most points of a line: more cannot be told apart.
const POINTS: usize = 480;

/// A step and its loss, in the order of the steps.
type Line = [(u64, f64)];

/// Draws what `metrics.jsonl` has. A run without steps gets no pictures.
pub(super) fn write(run: &Path) -> Result<()> {
    let [training, development] = metrics::losses(run)?;
    if training.is_empty() {
        return Ok(());
    }
    let training = thinned(&training);
    let losses = Losses {
        training: &training,
        development: &development,
    };
    for (name, picture) in [
        ("loss.svg", picture::svg(&losses, SIZE)),
        ("loss.png", picture::png(&losses, SIZE)),
    ] {
        let path = run.join(name);
        let picture = picture.map_err(Error::written(&path))?;
        write_file(&path, &picture)?;
    }
    Ok(())
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

struct Losses<'a> {
    training: &'a Line,
    development: &'a Line,
}

impl Drawing for Losses<'_> {
    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>) -> Result<(), Box<dyn StdError>>
    where
        B::ErrorType: 'static,
    {
        let (training, development) = (self.training, self.development);
        let points = || training.iter().chain(development);
        let last = points().map(|(step, _)| *step).max().unwrap_or(1);
        let most = points().map(|(_, loss)| *loss).fold(0.0, f64::max);
        area.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(area)
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
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn long_lines_are_thinned_to_means() {
        let line: Vec<(u64, f64)> = (1..=1000).map(|step| (step, step as f64)).collect();
        let thin = thinned(&line);
        assert!(thin.len() <= POINTS);
        assert_eq!(thin[0], (3, 2.0));
        assert_eq!(thin.last().map(|(step, _)| *step), Some(1000));
        assert_eq!(thinned(&line[..5]), line[..5]);
    }

    /// The same losses, the same picture, with the axes' texts in it.
    #[test]
    fn a_png_has_lines_and_texts() {
        let line: Vec<(u64, f64)> = (1..=50).map(|step| (step, 5.0 / step as f64)).collect();
        let losses = Losses {
            training: &line,
            development: &line[10..20],
        };
        let file = picture::png(&losses, SIZE).unwrap();
        assert_eq!(file, picture::png(&losses, SIZE).unwrap());
        // One chunk each: header, pixels, end.
        assert_eq!(&file[12..29], b"IHDR\0\0\x03\xc0\0\0\x02\x1c\x08\x02\0\0\0");
        assert!(file.ends_with(b"\0\0\0\0IEND\xae\x42\x60\x82"));
        let length = u32::from_be_bytes(file[33..37].try_into().unwrap()) as usize;
        let mut rows = Vec::new();
        flate2::read::ZlibDecoder::new(&file[41..41 + length])
            .read_to_end(&mut rows)
            .unwrap();
        let row = 1 + 3 * SIZE.0 as usize;
        assert_eq!(rows.len(), row * SIZE.1 as usize);
        let pixels: Vec<u8> = rows
            .chunks(row)
            .flat_map(|row| &row[1..])
            .copied()
            .collect();
        let of = |color: RGBColor| {
            let is = |pixel: &&[u8]| **pixel == [color.0, color.1, color.2];
            pixels.chunks(3).filter(is).count()
        };
        assert!(of(TRAINING) > 500 && of(DEVELOPMENT) > 20);
        // Left of the axis stand its texts alone.
        let left = pixels
            .chunks(3 * SIZE.0 as usize)
            .flat_map(|row| row[..3 * 72].chunks(3));
        let dark = left.filter(|pixel| pixel.iter().all(|&value| value < 128));
        assert!(dark.count() > 200);
    }
}
