//! `cargo xtask picture FILE TITLE`: terminal text with colours, from standard input, as an SVG that looks like a
//! terminal. For docs/demo.svg, the part of the demonstration that fits on a screen:
//!
//! ```text
//! CLICOLOR_FORCE=1 cargo xtask demo | sed -n '/# An administrator/,/ruleward status/p' | sed '$d' |
//!     cargo xtask picture docs/demo.svg 'cargo xtask demo'
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
        let mut characters = Vec::new();
        let mut rest = line.chars();
        while let Some(character) = rest.next() {
            if character == '\u{1b}' {
                let sequence: String = rest.by_ref().skip_while(|c| *c == '[').take_while(|c| *c != 'm').collect();
                style = sequence.split(';').fold(style, Style::with);
            } else if !character.is_control() {
                characters.push((character, style));
            }
        }
        wrap(&characters, &mut lines);
    }
    lines
}

/// One line as several, broken at blanks; what follows the first is indented two columns more than it.
fn wrap(line: &[(char, Style)], lines: &mut Vec<Vec<Span>>) {
    let indent = line.iter().take_while(|(character, _)| *character == ' ').count() + 2;
    let (mut rest, mut before) = (line, 0);
    while before + rest.len() > COLUMNS {
        let room = COLUMNS - before;
        let blank = rest[room / 2..=room].iter().rposition(|(character, _)| *character == ' ');
        let (now, later) = rest.split_at(blank.map_or(room, |at| room / 2 + at));
        lines.push(spans(before, now));
        rest = later.strip_prefix(&[(' ', later[0].1)]).unwrap_or(later);
        before = indent.min(COLUMNS / 2);
    }
    lines.push(spans(before, rest));
}

/// Neighbours of one style together, after so many blanks.
fn spans(indent: usize, characters: &[(char, Style)]) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    if indent > 0 {
        spans.push(Span { text: " ".repeat(indent), style: Style::default() });
    }
    for (character, style) in characters {
        match spans.last_mut() {
            Some(span) if span.style == *style => span.text.push(*character),
            _ => spans.push(Span { text: (*character).into(), style: *style }),
        }
    }
    spans
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
        let texts = |text: &str| -> Vec<String> {
            lines(text).iter().map(|spans| spans.iter().map(|span| span.text.as_str()).collect()).collect()
        };
        assert_eq!(texts(&"x".repeat(COLUMNS + 1)), ["x".repeat(COLUMNS), "  x".to_owned()]);
        let (first, fits) = (format!("  {}", "x".repeat(COLUMNS - 12)), "x".repeat(COLUMNS - 4));
        assert_eq!(texts(&format!("{first} {fits}")), [first, format!("    {fits}")]);
        assert_eq!(texts(&format!("{} y", "x".repeat(COLUMNS))), ["x".repeat(COLUMNS), "  y".to_owned()]);
    }

    #[test]
    fn markup_is_escaped() {
        assert!(svg("1 < 2 & \"3\"", "t").contains("1 &lt; 2 &amp; &quot;3&quot;"));
    }
}
