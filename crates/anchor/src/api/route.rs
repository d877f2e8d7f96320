//! What a route is: its handler, and all that the OpenAPI document says of it. The router and the document are built
//! from the same list, so that neither can say what the other does not.

use axum::handler::Handler;
use axum::http::Method;
use axum::routing::{MethodFilter, MethodRouter, on};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use std::sync::Arc;

use super::Api;

/// The schema of a type.
pub(crate) type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// One method of one path.
pub(crate) struct Route {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    /// The `operationId`.
    pub(crate) id: &'static str,
    pub(crate) summary: &'static str,
    pub(crate) access: Access,
    /// The variable of the path: name, what it is, schema.
    pub(crate) variable: Option<(&'static str, &'static str, SchemaOf)>,
    /// An object whose properties are the parameters of the query.
    pub(crate) query: Option<SchemaOf>,
    /// Fields of the request: name, what it is.
    pub(crate) fields: Vec<(&'static str, &'static str)>,
    /// The body, and an example of it.
    pub(crate) body: Option<(SchemaOf, fn() -> serde_json::Value)>,
    pub(crate) answers: Vec<Answered>,
    /// The statuses of problems that are this route's own.
    pub(crate) problems: Vec<u16>,
    pub(crate) handler: MethodRouter<Arc<Api>>,
}

/// Who may use a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Anybody.
    Open,
    /// Anybody, who sees what is public; the holder of a token sees more.
    Partly,
    /// Holders of a token.
    Token,
}

/// An answer that is no problem.
pub(crate) struct Answered {
    pub(crate) status: u16,
    pub(crate) summary: &'static str,
    /// Media types with their schemas, where they have one.
    pub(crate) content: Vec<(&'static str, Option<SchemaOf>)>,
    /// Fields of the answer: name, what it is.
    pub(crate) fields: Vec<(&'static str, &'static str)>,
}

impl Route {
    pub(crate) fn get<H: Handler<T, Arc<Api>>, T: 'static>(
        path: &'static str,
        id: &'static str,
        handler: H,
    ) -> Self {
        Self::new(Method::GET, path, id, on(MethodFilter::GET, handler))
    }

    pub(crate) fn post<H: Handler<T, Arc<Api>>, T: 'static>(
        path: &'static str,
        id: &'static str,
        handler: H,
    ) -> Self {
        Self::new(Method::POST, path, id, on(MethodFilter::POST, handler))
    }

    pub(crate) fn delete<H: Handler<T, Arc<Api>>, T: 'static>(
        path: &'static str,
        id: &'static str,
        handler: H,
    ) -> Self {
        Self::new(Method::DELETE, path, id, on(MethodFilter::DELETE, handler))
    }

    fn new(method: Method, path: &'static str, id: &'static str, handler: MethodRouter<Arc<Api>>) -> Self {
        Self {
            method,
            path,
            id,
            summary: "",
            access: Access::Token,
            variable: None,
            query: None,
            fields: Vec::new(),
            body: None,
            answers: Vec::new(),
            problems: Vec::new(),
            handler,
        }
    }

    pub(crate) fn summary(mut self, summary: &'static str) -> Self {
        self.summary = summary;
        self
    }

    pub(crate) fn access(mut self, access: Access) -> Self {
        self.access = access;
        self
    }

    pub(crate) fn variable<T: JsonSchema>(mut self, name: &'static str, what: &'static str) -> Self {
        self.variable = Some((name, what, inline::<T>));
        self.problems.push(404);
        self
    }

    pub(crate) fn query<T: JsonSchema>(mut self) -> Self {
        self.query = Some(inline::<T>);
        self
    }

    pub(crate) fn field(mut self, name: &'static str, what: &'static str) -> Self {
        self.fields.push((name, what));
        self
    }

    pub(crate) fn body<T: JsonSchema>(mut self, example: fn() -> serde_json::Value) -> Self {
        self.body = Some((SchemaGenerator::subschema_for::<T>, example));
        self.problems.extend([408, 413, 415, 422]);
        self
    }

    /// An answer that is a value, in JSON or CBOR.
    pub(crate) fn value<T: JsonSchema>(self, status: u16, summary: &'static str) -> Self {
        let schema: Option<SchemaOf> = Some(SchemaGenerator::subschema_for::<T>);
        self.answer(status, summary, vec![("application/json", schema), ("application/cbor", None)])
    }

    /// An answer of the given media types.
    pub(crate) fn answer(
        mut self,
        status: u16,
        summary: &'static str,
        content: Vec<(&'static str, Option<SchemaOf>)>,
    ) -> Self {
        self.answers.push(Answered { status, summary, content, fields: Vec::new() });
        self
    }

    /// A field of the last answer.
    pub(crate) fn told(mut self, name: &'static str, what: &'static str) -> Self {
        if let Some(answer) = self.answers.last_mut() {
            answer.fields.push((name, what));
        }
        self
    }

    pub(crate) fn problems(mut self, statuses: &[u16]) -> Self {
        self.problems.extend(statuses);
        self
    }
}

/// Keeps the schema of a type where it is used, since parameters are taken apart.
fn inline<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    T::json_schema(generator)
}
