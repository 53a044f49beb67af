//! A metric over the part of the data, as the paper's pictures of data efficiency.

use std::error::Error as StdError;

use clinical_train::picture::{self, Drawing};
use plotters::coord::Shift;
use plotters::prelude::*;

use super::undrawn;
use crate::Result;

/// Pixels.
const SIZE: (u32, u32) = (960, 540);
const COLORS: [RGBColor; 4] = [
    RGBColor(0x2b, 0x6c, 0xb0),
    RGBColor(0xc0, 0x56, 0x21),
    RGBColor(0x2f, 0x85, 0x5a),
    RGBColor(0x6b, 0x46, 0xc1),
];
const BASELINE: RGBColor = RGBColor(0x4a, 0x55, 0x68);
/// Most characters of a name.
const NAME: usize = 48;

/// Curves of one metric, in one picture.
pub(crate) struct Curves {
    pub(crate) metric: &'static str,
    pub(crate) curves: Vec<Curve>,
    /// What needs no model.
    pub(crate) baseline: Option<f64>,
}

/// A line with intervals.
pub(crate) struct Curve {
    pub(crate) name: String,
    pub(crate) points: Vec<Point>,
}

/// The metric with some of the data. A model that was not trained is drawn as a level line.
pub(crate) struct Point {
    pub(crate) percent: u32,
    pub(crate) value: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

pub(super) fn svg(curves: &Curves) -> Result<Vec<u8>> {
    picture::svg(curves, SIZE).map_err(undrawn)
}

pub(super) fn png(curves: &Curves) -> Result<Vec<u8>> {
    picture::png(curves, SIZE).map_err(undrawn)
}

impl Curves {
    pub(crate) fn svg(&self) -> Result<Vec<u8>> {
        svg(self)
    }

    pub(crate) fn png(&self) -> Result<Vec<u8>> {
        png(self)
    }
}

/// Control characters, and what is too long, would spoil a picture.
fn shown(name: &str) -> String {
    name.chars()
        .filter(|c| !c.is_control())
        .take(NAME)
        .collect()
}

impl Drawing for Curves {
    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>) -> Result<(), Box<dyn StdError>>
    where
        B::ErrorType: 'static,
    {
        let percents = self.curves.iter().flat_map(|curve| &curve.points);
        let mut percents: Vec<f64> = percents
            .map(|point| f64::from(point.percent.max(1)))
            .collect();
        percents.push(100.0);
        percents.sort_by(f64::total_cmp);
        percents.dedup();
        let first = percents.first().copied().unwrap_or(1.0).min(50.0);
        let room = 1.25;
        area.fill(&WHITE)?;
        let x = (first / room..100.0 * room)
            .log_scale()
            .with_key_points(percents.clone());
        let mut chart = ChartBuilder::on(area)
            .margin(16)
            .x_label_area_size(48)
            .y_label_area_size(64)
            .build_cartesian_2d(x, 0.0..1.0)?;
        chart
            .configure_mesh()
            .light_line_style(RGBColor(0xee, 0xee, 0xee))
            .x_labels(percents.len())
            .x_label_formatter(&|percent| format!("{percent:.0} %"))
            .x_desc("part of the training data")
            .y_desc(self.metric)
            .draw()?;
        if let Some(value) = self.baseline {
            let line = [(first / room, value), (100.0 * room, value)];
            chart
                .draw_series(DashedLineSeries::new(line, 6, 4, BASELINE.stroke_width(2)))?
                .label("no model")
                .legend(|(x, y)| PathElement::new([(x, y), (x + 24, y)], BASELINE.stroke_width(1)));
        }
        for (curve, color) in self.curves.iter().zip(COLORS.into_iter().cycle()) {
            let place = |point: &Point| (f64::from(point.percent.max(1)), point.value);
            let level = curve.points.iter().find(|point| point.percent == 0);
            let line: Vec<(f64, f64)> = match level {
                Some(point) => vec![(first / room, point.value), (100.0 * room, point.value)],
                None => curve.points.iter().map(place).collect(),
            };
            chart
                .draw_series(LineSeries::new(line, color.stroke_width(2)))?
                .label(shown(&curve.name))
                .legend(move |(x, y)| {
                    PathElement::new([(x, y), (x + 24, y)], color.stroke_width(2))
                });
            let trained = || curve.points.iter().filter(|point| point.percent > 0);
            chart.draw_series(trained().map(|point| {
                let percent = f64::from(point.percent);
                let ends = [(percent, point.low), (percent, point.high)];
                PathElement::new(ends, color.stroke_width(1))
            }))?;
            let dots = trained().map(|point| Circle::new(place(point), 4, color.filled()));
            chart.draw_series(dots)?;
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::LowerRight)
            .background_style(WHITE)
            .border_style(RGBColor(0xcc, 0xcc, 0xcc))
            .draw()?;
        area.present()?;
        Ok(())
    }
}
