//! What operators read when their configuration is wrong, word for word.

use super::*;

/// Each text is refused with exactly this message.
fn assert_refusals(cases: &[(&str, &str)]) {
    for (text, message) in cases {
        assert_eq!(refusal(text), *message, "for {text}");
    }
}

#[test]
fn unknown_keys_are_refused_with_the_nearest_known_one() {
    assert_refusals(&[
        (
            "\nrefresh-intervall = \"90s\"",
            "unknown key `refresh-intervall` in /etc/r/ruleward.toml, line 2; did you mean `refresh-interval`?",
        ),
        (
            "refresh_interval = \"90s\"",
            "unknown key `refresh_interval` in /etc/r/ruleward.toml, line 1; did you mean `refresh-interval`?",
        ),
        (
            "[policies.x]\ngrant = {}",
            "unknown key `policies.x.grant` in /etc/r/ruleward.toml, line 2; did you mean `policies.x.grants`?",
        ),
        (
            "policies.x.grants.sests = []",
            "unknown key `policies.x.grants.sests` in /etc/r/ruleward.toml, line 1; did you mean `policies.x.grants.sets`?",
        ),
        (
            "policies.x.limits.\"a b\" = 1",
            "unknown key `policies.x.limits.\"a b\"` in /etc/r/ruleward.toml, line 1; \
             known keys here: chains, fuel, input, instances, log-line-size, log-lines, members, memories, memory, output, \
             rules, sets, table-elements, tables, time",
        ),
    ]);
}

#[test]
fn wrong_types_and_values_say_what_is_right() {
    assert_refusals(&[
        (
            "refresh-interval = 90",
            "refresh-interval in /etc/r/ruleward.toml, line 1: expected a duration such as \"90s\", found integer 90",
        ),
        (
            "refresh-interval = \"90\"",
            "refresh-interval in /etc/r/ruleward.toml, line 1: expected a duration such as \"90s\" \
             (a number and ms, s, m, h or d; several are added up), found string \"90\"",
        ),
        (
            "refresh-interval = \"99ms\"",
            "refresh-interval in /etc/r/ruleward.toml, line 1: \"99ms\" is out of bounds; use \"100ms\" to \"30days\"",
        ),
        (
            "incident-journal-size = \"8XB\"",
            "incident-journal-size in /etc/r/ruleward.toml, line 1: expected a size such as \"8MiB\" \
             (a number and KiB, MiB or GiB, kB, MB or GB, or plain bytes), found string \"8XB\"",
        ),
        (
            "incident-journal-size = \"1GiB\"",
            "incident-journal-size in /etc/r/ruleward.toml, line 1: \"1GiB\" is out of bounds; use \"64KiB\" to \"256MiB\"",
        ),
        (
            "traces = 4318",
            "traces in /etc/r/ruleward.toml, line 1: expected \"off\" or the address of a collector such as \
             \"http://127.0.0.1:4318/v1/traces\", found integer 4318",
        ),
        (
            "traces = \"https://127.0.0.1:4318\"",
            "traces in /etc/r/ruleward.toml, line 1: \"https://127.0.0.1:4318\" asks for TLS, which is not spoken here; send to a \
             collector on this node, such as \"http://127.0.0.1:4318/v1/traces\", and let it send on with TLS",
        ),
        (
            "backend = \"nftables\"",
            "backend in /etc/r/ruleward.toml, line 1: expected \"auto\", \"nft\" or \"legacy\", found string \"nftables\"",
        ),
        (
            "node-name = \"a b\"",
            "node-name in /etc/r/ruleward.toml, line 1: must be 1 to 253 bytes without spaces and control characters",
        ),
        (
            "resources = [1]",
            "resources in /etc/r/ruleward.toml, line 1: expected a path such as \"/etc/ruleward/resources\", found a list",
        ),
        ("families = []", "families in /etc/r/ruleward.toml, line 1: is empty; name \"ipv4\", \"ipv6\" or both"),
        (
            "families = [\"ipv4\",\n \"ipv5\"]",
            "families[1] in /etc/r/ruleward.toml, line 2: \"ipv5\" is no family; use \"ipv4\" or \"ipv6\"",
        ),
        (
            "families = [\"ipv4\", \"ipv4\"]",
            "families[1] in /etc/r/ruleward.toml, line 1: \"ipv4\" is there twice; remove one of them",
        ),
        (
            "families = \"ipv4\"",
            "families in /etc/r/ruleward.toml, line 1: expected a list such as [\"ipv4\", \"ipv6\"], found string \"ipv4\"",
        ),
        (
            "policies = 1979-05-27",
            "policies in /etc/r/ruleward.toml, line 1: expected a table of policies: write [policies.NAME], \
             found date 1979-05-27",
        ),
        (
            "policies.x = true",
            "policies.x in /etc/r/ruleward.toml, line 1: expected a table with the keys component, grants, limits, mode, \
             settings, shadow-of, found boolean true",
        ),
        (
            "[policies.Calico]",
            "policies.Calico in /etc/r/ruleward.toml, line 1: policy name \"Calico\" must be 1 to 63 lower-case letters, \
             digits and hyphens, beginning with a letter or digit",
        ),
        (
            "policies.x = { mode = \"enforce\", shadow-of = \"y\" }\npolicies.y = {}",
            "policies.x.mode in /etc/r/ruleward.toml, line 1: a policy with `shadow-of` is not put in force; leave out the \
             mode, or leave out `shadow-of`",
        ),
        (
            "policies.x.shadow-of = \"y\"",
            "policies.x.shadow-of in /etc/r/ruleward.toml, line 1: \"y\" is no policy that is put in force; name one that is",
        ),
        (
            "policies.x.shadow-of = \"x\"",
            "policies.x.shadow-of in /etc/r/ruleward.toml, line 1: \"x\" is no policy that is put in force; name one that is",
        ),
        (
            "policies.x.mode = \"on\"",
            "policies.x.mode in /etc/r/ruleward.toml, line 1: expected \"enforce\", \"shadow\" or \"off\", found string \"on\"",
        ),
        (
            "policies.x.component = \"oci://a/b\"",
            "policies.x.component in /etc/r/ruleward.toml, line 1: \"oci://a/b\" is a web address; download the component \
             and name the file",
        ),
        (
            "policies.x.component = \"\"",
            "policies.x.component in /etc/r/ruleward.toml, line 1: expected a file name in the policy directory such as \
             \"policy.wasm\", or a path with a \"/\", found string \"\"",
        ),
    ]);
}

