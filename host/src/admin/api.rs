//! The routes of the server, and the OpenAPI document that is made of them.
//!
//! Guarantee: a route is in the router and in the document, or in neither, with the same method,
//! path and role.
//!
//! The schemas of the answers are in `schemas.json`; tests hold a running host's answers to them.

use axum::Router;
use axum::handler::Handler;
use axum::http::{StatusCode, header};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, get, on};
use serde_json::Value;
use utoipa::openapi::path::{
    HttpMethod, Operation, OperationBuilder, Parameter, ParameterBuilder, ParameterIn, Paths,
};
use utoipa::openapi::request_body::{RequestBody, RequestBodyBuilder};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{ContentBuilder, Info, OpenApi, Ref, Required, ResponseBuilder};

use super::Desks;
use super::access::{Access, Role};
use super::problem::Problem;

/// Routes so far.
pub(super) struct Api {
    access: Access,
    router: Router<Desks>,
    paths: Paths,
}

/// What a route does.
#[derive(Clone, Copy, Debug)]
pub(super) enum Method {
    Get,
    Post,
    Put,
    Delete,
}

/// What the document says of a route beside its method, its path and its role.
#[derive(Clone, Copy, Debug)]
pub(super) struct About {
    pub(super) summary: &'static str,
    /// Names and meanings of what may stand behind the question mark.
    pub(super) query: &'static [(&'static str, &'static str)],
    pub(super) body: Body,
    /// Statuses of success, each with the name of its body's schema.
    pub(super) answers: &'static [(StatusCode, Answer)],
    /// Statuses of refusals, beside those of tokens and of a host that is starting.
    pub(super) refusals: &'static [StatusCode],
}

