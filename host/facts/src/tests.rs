//! Resources as operators write them, and what they read when one is wrong.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use proptest::prelude::*;
use ruleward_core::facts::Resource;
use serde_json::json;
use tempfile::TempDir;

use super::*;

const POOL: &str = "apiVersion: projectcalico.org/v3
kind: IPPool
metadata:
  name: default
spec:
  cidr: 10.0.0.0/16
  natOutgoing: true
";

fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

fn resources(files: &[(&str, &str)]) -> Vec<Resource> {
    read_resources(folder(files).path()).unwrap().resources
}

fn names(resources: &[Resource]) -> Vec<&str> {
    resources.iter().map(|resource| resource.name.as_str()).collect()
}

/// The refusal, with the directory cut from it.
fn refusal(files: &[(&str, &str)]) -> String {
    refusal_in(folder(files).path())
}

fn refusal_in(folder: &Path) -> String {
    read_resources(folder).unwrap_err().to_string().replace(&format!("{}/", folder.display()), "")
}

fn resource(kind: &str, name: &str) -> String {
    format!("{{\"kind\":\"{kind}\",\"apiVersion\":\"v1\",\"metadata\":{{\"name\":\"{name}\"}}}}")
}

#[test]
fn a_resource_is_compact_json_with_sorted_keys() {
    let found = resources(&[("pool.yaml", POOL)]);
    assert_eq!(
        found,
        [Resource {
            kind: "IPPool".to_owned(),
            namespace: None,
            name: "default".to_owned(),
            api_version: "projectcalico.org/v3".to_owned(),
            json: "{\"apiVersion\":\"projectcalico.org/v3\",\"kind\":\"IPPool\",\"metadata\":{\"name\":\"default\"},\
                   \"spec\":{\"cidr\":\"10.0.0.0/16\",\"natOutgoing\":true}}"
                .to_owned(),
        }]
    );
}

#[test]
fn files_hold_many_resources_and_lists() {
    let two = format!("---\n{POOL}---\n# nothing\n---\n{}\n...\n", resource("Node", "n1"));
    let list =
        format!("apiVersion: v1\nkind: List\nitems:\n- {}\n- {}\n", resource("Node", "n2"), resource("Pod", "p"));
    let typed = r#"{"kind": "NodeList", "apiVersion": "v1", "items": [{"metadata": {"name": "n3", "namespace": ""}}]}"#;
    let stream = format!("{}\n{}", resource("Node", "n4"), resource("Node", "n5"));
    let found = resources(&[
        ("a.yaml", &two),
        ("b.yml", &list),
        ("sub/c.json", typed),
        ("d.json", &stream),
        ("empty.yaml", "kind: List\nitems: null\n"),
        ("comment.yaml", "# to come\n"),
        ("README.md", "no resource"),
        (".hidden.yaml", "{"),
        (".git/x.yaml", "{"),
    ]);
    assert_eq!(names(&found), ["default", "n1", "n2", "n3", "n4", "n5", "p"]);
    assert_eq!(found[3].kind, "Node");
    assert_eq!(found[3].api_version, "v1");
    assert_eq!(found[3].namespace, None);
}

#[test]
fn strings_that_yaml_1_1_would_count_in_sixties_stay_strings() {
    let felix = "apiVersion: projectcalico.org/v3
kind: FelixConfiguration
metadata: {name: default}
spec:
  natPortRange: 32768:65535
  a: Enabled
  b: on
  c: 'on'
  d: 3.10
  e: fd00::/8
  f: 1:20
  g: !!str 1
  h: |
    x
  i:
";
    let found = resources(&[("felix.yaml", felix)]);
    let spec = "\"spec\":{\"a\":\"Enabled\",\"b\":true,\"c\":\"on\",\"d\":3.1,\"e\":\"fd00::/8\",\"f\":\"1:20\",\"g\":\"1\",\
                \"h\":\"x\\n\",\"i\":null,\"natPortRange\":\"32768:65535\"}";
    assert!(found[0].json.contains(spec), "{}", found[0].json);
}