#[test]
fn wrong_limits_say_what_is_right() {
    assert_refusals(&[
        (
            "policies.x.limits = 1",
            "policies.x.limits in /etc/r/ruleward.toml, line 1: expected a table with the keys chains, fuel, input, \
             instances, log-line-size, log-lines, members, memories, memory, output, rules, sets, table-elements, tables, time, \
             found integer 1",
        ),
        (
            "policies.x.limits.memory = \"64XB\"",
            "policies.x.limits.memory in /etc/r/ruleward.toml, line 1: expected a size such as \"64MiB\" \
             (a number and KiB, MiB or GiB, kB, MB or GB, or plain bytes), found string \"64XB\"",
        ),
        (
            "policies.x.limits.memory = 1.5",
            "policies.x.limits.memory in /etc/r/ruleward.toml, line 1: expected a size such as \"64MiB\", found float 1.5",
        ),
        (
            "policies.x.limits.memory = \"5GiB\"",
            "policies.x.limits.memory in /etc/r/ruleward.toml, line 1: \"5GiB\" is out of bounds; use \"64KiB\" to \"4GiB\"",
        ),
        (
            "policies.x.limits.time = \"0s\"",
            "policies.x.limits.time in /etc/r/ruleward.toml, line 1: \"0s\" is out of bounds; use \"1ms\" to \"1h\"",
        ),
        (
            "policies.x.limits.rules = -1",
            "policies.x.limits.rules in /etc/r/ruleward.toml, line 1: -1 is out of bounds; use 1 to 10000000",
        ),
        (
            "policies.x.limits.rules = \"1\"",
            "policies.x.limits.rules in /etc/r/ruleward.toml, line 1: expected a whole number from 1 to 10000000, \
             found string \"1\"",
        ),
    ]);
}

#[test]
fn limits_above_the_ceiling_name_both_keys() {
    assert_refusals(&[
        (
            "limits-ceiling.memory = \"32MiB\"\npolicies.x.limits.memory = \"64MiB\"",
            "policies.x.limits.memory in /etc/r/ruleward.toml, line 2: 64MiB is above the ceiling of 32MiB, which \
             `limits-ceiling.memory` sets; use at most 32MiB, or raise the ceiling",
        ),
        (
            "limits-ceiling.time = \"100ms\"\npolicies.x.limits.time = \"2s\"",
            "policies.x.limits.time in /etc/r/ruleward.toml, line 2: 2s is above the ceiling of 100ms, which \
             `limits-ceiling.time` sets; use at most 100ms, or raise the ceiling",
        ),
        (
            "limits-ceiling.rule = 5",
            "unknown key `limits-ceiling.rule` in /etc/r/ruleward.toml, line 1; did you mean `limits-ceiling.rules`?",
        ),
        (
            "limits-ceiling.rules = 0",
            "limits-ceiling.rules in /etc/r/ruleward.toml, line 1: 0 is out of bounds; use 1 to 10000000",
        ),
    ]);
}