/// What is sent with a request.
#[derive(Clone, Copy, Debug)]
pub(super) enum Body {
    None,
    /// Bytes as they are.
    File,
    /// JSON of this schema.
    Json(&'static str),
    /// The same, or nothing.
    JsonOrNothing(&'static str),
}

/// What comes back.
#[derive(Clone, Copy, Debug)]
pub(super) enum Answer {
    Text,
    /// JSON of this schema.
    Json(&'static str),
}

/// axum's own texts are a line.
const REFUSAL_BYTES_MAX: usize = 4 << 10;

const JSON: &str = "application/json";
const PROBLEM: &str = "application/problem+json";

/// What the token is called in the document.
const TOKEN: &str = "token";

impl Api {
    pub(super) fn new(access: Access) -> Self {
        Api {
            access,
            router: Router::new(),
            paths: Paths::new(),
        }
    }

    /// A route for those who have this role, or one above it.
    pub(super) fn guarded<H, T>(
        mut self,
        role: Role,
        method: Method,
        path: &'static str,
        handler: H,
        about: About,
    ) -> Self
    where
        H: Handler<T, Desks>,
        T: 'static,
    {
        let route = self.access.guard(role, on(method.filter(), handler));
        self.router = self.router.route(path, route);
        let operation = about.operation(path, Some(role));
        self.paths
            .add_path_operation(path, vec![method.documented()], operation);
        self
    }

    /// A route for everybody.
    pub(super) fn open<H, T>(
        mut self,
        method: Method,
        path: &'static str,
        handler: H,
        about: About,
    ) -> Self
    where
        H: Handler<T, Desks>,
        T: 'static,
    {
        let route = self.access.open(on(method.filter(), handler));
        self.router = self.router.route(path, route);
        let operation = about.operation(path, None);
        self.paths
            .add_path_operation(path, vec![method.documented()], operation);
        self
    }

    /// All routes, and one for the document itself.
    pub(super) fn router(self, desks: Desks) -> Router {
        let about = About {
            summary: "This document",
            query: &[],
            body: Body::None,
            answers: &[(StatusCode::OK, Answer::Json("Document"))],
            refusals: &[],
        };
        let mut paths = self.paths;
        let operation = about.operation("/openapi.json", None);
        paths.add_path_operation("/openapi.json", vec![HttpMethod::Get], operation);
        let document = document(paths);
        let show =
            move || async move { ([(header::CONTENT_TYPE, JSON)], document).into_response() };
        self.router
            .route("/openapi.json", self.access.open(get(show)))
            .fallback(no_route)
            .method_not_allowed_fallback(no_method)
            .layer(map_response(as_problem))
            .with_state(desks)
    }
}

/// A refusal that no handler has seen, such as a path with a number out of range or a body that is
/// too large: axum tells it in plain text.
async fn as_problem(response: Response) -> Response {
    let status = response.status();
    let is_text = (response.headers().get(header::CONTENT_TYPE))
        .is_some_and(|content_type| content_type.as_bytes().starts_with(b"text/plain"));
    if !is_text || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let body = axum::body::to_bytes(response.into_body(), REFUSAL_BYTES_MAX).await;
    let detail = body.map_or_else(
        |_| status.to_string(),
        |body| String::from_utf8_lossy(&body).into_owned(),
    );
    Problem::new(status, detail).into_response()
}

async fn no_route() -> Problem {
    let detail = "there is nothing at this path; GET /openapi.json lists what there is";
    Problem::new(StatusCode::NOT_FOUND, detail)
}

async fn no_method() -> Problem {
    let detail = "this path has other methods; GET /openapi.json lists them";
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail)
}

impl Method {
    fn filter(self) -> MethodFilter {
        match self {
            Method::Get => MethodFilter::GET,
            Method::Post => MethodFilter::POST,
            Method::Put => MethodFilter::PUT,
            Method::Delete => MethodFilter::DELETE,
        }
    }

    fn documented(self) -> HttpMethod {
        match self {
            Method::Get => HttpMethod::Get,
            Method::Post => HttpMethod::Post,
            Method::Put => HttpMethod::Put,
            Method::Delete => HttpMethod::Delete,
        }
    }
}

impl About {
    fn operation(self, path: &str, role: Option<Role>) -> Operation {
        let mut operation = OperationBuilder::new().summary(Some(self.summary));
        let parts = path.split('/').filter_map(|part| part.strip_prefix('{'));
        for name in parts.filter_map(|part| part.strip_suffix('}')) {
            operation = operation.parameter(parameter(name, ParameterIn::Path, None));
        }
        for (name, meaning) in self.query {
            operation = operation.parameter(parameter(name, ParameterIn::Query, Some(meaning)));
        }
        operation = operation.request_body(self.body.documented());
        for (status, answer) in self.answers {
            operation = operation.response(status.as_str(), answer.documented(*status));
        }
        for status in self.refusals {
            operation = operation.response(status.as_str(), refusal(*status));
        }
        if let Some(role) = role {
            for status in [
                StatusCode::UNAUTHORIZED,
                StatusCode::FORBIDDEN,
                StatusCode::SERVICE_UNAVAILABLE,
            ] {
                operation = operation.response(status.as_str(), refusal(status));
            }
            operation = operation
                .description(Some(format!(
                    "Takes a token of role {role}, or one above it."
                )))
                .security(SecurityRequirement::new(TOKEN, [role.to_string()]));
        }
        operation.build()
    }
}

impl Body {
    fn documented(self) -> Option<RequestBody> {
        let required = match self {
            Body::JsonOrNothing(_) => Required::False,
            Body::None | Body::File | Body::Json(_) => Required::True,
        };
        let body = RequestBodyBuilder::new().required(Some(required));
        match self {
            Body::None => None,
            Body::File => {
                // Without a media type of its own, as OpenAPI 3.1 has it for bytes.
                let bytes = ObjectBuilder::new()
                    .schema_type(Type::String)
                    .content_media_type("application/wasm");
                let content = ContentBuilder::new().schema(Some(bytes));
                let body = body.description(Some("The plugin's file, a Wasm module or component"));
                Some(
                    body.content("application/octet-stream", content.build())
                        .build(),
                )
            }
            Body::Json(schema) | Body::JsonOrNothing(schema) => {
                let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(schema)));
                Some(body.content(JSON, content.build()).build())
            }
        }
    }
}

impl Answer {
    fn documented(self, status: StatusCode) -> utoipa::openapi::Response {
        let response = ResponseBuilder::new().description(phrase(status));
        match self {
            Answer::Text => response.content("text/plain", ContentBuilder::new().build()),
            Answer::Json(schema) => {
                let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(schema)));
                response.content(JSON, content.build())
            }
        }
        .build()
    }
}

fn refusal(status: StatusCode) -> utoipa::openapi::Response {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem")));
    ResponseBuilder::new()
        .description(phrase(status))
        .content(PROBLEM, content.build())
        .build()
}

fn parameter(name: &str, place: ParameterIn, meaning: Option<&str>) -> Parameter {
    let required = match &place {
        ParameterIn::Path => Required::True,
        _ => Required::False,
    };
    ParameterBuilder::new()
        .name(name)
        .parameter_in(place)
        .required(required)
        .description(meaning)
        .schema(Some(ObjectBuilder::new().schema_type(Type::String)))
        .build()
}

fn phrase(status: StatusCode) -> &'static str {
    status.canonical_reason().unwrap_or_default()
}

fn document(paths: Paths) -> String {
    let info = Info::new(
        "Projectionist, the admin API of a host",
        env!("CARGO_PKG_VERSION"),
    );
    let document = OpenApi::new(info, paths);
    let mut document = serde_json::to_value(document).expect("plain data serializes");
    let components: Value =
        serde_json::from_str(include_str!("schemas.json")).expect("tests read this file");
    document["components"] = components;
    format!("{document:#}\n")
}
