//! What operators get when their configuration is right, and what several files make of each other.

mod refusals;

use std::fs;

use proptest::prelude::*;
use ruleward_core::contribution::Families;
use ruleward_core::limit::Limit;
use ruleward_core::names::Table;
use serde_json::json;

use super::*;

fn parse(text: &str) -> Result<Config, ConfigError> {
    parse_files(&[("/etc/r/ruleward.toml", text)])
}

fn parse_files(files: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let source = |(file, text): &(&str, &str)| Source { file: file.into(), text: (*text).to_owned() };
    Config::parse(Path::new("/etc/r/ruleward.toml"), &files.iter().map(source).collect::<Vec<_>>())
}

fn refusal(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

#[test]
fn the_ceiling_caps_defaults_and_permits_what_is_at_it() {
    let config = parse(
        "limits-ceiling = { memory = \"32MiB\", rules = 500, chains = 5000 }\n\
         [policies.x]\nlimits = { rules = 500 }\n[policies.y]\nlimits = { memory = \"1MiB\", chains = 4500 }\n",
    )
    .unwrap();
    let limits = |name: &str| config.policies[&PolicyName::new(name).unwrap()].limits.clone();
    let capped = Limits::default().with(Limit::Memory, 32 << 20).with(Limit::Rules, 500);
    assert_eq!(limits("x"), capped);
    assert_eq!(limits("y"), capped.with(Limit::Memory, 1 << 20).with(Limit::Chains, 4500));
}

#[test]
fn an_empty_file_is_a_configuration() {
    let config = parse("").unwrap();
    assert_eq!(config.node_name, None);
    assert_eq!(config.refresh_interval, Duration::from_secs(90));
    assert_eq!(config.command_timeout, Duration::from_secs(60));
    assert_eq!(config.lock_timeout, Duration::from_secs(600));
    assert_eq!(config.incident_journal_size, 8 << 20);
    assert_eq!(config.state_directory, Path::new("/var/lib/ruleward"));
    assert_eq!(config.runtime_directory, Path::new("/run/ruleward"));
    assert_eq!(config.policy_directory, Path::new("/usr/lib/ruleward/policies"));
    assert_eq!(config.resources, Path::new("/etc/ruleward/resources"));
    assert_eq!(config.backend, BackendChoice::Auto);
    assert_eq!(config.families, Families::BOTH);
    assert_eq!(config.traces, None);
    assert!(config.policies.is_empty());
}

#[test]
fn every_key_is_read() {
    let config = parse(
        r#"
        node-name = "worker-7"
        refresh-interval = "100ms"
        state-directory = "/s"
        runtime-directory = "run"
        policy-directory = "/p"
        backend = "legacy"
        families = ["ipv6"]
        resources = "../docs"
        command-timeout = "2s"
        lock-timeout = "1h"
        incident-journal-size = "1MiB"
        traces = "http://[::1]:4318"
        [policies.calico]
        component = "calico-postrouting.wasm"
        mode = "enforce"
        grants = { tables = ["nat", "raw"], chains = ["cali-*"], sets = ["cali4*"], comments = ["cali:"], resources = ["IPPool"], policies = ["raw/OUTPUT"], uses = { sets = ["crowdsec-*"], chains = ["DOCKER-USER"] }, jumps = "exclusive" }
        limits = { memory = "64MiB", time = "250ms", fuel = 1_000, chains = 1, rules = 2, members = 3, log-lines = 4, output = 4096 }
        settings = { b = [1, 2.5, true, "x"], a = { d = 1, c = 2 } }
        [policies.static]
        component = "./x/y.wasm"
        mode = "off"
        [policies.third]
        "#,
    )
    .unwrap();
    assert_eq!(config.node_name.as_deref(), Some("worker-7"));
    assert_eq!(config.refresh_interval, Duration::from_millis(100));
    assert_eq!(config.runtime_directory, Path::new("/etc/r/run"));
    assert_eq!(config.resources, Path::new("/etc/r/../docs"));
    assert_eq!(config.backend, BackendChoice::Fixed(Backend::Legacy));
    assert_eq!(config.families, Families { ipv4: false, ipv6: true });
    let policy = |name: &str| &config.policies[&PolicyName::new(name).unwrap()];
    let calico = policy("calico");
    assert_eq!(calico.component, Path::new("/p/calico-postrouting.wasm"));
    assert_eq!(config.incident_journal_size, 1 << 20);
    assert_eq!(config.traces.as_ref().map(ToString::to_string).as_deref(), Some("http://[::1]:4318/v1/traces"));
    assert_eq!(calico.place.line, 14);
    assert_eq!(calico.grants.tables, [Table::Raw, Table::Nat]);
    assert!(
        calico.grants.owns_chain("cali-x") && calico.grants.owns_set("cali40") && calico.grants.owns_comment("cali:x")
    );
    assert_eq!(calico.grants.resources, ["IPPool"]);
    assert_eq!(
        calico.limits,
        Limits::default()
            .with(Limit::Memory, 64 << 20)
            .with(Limit::Time, 250_000)
            .with(Limit::Fuel, 1000)
            .with(Limit::Chains, 1)
            .with(Limit::Rules, 2)
            .with(Limit::Members, 3)
            .with(Limit::LogLines, 4)
            .with(Limit::Output, 4096)
    );
    assert_eq!(calico.settings.to_string(), r#"{"a":{"c":2,"d":1},"b":[1,2.5,true,"x"]}"#);
    assert_eq!(policy("static").component, Path::new("/etc/r/./x/y.wasm"));
    assert_eq!(policy("static").mode, Mode::Off);
    assert_eq!(policy("third").component, Path::new("/p/third.wasm"));
    assert_eq!(policy("third").mode, Mode::Enforce);
    assert_eq!(policy("third").settings.as_ref(), "{}");
}

#[test]
fn a_shadow_shares_what_it_does_not_say_and_owns_nothing() {
    let text = "[policies.web]\ncomponent = \"a.wasm\"\ngrants = { tables = [\"nat\"], chains = [\"w-*\"] }\n\
                limits.rules = 5\nsettings.a = 1\n[policies.next]\nshadow-of = \"web\"\ncomponent = \"b.wasm\"\n";
    let config = parse(text).unwrap();
    let policy = |name: &str| &config.policies[&PolicyName::new(name).unwrap()];
    let (web, next) = (policy("web"), policy("next"));
    assert_eq!((next.mode, next.shadow_of.as_ref().map(|name| name.as_str())), (Mode::Shadow, Some("web")));
    assert!(next.component.ends_with("b.wasm"));
    assert_eq!((&next.grants, &next.limits, &next.settings), (&web.grants, &web.limits, &web.settings));
    let alone =
        text.replace("shadow-of = \"web\"", "mode = \"shadow\"\ngrants = { tables = [\"nat\"], chains = [\"w-x\"] }");
    let refused = refusal(&alone);
    assert!(refused.contains("to try next beside web, say shadow-of = \"web\""), "{refused}");
    let other = "[policies.other.grants]\ntables = [\"nat\"]\nchains = [\"o-*\"]\n";
    assert!(parse(&format!("{text}{other}")).is_ok());
    let greedy = text.replace("shadow-of", "grants = { tables = [\"nat\"], chains = [\"o-*\"] }\nshadow-of");
    assert!(refusal(&format!("{greedy}{other}")).contains("o-* and o-*"), "a shadow may have what a third policy owns");
}

#[test]
fn overlapping_grants_name_both_policies_and_both_files() {
    let files = [
        ("/etc/r/ruleward.toml", "policies.a.grants = { tables = [\"nat\"], chains = [\"cali-*\"] }"),
        ("/etc/r/conf.d/b.toml", "\n[policies.b]\ngrants = { tables = [\"nat\"], chains = [\"cali-fip-*\"] }"),
    ];
    assert_eq!(
        parse_files(&files).unwrap_err().to_string(),
        "policies `a` (/etc/r/ruleward.toml, line 1) and `b` (/etc/r/conf.d/b.toml, line 2) would both own chains cali-* \
         and cali-fip-*; every name has one owner: change the grants of one of them, or set its mode to \"off\""
    );
    let off = files[1].1.replace("[policies.b]", "[policies.b]\nmode = \"off\"");
    assert!(parse_files(&[files[0], (files[1].0, &off)]).is_ok(), "a policy that is off owns something");
}

#[test]
fn files_add_to_each_other_but_never_override() {
    let first = ("/etc/r/ruleward.toml", "backend = \"nft\"\n[policies.a]");
    let config = parse_files(&[first, ("/etc/r/conf.d/1.toml", "node-name = \"n\"\n[policies.b]")]).unwrap();
    assert_eq!(config.policies.len(), 2);
    assert_eq!(config.node_name.as_deref(), Some("n"));
    assert_eq!(config.files, [Path::new("/etc/r/ruleward.toml"), Path::new("/etc/r/conf.d/1.toml")]);
    let error = parse_files(&[first, ("/etc/r/conf.d/1.toml", "backend = \"nft\"\n[policies.a]")]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "backend is set twice, in /etc/r/ruleward.toml, line 1 and in /etc/r/conf.d/1.toml, line 1; remove one of them\n\
         policies.a is set twice, in /etc/r/ruleward.toml, line 2 and in /etc/r/conf.d/1.toml, line 2; remove one of them"
    );
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let error = parse("bakend = 1\nlock-timeout = 5\n[policies.x]\nmode = 1\nlimits.rules = 0").unwrap_err();
    assert_eq!(error.problems.len(), 4, "{error}");
    let many: String = (0..80).map(|number| format!("key{number} = 1\n")).collect();
    let text = refusal(&many);
    assert_eq!(text.lines().count(), 51);
    assert!(text.ends_with("... and 30 more"), "{text}");
}

#[test]
fn files_are_read_with_those_in_conf_d() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ruleward.toml");
    let error = Config::load(&file).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "{}: does not exist; create it (an empty file is a valid configuration) or name another one with --config",
            file.display()
        )
    );
    assert!(!error.denied());
    fs::write(&file, "").unwrap();
    fs::create_dir(folder.path().join("conf.d")).unwrap();
    for (name, text) in [("2.toml", "[policies.b]"), ("1.toml", "[policies.a]"), ("3.bak", "="), (".4.toml", "=")] {
        fs::write(folder.path().join("conf.d").join(name), text).unwrap();
    }
    let config = Config::load(&file).unwrap();
    let names: Vec<_> = config.files.iter().map(|file| file.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(names, ["ruleward.toml", "1.toml", "2.toml"]);
    assert_eq!(config.policies.len(), 2);
}

