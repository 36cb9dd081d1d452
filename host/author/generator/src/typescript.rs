//! The contract as TypeScript, in the shapes in which componentize-qjs passes values: fields and flags in camel case, an
//! absent option as null, a variant as an object with `tag` and `val`. Each interface becomes the module that JavaScript
//! imports it by.

use std::fmt::Write;

use wit_bindgen_core::wit_parser::{
    Docs, Function, Interface, InterfaceId, Resolve, Type, TypeDef, TypeDefKind, WorldItem, WorldKey,
};

/// All interfaces of the world's package.
pub fn declarations(resolve: &Resolve, world: &wit_bindgen_core::wit_parser::World) -> String {
    let mut text = String::from(
        "// The contract, as componentize-qjs passes its values. Made from policy.wit.\n\
         // Of a number it takes 31 bits and a sign: masks are written as signed, `0xffffffff | 0`.\n",
    );
    let imported = world.imports.values().filter_map(|item| match item {
        WorldItem::Interface { id, .. } => Some(*id),
        _ => None,
    });
    for id in imported {
        module(resolve, id, &mut text);
    }
    text
}

fn module(resolve: &Resolve, id: InterfaceId, text: &mut String) {
    let interface: &Interface = &resolve.interfaces[id];
    let name = resolve.name_world_key(&WorldKey::Interface(id));
    line(text, 0, "");
    comment(text, 0, &interface.docs);
    line(text, 0, &format!("declare module \"{name}\" {{"));
    for (name, id) in &interface.types {
        let definition = &resolve.types[*id];
        comment(text, 1, &definition.docs);
        let right = define(resolve, definition);
        let gap = if right.starts_with('\n') { "" } else { " " };
        line(text, 1, &format!("export type {} ={gap}{right};", upper(name)));
    }
    for function in interface.functions.values() {
        comment(text, 1, &function.docs);
        line(text, 1, &format!("export function {};", signature(resolve, function)));
    }
    if !interface.functions.is_empty() {
        let names: Vec<String> = interface.functions.keys().map(|name| lower(name)).collect();
        line(text, 1, &format!("const all: {{ {} }};", members(&names, |name| format!("{name}: typeof {name}"))));
        line(text, 1, "export default all;");
    }
    line(text, 0, "}");
}

fn members(names: &[String], one: impl Fn(&str) -> String) -> String {
    names.iter().map(|name| one(name)).collect::<Vec<_>>().join("; ")
}

fn signature(resolve: &Resolve, function: &Function) -> String {
    let parameters = function.params.iter().map(|one| format!("{}: {}", lower(&one.name), of(resolve, &one.ty)));
    let result = function.result.as_ref().map_or("void".to_owned(), |result| of(resolve, result));
    format!("{}({}): {result}", lower(&function.name), parameters.collect::<Vec<_>>().join(", "))
}

/// The right side of a type's definition.
fn define(resolve: &Resolve, definition: &TypeDef) -> String {
    match &definition.kind {
        TypeDefKind::Record(record) => fields(
            record
                .fields
                .iter()
                .map(|field| (&field.docs, format!("{}: {}", lower(&field.name), of(resolve, &field.ty)))),
        ),
        TypeDefKind::Flags(flags) => {
            fields(flags.flags.iter().map(|flag| (&flag.docs, format!("{}: boolean", lower(&flag.name)))))
        }
        TypeDefKind::Enum(list) if list.cases.iter().all(|case| case.docs.contents.is_none()) => {
            list.cases.iter().map(|case| format!("\"{}\"", case.name)).collect::<Vec<_>>().join(" | ")
        }
        TypeDefKind::Enum(list) => cases(list.cases.iter().map(|case| (&case.docs, format!("\"{}\"", case.name)))),
        TypeDefKind::Variant(variant) => cases(variant.cases.iter().map(|case| {
            let payload = case.ty.as_ref().map(|payload| format!("; val: {}", of(resolve, payload)));
            (&case.docs, format!("{{ tag: \"{}\"{} }}", case.name, payload.unwrap_or_default()))
        })),
        TypeDefKind::Tuple(tuple) => {
            format!("[{}]", tuple.types.iter().map(|one| of(resolve, one)).collect::<Vec<_>>().join(", "))
        }
        TypeDefKind::Option(some) => format!("{} | null", of(resolve, some)),
        TypeDefKind::List(Type::U8) => "Uint8Array".to_owned(),
        TypeDefKind::List(element) => match of(resolve, element) {
            compound if compound.contains(' ') => format!("({compound})[]"),
            simple => format!("{simple}[]"),
        },
        TypeDefKind::Type(other) => of(resolve, other),
        other => panic!("the contract has a {}, which this generator does not know", other.as_str()),
    }
}

fn of(resolve: &Resolve, one: &Type) -> String {
    match one {
        Type::Bool => "boolean".to_owned(),
        Type::U8 | Type::U16 | Type::U32 | Type::S8 | Type::S16 | Type::S32 | Type::F32 | Type::F64 => {
            "number".to_owned()
        }
        Type::Char | Type::String => "string".to_owned(),
        Type::Id(id) => {
            let definition = &resolve.types[*id];
            definition.name.as_ref().map_or_else(|| define(resolve, definition), |name| upper(name))
        }
        // Its runtime traps on a BigInt, and numbers are not exact.
        Type::U64 | Type::S64 => panic!("the contract has a 64-bit integer, which JavaScript can't hold"),
        other => panic!("the contract has a {other:?}, which this generator does not know"),
    }
}

fn fields<'a>(fields: impl Iterator<Item = (&'a Docs, String)>) -> String {
    let mut text = String::from("{\n");
    for (docs, field) in fields {
        comment(&mut text, 2, docs);
        line(&mut text, 2, &format!("{field};"));
    }
    text + "  }"
}

fn cases<'a>(cases: impl Iterator<Item = (&'a Docs, String)>) -> String {
    let mut text = String::new();
    for (docs, case) in cases {
        text.push('\n');
        comment(&mut text, 2, docs);
        let _ = write!(text, "    | {case}");
    }
    text
}

fn comment(text: &mut String, depth: usize, docs: &Docs) {
    // Headlines between groups of types belong to none of them.
    let lines = docs.contents.as_deref().unwrap_or_default().trim().lines();
    let lines: Vec<&str> = lines.map(str::trim_end).filter(|line| !line.starts_with("----")).collect();
    match lines.as_slice() {
        [] => {}
        [one] => line(text, depth, &format!("/** {one} */")),
        many => {
            line(text, depth, "/**");
            many.iter().for_each(|one| line(text, depth, format!(" * {one}").trim_end()));
            line(text, depth, " */");
        }
    }
}

fn line(text: &mut String, depth: usize, content: &str) {
    let _ = writeln!(text, "{}{content}", "  ".repeat(depth));
}

/// `ip-network` as `IpNetwork`.
fn upper(name: &str) -> String {
    name.split('-').map(|word| word[..1].to_uppercase() + &word[1..]).collect()
}

/// `prefix-length` as `prefixLength`.
fn lower(name: &str) -> String {
    let name = upper(name);
    name[..1].to_lowercase() + &name[1..]
}