#[test]
fn words_mean_what_kubectl_makes_of_them() {
    for (word, value) in [
        ("", json!(null)),
        ("~", json!(null)),
        ("yes", json!(true)),
        ("on", json!(true)),
        ("Off", json!(false)),
        ("Enabled", json!("Enabled")),
        ("Never", json!("Never")),
        ("32768:65535", json!("32768:65535")),
        ("12:30:45", json!("12:30:45")),
        ("10.0.0.0/8", json!("10.0.0.0/8")),
        ("10.0.0.1", json!("10.0.0.1")),
        ("fd00::/8", json!("fd00::/8")),
        ("3.10", json!(3.1)),
        ("v3.28.2", json!("v3.28.2")),
        ("2001-01-01", json!("2001-01-01")),
        ("26", json!(26)),
        ("-7", json!(-7)),
        ("+7", json!(7)),
        ("0", json!(0)),
        ("0755", json!(493)),
        ("089", json!(89)),
        ("0x1F", json!(31)),
        ("0b11", json!(3)),
        ("0o17", json!(15)),
        ("1_000", json!(1000)),
        ("1e3", json!(1000)),
        (".5", json!(0.5)),
        ("1.", json!(1)),
        ("18446744073709551615", json!(18_446_744_073_709_551_615_u64)),
        ("-9223372036854775808", json!(i64::MIN)),
        ("+-1", json!("+-1")),
        ("0x", json!("0x")),
        ("0x-1", json!("0x-1")),
        (".", json!(".")),
        ("1e", json!("1e")),
        ("1é", json!("1é")),
        // kubectl makes of these the string "yEs" and the number 10.
        ("yEs", json!(true)),
        ("1__0", json!("1__0")),
    ] {
        let found = yaml::read(&format!("a: {word}\nb: x\n")).unwrap();
        assert_eq!(found[0].value["a"], value, "{word:?}");
    }
    // Of the last one kubectl makes a string.
    for word in [".nan", ".inf", "-.INF", "1e999"] {
        let reason = format!("{word:?} is not a number that JSON has; put it in quotes");
        assert_eq!(yaml::read(&format!("a: {word}")), Err(yaml::YamlError { line: 1, reason }));
    }
}

#[test]
fn aliases_and_merge_keys_are_expanded() {
    let text = format!("{POOL}  base: &base {{x: 1, y: 2}}\n  copy: *base\n  more: {{<<: *base, x: 3}}\n");
    let found = resources(&[("a.yaml", &text)]);
    assert!(found[0].json.contains("\"copy\":{\"x\":1,\"y\":2},\"more\":{\"x\":3,\"y\":2}"), "{}", found[0].json);
}

#[test]
fn a_short_file_can_not_become_a_large_one() {
    let mut text = POOL.to_owned() + "  a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
    for level in 1..=12 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        text += &format!("  a{level}: &a{level} [{aliases}]\n");
    }
    assert_eq!(
        refusal(&[("bomb.yaml", &text)]),
        "bomb.yaml, line 13: has more than 250000 values with anchors around them; write out what aliases repeat"
    );
    for item in ["x, ".repeat(1000), "x".repeat(100_000)] {
        let aliases = "*a, ".repeat(3000);
        assert_eq!(
            refusal(&[("wide.yaml", &format!("a: &a [{item}]\nb: [{aliases}]\n"))]),
            "wide.yaml, line 2: holds more than two million keys and values or 32 MiB of text, aliases counted in full; \
             split the file"
        );
    }
    assert_eq!(
        refusal(&[("self.yaml", "a: &a [*a]")]),
        "self.yaml, line 1: has an alias to a value that is not complete yet"
    );
    let deep = "[".repeat(5000);
    assert!(refusal(&[("deep.yaml", &deep)]).starts_with("deep.yaml, line 1: not valid YAML: "));
    assert!(refusal(&[("deep.json", &deep)]).starts_with("deep.json, line 1: not valid JSON: recursion limit"));
    let deep: String = (0..300).map(|level| format!("{}a:\n", " ".repeat(level))).collect();
    assert!(refusal(&[("deep.yaml", &deep)]).starts_with("deep.yaml, line "));
    let deep = "- ".repeat(5000);
    assert!(refusal(&[("deep.yaml", &deep)]).starts_with("deep.yaml, line 1"));
}

