//! The cache of compiled policies on disks that are full or read-only, and in folders that others could have written: policies
//! are compiled again, nothing foreign is run, and the log says why.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::sync::Arc;

use ruleward_tests::trial;
use ruleward_tests::{Backend, Node};
use serde_json::json;

use super::good;

fn cold_node() -> Arc<Node> {
    let node = Node::cold(Backend::Nft);
    node.configure(json!({ "policies": { "good": good(&[80]) } }));
    node
}

/// `check` succeeds, and logs all of these words.
#[track_caller]
fn assert_warns(node: &Node, words: &[&str]) {
    let output = node.ruleward(&["check"]).output();
    assert_eq!(output.code, Some(0), "{}{}", output.stdout, output.stderr);
    for word in words {
        assert!(output.stderr.contains(word), "it does not say {word:?}: {}", output.stderr);
    }
}

fn entries(node: &Node) -> Vec<PathBuf> {
    fs::read_dir(node.path("state/cache")).expect("it is there").map(|entry| entry.expect("readable").path()).collect()
}

trial!("hostile::cache::a_full_disk", a_full_disk());
fn a_full_disk() {
    let node = cold_node();
    let state = node.path("state");
    node.command("mount").args(&["-t", "tmpfs", "-o", "size=64k,mode=700", "none"]).args(&[&state]).must();
    assert_warns(&node, &["policy good:", "can't be saved, so each start compiles them again"]);
}

trial!("hostile::cache::a_read_only_disk", a_read_only_disk());
fn a_read_only_disk() {
    let node = cold_node();
    let state = node.path("state");
    node.command("mount").args(&["-t", "tmpfs", "-o", "ro,mode=700", "none"]).args(&[&state]).must();
    assert_warns(&node, &["policy good:", "Read-only file system", "each start compiles them again"]);
}

trial!("hostile::cache::a_folder_that_others_can_write_to", a_folder_that_others_can_write_to());
fn a_folder_that_others_can_write_to() {
    let node = cold_node();
    assert_warns(&node, &[]);
    assert_eq!(entries(&node).len(), 1);
    fs::set_permissions(node.path("state/cache"), fs::Permissions::from_mode(0o777)).expect("it is ours");
    assert_warns(&node, &["can be written by others (mode 0777)", "each start compiles them again"]);
}

trial!("hostile::cache::a_folder_above_that_others_can_write_to", a_folder_above_that_others_can_write_to());
fn a_folder_above_that_others_can_write_to() {
    let node = cold_node();
    fs::set_permissions(node.path("state"), fs::Permissions::from_mode(0o770)).expect("it is ours");
    assert_warns(&node, &["can be written by others (mode 0770)", "let only root and this user write to it"]);
    // With the sticky bit only the owner of a folder can rename it.
    fs::set_permissions(node.path("state"), fs::Permissions::from_mode(0o1777)).expect("it is ours");
    let output = node.ruleward(&["check"]).output();
    assert!(!output.stderr.contains("can't be saved"), "{}", output.stderr);
}

trial!(root "hostile::cache::entries_of_another_owner", entries_of_another_owner());
fn entries_of_another_owner() {
    let node = cold_node();
    assert_warns(&node, &[]);
    let entry = entries(&node).pop().expect("it was compiled");
    std::os::unix::fs::chown(&entry, Some(1234), None).expect("root can");
    assert_warns(&node, &["is not trusted", "belongs to user 1234, not to 0", "it was removed and is compiled again"]);
    let entry = entries(&node).pop().expect("it was compiled again");
    assert_eq!(fs::metadata(entry).expect("it is there").uid(), 0);
    for folder in ["state/cache", "state"] {
        std::os::unix::fs::chown(node.path(folder), Some(1234), None).expect("root can");
        assert_warns(&node, &["belongs to user 1234", "each start compiles them again"]);
        std::os::unix::fs::chown(node.path(folder), Some(0), None).expect("root can");
    }
}
