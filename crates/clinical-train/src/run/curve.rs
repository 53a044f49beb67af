//! `loss.svg` and `loss.png`: the losses of a run over its steps.

use std::error::Error as StdError;
use std::io::Write;
use std::path::Path;
use std::sync::Once;

use clinical_files::write_file;
use flate2::write::ZlibEncoder;
use flate2::{Compression, Crc};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::{FontStyle, register_font};

use super::metrics;
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
    for (name, draw) in [("loss.svg", svg as Draw), ("loss.png", png)] {
        let path = run.join(name);
        let picture = draw(&training, &development)
            .map_err(|error| Error::written(&path)(std::io::Error::other(error.to_string())))?;
        write_file(&path, &picture)?;
    }
    Ok(())
}

type Draw = fn(&Line, &Line) -> Result<Vec<u8>, Box<dyn StdError>>;

fn svg(training: &Line, development: &Line) -> Result<Vec<u8>, Box<dyn StdError>> {
    let mut svg = String::new();
    let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
    draw(&area, training, development)?;
    drop(area);
    Ok(svg.into_bytes())
}

fn png(training: &Line, development: &Line) -> Result<Vec<u8>, Box<dyn StdError>> {
    let (width, height) = SIZE;
    let mut pixels = vec![0; width as usize * height as usize * 3];
    let area = BitMapBackend::with_buffer(&mut pixels, SIZE).into_drawing_area();
    draw(&area, training, development)?;
    drop(area);
    Ok(encoded(&pixels, SIZE)?)
}

/// A PNG file of pixels with 8 bits for each of red, green and blue, no row filtered. (Crates that write PNG turn on
/// features of crates below Burn, which would then be compiled once for the tests and once for the examples.)
fn encoded(pixels: &[u8], (width, height): (u32, u32)) -> std::io::Result<Vec<u8>> {
    let mut packed = ZlibEncoder::new(Vec::new(), Compression::default());
    for row in pixels.chunks(3 * width as usize) {
        packed.write_all(&[0])?;
        packed.write_all(row)?;
    }
    let packed = packed.finish()?;
    let header = [
        &width.to_be_bytes()[..],
        &height.to_be_bytes(),
        &[8, 2, 0, 0, 0],
    ]
    .concat();
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    for (kind, data) in [
        (b"IHDR", &header),
        (b"IDAT", &packed),
        (b"IEND", &Vec::new()),
    ] {
        file.extend((data.len() as u32).to_be_bytes());
        file.extend(kind);
        file.extend(data);
        let mut sum = Crc::new();
        sum.update(kind);
        sum.update(data);
        file.extend(sum.sum().to_be_bytes());
    }
    Ok(file)
}

/// The font that texts are drawn with: one of our own, since a hospital's server may have none.
fn font() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let known = register_font("sans-serif", FontStyle::Normal, dejavu::sans::regular());
        debug_assert!(known.is_ok(), "the font is part of the program");
    });
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

fn draw<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    training: &Line,
    development: &Line,
) -> Result<(), Box<dyn StdError>>
where
    B::ErrorType: 'static,
{
    font();
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
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 24, y)], color.stroke_width(2)));
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
        let file = png(&line, &line[10..20]).unwrap();
        assert_eq!(file, png(&line, &line[10..20]).unwrap());
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
