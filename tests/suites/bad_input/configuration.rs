//! Mistakes in `ruleward.toml` and `conf.d`.

use ruleward_tests::trial;
use ruleward_tests::{Backend, Node};
use serde_json::{Value, json};

use super::{assert_refused, good_node, good_policy};

pub struct Case {
    pub name: &'static str,
    /// Spoils the configuration of a node.
    spoil: fn(&Node),
    /// What the refusal must say.
    says: &'static [&'static str],
}

pub const CASES: &[Case] = &[
    Case {
        name: "unknown_key",
        spoil: |node| node.set("refresh-intervall", json!("90s")),
        says: &["refresh-intervall", "ruleward.toml", "refresh-interval`"],
    },
    Case {
        name: "unknown_key_in_a_policy",
        spoil: |node| policy(node, "componnent", json!("x.wasm")),
        says: &["policies.good.componnent", "ruleward.toml", "component"],
    },
    Case {
        name: "unknown_key_in_grants",
        spoil: |node| policy(node, "grants", json!({ "tables": ["nat"], "chain": ["op-*"] })),
        says: &["policies.good.grants.chain", "chains"],
    },
    Case {
        name: "unknown_key_in_limits",
        spoil: |node| policy(node, "limits", json!({ "memmory": "64MiB" })),
        says: &["policies.good.limits.memmory", "memory"],
    },
    Case {
        name: "number_for_a_duration",
        spoil: |node| node.set("refresh-interval", json!(90)),
        says: &["refresh-interval", "ruleward.toml", "90s"],
    },
    Case {
        name: "duration_too_short",
        spoil: |node| node.set("refresh-interval", json!("10ms")),
        says: &["refresh-interval", "100ms"],
    },
    Case {
        name: "zero_duration",
        spoil: |node| node.set("refresh-interval", json!("0s")),
        says: &["refresh-interval"],
    },
    Case {
        name: "unknown_backend",
        spoil: |node| node.set("backend", json!("nftables")),
        says: &["backend", "nftables", "legacy"],
    },
    Case { name: "no_family", spoil: |node| node.set("families", json!([])), says: &["families", "ipv4"] },
    Case {
        name: "text_for_a_list",
        spoil: |node| policy(node, "grants", json!({ "tables": "nat" })),
        says: &["policies.good.grants.tables", "ruleward.toml"],
    },
    Case {
        name: "unknown_table",
        spoil: |node| policy(node, "grants", json!({ "tables": ["nat", "broute"] })),
        says: &["policies.good.grants.tables", "broute"],
    },
    Case {
        name: "pattern_with_a_star_inside",
        spoil: |node| policy(node, "grants", json!({ "tables": ["nat"], "chains": ["op-*-in"] })),
        says: &["policies.good.grants.chains", "op-*-in"],
    },
    Case {
        name: "pattern_that_owns_everything",
        spoil: |node| policy(node, "grants", json!({ "tables": ["nat"], "chains": ["*"] })),
        says: &["policies.good.grants.chains", "*"],
    },
    Case {
        name: "built_in_chain_granted",
        spoil: |node| policy(node, "grants", json!({ "tables": ["nat"], "chains": ["POST*"] })),
        says: &["policies.good.grants.chains", "POST"],
    },
    Case {
        name: "unknown_mode",
        spoil: |node| policy(node, "mode", json!("on")),
        says: &["policies.good.mode", "enforce"],
    },
    Case {
        name: "a_shadow_of_nobody",
        spoil: |node| policy(node, "shadow-of", json!("nobody")),
        says: &["policies.good.shadow-of", "nobody"],
    },
    Case {
        name: "size_without_a_unit",
        spoil: |node| policy(node, "limits", json!({ "memory": "64 apples" })),
        says: &["policies.good.limits.memory", "64MiB"],
    },
    Case {
        name: "overlapping_chains",
        spoil: |node| {
            let mut other = good_policy();
            other["grants"] = json!({ "tables": ["filter"], "chains": ["op-in*"] });
            node.set("policies", json!({ "good": good_policy(), "other": other }));
        },
        says: &["good", "other", "op-in*"],
    },
    Case {
        name: "overlapping_sets",
        spoil: |node| {
            let mut other = good_policy();
            other["grants"] = json!({ "tables": ["nat"], "sets": ["op-x"] });
            node.set("policies", json!({ "good": good_policy(), "other": other }));
        },
        says: &["good", "other", "op-x"],
    },
    Case {
        name: "policy_name_with_a_space",
        spoil: |node| node.set("policies", json!({ "my policy": good_policy() })),
        says: &["my policy"],
    },
    Case {
        name: "not_toml",
        spoil: |node| node.write("ruleward.toml", "backend = \"nft\"\n[policies\n"),
        says: &["ruleward.toml", "line 2"],
    },
    Case {
        name: "not_text",
        spoil: |node| std::fs::write(node.path("ruleward.toml"), [0xff, 0xfe, 0]).expect("writable"),
        says: &["ruleward.toml"],
    },
    Case {
        name: "no_file",
        spoil: |node| std::fs::remove_file(node.path("ruleward.toml")).expect("it is there"),
        says: &["ruleward.toml"],
    },
    Case {
        name: "the_same_key_twice",
        spoil: |node| conf_d(node, "refresh-interval = \"10s\"\n"),
        says: &["refresh-interval", "ruleward.toml", "10-more.toml"],
    },
    Case {
        name: "the_same_policy_twice",
        spoil: |node| conf_d(node, "[policies.good]\ncomponent = \"static-rules.wasm\"\n"),
        says: &["policies.good", "ruleward.toml", "10-more.toml"],
    },
    Case {
        name: "setting_that_the_schema_lacks",
        spoil: |node| policy(node, "settings", json!({ "chanes": [] })),
        says: &["good", "chanes"],
    },
    Case {
        name: "setting_of_the_wrong_type",
        spoil: |node| policy(node, "settings", json!({ "chains": "op-in" })),
        says: &["good", "chains"],
    },
];

fn policy(node: &Node, key: &str, value: Value) {
    let mut policy = good_policy();
    policy[key] = value;
    node.set("policies", json!({ "good": policy }));
}

fn conf_d(node: &Node, text: &str) {
    std::fs::create_dir(node.path("conf.d")).expect("a free name");
    node.write("conf.d/10-more.toml", text);
}

trial!(for case @ Case { name, .. } in CASES, "bad_input::configuration::{name}", refused(case));
pub fn refused(case: &Case) {
    let node = good_node(Backend::Nft);
    (case.spoil)(&node);
    assert_refused(&node, case.says);
}