#[test]
fn refusals_name_file_and_line() {
    for (text, message) in [
        ("a: 1\n---\nkind: [", "line 3: not valid YAML: unclosed bracket '['"),
        ("a: 1\na: 2\n", "line 2: has the key \"a\" twice in one mapping; remove one"),
        ("\n\nkind: IPPool\n", "line 3: has no apiVersion; add it, for example apiVersion: projectcalico.org/v3"),
        ("apiVersion: v1\n", "line 1: has no kind; add it, for example kind: IPPool"),
        ("apiVersion: 1\n", "line 1: apiVersion is the number 1; put it in quotes"),
        ("{apiVersion: v1, kind: ''}", "line 1: kind is empty; expected a string such as \"IPPool\""),
        ("{apiVersion: v1, kind: A}", "line 1: has no metadata; add it with a name in it"),
        ("{apiVersion: v1, kind: A, metadata: x}", "line 1: metadata is a string; expected a mapping with a name"),
        (
            "{apiVersion: v1, kind: A, metadata: {}}",
            "line 1: has no metadata.name; add it, for example metadata.name: default-ipv4-ippool",
        ),
        (
            "{apiVersion: v1, kind: A, metadata: {name: yes}}",
            "line 1: metadata.name is the boolean true; put it in quotes",
        ),
        ("hello", "line 1: is a string, not a resource with apiVersion, kind and metadata"),
        ("{kind: List}", "line 1: is a List without items; add them, or items: [] for none"),
        ("{kind: List, items: 1}", "line 1: items is the number 1; expected a list"),
        (
            "{kind: List, items: [1]}",
            "line 1, items[0]: is the number 1, not a resource with apiVersion, kind and metadata",
        ),
        (
            "{kind: List, items: [{kind: List, items: []}]}",
            "line 1, items[0]: is a List inside a List; write all items into one",
        ),
        ("a: .inf", "line 1: \".inf\" is not a number that JSON has; put it in quotes"),
        ("a: !!int x", "line 1: is not what its tag says: u64"),
        ("a: !secret x", "line 1: has the tag \"!secret\", which no resource needs; remove it"),
        ("? [a]\n: b", "line 1: has a key that is not a plain word; keys are strings"),
        ("a: {<<: 1}", "line 1: has a merge key `<<` whose value is not a mapping"),
    ] {
        let refusal = refusal(&[("x.yaml", text)]);
        assert!(refusal.starts_with(&format!("x.yaml, {message}")), "{text:?}: {refusal}");
        assert!(message.ends_with(' ') || refusal == format!("x.yaml, {message}"), "{text:?}: {refusal}");
    }
    let json = format!("{}\n\n  {{\"a\": \n}}", resource("Node", "n"));
    assert_eq!(refusal(&[("x.json", &json)]), "x.json, line 4: not valid JSON: expected value at line 4 column 1");
}

#[test]
fn the_same_resource_twice_is_refused() {
    let second = format!("# pools\n{POOL}");
    assert_eq!(
        refusal(&[("a.yaml", POOL), ("b.yaml", &second)]),
        "IPPool \"default\" is there twice: a.yaml, line 1, and b.yaml, line 2; remove one of them"
    );
    let pods =
        |namespace: &str| format!("{{apiVersion: v1, kind: Pod, metadata: {{name: p, namespace: {namespace}}}}}\n");
    assert_eq!(resources(&[("a.yaml", &pods("blue")), ("b.yaml", &pods("green"))]).len(), 2);
    assert_eq!(
        refusal(&[("a.yaml", &format!("kind: List\nitems:\n- {}- {}", pods("blue"), pods("blue")))]),
        "Pod \"blue/p\" is there twice: a.yaml, line 1, items[0], and a.yaml, line 1, items[1]; \
         remove one of them"
    );
}

#[test]
fn one_bad_file_refuses_them_all_and_all_problems_are_said() {
    let message = refusal(&[("a.yaml", POOL), ("b.yaml", "x"), ("c.json", ""), ("d.json", "{}")]);
    assert_eq!(
        message.lines().collect::<Vec<_>>(),
        [
            "b.yaml, line 1: is a string, not a resource with apiVersion, kind and metadata",
            "c.json: is empty; remove it, or leave a comment in it",
            "d.json, line 1: has no apiVersion; add it, for example apiVersion: projectcalico.org/v3",
        ]
    );
}

