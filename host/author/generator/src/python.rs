//! What makes the objects of an answer in Python: for each record and each case of a variant a function of the name that
//! its class has in componentize-py's bindings.

use std::fmt::Write;

use wit_bindgen_core::wit_parser::{Docs, Type, TypeDefKind};

use crate::shapes::{Shapes, kind};

const HEAD: &str = include_str!("types.py");

/// `types.py`: its head, and the functions.
pub fn types(shapes: &Shapes<'_>) -> String {
    let mut text = HEAD.to_owned();
    for id in &shapes.types {
        let (definition, number) = (&shapes.resolve.types[*id], shapes.number(*id));
        let class = upper(definition.name.as_deref().unwrap_or_default());
        match &definition.kind {
            TypeDefKind::Record(record) => {
                let fields: Vec<(String, Type)> =
                    record.fields.iter().map(|field| (snake(&field.name), field.ty)).collect();
                function(&mut text, shapes, &class, number, &fields, &definition.docs);
            }
            TypeDefKind::Variant(variant) => {
                for (number, case) in (number..).zip(&variant.cases) {
                    let value: Vec<(String, Type)> = case.ty.iter().map(|ty| ("value".to_owned(), *ty)).collect();
                    function(&mut text, shapes, &format!("{class}_{}", upper(&case.name)), number, &value, &case.docs);
                }
            }
            other => panic!("a {} has no number", other.as_str()),
        }
    }
    text
}

fn function(text: &mut String, shapes: &Shapes<'_>, name: &str, number: usize, fields: &[(String, Type)], docs: &Docs) {
    let parameters: Vec<&str> = fields.iter().map(|(field, _)| field.as_str()).collect();
    let _ = write!(text, "\n    def {name}({}):\n", parameters.join(", "));
    // Headlines between groups of types belong to none of them.
    let lines = docs.contents.as_deref().unwrap_or_default().trim().lines();
    let lines: Vec<&str> = lines.map(str::trim_end).filter(|line| !line.starts_with("----")).collect();
    if !lines.is_empty() {
        let lines = lines.join("\n        ").replace("\n        \n", "\n\n");
        let _ = writeln!(text, "        \"\"\"{lines}\"\"\"");
    }
    let values: Vec<String> = fields.iter().map(|(field, ty)| plain(shapes, field, ty)).collect();
    let values = if values.is_empty() { String::new() } else { format!(" {}", values.join(", ")) };
    let _ = writeln!(text, "        return ({number},{values})");
}

/// Of a constant its number; the rest stays.
fn plain(shapes: &Shapes<'_>, value: &str, one: &Type) -> String {
    let constant = |one: &Type| matches!(kind(shapes.resolve, one), TypeDefKind::Enum(_) | TypeDefKind::Flags(_));
    match kind(shapes.resolve, one) {
        TypeDefKind::List(element) if constant(&element) => format!("[one._value_ for one in {value}]"),
        TypeDefKind::Option(some) if constant(&some) => format!("None if {value} is None else {value}._value_"),
        _ if constant(one) => format!("{value}._value_"),
        _ => value.to_owned(),
    }
}

/// `prefix-length` as `prefix_length`.
fn snake(name: &str) -> String {
    name.replace('-', "_")
}

/// `ip-network` as `IpNetwork`.
fn upper(name: &str) -> String {
    name.split('-').map(|word| word[..1].to_uppercase() + &word[1..]).collect()
}
