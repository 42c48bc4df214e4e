//! Every request of ours, and every answer of the sandbox's, against the vendor's OpenAPI specification.

use saphyr::{LoadableYamlNode as _, Scalar, Yaml};
use serde_json::{Value, json};

use super::sts;
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

/// The first document.
pub fn yaml(text: &str) -> Value {
    to_json(&Yaml::load_from_str(text).unwrap()[0])
}

/// A document of the specification, and its name.
struct Document(&'static str, Value);

impl Document {
    fn load(name: &'static str) -> Document {
        let text = std::fs::read_to_string(testdata(&format!("stackstate/{name}"))).unwrap();
        Document(name, yaml(&text))
    }

    /// Follows a reference, within this document or into another.
    fn resolve<'a>(&'a self, others: &'a [Document], node: &'a Value) -> (&'a Document, &'a Value) {
        let Some(reference) = node["$ref"].as_str() else { return (self, node) };
        let (file, pointer) = reference.split_once('#').unwrap();
        let document = if file.is_empty() { self } else { others.iter().find(|d| d.0 == file).unwrap() };
        let node = document.1.pointer(pointer).unwrap_or_else(|| panic!("no {reference}"));
        document.resolve(others, node)
    }

    /// What is wrong with a value by a schema; unknown members are wrong, too.
    fn errors(&self, others: &[Document], schema: &Value, value: &Value) -> Vec<String> {
        let (document, schema) = self.resolve(others, schema);
        if let Some(options) = schema["oneOf"].as_array() {
            let fits = |option: &&Value| document.errors(others, option, value).is_empty();
            return if options.iter().filter(fits).count() == 1 {
                vec![]
            } else {
                vec![format!("{value}: no option fits")]
            };
        }
        if let Some(allowed) = schema["enum"].as_array().filter(|allowed| !allowed.contains(value)) {
            return vec![format!("{value} is none of {allowed:?}")];
        }
        match (schema["type"].as_str(), value) {
            (Some("string"), Value::String(_)) | (Some("boolean"), Value::Bool(_)) => vec![],
            (Some("integer"), Value::Number(number)) if number.is_i64() => vec![],
            (Some("array"), Value::Array(items)) => {
                items.iter().flat_map(|item| document.errors(others, &schema["items"], item)).collect()
            }
            (Some("object"), Value::Object(members)) => {
                let required = schema["required"].as_array().into_iter().flatten();
                let missing = required.filter(|name| !members.contains_key(name.as_str().unwrap()));
                let missing = missing.map(|name| format!("no {name} in {value}"));
                let wrong = members.iter().flat_map(|(name, member)| match &schema["properties"][name] {
                    Value::Null => vec![format!("{name} is unknown in {value}")],
                    schema => document.errors(others, schema, member),
                });
                missing.chain(wrong).collect()
            }
            (kind, value) => vec![format!("{value} is not of type {kind:?}")],
        }
    }
}

/// Checks one recorded exchange.
fn check(documents: &[Document], exchange: &Value) {
    let path = exchange["path"].as_str().unwrap().strip_prefix("/api").expect("the base path");
    let mut segments: Vec<&str> = path.split('/').collect();
    if segments.len() == 4 {
        segments[3].parse::<i64>().expect("the id is an integer");
        segments[3] = "{serviceTokenId}";
    }
    let path = segments.join("/");
    let found = documents.iter().find(|document| document.1["paths"][path.as_str()].is_object());
    let document = found.unwrap_or_else(|| panic!("{path} is not in the specification"));
    let method = exchange["method"].as_str().unwrap().to_lowercase();
    let operation = &document.1["paths"][path.as_str()][method.as_str()];
    assert!(operation.is_object(), "{method} {path} is not in the specification");
    let wanted = &operation["requestBody"]["content"]["application/json"]["schema"];
    if wanted.is_null() {
        assert_eq!(exchange["body"], "", "{exchange}");
    } else {
        assert_eq!(exchange["content_type"], "application/json", "{exchange}");
        assert_eq!(document.errors(documents, wanted, &exchange["body"]), [""; 0], "{exchange}");
    }
    let response = &operation["responses"][exchange["status"].to_string().as_str()];
    let (document, response) = document.resolve(documents, response);
    assert!(response.is_object(), "this status is not in the specification: {exchange}");
    let schema = &response["content"]["application/json"]["schema"];
    if schema.is_null() {
        assert_eq!(exchange["answer"], "", "{exchange}");
    } else {
        assert_eq!(document.errors(documents, schema, &exchange["answer"]), [""; 0], "{exchange}");
    }
}

#[test]
fn requests_and_answers_are_those_of_the_specification() {
    let documents = ["service_token.api.yaml", "server_info.api.yaml", "generic_error_handling.xapi.yaml"]
        .map(Document::load);
    let sandbox = Sandbox::start(&[]);
    sts(&sandbox, &["create", "-n=a", "--roles=a,b", "--expiration=2030-01-01"]).succeeded();
    sts(&sandbox, &["create", "-n=b", "--roles=a", "--dedicated-subject=s"]).succeeded();
    sts(&sandbox, &["create", "-n=c", "--roles=a", "--expiration=2020-01-01"]).failed_with(125, &["expiry"]);
    sts(&sandbox, &["list"]).succeeded();
    sts(&sandbox, &["delete", "9007199254740993"]).succeeded();
    run(shell(sandbox.token().args(["stackstate", "exec", "--roles=a"]), "exit 0")).succeeded();
    let requests = sandbox.shows("/sandbox/requests");
    let requests = requests.as_array().unwrap();
    assert!(requests.len() >= 9, "{requests:?}");
    for exchange in requests {
        check(&documents, exchange);
        let names = exchange["headers"].as_array().unwrap();
        assert!(names.contains(&"x-api-token".into()) && !names.contains(&"cookie".into()), "{exchange}");
    }
    // The check itself sees what is wrong.
    let schema = json!({"$ref": "#/components/schemas/NewServiceTokenRequest"});
    for wrong in [
        json!({"name": "x"}),
        json!({"name": "x", "roles": "a"}),
        json!({"name": "x", "roles": [], "expiryDate": 1.5}),
    ] {
        assert_ne!(documents[0].errors(&documents, &schema, &wrong), [""; 0], "{wrong}");
    }
}