#[test]
fn files_that_are_no_text_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let refusal = |path: &Path| Config::load(path).unwrap_err().to_string();
    assert_eq!(
        refusal(folder.path()),
        format!("{}: is a directory; name the file in it, such as ruleward.toml", folder.path().display())
    );
    let file = folder.path().join("r.toml");
    fs::write(&file, b"\nbackend = \"\xff\"").unwrap();
    assert_eq!(
        refusal(&file),
        format!("{}: is not UTF-8: line 2 holds other bytes; save the file as UTF-8", file.display())
    );
    let long = fs::File::create(&file).unwrap();
    long.set_len(MAX_FILE_SIZE + 1).unwrap();
    assert_eq!(
        refusal(&file),
        format!("{}: is longer than 16 MiB; split its policies over files in conf.d", file.display())
    );
    let below = file.join("x.toml");
    assert_eq!(
        refusal(&below).lines().last().unwrap(),
        format!("{}: can't be read: a part of the path is a file, not a directory", below.display())
    );
}

#[test]
fn fifty_thousand_rules_are_settings() {
    let rules: String =
        (0..50_000).map(|n| format!("[[policies.x.settings.rules]]\nrule = \"-d 10.0.0.0/8 -j X{n}\"\n")).collect();
    let config = parse(&rules).unwrap();
    let settings = &config.policies[&PolicyName::new("x").unwrap()].settings;
    let settings: serde_json::Value = serde_json::from_str(settings).unwrap();
    assert_eq!(settings["rules"].as_array().unwrap().len(), 50_000);
    assert_eq!(settings["rules"][49_999], json!({ "rule": "-d 10.0.0.0/8 -j X49999" }));
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in any::<String>()) {
        let _ = parse(&text);
    }

    #[test]
    fn no_value_makes_it_panic(
        key in "(refresh-interval|families|policies|policies\\.x|policies\\.x\\.(grants|limits|mode|component|settings))(\\.[a-z]{1,8})?",
        value in "(\"[ -!#-\\[\\]-~]{0,9}\"|-?[0-9]{1,20}|true|\\[[0-9, \"]{0,9}\\]|\\{ ?[a-z]{1,3} = [0-9] ?\\}|nan|1979-05-27)",
    ) {
        let _ = parse(&format!("{key} = {value}"));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = parse(&String::from_utf8_lossy(&bytes));
    }
}
