//! Pictures of figures: a drawing as SVG, and as PNG with a font of our own.

use std::error::Error as StdError;
use std::io::{self, Write};
use std::sync::Once;

use flate2::write::ZlibEncoder;
use flate2::{Compression, Crc};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::{FontStyle, register_font};

/// Something that is drawn with `plotters`, on whatever it draws on.
pub trait Drawing {
    /// Draws it on an area in pixels.
    ///
    /// # Errors
    ///
    /// Those of `plotters`.
    fn draw<B: DrawingBackend>(
        &self,
        area: &DrawingArea<B, Shift>,
    ) -> Result<(), Box<dyn StdError>>
    where
        B::ErrorType: 'static;
}

/// The drawing as an SVG file, of so many pixels.
///
/// # Errors
///
/// Those of the drawing, as the error of a file.
pub fn svg(drawing: &impl Drawing, size: (u32, u32)) -> io::Result<Vec<u8>> {
    font();
    let mut svg = String::new();
    let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
    drawing.draw(&area).map_err(failed)?;
    drop(area);
    Ok(svg.into_bytes())
}

/// The drawing as a PNG file. The same drawing gives the same bytes.
///
/// # Errors
///
/// Those of the drawing, as the error of a file.
pub fn png(drawing: &impl Drawing, size: (u32, u32)) -> io::Result<Vec<u8>> {
    font();
    let (width, height) = size;
    let mut pixels = vec![0; width as usize * height as usize * 3];
    let area = BitMapBackend::with_buffer(&mut pixels, size).into_drawing_area();
    drawing.draw(&area).map_err(failed)?;
    drop(area);
    encoded(&pixels, size)
}

fn failed(error: Box<dyn StdError>) -> io::Error {
    io::Error::other(error.to_string())
}

/// The font that texts are drawn with: one of our own, since a hospital's server may have none.
fn font() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let known = register_font("sans-serif", FontStyle::Normal, dejavu::sans::regular());
        debug_assert!(known.is_ok(), "the font is part of the program");
    });
}

/// A PNG file of pixels with 8 bits for each of red, green and blue, no row filtered. (Crates that write PNG turn on
/// features of crates below Burn, which would then be compiled once for the tests and once for the examples.)
fn encoded(pixels: &[u8], (width, height): (u32, u32)) -> io::Result<Vec<u8>> {
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
