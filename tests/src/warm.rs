//! Compiled policies, once for the whole run. Compiling takes seconds of processor time, and nearly every test has a
//! node with an empty state directory: without this, the suites would mostly compile. `Node::cold` leaves it out.

use std::fs;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use serde_json::json;
use tempfile::TempDir;

use crate::{Backend, Node, policies};

static CACHE: Mutex<Option<TempDir>> = Mutex::new(None);

/// Fills `state` with the compiled policies that ship, if the program takes them.
pub(crate) fn fill(state: &Path) {
    let mut cache = CACHE.lock().unwrap_or_else(PoisonError::into_inner);
    let cache = cache.get_or_insert_with(compile);
    copy(&cache.path().join("cache"), &state.join("cache"));
}

/// Removes what was kept. At the end of the run.
pub fn forget() {
    CACHE.lock().unwrap_or_else(PoisonError::into_inner).take();
}

fn compile() -> TempDir {
    let kept = tempfile::Builder::new().prefix("rw-warm-").tempdir().expect("a directory for temporary files");
    let node = Node::cold(Backend::Nft);
    node.resources("apiVersion: projectcalico.org/v3\nkind: Node\nmetadata: {name: node1}\nspec: {}\n");
    let calico = policies::calico("3.32.1");
    node.configure(json!({ "policies": { "calico": calico, "static": policies::static_rules(&[], &[], &[]) } }));
    // Whether it succeeds is for the tests to judge.
    node.ruleward(&["check"]).output();
    copy(&node.path("state/cache"), &kept.path().join("cache"));
    kept
}

/// Copies a folder of plain files with its permissions; an absent folder is an empty one.
fn copy(from: &Path, to: &Path) {
    let Ok(entries) = fs::read_dir(from) else { return };
    let copied = || -> std::io::Result<()> {
        fs::create_dir_all(to)?;
        fs::set_permissions(to, fs::metadata(from)?.permissions())?;
        for entry in entries {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                fs::copy(entry.path(), to.join(entry.file_name()))?;
            }
        }
        Ok(())
    };
    copied().unwrap_or_else(|error| panic!("can't copy {} to {}: {error}", from.display(), to.display()));
}
