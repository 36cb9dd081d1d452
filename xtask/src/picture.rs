//! `cargo xtask picture FILE TITLE`: terminal text with colours, from standard input, as an SVG
//! that looks like a terminal. For docs/demo.svg, the part of the demonstration that fits on a
//! screen:
//!
//! ```text
//! CLICOLOR_FORCE=1 cargo xtask demo | sed -n '/# An administrator/,/ruleward status/p' | sed '$d' |
//!     cargo xtask picture docs/demo.svg 'cargo xtask demo'
//! ```

use anstyle::{Color, RgbColor};
use anstyle_svg::{Palette, Term};
use anyhow::{Context, Result};
use std::io::Read;
use textwrap::Options;

const COLUMNS: usize = 118;
const FOREGROUND: RgbColor = RgbColor(0xd8, 0xde, 0xe9);
const BACKGROUND: RgbColor = RgbColor(0x1b, 0x20, 0x29);
const GREY: RgbColor = RgbColor(0x7b, 0x84, 0x94);
/// The eight colours, readable on the background; the bright ones are the same, but for grey.
const PALETTE: [RgbColor; 16] =
    [BLACK, RED, GREEN, YELLOW, BLUE, MAGENTA, CYAN, WHITE, GREY, RED, GREEN, YELLOW, BLUE, MAGENTA, CYAN, WHITE];
const BLACK: RgbColor = RgbColor(0x4c, 0x56, 0x6a);
const RED: RgbColor = RgbColor(0xff, 0x6c, 0x6b);
const GREEN: RgbColor = RgbColor(0x98, 0xd9, 0x82);
const YELLOW: RgbColor = RgbColor(0xec, 0xbe, 0x7b);
const BLUE: RgbColor = RgbColor(0x6f, 0xb3, 0xff);
const MAGENTA: RgbColor = RgbColor(0xc8, 0x95, 0xe8);
const CYAN: RgbColor = RgbColor(0x66, 0xd0, 0xd8);
const WHITE: RgbColor = RgbColor(0xec, 0xef, 0xf4);

/// Reads standard input and writes the picture.
pub fn run(file: &str, title: &str) -> Result<()> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).context("standard input is not text")?;
    std::fs::write(file, svg(&text, title)).with_context(|| format!("cannot write {file}"))
}

/// The whole picture. The title is a dim line above the text, as on a window.
fn svg(text: &str, title: &str) -> String {
    let text = wrapped(text.trim_matches('\n'));
    let term =
        Term::new().palette(Palette::from(PALETTE)).fg_color(Color::Rgb(FOREGROUND)).bg_color(Color::Rgb(BACKGROUND));
    term.render_svg(&format!("\u{1b}[90m{title}\u{1b}[0m\n\n{text}\n"))
}

/// Long lines as several, broken at blanks; what follows the first is indented two columns more
/// than it.
fn wrapped(text: &str) -> String {
    let mut lines = Vec::new();
    for line in text.lines() {
        let indent = line.len() - line.trim_start_matches(' ').len();
        let before = " ".repeat(indent + 2);
        lines.extend(textwrap::wrap(line, Options::new(COLUMNS).subsequent_indent(&before)));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_and_markup_are_kept() {
        let svg = svg("a \u{1b}[1;31m1 < 2\u{1b}[0m b", "t");
        assert!(svg.contains("fg-red") && svg.contains("1 &lt; 2"), "{svg}");
        assert!(!svg.contains('\u{1b}'), "{svg}");
    }

    #[test]
    fn a_long_line_is_wrapped_by_what_is_seen_of_it() {
        let word = "\u{1b}[31mx\u{1b}[0m".repeat(COLUMNS - 2);
        assert_eq!(wrapped(&format!("  {word}")), format!("  {word}"));
        assert_eq!(wrapped(&format!("  {word} y")), format!("  {word}\n    y"));
    }
}
