//! A validator for the part of JSON Schema (draft 2020-12) that `jotgate schema` uses.
//!
//! A keyword that it does not know fails the test: what is not checked must not look as if it were.

use regex::Regex;
use serde_json::{Map, Value};

/// Everything that is wrong with `instance`, each with its place as a JSON Pointer.
pub fn complaints(schema: &Value, instance: &Value) -> Vec<String> {
    let mut found = Vec::new();
    validate(schema, instance, "", &mut found);
    found
}

fn validate(schema: &Value, instance: &Value, at: &str, found: &mut Vec<String>) {
    if *schema == Value::Bool(false) {
        found.push(format!("{at}: must not be there"));
        return;
    }
    for (keyword, expected) in schema.as_object().unwrap() {
        match keyword.as_str() {
            "items" => {
                for (index, item) in instance.as_array().into_iter().flatten().enumerate() {
                    validate(expected, item, &format!("{at}/{index}"), found);
                }
            }
            "properties" | "additionalProperties" | "propertyNames" => {
                if let Some(table) = instance.as_object() {
                    validate_table((keyword, expected), schema, table, at, found);
                }
            }
            _ if holds(keyword, expected, instance) => {}
            _ => found.push(format!("{at}: {instance} is against {keyword}: {expected}")),
        }
    }
}

/// Whether a keyword about the value itself is satisfied; most are about one type only.
fn holds(keyword: &str, expected: &Value, instance: &Value) -> bool {
    let number = instance.as_i64();
    let text = instance.as_str();
    let least = || expected.as_u64().unwrap() as usize;
    match keyword {
        "$schema" | "title" | "description" | "default" | "examples" => true,
        "type" => is_of_type(instance, expected.as_str().unwrap()),
        "const" => instance == expected,
        "enum" => expected.as_array().unwrap().contains(instance),
        "minimum" => number.is_none_or(|number| number >= expected.as_i64().unwrap()),
        "maximum" => number.is_none_or(|number| number <= expected.as_i64().unwrap()),
        "minLength" => text.is_none_or(|text| text.chars().count() >= least()),
        "minItems" => instance
            .as_array()
            .is_none_or(|items| items.len() >= least()),
        "pattern" => {
            let pattern = Regex::new(expected.as_str().unwrap()).unwrap();
            text.is_none_or(|text| pattern.is_match(text))
        }
        "required" => instance.as_object().is_none_or(|table| {
            let mut names = expected.as_array().unwrap().iter();
            names.all(|name| table.contains_key(name.as_str().unwrap()))
        }),
        "anyOf" => fitting(expected, instance) >= 1,
        "oneOf" => fitting(expected, instance) == 1,
        "not" => !complaints(expected, instance).is_empty(),
        other => panic!("this validator does not know the keyword {other}"),
    }
}

fn validate_table(
    (keyword, expected): (&str, &Value),
    schema: &Value,
    table: &Map<String, Value>,
    at: &str,
    found: &mut Vec<String>,
) {
    for (name, value) in table {
        let at = format!("{at}/{name}");
        let property = schema.get("properties").and_then(|all| all.get(name));
        match (keyword, property) {
            ("properties", Some(property)) => validate(property, value, &at, found),
            ("additionalProperties", None) => validate(expected, value, &at, found),
            ("propertyNames", _) => validate(expected, &name.as_str().into(), &at, found),
            _ => {}
        }
    }
}

fn fitting(schemas: &Value, instance: &Value) -> usize {
    let schemas = schemas.as_array().unwrap().iter();
    schemas
        .filter(|schema| complaints(schema, instance).is_empty())
        .count()
}

fn is_of_type(instance: &Value, name: &str) -> bool {
    match name {
        "object" => instance.is_object(),
        "array" => instance.is_array(),
        "string" => instance.is_string(),
        "boolean" => instance.is_boolean(),
        "integer" => instance.is_i64() || instance.is_u64(),
        other => panic!("this validator does not know the type {other}"),
    }
}
