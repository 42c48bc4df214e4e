//! Checks every request of the program, and every response of the sandbox, against `testdata/stackstate/openapi.yaml`.

use saphyr::{LoadableYamlNode as _, Scalar, Yaml};
use serde_json::{Value, json};

use super::stackstate;
use crate::support::api::shell;
use crate::support::{Sandbox, run, testdata};

fn to_json(yaml: &Yaml<'_>) -> Value {
    match yaml {
        Yaml::Sequence(items) => items.iter().map(to_json).collect(),
        Yaml::Mapping(members) => {
            members.iter().map(|(name, value)| (name.as_str().unwrap().to_owned(), to_json(value))).collect()
        }
        Yaml::Value(Scalar::Boolean(value)) => (*value).into(),
        Yaml::Value(Scalar::Integer(value)) => (*value).into(),
        Yaml::Value(Scalar::String(value)) => value.as_ref().into(),
        Yaml::Value(Scalar::Null) => Value::Null,
        other => panic!("unexpected in this YAML: {other:?}"),
    }
}

/// All documents.
pub fn yamls(text: &str) -> Vec<Value> {
    Yaml::load_from_str(text).unwrap().iter().map(to_json).collect()
}

/// The first document.
pub fn yaml(text: &str) -> Value {
    yamls(text).swap_remove(0)
}

struct Description(Value);

impl Description {
    fn load() -> Description {
        Description(yaml(&std::fs::read_to_string(testdata("stackstate/openapi.yaml")).unwrap()))
    }

    fn resolve<'a>(&'a self, node: &'a Value) -> &'a Value {
        let Some(reference) = node["$ref"].as_str() else { return node };
        let pointer = reference.strip_prefix('#').unwrap();
        self.resolve(self.0.pointer(pointer).unwrap_or_else(|| panic!("no {reference}")))
    }

    /// Errors of a value by a schema; unknown members are errors, too.
    fn errors(&self, schema: &Value, value: &Value) -> Vec<String> {
        let schema = self.resolve(schema);
        if let Some(allowed) = schema["enum"].as_array().filter(|allowed| !allowed.contains(value)) {
            return vec![format!("{value} is none of {allowed:?}")];
        }
        match (schema["type"].as_str(), value) {
            (Some("string"), Value::String(_)) | (Some("boolean"), Value::Bool(_)) => vec![],
            (Some("integer"), Value::Number(number)) if number.is_i64() => vec![],
            (Some("array"), Value::Array(items)) => {
                items.iter().flat_map(|item| self.errors(&schema["items"], item)).collect()
            }
            (Some("object"), Value::Object(members)) => {
                let required = schema["required"].as_array().into_iter().flatten();
                let missing = required.filter(|name| !members.contains_key(name.as_str().unwrap()));
                let missing = missing.map(|name| format!("no {name} in {value}"));
                let wrong = members.iter().flat_map(|(name, member)| match &schema["properties"][name] {
                    Value::Null => vec![format!("{name} is unknown in {value}")],
                    schema => self.errors(schema, member),
                });
                missing.chain(wrong).collect()
            }
            (kind, value) => vec![format!("{value} is not of type {kind:?}")],
        }
    }
}

/// Checks one recorded exchange.
fn check(description: &Description, exchange: &Value) {
    let path = exchange["path"].as_str().unwrap().strip_prefix("/api").expect("the base path");
    let mut segments: Vec<&str> = path.split('/').collect();
    if segments.len() == 4 {
        segments[3].parse::<i64>().expect("the ID is an integer");
        segments[3] = "{id}";
    }
    let method = exchange["method"].as_str().unwrap().to_lowercase();
    let operation = &description.0["paths"][segments.join("/").as_str()][method.as_str()];
    assert!(operation.is_object(), "{method} {path} is not described");
    let wanted = &operation["requestBody"]["content"]["application/json"]["schema"];
    if wanted.is_null() {
        assert_eq!(exchange["body"], "", "{exchange}");
    } else {
        assert_eq!(exchange["content_type"], "application/json", "{exchange}");
        assert_eq!(description.errors(wanted, &exchange["body"]), [""; 0], "{exchange}");
    }
    let response = description.resolve(&operation["responses"][exchange["status"].to_string().as_str()]);
    assert!(response.is_object(), "this status is not described: {exchange}");
    let schema = &response["content"]["application/json"]["schema"];
    if schema.is_null() {
        assert_eq!(exchange["answer"], "", "{exchange}");
    } else {
        assert_eq!(description.errors(schema, &exchange["answer"]), [""; 0], "{exchange}");
    }
}

#[test]
fn requests_and_answers_are_as_described() {
    let description = Description::load();
    let sandbox = Sandbox::start(&[]);
    stackstate(&sandbox, &["create", "-n=a", "--roles=a,b", "--expiration=2030-01-01"]).succeeded();
    stackstate(&sandbox, &["create", "-n=b", "--roles=a", "--dedicated-subject=s"]).succeeded();
    stackstate(&sandbox, &["create", "-n=c", "--roles=a", "--expiration=2020-01-01"])
        .failed_with(125, &["expiry"]);
    stackstate(&sandbox, &["list"]).succeeded();
    stackstate(&sandbox, &["delete", "9007199254740993"]).succeeded();
    run(shell(sandbox.token().args(["stackstate", "exec", "--roles=a"]), "exit 0")).succeeded();
    let requests = sandbox.shows("/sandbox/requests");
    let requests = requests.as_array().unwrap();
    assert!(requests.len() >= 9, "{requests:?}");
    for exchange in requests {
        check(&description, exchange);
        let names = exchange["headers"].as_array().unwrap();
        assert!(names.contains(&"x-api-token".into()) && !names.contains(&"cookie".into()), "{exchange}");
    }
    // The check itself detects errors.
    let schema = json!({"$ref": "#/components/schemas/Wanted"});
    for wrong in [
        json!({"name": "x"}),
        json!({"name": "x", "roles": "a"}),
        json!({"name": "x", "roles": [], "expiryDate": 1.5}),
    ] {
        assert_ne!(description.errors(&schema, &wrong), [""; 0], "{wrong}");
    }
}
