//! What a policy may meet on a node: odd, empty and huge facts, each made of a plain case.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use ruleward_core::contribution::Families;
use ruleward_core::facts::{Facts, Interface, Resource, Version};
use ruleward_core::grants::Grants;
use ruleward_core::names::Backend;
use ruleward_sandbox::Description;
use serde_json::{Value, json};

use crate::case::Case;

/// Interfaces and resources of a large node.
const MANY: u32 = 1000;
/// Bytes of one large resource.
const LARGE: usize = 1 << 20;

/// A case made of another.
type Change = fn(&Case, &Description) -> Case;

/// Facts of one kind.
pub struct Situation {
    /// The check.
    pub check: &'static str,
    /// Why it can't happen to this policy.
    pub not_applicable: Option<&'static str>,
    /// The host may refuse an answer, as far as that is the point.
    pub may_be_refused: bool,
    /// Each with a name.
    pub changes: Vec<(&'static str, Change)>,
}

/// All of them.
pub fn all(description: &Description) -> Vec<Situation> {
    let interfaces = (!description.reads_interfaces).then_some("it does not read interfaces");
    let resources = description.wants.resources.is_empty().then_some("it reads no resources");
    let situation =
        |check, not_applicable, changes| Situation { check, not_applicable, may_be_refused: false, changes };
    vec![
        situation(
            "answers on a node without interfaces",
            interfaces,
            vec![("none", |case, _| with(case, |facts| facts.interfaces.clear()))],
        ),
        situation(
            "answers on a node with 1000 interfaces",
            interfaces,
            vec![("1000 interfaces", |case, _| with(case, many_interfaces))],
        ),
        situation(
            "answers without resources",
            resources,
            vec![("none", |case, _| with(case, |facts| facts.resources.clear()))],
        ),
        situation(
            "answers to many and large resources",
            resources,
            vec![("1000 of each kind", many_resources), ("one of 1 MiB", large_resource)],
        ),
        situation("answers to odd resources", resources, odd_resources()),
        situation(
            "answers to long and odd names",
            None,
            vec![
                ("a long node name", |case, _| with(case, |facts| facts.node_name = "n".repeat(253))),
                ("a node name in other scripts", |case, _| {
                    with(case, |facts| facts.node_name = "узел-ノード-🦀-\u{202e}".to_owned())
                }),
                ("resources with long names in other scripts", odd_resource_names),
                ("interfaces with odd names", |case, _| with(case, odd_interfaces)),
            ],
        ),
        situation(
            "answers on an old node with iptables-legacy",
            None,
            vec![("kernel 3.10, iptables 1.4.21", |case, _| with(case, old))],
        ),
        Situation {
            may_be_refused: true,
            ..situation(
                "survives being granted nothing",
                None,
                vec![("no grants", |case, _| Case { grants: Grants::default(), ..case.clone() })],
            )
        },
    ]
}

/// The two nodes that filter one family.
pub fn one_family() -> [(&'static str, Families); 2] {
    [("IPv4", Families { ipv4: true, ipv6: false }), ("IPv6", Families { ipv4: false, ipv6: true })]
}

/// The case with other facts.
pub fn with(case: &Case, change: impl FnOnce(&mut Facts)) -> Case {
    let mut case = case.clone();
    change(&mut case.facts);
    case.facts.interfaces.sort_by(|a, b| a.name.cmp(&b.name));
    case.facts.resources.sort_by(|a, b| (&a.kind, &a.namespace, &a.name).cmp(&(&b.kind, &b.namespace, &b.name)));
    case
}

fn many_interfaces(facts: &mut Facts) {
    facts.interfaces = (1..=MANY)
        .map(|number| {
            let [_, _, high, low] = number.to_be_bytes();
            let addresses: [IpNet; 2] = [
                ipnet::Ipv4Net::new_assert(Ipv4Addr::new(10, high, low, 1), 24).into(),
                ipnet::Ipv6Net::new_assert(Ipv6Addr::from_bits(0xfd00_u128 << 112 | u128::from(number) << 64 | 1), 64)
                    .into(),
            ];
            Interface {
                name: format!("veth{number}"),
                index: number,
                up: number % 7 != 0,
                addresses: addresses.to_vec(),
            }
        })
        .collect();
}

fn odd_interfaces(facts: &mut Facts) {
    let names = ["-", "a+", "eth0.4094", "!eth0", "exactly15bytes.", "ß-ü", "\"quoted\"", "%d"];
    let interface = |(index, name): (u32, &str)| Interface {
        name: name.to_owned(),
        index,
        up: true,
        addresses: vec![ipnet::Ipv4Net::new_assert(Ipv4Addr::new(192, 0, 2, 1), 0).into()],
    };
    facts.interfaces = (1..).zip(names).map(interface).collect();
}

fn old(facts: &mut Facts) {
    facts.system.kernel = Version(3, 10, 0);
    facts.system.iptables = Version(1, 4, 21);
    facts.system.backend = Backend::Legacy;
}

/// A resource as the host shows it.
fn shown(kind: &str, name: &str, mut object: Value) -> Resource {
    object["apiVersion"] = "example.com/v1".into();
    object["kind"] = kind.into();
    object["metadata"]["name"] = name.into();
    Resource {
        kind: kind.to_owned(),
        namespace: None,
        name: name.to_owned(),
        api_version: "example.com/v1".to_owned(),
        json: object.to_string(),
    }
}

fn of_each_kind(case: &Case, description: &Description, make: impl Fn(&str) -> Vec<Resource>) -> Case {
    with(case, |facts| facts.resources.extend(description.wants.resources.iter().flat_map(|kind| make(kind))))
}

/// Copies of the case's own resources, or empty ones.
fn many_resources(case: &Case, description: &Description) -> Case {
    of_each_kind(case, description, |kind| {
        let model = case.facts.resources.iter().find(|one| one.kind == kind);
        let copy = |number: u32| {
            let name = format!("copy-{number}");
            let Some(model) = model else { return shown(kind, &name, json!({ "spec": {} })) };
            let mut object: Value = serde_json::from_str(&model.json).unwrap_or_default();
            object["metadata"]["name"] = name.clone().into();
            Resource { name, json: object.to_string(), ..model.clone() }
        };
        (0..MANY).map(copy).collect()
    })
}

fn large_resource(case: &Case, description: &Description) -> Case {
    of_each_kind(case, description, |kind| {
        vec![shown(kind, "large", json!({ "metadata": { "annotations": { "large": "x".repeat(LARGE) } }, "spec": {} }))]
    })
}

fn odd_resource_names(case: &Case, description: &Description) -> Case {
    of_each_kind(case, description, |kind| {
        vec![
            shown(kind, &"長い名前".repeat(20), json!({ "spec": {} })),
            shown(kind, &"l".repeat(253), json!({ "spec": {} })),
        ]
    })
}

fn odd_resources() -> Vec<(&'static str, Change)> {
    fn one(case: &Case, description: &Description, object: &Value) -> Case {
        of_each_kind(case, description, |kind| vec![shown(kind, "odd", object.clone())])
    }
    vec![
        ("no spec", |case, description| one(case, description, &json!({}))),
        ("spec is null", |case, description| one(case, description, &json!({ "spec": null }))),
        ("spec is text", |case, description| one(case, description, &json!({ "spec": "text" }))),
        ("spec is a list", |case, description| one(case, description, &json!({ "spec": [1, -1, 1e300] }))),
        ("unknown fields", |case, description| {
            one(case, description, &json!({ "spec": { "\u{0}": 1 }, "status": {} }))
        }),
        ("100 levels deep", |case, description| {
            let deep = (0..100).fold(json!({}), |inner, _| json!({ "spec": inner }));
            one(case, description, &deep)
        }),
    ]
}
