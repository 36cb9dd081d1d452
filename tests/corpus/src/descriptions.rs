//! Policies that lie about themselves, or describe themselves without end.

use super::layout::store;
use super::{Case, Fate, Guest};

/// A schema that refers to itself for the same value.
const CIRCLE: &str = r##"{"$ref":"#/$defs/a","$defs":{"a":{"$ref":"#/$defs/b"},"b":{"$ref":"#/$defs/a"}}}"##;
/// Ten levels, each of which refers to the next ten times: following all references gives ten thousand millions.
fn multiplying() -> String {
    let level = |number: usize| {
        let reference = format!(r##"{{"$ref":"#/$defs/l{}"}}"##, number + 1);
        format!(
            r#""l{number}":{{"properties":{{{}}}}}"#,
            (0..10).map(|n| format!(r#""p{n}":{reference}"#)).collect::<Vec<_>>().join(",")
        )
    };
    let levels: Vec<String> = (0..10).map(level).collect();
    format!(r##"{{"$ref":"#/$defs/l0","$defs":{{{},"l10":{{}}}}}}"##, levels.join(","))
}

pub fn cases() -> Vec<Case> {
    let describe = |name, body: String, words| {
        Case::guest(
            name,
            &Guest { describe: &format!("{body} i32.const 0"), ..Guest::default() },
            Fate::NotLoaded(words),
        )
    };
    let schema =
        |name, schema: &str, words| Case::guest(name, &Guest { schema, ..Guest::default() }, Fate::NotLoaded(words));
    const SCHEMA: &str = "the schema of its settings can't be used: ";
    let deep = format!("{}{{}}{}", r#"{"items":"#.repeat(80), "}".repeat(80));
    vec![
        describe(
            "description_with_a_wrong_name",
            "(i32.store8 (i32.const 256) (i32.const 84))".to_owned(),
            &["its description is wrong in `name`: policy name \"Test\""],
        ),
        describe(
            "description_without_a_version",
            store(&[(12, 0)]),
            &["its description is wrong in `version`: 0 bytes long"],
        ),
        describe(
            "description_with_a_newline",
            format!(
                "{} {}",
                store(&[(20, 5)]),
                "(i32.store8 (i32.const 257) (i32.const 10))(i32.store (i32.const 4) (i32.const 1))"
            ),
            &["its description is wrong in `summary`: contains control characters"],
        ),
        describe(
            "description_of_half_a_megabyte",
            store(&[(16, 1024), (20, 500_000)]),
            &["its description is wrong in `summary`"],
        ),
        describe(
            "description_that_wants_thousands",
            store(&[(32, 131_072), (36, 40_000)]),
            &["has 40000 entries; at most 256"],
        ),
        describe(
            "description_outside_its_memory",
            store(&[(0, 0x7fff_0000)]),
            &["failed in `describe`", "out of bounds"],
        ),
        describe(
            "schema_of_half_a_megabyte",
            store(&[(24, 1024), (28, 500_000)]),
            &[SCHEMA, "at most 262144 are possible"],
        ),
        schema("schema_that_is_no_json", "{", &[SCHEMA, "it is not JSON"]),
        schema("schema_of_an_unknown_type", r#"{"type":"text"}"#, &[SCHEMA, "/type"]),
        schema("schema_in_a_circle", CIRCLE, &[SCHEMA, "never ends"]),
        schema("schema_that_multiplies", &multiplying(), &[SCHEMA, "more than 100000 schemas"]),
        schema("schema_without_a_floor", &deep, &[SCHEMA, "nested deeper than 64"]),
        schema(
            "schema_from_the_network",
            r#"{"$ref":"http://example.com/schema.json"}"#,
            &[SCHEMA, "nothing is fetched"],
        ),
        schema("schema_with_a_hostile_pattern", r#"{"pattern":"(((a{1,200}){1,200}){1,200}){1,200}"}"#, &[SCHEMA]),
        // It is shown what is granted, whatever it asks for.
        Case::guest(
            "description_that_asks_for_all_resources",
            &Guest {
                describe: &format!(
                    "{} i32.const 0",
                    store(&[(512, 528), (516, 6), (528, 0x7263_6553), (532, 0x7465), (32, 512), (36, 1)])
                ),
                evaluate: "(if (i32.load offset=56 (local.get 0)) (then unreachable)) i32.const 128",
                ..Guest::default()
            },
            Fate::Harmless(&[]),
        ),
    ]
}