#[test]
fn a_missing_directory_holds_no_resources() {
    let folder = folder(&[]);
    let missing = folder.path().join("none");
    let set = read_resources(&missing).unwrap();
    assert!(set.resources.is_empty());
    assert_eq!(set.notes, [format!("{}: does not exist, so there are no resources", missing.display())]);
    fs::write(&missing, "").unwrap();
    assert_eq!(
        refusal_in(&missing),
        format!("{}: is not a directory; name the directory that holds the files", missing.display())
    );
}

#[test]
fn a_config_map_is_read_once_through_its_links() {
    let folder = folder(&[("..2026_01_01/pool.yaml", POOL)]);
    symlink("..2026_01_01", folder.path().join("..data")).unwrap();
    symlink("..data/pool.yaml", folder.path().join("pool.yaml")).unwrap();
    assert_eq!(names(&read_resources(folder.path()).unwrap().resources), ["default"]);
}

#[test]
fn links_may_go_in_circles_but_not_into_the_void() {
    let folder = folder(&[("a/pool.yaml", POOL)]);
    symlink("..", folder.path().join("a/up")).unwrap();
    symlink("a", folder.path().join("b")).unwrap();
    assert_eq!(names(&read_resources(folder.path()).unwrap().resources), ["default"]);
    symlink("nowhere", folder.path().join("x.yaml")).unwrap();
    assert_eq!(refusal_in(folder.path()), "x.yaml: is a link to a file that does not exist; remove or mend it");
}

#[test]
fn bytes_that_are_no_text_are_refused() {
    let folder = folder(&[]);
    fs::write(folder.path().join("x.yaml"), b"a\n\xff").unwrap();
    assert_eq!(refusal_in(folder.path()), "x.yaml: is not UTF-8: line 2 holds other bytes; save the file as UTF-8");
    let long = fs::File::create(folder.path().join("x.yaml")).unwrap();
    long.set_len((16 << 20) + 1).unwrap();
    assert_eq!(refusal_in(folder.path()), "x.yaml: is longer than 16 MiB; split it");
}

#[test]
fn facts_hold_what_they_were_told_and_what_the_node_says() {
    let folder = folder(&[("pool.yaml", POOL)]);
    let options = Options {
        node_name: Some("worker-7"),
        resources: folder.path(),
        wants_resources: true,
        iptables: Version(1, 8, 9),
        backend: Backend::Nft,
        families: Families::BOTH,
    };
    let first = read(&options, &mut Reader::default()).unwrap();
    assert_eq!(first.facts.node_name, "worker-7");
    assert_eq!(first.facts.system.iptables, Version(1, 8, 9));
    assert_eq!(first.facts.system.kernel, kernel_version().unwrap());
    assert_eq!(first.facts.resources.len(), 1);
    assert!(first.notes.is_empty());
    let unnamed = read(&Options { node_name: None, ..options }, &mut Reader::default()).unwrap();
    assert_eq!(unnamed.facts.node_name, host_name().unwrap());
}

#[test]
fn a_missing_folder_is_a_remark_for_who_reads_resources() {
    let folder = folder(&[]);
    let missing = folder.path().join("missing");
    let options = Options {
        node_name: None,
        resources: &missing,
        wants_resources: true,
        iptables: Version(1, 8, 9),
        backend: Backend::Nft,
        families: Families::BOTH,
    };
    let notes = |options| read(&options, &mut Reader::default()).unwrap().notes.len();
    assert_eq!((notes(options), notes(Options { wants_resources: false, ..options })), (1, 0));
}

proptest! {
    #[test]
    fn no_text_makes_yaml_panic(text in any::<String>()) {
        let _ = yaml::read(&text);
    }

    #[test]
    fn no_punctuation_makes_yaml_panic(text in "[ \n\ta-c0-2:\\-?,\\[\\]{}&*!|>'\"%@`#<~.]{0,60}") {
        let _ = yaml::read(&text);
    }

    #[test]
    fn what_is_json_is_the_same_in_yaml(numbers in proptest::collection::vec(any::<i64>(), 0..9), text in "[ -~]{0,20}") {
        let value = serde_json::json!({ "numbers": numbers, text.as_str(): [text.as_str(), null, true, { "a": {} }] });
        let documents = yaml::read(&value.to_string()).unwrap();
        prop_assert_eq!(&documents[0].value, &value);
    }
}
