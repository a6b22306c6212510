//! The reference of fields and metrics, written from what defines them: `docs/reference.md`.

use std::fmt::Write;
use std::sync::Arc;

use plimsoll::units::Span;
use serde_json::Value;

use crate::board::ObjectKey;
use crate::clock::Clock;
use crate::ops::Telemetry;
use crate::resource;

/// All of it, as Markdown.
///
/// # Errors
/// Never in fact: it is made of what serialises.
pub fn reference() -> Result<String, serde_json::Error> {
    let definition = serde_json::to_value(resource::definition()?)?;
    let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"];
    let mut text = String::from(
        "# Reference\n\n<!-- Written by `plimsoll-adapter reference`. -->\n\nEvery field of a LoadAwareAutoscaler and every metric of the adapter, as they are defined. What they are for: \
         [Configuration](configuration.md), [the API and the metrics](api.md).\n",
    );
    for (part, said) in [("spec", "What you write"), ("status", "What the adapter tells")] {
        // Writing to a text cannot fail.
        let _ = writeln!(
            text,
            "\n## {said}: `{part}`\n\n| field | type | default | meaning |\n|---|---|---|---|"
        );
        fields(&mut text, part, &schema[part], false);
    }
    text.push_str("\n## Metrics\n\nOn `/metrics`. Labels: [the API and the metrics](api.md#the-ops-port-plain-http).\n\n| metric | type | meaning |\n|---|---|---|\n");
    metrics(&mut text);
    Ok(text)
}

/// The fields below `path`, each a row, depth first.
fn fields(text: &mut String, path: &str, schema: &Value, is_required: bool) {
    // The first is a heading already.
    if path.contains('.') {
        row(text, path, schema, is_required);
    }
    if let Some(Value::Object(properties)) = schema.get("properties") {
        let required: Vec<&str> =
            schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        for (name, property) in properties {
            fields(text, &format!("{path}.{name}"), property, required.contains(&name.as_str()));
        }
    }
    for (key, end) in [("items", "[]"), ("additionalProperties", ".*")] {
        if let Some(inner) = schema.get(key).filter(|inner| inner.get("properties").is_some()) {
            let Some(Value::Object(properties)) = inner.get("properties") else { continue };
            let required: Vec<&str> =
                inner["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            for (name, property) in properties {
                fields(text, &format!("{path}{end}.{name}"), property, required.contains(&name.as_str()));
            }
        }
    }
}

fn row(text: &mut String, path: &str, schema: &Value, is_required: bool) {
    let default = match schema.get("default") {
        // That of an object is the sum of its fields'.
        Some(Value::Object(_)) | None if is_required => "required".to_owned(),
        Some(Value::Object(_)) | None => String::new(),
        Some(default) => format!("`{default}`").replace("`\"", "`").replace("\"`", "`"),
    };
    let description = schema["description"].as_str().unwrap_or_default();
    let rules = schema["x-kubernetes-validations"].as_array().into_iter().flatten();
    let rules: String =
        rules.filter_map(|rule| rule["message"].as_str()).map(|rule| format!(" *{rule}.*")).collect();
    let meaning = format!("{description}{rules}").replace('\n', " ").replace('|', "\\|");
    let _ = writeln!(text, "| `{path}` | {} | {default} | {} |", kind(schema), meaning.trim());
}

fn kind(schema: &Value) -> String {
    if let Some(values) = schema["enum"].as_array() {
        let values: Vec<String> =
            values.iter().filter_map(Value::as_str).map(|value| format!("`{value}`")).collect();
        return values.join(", ");
    }
    if schema["x-kubernetes-int-or-string"] == true {
        return "number or text".to_owned();
    }
    let kind = schema["type"].as_str().unwrap_or("any");
    let bounds = ["minimum", "maximum"].map(|bound| schema[bound].as_f64());
    let bounds = match bounds {
        [Some(least), Some(most)] => format!(", {least} to {most}"),
        [Some(least), None] => format!(", from {least} on"),
        [None, Some(most)] => format!(", up to {most}"),
        [None, None] => String::new(),
    };
    match kind {
        "array" => format!("list of {}", schema["items"]["type"].as_str().unwrap_or("any")),
        "object" if schema.get("additionalProperties").is_some() => "map".to_owned(),
        kind => format!("{kind}{bounds}"),
    }
}

/// Those of an adapter without objects: it describes all that it will tell.
fn metrics(text: &mut String) {
    let telemetry = Telemetry::new(Arc::default(), Clock::system());
    // What was never counted is not described.
    let object = ObjectKey::new("", "");
    telemetry.scrape_failed(&object, "");
    telemetry.query_failed(&object, "");
    telemetry.answered(200, Span::ZERO);
    telemetry.leads(true);
    telemetry.certificate_expires(jiff::Timestamp::UNIX_EPOCH);
    let page = telemetry.page();
    let mut helps: Vec<(&str, &str)> = Vec::new();
    for line in page.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            helps.push((name, help.trim_end_matches('.')));
        }
    }
    helps.sort_unstable();
    for (name, help) in helps {
        let kind =
            page.lines().find_map(|line| line.strip_prefix("# TYPE ")?.strip_prefix(name)?.strip_prefix(' '));
        let kind = kind.unwrap_or("unknown");
        let name = match kind {
            "counter" => format!("{name}_total"),
            "info" => format!("{name}_info"),
            _ => name.to_owned(),
        };
        let _ = writeln!(text, "| `{name}` | {kind} | {} |", help.replace('|', "\\|"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHIPPED: &str = include_str!("../../docs/reference.md");

    #[test]
    fn the_reference_that_is_shipped_is_this_one() {
        let is_same = reference().unwrap() == SHIPPED;
        assert!(
            is_same,
            "docs/reference.md is of another version: `plimsoll-adapter reference > docs/reference.md`"
        );
    }

    #[test]
    fn every_field_and_every_metric_says_what_it_is() {
        let rows = || SHIPPED.lines().filter(|line| line.starts_with("| `"));
        assert!(rows().count() > 150);
        for row in rows() {
            let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
            assert!(cells.last().is_some_and(|meaning| meaning.len() > 5), "{row}");
        }
        for field in
            ["spec.mode", "spec.load.source.scrape.tlsConfig.ca.secret.key", "status.conditions[].reason"]
        {
            assert!(SHIPPED.contains(&format!("| `{field}` |")), "{field}");
        }
    }
}
