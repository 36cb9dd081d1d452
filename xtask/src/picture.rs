//! `cargo xtask picture FILE TITLE`: terminal text with colours, from standard input, as an SVG that looks like a
//! terminal. For docs/demo.svg:
//!
//! ```text
//! CLICOLOR_FORCE=1 cargo xtask demo | cargo xtask picture docs/demo.svg 'cargo xtask demo'
//! ```
//!
//! Knows the colour sequences that the demonstration writes, and drops every other control character.

use anyhow::{Context, Result};
use std::fmt::Write;
use std::io::Read;

const COLUMNS: usize = 118;
const CHARACTER: f32 = 7.83;
const LINE: usize = 18;
const MARGIN: usize = 16;
const BAR: usize = 34;
const FOREGROUND: &str = "#d8dee9";

/// A stretch of one line in one style.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Span {
    text: String,
    style: Style,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Style {
    bold: bool,
    dim: bool,
    colour: Option<u8>,
}

/// Reads standard input and writes the picture.
pub fn run(file: &str, title: &str) -> Result<()> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).context("standard input is not text")?;
    std::fs::write(file, svg(&text, title)).with_context(|| format!("cannot write {file}"))
}

/// The whole picture. Long lines are wrapped.
fn svg(text: &str, title: &str) -> String {
    let lines = lines(text.trim_matches('\n'));
    let width = (COLUMNS as f32 * CHARACTER) as usize + 2 * MARGIN;
    let height = BAR + lines.len() * LINE + MARGIN;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
         role=\"img\" font-family=\"ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace\" font-size=\"13\">\n\
         <title>{title}</title>\n\
         <rect width=\"{width}\" height=\"{height}\" rx=\"8\" fill=\"#1b2029\"/>\n\
         <text x=\"{MARGIN}\" y=\"22\" fill=\"#7b8494\">{title}</text>\n",
        title = escape(title),
    );
    for (row, spans) in lines.iter().enumerate() {
        let y = BAR + row * LINE + 13;
        let mut column = 0;
        for span in spans {
            let length = span.text.chars().count();
            let x = MARGIN as f32 + column as f32 * CHARACTER;
            column += length;
            if !span.text.trim().is_empty() {
                // textLength keeps the columns aligned whatever font the reader has.
                let width = length as f32 * CHARACTER;
                let text = escape(&span.text);
                let attributes = attributes(span.style);
                let _ = writeln!(
                    out,
                    "<text x=\"{x:.1}\" y=\"{y}\" textLength=\"{width:.1}\" xml:space=\"preserve\"{attributes}>{text}</text>"
                );
            }
        }
    }
    out + "</svg>\n"
}

/// Splits into lines of styled spans, wrapped at `COLUMNS`.
fn lines(text: &str) -> Vec<Vec<Span>> {
    let mut style = Style::default();
    let mut lines = Vec::new();
    for line in text.split('\n') {
        let mut spans: Vec<Span> = Vec::new();
        let mut column = 0;
        let mut rest = line.chars();
        while let Some(character) = rest.next() {
            if character == '\u{1b}' {
                let sequence: String = rest.by_ref().skip_while(|c| *c == '[').take_while(|c| *c != 'm').collect();
                style = sequence.split(';').fold(style, Style::with);
            } else if !character.is_control() {
                if column == COLUMNS {
                    lines.push(std::mem::take(&mut spans));
                    column = 0;
                }
                column += 1;
                match spans.last_mut() {
                    Some(span) if span.style == style => span.text.push(character),
                    _ => spans.push(Span { text: character.into(), style }),
                }
            }
        }
        lines.push(spans);
    }
    lines
}

impl Style {
    /// After one parameter of a "select graphic rendition" sequence (ECMA-48, 8.3.117).
    fn with(self, parameter: &str) -> Self {
        match parameter.parse() {
            Ok(0) | Err(_) => Self::default(),
            Ok(1) => Self { bold: true, ..self },
            Ok(2) => Self { dim: true, ..self },
            Ok(colour @ 30..=37) => Self { colour: Some(colour - 30), ..self },
            Ok(39) => Self { colour: None, ..self },
            Ok(_) => self,
        }
    }
}

fn attributes(style: Style) -> String {
    const COLOURS: [&str; 8] = ["#4c566a", "#ff6c6b", "#98d982", "#ecbe7b", "#6fb3ff", "#c895e8", "#66d0d8", "#eceff4"];
    let colour = style.colour.and_then(|colour| COLOURS.get(usize::from(colour))).unwrap_or(&FOREGROUND);
    let colour = if style.dim { "#7b8494" } else { colour };
    let weight = if style.bold { " font-weight=\"bold\"" } else { "" };
    format!(" fill=\"{colour}\"{weight}")
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_become_spans() {
        let found = lines("a \u{1b}[1;31mred\u{1b}[0m b");
        let red = Style { bold: true, dim: false, colour: Some(1) };
        let span = |text: &str, style| Span { text: text.to_owned(), style };
        assert_eq!(found, [vec![span("a ", Style::default()), span("red", red), span(" b", Style::default())]]);
    }

    #[test]
    fn a_long_line_is_wrapped() {
        let found = lines(&"x".repeat(COLUMNS + 1));
        assert_eq!(found.iter().map(|spans| spans[0].text.len()).collect::<Vec<_>>(), [COLUMNS, 1]);
    }

    #[test]
    fn markup_is_escaped() {
        assert!(svg("1 < 2 & \"3\"", "t").contains("1 &lt; 2 &amp; &quot;3&quot;"));
    }
}
