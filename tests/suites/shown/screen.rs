//! `status --watch` on a terminal, and for programs.

use ruleward_tests::trial;
use ruleward_tests::{Backend, Family, program};
use serde_json::Value;

use crate::reload;

trial!(
    "shown::screen::a_terminal_shows_what_happens_until_interrupted",
    a_terminal_shows_what_happens_until_interrupted()
);
fn a_terminal_shows_what_happens_until_interrupted() {
    let (node, daemon) = reload::node(Backend::Nft);
    let line = format!(
        "exec {} --config {} status --watch",
        program::binary().display(),
        node.path("ruleward.toml").display()
    );
    // A pseudo-terminal of its own.
    let mut screen = node.command("script").env("TERM", "xterm").args(&["-qefc", &line, "/dev/null"]).start();
    let mut wait_for = |what: &str| while !screen.line().contains(what) {};
    wait_for("IN SYNC since ");
    node.stranger(Family::Ipv4).flush_chain("filter", "op-in");
    wait_for("chain-flushed");
    daemon.stop();
    wait_for("NO ANSWER for ");
    wait_for("IN SYNC since ");
    screen.write("\u{3}");
    let rest = screen.finish().concat();
    assert!(rest.ends_with("\u{1b}[?25h\u{1b}[?1049l"), "the terminal is not as it was: {rest:?}");
}

trial!("shown::screen::programs_get_a_line_for_each_change", programs_get_a_line_for_each_change());
fn programs_get_a_line_for_each_change() {
    let (node, daemon) = reload::node(Backend::Nft);
    let mut lines = node.ruleward(&["--output", "json", "status", "--watch"]).start();
    let mut next = || serde_json::from_str::<Value>(&lines.line()).expect("each line is JSON");
    assert_eq!(next()["incidents-total"], 0);
    node.stranger(Family::Ipv4).flush_chain("filter", "op-in");
    while next()["incidents-total"] != 1 {}
    node.command("kill").args(&["-INT".to_owned(), lines.pid().to_string()]).must();
    lines.finish();
    daemon.stop();
}

trial!("shown::screen::a_screen_needs_a_terminal", a_screen_needs_a_terminal());
fn a_screen_needs_a_terminal() {
    let (node, _daemon) = reload::node(Backend::Nft);
    let output = node.ruleward(&["status", "--watch"]).output();
    assert_eq!(output.code, Some(64), "{output:?}");
    assert!(output.stderr.contains("needs a terminal"), "{output:?}");
}
