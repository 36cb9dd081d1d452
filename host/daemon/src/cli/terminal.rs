//! How large the terminal is, and text that fits it.

use std::io::{self, IsTerminal};
use std::os::fd::AsRawFd;

/// Columns and rows of the terminal behind the standard output; 80 and 24 where it does not say.
#[allow(unsafe_code)]
pub fn size() -> (usize, usize) {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    let fd = io::stdout().as_raw_fd();
    // SAFETY: the request writes one `winsize`, which it is given, and keeps no pointer.
    let result = unsafe { libc::ioctl(fd, libc::TIOCGWINSZ, &raw mut size) };
    match (result, size.ws_col, size.ws_row) {
        (0, 1.., 1..) => (size.ws_col.into(), size.ws_row.into()),
        _ => (80, 24),
    }
}

/// How much further the rest of a wrapped line is indented.
const HANGING: usize = 4;

/// `text` so that it fits the terminal; as it is where it goes elsewhere.
pub fn fitting(text: &str) -> String {
    if io::stdout().is_terminal() { wrapped(text, size().0) } else { text.to_owned() }
}

/// `text` with lines that are too long broken between words, their rest indented. A word that is too long stays whole.
pub fn wrapped(text: &str, columns: usize) -> String {
    let mut wrapped = String::with_capacity(text.len());
    for line in text.lines() {
        let indent = line.len() - line.trim_start_matches(' ').len();
        let mut used = indent;
        wrapped.push_str(&line[..indent]);
        for (number, word) in line[indent..].split(' ').enumerate() {
            let needs = width(word);
            if number > 0 && used + 1 + needs > columns {
                let indent = (indent + HANGING).min(columns / 2);
                wrapped.push('\n');
                wrapped.extend(std::iter::repeat_n(' ', indent));
                used = indent;
            } else if number > 0 {
                wrapped.push(' ');
                used += 1;
            }
            wrapped.push_str(word);
            used += needs;
        }
        wrapped.push('\n');
    }
    wrapped
}

/// How many columns a line takes; colours take none.
pub fn width(line: &str) -> usize {
    let mut inside = false;
    let visible = |c: &char| match (inside, *c) {
        (false, '\x1b') => {
            inside = true;
            false
        }
        (false, _) => true,
        (true, c) => {
            inside = c != 'm';
            false
        }
    };
    line.chars().filter(visible).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_break_between_words_and_colours_take_no_room() {
        let text = "short\n  \x1b[1;31mone two\x1b[0m three four five\nsupercalifragilistic\n\n";
        let expected = "short\n  \x1b[1;31mone two\x1b[0m three\n      four five\nsupercalifragilistic\n\n";
        assert_eq!(wrapped(text, 16), expected);
        assert_eq!(wrapped(text, 200), text);
    }
}
