//! How the story looks: headlines, commands with their output, and measured facts, with colours on a terminal.

use std::io::IsTerminal;
use std::net::IpAddr;

use crate::demo::network::Delivery;

const BOLD: &str = "1";
const DIM: &str = "2";
const RED: &str = "31";
const GREEN: &str = "32";
const CYAN: &str = "36";

/// A step of the story.
pub fn headline(text: &str) {
    println!("\n{}", paint(BOLD, &format!("# {text}")));
}

/// A command, as if typed.
pub fn typed(command: &str) {
    println!("{} {}", paint(CYAN, "$"), paint(BOLD, command));
}

/// What a program printed.
pub fn quoted(text: &str) {
    for line in text.lines() {
        println!("  {line}");
    }
}

/// A remark in passing.
pub fn aside(text: &str) {
    println!("{}", paint(DIM, &format!("  {text}")));
}

/// What the outside saw.
pub fn delivery(delivery: Delivery, node: IpAddr) {
    let answered = if delivery.answered { "and its answer came back" } else { "and its answer found no way back" };
    let masqueraded = delivery.seen == node;
    let (colour, verdict) = if masqueraded { (GREEN, "masqueraded") } else { (RED, "NOT masqueraded") };
    println!("  pod -> outside: seen from {}, {answered}: {}", delivery.seen, paint(colour, verdict));
}

/// The good end.
pub fn success(text: &str) {
    println!("\n{}", paint(GREEN, text));
}

/// Colours for people (and for the picture: CLICOLOR_FORCE), plain text for pipes.
fn paint(code: &str, text: &str) -> String {
    let forced = std::env::var_os("CLICOLOR_FORCE").is_some_and(|value| value != "0");
    let wanted = forced || (std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none());
    if wanted { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
}
