//! The description of the API (OpenAPI 3.1), made from the routes themselves.

use std::collections::BTreeSet;

use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::route::{Access, Answered, Route};

/// The document that describes `routes`.
pub(crate) fn document(routes: &[Route]) -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = SchemaGenerator::new(settings);
    let problem = generator.subschema_for::<mmn_schema::problem::Problem>();
    // The messages of the WebSocket have no place among the paths, and are described all the same.
    let _ = generator.subschema_for::<mmn_schema::stream::FromClient>();
    let _ = generator.subschema_for::<mmn_schema::stream::FromAnchor>();
    let mut paths = Map::new();
    for route in routes {
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        let operation = operation(route, &mut generator);
        if let Value::Object(methods) = path {
            methods.insert(route.method.as_str().to_ascii_lowercase(), operation);
        }
    }
    let schemas: Map<_, _> = generator.take_definitions(true);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "mmn",
            "summary": "Measurements of the Internet, from one vantage point or from a thousand.",
            "description": "Errors are problems (RFC 9457). Instants are RFC 3339 with nanoseconds; durations in \
                            requests are text with a unit (`500ms`, `1m`, `PT1H`). Bodies are JSON or CBOR, as \
                            Content-Type and Accept say.",
            "version": mmn_schema::VERSION.to_string(),
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": { "bearer": { "type": "http", "scheme": "bearer", "bearerFormat": "JWT" } },
            "responses": { "Problem": {
                "description": "A problem (RFC 9457); its `type` leads to an explanation.",
                "headers": {
                    "Retry-After": { "description": "With 429 and 503: seconds to wait.", "schema": { "type": "integer" } },
                    "RateLimit": { "description": "What is left of the requests.", "schema": { "type": "string" } },
                    "RateLimit-Policy": { "description": "How many may be made.", "schema": { "type": "string" } },
                },
                "content": { "application/problem+json": { "schema": problem } },
            } },
        },
    })
}

fn operation(route: &Route, generator: &mut SchemaGenerator) -> Value {
    let mut operation = Map::new();
    operation.insert("operationId".into(), route.id.into());
    operation.insert("summary".into(), route.summary.into());
    let security = match route.access {
        Access::Open => json!([]),
        Access::Partly => json!([{}, { "bearer": [] }]),
        Access::Token => json!([{ "bearer": [] }]),
    };
    operation.insert("security".into(), security);
    let parameters = parameters(route, generator);
    if !parameters.is_empty() {
        operation.insert("parameters".into(), parameters.into());
    }
    if let Some((schema, example)) = route.body {
        let schema = schema(generator);
        operation.insert(
            "requestBody".into(),
            json!({
                "required": true,
                "content": { "application/json": { "schema": schema, "example": example() } },
            }),
        );
    }
    let mut responses = Map::new();
    for answer in &route.answers {
        responses.insert(answer.status.to_string(), response(answer, generator));
    }
    for status in problems(route) {
        responses.insert(status.to_string(), json!({ "$ref": "#/components/responses/Problem" }));
    }
    operation.insert("responses".into(), responses.into());
    operation.into()
}

fn parameters(route: &Route, generator: &mut SchemaGenerator) -> Vec<Value> {
    let mut parameters = Vec::new();
    if let Some((name, what, schema)) = route.variable {
        let schema = schema(generator);
        parameters.push(json!({
            "name": name, "in": "path", "required": true, "description": what, "schema": schema,
        }));
    }
    if let Some(query) = route.query {
        let object = query(generator);
        let required: BTreeSet<&str> = object
            .get("required")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let properties = object.get("properties").and_then(Value::as_object);
        for (name, schema) in properties.into_iter().flatten() {
            parameters.push(json!({
                "name": name,
                "in": "query",
                "required": required.contains(name.as_str()),
                "description": schema.get("description"),
                "schema": without_null(schema),
            }));
        }
    }
    for (name, what) in &route.fields {
        parameters.push(json!({
            "name": name, "in": "header", "description": what, "schema": { "type": "string" },
        }));
    }
    parameters
}

/// A query has no null: a parameter is there or it is not.
fn without_null(schema: &Value) -> Value {
    let Value::Object(mut schema) = schema.clone() else { return schema.clone() };
    schema.remove("description");
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            schema.insert("type".into(), only);
        }
    }
    if let Some(Value::Array(choices)) = schema.get_mut("anyOf") {
        choices.retain(|choice| choice.get("type") != Some(&json!("null")));
        if let [only] = choices.as_slice() {
            return only.clone();
        }
    }
    schema.into()
}

fn response(answer: &Answered, generator: &mut SchemaGenerator) -> Value {
    let mut content = Map::new();
    for (media_type, schema) in &answer.content {
        let described = match schema {
            Some(schema) => json!({ "schema": schema(generator) }),
            None => json!({}),
        };
        content.insert((*media_type).into(), described);
    }
    let mut headers = Map::new();
    for (name, what) in &answer.fields {
        headers.insert((*name).into(), json!({ "description": what, "schema": { "type": "string" } }));
    }
    let mut response = Map::new();
    response.insert("description".into(), answer.summary.into());
    if !headers.is_empty() {
        response.insert("headers".into(), headers.into());
    }
    if !content.is_empty() {
        response.insert("content".into(), content.into());
    }
    response.into()
}

/// The statuses of the problems that a route answers with: its own, and those that any has.
pub(crate) fn problems(route: &Route) -> BTreeSet<u16> {
    let mut statuses: BTreeSet<u16> = route.problems.iter().copied().collect();
    // A request that can't be read; another host; too many; not now; not in time.
    statuses.extend([400, 421, 429, 503, 504]);
    // A token that does not hold is refused everywhere.
    statuses.insert(401);
    // A page of another origin that uses a browser's session.
    if route.method != axum::http::Method::GET {
        statuses.insert(403);
    }
    statuses
}