#[test]
fn wrong_grants_say_what_is_right() {
    let grants = |grants: &str| refusal(&format!("policies.x.grants = {{ tables = [\"nat\"], {grants} }}"));
    for (text, message) in [
        ("chains = [\"*\"]", "chains[0]: pattern \"*\" would own every name; write a prefix before the *"),
        ("chains = [\"a*b\"]", "chains[0]: pattern \"a*b\" has a * before its end; only a trailing * is possible"),
        (
            "chains = [\"INPUT\"]",
            "chains[0]: pattern \"INPUT\" would hold the built-in chain INPUT, which no pattern can",
        ),
        (
            "chains = [\"PO*\"]",
            "chains[0]: pattern \"PO*\" would hold the built-in chain POSTROUTING, which no pattern can",
        ),
        (
            "sets = [\"ruleward-tmp-x\"]",
            "sets[0]: pattern \"ruleward-tmp-x\" overlaps ruleward-tmp-*, which is reserved for the host",
        ),
        ("sets = [\"-x\"]", "sets[0]: set name \"-x\" begins with a character that iptables reads as syntax"),
        ("sets = [1]", "sets[0]: expected a string, found integer 1"),
        ("sets = \"a\"", "sets: expected a list of names and prefixes such as [\"web4-*\"], found string \"a\""),
        ("comments = [\"\"]", "comments[0]: is empty and would own every rule; write a beginning such as \"web:\""),
        ("comments = [\"a\\nb\"]", "comments[0]: contains the control character '\\n'; remove it"),
        (
            "comments = [\"rw:y\"]",
            "comments[0]: \"rw:y\" would own what the host writes for other policies; use \"rw:x:\" or another beginning",
        ),
        ("resources = [\"IP Pool\"]", "resources[0]: \"IP Pool\" is no kind of resource; write it like \"IPPool\""),
    ] {
        let (key, reason) = message.split_once(':').unwrap();
        assert_eq!(grants(text), format!("policies.x.grants.{key} in /etc/r/ruleward.toml, line 1:{reason}"));
    }
    let long = format!("comments = [\"{}\"]", "c".repeat(201));
    assert!(
        grants(&long)
            .ends_with("comments[0] in /etc/r/ruleward.toml, line 1: is 201 bytes long; at most 200 are possible")
    );
    assert_refusals(&[
        (
            "policies.x.grants.tables = [\"nats\"]",
            "policies.x.grants.tables[0] in /etc/r/ruleward.toml, line 1: \"nats\" is no table; use \"raw\", \"mangle\", \
             \"nat\", \"filter\" or \"security\"",
        ),
        (
            "policies.x.grants.chains = [\"a\"]",
            "policies.x.grants.chains in /etc/r/ruleward.toml, line 1: grants nothing without tables; \
             add tables = [\"nat\"], or whichever it may use",
        ),
    ]);
    assert!(parse("policies.x.grants = { tables = [\"nat\"], comments = [\"rw:x:\", \"x\"] }").is_ok());
}

#[test]
fn settings_that_json_lacks_are_refused_with_their_path() {
    assert_refusals(&[
        (
            "[policies.x.settings]\na = [1, 1979-05-27]",
            "policies.x.settings.a[1] in /etc/r/ruleward.toml, line 2: settings have no dates; write it as a string: \
             \"1979-05-27\"",
        ),
        (
            "policies.x.settings.\"b c\" = inf",
            "policies.x.settings.\"b c\" in /etc/r/ruleward.toml, line 1: inf is not a number that JSON has; \
             write it as a string",
        ),
        (
            "policies.x.settings = 9223372036854775808",
            "policies.x.settings in /etc/r/ruleward.toml, line 1: 9223372036854775808 does not fit into 64 bits; \
             write it as a string",
        ),
    ]);
    let config = parse("policies.x.settings = 0xff").unwrap();
    assert_eq!(config.policies[&PolicyName::new("x").unwrap()].settings.as_ref(), "255");
}

#[test]
fn syntax_errors_have_a_line_and_a_column() {
    assert_refusals(&[
        ("a = 1\nb = = 2", "/etc/r/ruleward.toml, line 2, column 5: not valid TOML: extra `=`, expected nothing"),
        (
            "backend = \"nft\"\nbackend = \"nft\"",
            "/etc/r/ruleward.toml, line 2, column 1: not valid TOML: duplicate key",
        ),
    ]);
}
