//! JSON Schemas of the records, from the types that read and write them. Tests generate and hold the files with it; no program does.

use super::{Reading, Scope, Stamp};
use schemars::generate::{Contract, SchemaSettings};
use schemars::transform::{Transform, transform_subschemas};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};
use std::borrow::Cow;

/// The schema of a line of this type: the stamp and the body in one object. Fields that it does not name are allowed.
pub(super) fn of<T: JsonSchema>(kind: &str, written: bool) -> Value {
    let mut whole = object::<T>(written);
    let stamp = object::<Stamp>(written);
    whole.insert("title".into(), kind.into());
    let fields = field_of(&mut whole, "properties");
    if let (Value::Object(fields), Some(Value::Object(shared))) = (fields, stamp.get("properties")) {
        fields.extend(shared.clone());
        fields.insert("type".into(), json!({ "const": kind }));
    }
    let required = field_of(&mut whole, "required");
    let own = required.as_array().cloned().unwrap_or_default();
    *required = [json!("type"), json!("time")].into_iter().chain(own).collect();
    Value::Object(whole)
}

/// The schema of any line: each type's own where the type is known; of others, `type` and `time` alone.
pub fn any(kinds: &[&str]) -> Value {
    let mut whole = object::<Stamp>(false);
    whole.insert("title".into(), "record".into());
    whole.insert("description".into(), "A line between the programs, by its `type`. A type that is not known is passed on.".into());
    if let Value::Object(fields) = field_of(&mut whole, "properties") {
        fields.insert("type".into(), json!({ "type": "string", "description": "Which kind of record it is." }));
    }
    *field_of(&mut whole, "required") = json!(["type", "time"]);
    let choice = |kind: &&str| json!({ "if": { "properties": { "type": { "const": kind } } }, "then": { "$ref": format!("{kind}.json") } });
    whole.insert("allOf".into(), kinds.iter().map(choice).collect());
    Value::Object(whole)
}

fn object<T: JsonSchema>(written: bool) -> Map<String, Value> {
    let mut settings = SchemaSettings::draft2020_12().with_transform(Plain);
    settings.contract = if written { Contract::Serialize } else { Contract::Deserialize };
    settings.into_generator().into_root_schema_for::<T>().as_object().cloned().unwrap_or_default()
}

fn field_of<'a>(object: &'a mut Map<String, Value>, name: &str) -> &'a mut Value {
    let empty = if name == "required" { json!([]) } else { json!({}) };
    object.entry(name).or_insert(empty)
}

/// Takes out what speaks of Rust, and lets null be where it may be.
#[derive(Clone)]
struct Plain;

impl Transform for Plain {
    fn transform(&mut self, schema: &mut Schema) {
        transform_subschemas(self, schema);
        let Some(object) = schema.as_object_mut() else { return };
        if let Some(Value::String(text)) = object.get_mut("description") {
            *text = text.replace('\n', " ").replace("[`", "`").replace("`]", "`");
        }
        for (name, field) in object.get_mut("properties").and_then(Value::as_object_mut).into_iter().flatten() {
            const UNITS: [(&str, &str); 3] = [("_s", "seconds"), ("_ms", "milliseconds"), ("_bytes", "bytes")];
            if let Some((_, unit)) = UNITS.iter().find(|(end, _)| name.ends_with(end))
                && let Some(Value::String(text)) = field.get_mut("description")
            {
                text.push_str(&format!(" In {unit}."));
            }
        }
        // What is left out when reading is not thereby written, and the formats are the names of Rust's numbers.
        object.remove("default");
        if object.get("format").is_some_and(|format| format != "date-time") {
            object.remove("format");
        }
        let nullable = object.get("type").and_then(Value::as_array).is_some_and(|types| types.contains(&json!("null")));
        if let Some(Value::Array(words)) = object.get_mut("enum")
            && nullable
            && !words.contains(&Value::Null)
        {
            words.push(Value::Null);
        }
    }
}

/// What counts. What does not is no fault of the record for a reader of ours, but a mistake of whoever writes it.
impl<T: JsonSchema> JsonSchema for Reading<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        Option::<T>::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Option::<T>::json_schema(generator)
    }
}

impl JsonSchema for Scope {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Scope".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^(full|config|(config|module|automation|optimization|experiment):[^\\u0000-\\u001f\\u007f-\\u009f-][^\\u0000-\\u001f\\u007f-\\u009f]{0,254})$",
        })
    }
}
