//! `policy inspect`: what a component is and what it wants, before anybody runs it.

use std::fmt::Write as _;
use std::path::Path;

use ruleward_core::grants::{Grants, Jumps};
use ruleward_core::quantity::format_rough_size;
use ruleward_report::output::Output;
use ruleward_sandbox::{Limit, LoadedPolicy};
use serde::Serialize;
use serde_json::Value;

use crate::answer::answer;
use crate::case::{Case, CaseFiles};
use crate::component::load;
use crate::error::AuthorError;

#[derive(Serialize)]
struct Inspected<'a> {
    name: String,
    version: &'a str,
    summary: &'a str,
    bytes: u64,
    digest: &'a str,
    imports: Vec<String>,
    exports: Vec<String>,
    wants: &'a Grants,
    reads_interfaces: bool,
    reads_nft_tables: bool,
    settings: Vec<Setting>,
    #[serde(skip_serializing_if = "Option::is_none")]
    needs: Option<Needs>,
}

#[derive(Serialize)]
struct Setting {
    name: String,
    required: bool,
    description: String,
}

/// What one evaluation on a plain node without settings took.
#[derive(Serialize)]
struct Needs {
    memory: u64,
    fuel: u64,
    rules: u64,
}

/// Prints all of it.
pub fn show(component: &Path, output: Output) -> Result<u8, AuthorError> {
    let policy = load(component)?;
    let bytes = std::fs::read(component).map_err(|error| AuthorError::file(component, error))?;
    let interface = ruleward_author::interface(&bytes).map_err(|error| AuthorError::file(component, error))?;
    let description = policy.description();
    let inspected = Inspected {
        name: description.name.to_string(),
        version: &description.version,
        summary: &description.summary,
        bytes: bytes.len() as u64,
        digest: policy.digest(),
        imports: interface.imports,
        exports: interface.exports,
        wants: &description.wants,
        reads_interfaces: description.reads_interfaces,
        reads_nft_tables: description.reads_nft_tables,
        settings: settings(&description.settings_schema),
        needs: needs(&policy)?,
    };
    output.print(&inspected, |_| text(&inspected));
    Ok(0)
}

/// Of an evaluation without settings, where the schema allows that.
fn needs(policy: &LoadedPolicy) -> Result<Option<Needs>, AuthorError> {
    let case = Case::read(&CaseFiles::default(), policy.description())?;
    let needs = answer(policy, &case).map(|answer| Needs {
        memory: answer.usage[Limit::Memory],
        fuel: answer.usage[Limit::Fuel],
        rules: answer.usage[Limit::Rules],
    });
    Ok(needs.ok())
}

fn settings(schema: &str) -> Vec<Setting> {
    let schema: Value = serde_json::from_str(schema).unwrap_or_default();
    let required = |name: &str| schema["required"].as_array().is_some_and(|list| list.iter().any(|one| one == name));
    let properties = schema["properties"].as_object().into_iter().flatten();
    let setting = properties.map(|(name, property)| Setting {
        name: name.clone(),
        required: required(name),
        description: property["description"].as_str().unwrap_or_default().to_owned(),
    });
    setting.collect()
}

fn text(inspected: &Inspected<'_>) -> String {
    let mut text = format!("{} {}: {}\n", inspected.name, inspected.version, inspected.summary);
    let mut row = |name: &str, value: &str| {
        let _ = writeln!(text, "{name:<12}{value}");
    };
    row("size", &format!("{} KB, {}", inspected.bytes.div_ceil(1000), inspected.digest));
    row("imports", &inspected.imports.join(", "));
    row("exports", &inspected.exports.join(", "));
    row("grants", &grants(inspected.wants));
    row("interfaces", if inspected.reads_interfaces { "reads them" } else { "does not read them" });
    row("nft tables", if inspected.reads_nft_tables { "reads which exist" } else { "does not read which exist" });
    match &inspected.needs {
        Some(needs) => row(
            "needs",
            &format!(
                "{} of memory and {} units of fuel for {} rules, without settings",
                format_rough_size(needs.memory),
                needs.fuel,
                needs.rules
            ),
        ),
        None => row("needs", "settings or resources; `ruleward policy bench` measures it with those"),
    }
    for setting in &inspected.settings {
        let required = if setting.required { " (required)" } else { "" };
        row("setting", &format!("{}{required}: {}", setting.name, setting.description));
    }
    text
}

/// As ruleward.toml takes them.
fn grants(wants: &Grants) -> String {
    let list = |words: Vec<String>| words.iter().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(", ");
    let parts = [
        ("tables", list(wants.tables.iter().map(ToString::to_string).collect())),
        ("chains", list(wants.chains.iter().map(ToString::to_string).collect())),
        ("sets", list(wants.sets.iter().map(ToString::to_string).collect())),
        ("comments", list(wants.comments.clone())),
        ("resources", list(wants.resources.clone())),
        ("policies", list(wants.policies.iter().map(ToString::to_string).collect())),
    ];
    let uses = [
        ("sets", list(wants.uses.sets.iter().map(ToString::to_string).collect())),
        ("chains", list(wants.uses.chains.iter().map(ToString::to_string).collect())),
    ];
    let table = |parts: &[(&str, String)]| -> Vec<String> {
        let given = parts.iter().filter(|(_, words)| !words.is_empty());
        given.map(|(key, words)| format!("{key} = [{words}]")).collect()
    };
    let mut keys = table(&parts);
    let uses = table(&uses);
    if !uses.is_empty() {
        keys.push(format!("uses = {{ {} }}", uses.join(", ")));
    }
    if wants.jumps == Jumps::Exclusive {
        keys.push("jumps = \"exclusive\"".to_owned());
    }
    format!("{{ {} }}", keys.join(", "))
}
