//! The vocabulary as a JSON Schema, for editors that complete and check what is typed.
//!
//! It says what each value looks like. What values say of each other (an issuer that is not
//! declared, two routes that could both win) and the meaning of a text are the parser's: a file
//! that the parser takes is good for the schema, and not the other way about.
//!
//! Every keyword that is used means the same in draft 7, which is what some editors know best.

use serde_json::{Map, Value, json};

use super::units;
use super::vocabulary::{Key, Kind, Names, Presence, ROOT, Table};

/// A JSON Schema (draft 2020-12) of the configuration file.
pub fn json_schema() -> Value {
    let mut schema = of_table(&ROOT);
    schema["$schema"] = json!(DIALECT);
    schema["title"] = json!("jotgate.toml");
    schema["description"] = json!("The configuration of jotgate.");
    schema
}

fn of_table(table: &'static Table) -> Value {
    let properties: Map<String, Value> = table
        .keys
        .iter()
        .map(|key| (key.name.to_owned(), of_key(key)))
        .collect();
    let required: Vec<&str> = table
        .keys
        .iter()
        .filter(|key| key.presence == Presence::Required)
        .map(|key| key.name)
        .collect();
    let mut schema = json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    });
    if !table.one_of.is_empty() {
        let each = table.one_of.iter().map(|key| json!({ "required": [key] }));
        schema["oneOf"] = each.collect();
    }
    schema
}

fn of_key(key: &'static Key) -> Value {
    let mut schema = of_kind(&key.kind);
    schema["title"] = json!(key.name);
    schema["description"] = json!(description(key));
    let value = json_of(key.value);
    match key.presence {
        Presence::Default => schema["default"] = value,
        Presence::Required | Presence::Optional(_) => schema["examples"] = json!([value]),
    }
    schema
}

/// What the key is for, and what no keyword can say of it.
fn description(key: &'static Key) -> String {
    let mut text = key.doc.to_owned();
    if let Some(bounds) = key.kind.durations() {
        let (least, most) = (
            units::spell_duration(*bounds.start()),
            units::spell_duration(*bounds.end()),
        );
        text.push_str(&format!(" From {least} to {most}."));
    }
    if let Presence::Optional(without) = key.presence {
        text.push_str(&format!(" Default: {without}."));
    }
    text
}

fn of_kind(kind: &'static Kind) -> Value {
    match kind {
        Kind::Truth => json!({ "type": "boolean" }),
        Kind::Number(bounds) => json!({
            "type": "integer", "minimum": bounds.start(), "maximum": bounds.end(),
        }),
        Kind::Duration(_) => json!({
            "type": "string", "minLength": 1, "pattern": units::DURATION_PATTERN,
        }),
        Kind::Size => json!({ "anyOf": [
            { "type": "string", "pattern": units::SIZE_PATTERN },
            { "type": "integer", "minimum": 0 },
        ] }),
        Kind::Choice(words) => json!({ "type": "string", "enum": words }),
        Kind::Text | Kind::Path => json!({ "type": "string", "minLength": 1 }),
        Kind::Like(pattern) => json!({ "type": "string", "pattern": pattern }),
        Kind::Only(value) => json!({ "const": json_of(value) }),
        Kind::OneOrMany(item) => json!({ "anyOf": [
            of_kind(item),
            { "type": "array", "items": of_kind(item), "minItems": 1 },
        ] }),
        Kind::Many(item) => json!({ "type": "array", "items": of_kind(item) }),
        Kind::AnyOf(kinds) => {
            let each: Vec<_> = kinds.iter().map(of_kind).collect();
            json!({ "anyOf": each })
        }
        Kind::Table(table) => of_table(table),
        Kind::Named(names) => of_names(names),
    }
}

fn of_names(names: &'static Names) -> Value {
    json!({
        "type": "object",
        "propertyNames": { "pattern": names.pattern, "not": { "enum": names.reserved } },
        "additionalProperties": of_kind(&names.value),
    })
}

/// A value of a row, as JSON.
fn json_of(value: &str) -> Value {
    let mut document: Map<String, Value> =
        toml::from_str(&format!("value = {value}")).expect("a row's value is TOML");
    document.remove("value").unwrap_or_default()
}

const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";
