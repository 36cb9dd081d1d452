//! What is kept in the state directory while its disk is full or read-only, or after it was removed: nothing is lost for good,
//! `status` says what is not kept and since when, and all of it is there again by itself.

use std::fs;

use ruleward_tests::trial;
use ruleward_tests::{Backend, Daemon, Node, poll};
use serde_json::json;

use super::{in_sync, node};

/// Everything is there: the configuration, with this text in it, the component, the answer and its record.
fn all_is_kept(node: &Node, text: &str) -> bool {
    // Only in the node's namespace it is seen what is mounted there.
    let script = "cd \"$0\" && grep -q \"$1\" configuration/configuration.json && ls components/*.wasm last-good/web.json \
                  history/web/*.record";
    let state = node.path("state").display().to_string();
    node.command("sh").args(&["-c", script, &state, text]).output().code == Some(0)
}

fn mount(node: &Node, options: &str) {
    let state = node.path("state").display().to_string();
    node.command("mount").args(&["-t", "tmpfs", "-o", options, "tmpfs", &state]).must();
}

/// The options that `mount` would read from the kernel and pass again name users by numbers of the machine's own user
/// namespace, which are none in another.
fn remount(node: &Node, options: &str) {
    let state = node.path("state").display().to_string();
    node.command("mount").args(&["--options-mode", "ignore", "-o", &format!("remount,{options}"), &state]).must();
}

/// What is in the changed configuration and in no other.
const CHANGE: &str = "59m";

fn change(node: &Node) {
    node.set("refresh-interval", json!(CHANGE));
}

#[track_caller]
fn says_since_when(daemon: &Daemon, what: &str) {
    daemon.wait_until(&format!("telling that {what} is not kept"), |status| {
        status.report.notes.iter().any(|note| note.contains(what) && note.contains("since 20"))
    });
}

/// Nobody asks: it is tried again all the same.
#[track_caller]
fn content(daemon: &Daemon) {
    daemon.wait_until("content with the disk", |status| {
        in_sync(status) && !status.report.notes.iter().any(|note| note.contains("since 20"))
    });
}

trial!("service::keeping::a_full_disk_that_has_room_again", a_full_disk_that_has_room_again());
fn a_full_disk_that_has_room_again() {
    let node = node(Backend::Nft);
    mount(&node, "size=1m,mode=700");
    let fill = node.path("state/fill").display().to_string();
    node.command("sh").args(&["-c", "head -c 2M /dev/zero > \"$0\" 2>/dev/null; test -s \"$0\"", &fill]).must();
    let daemon = node.daemon();
    change(&node);
    daemon.reload(0);
    for what in
        ["the valid configuration can't be saved", "component can't be saved", "has not been saved for the next start"]
    {
        says_since_when(&daemon, what);
    }
    node.command("rm").args(&[&fill]).must();
    remount(&node, "size=64m");
    daemon.reload(0);
    poll("everything is kept", || all_is_kept(&node, CHANGE).then_some(()));
    content(&daemon);
}

trial!("service::keeping::a_disk_that_was_read_only_for_a_while", a_disk_that_was_read_only_for_a_while());
fn a_disk_that_was_read_only_for_a_while() {
    let node = node(Backend::Nft);
    mount(&node, "ro,size=64m,mode=700");
    let daemon = node.daemon();
    change(&node);
    daemon.reload(0);
    for what in
        ["the valid configuration can't be saved", "component can't be saved", "has not been saved for the next start"]
    {
        says_since_when(&daemon, what);
    }
    remount(&node, "rw");
    daemon.reload(0);
    poll("everything is kept", || all_is_kept(&node, CHANGE).then_some(()));
    content(&daemon);
}

trial!("service::keeping::a_folder_that_was_removed", a_folder_that_was_removed());
fn a_folder_that_was_removed() {
    let node = node(Backend::Nft);
    let daemon = node.daemon();
    poll("everything is kept", || all_is_kept(&node, "web").then_some(()));
    fs::remove_dir_all(node.path("state")).expect("it is ours");
    daemon.refresh();
    poll("everything is kept again", || all_is_kept(&node, "web").then_some(()));
    // A restart works from it.
    daemon.stop();
    let daemon = node.daemon();
    daemon.refresh().assert_unchanged();
}
