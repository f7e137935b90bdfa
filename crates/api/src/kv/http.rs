//! `/kv`: buckets over plain HTTP.

use super::answer;
use super::params::{Params, Resource, encode_opaque, resource};
use super::settings;
use crate::escape;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use serde_json::{Value, json};
use torc_coordinator::bucket::{
    BucketError, Buckets, DeleteRequest, GetRequest, KeysRequest, PutRequest, limits,
};

type Answer = Result<Response<Full<Bytes>>, BucketError>;

/// Page size of listings if the request does not say.
const DEFAULT_LIMIT: u64 = 100;

/// Serves one request whose path starts with `/kv`.
pub async fn handle(buckets: &dyn Buckets, request: Request<Bytes>) -> Response<Full<Bytes>> {
    let head = request.method() == Method::HEAD;
    let mut response = route(buckets, &request).await.unwrap_or_else(|error| answer::error(&error));
    if head {
        *response.body_mut() = Full::default();
    }
    response
}

async fn route(buckets: &dyn Buckets, request: &Request<Bytes>) -> Answer {
    let params = Params::new(request.uri().query(), request.headers())?;
    match (resource(request.uri().path())?, request.method().as_str()) {
        (Resource::Root, "GET" | "HEAD") => list_buckets(buckets, &params).await,
        (Resource::Root, _) => Ok(not_allowed("GET")),

        (Resource::Bucket(bucket), "PUT") => {
            let config = settings::parse(request.body())?;
            let info = buckets.create_bucket(bucket, config).await?;
            Ok(answer::json_body(StatusCode::OK, &settings::describe(&info)))
        }
        (Resource::Bucket(bucket), "GET" | "HEAD") if wants_keys(&params)? => {
            list_keys(buckets, bucket, &params).await
        }
        (Resource::Bucket(bucket), "GET" | "HEAD") => {
            let info = buckets.describe_bucket(bucket).await?;
            Ok(answer::json_body(StatusCode::OK, &settings::describe(&info)))
        }
        (Resource::Bucket(bucket), "DELETE") => {
            buckets.drop_bucket(bucket).await?;
            Ok(answer::empty(StatusCode::NO_CONTENT))
        }
        (Resource::Bucket(_), _) => Ok(not_allowed("GET, PUT, DELETE")),

        (Resource::Key(bucket, key), "PUT" | "POST") => put(buckets, bucket, key, request, &params).await,
        (Resource::Key(bucket, key), "GET" | "HEAD") => {
            let request_ = GetRequest {
                bucket: bucket.clone(),
                key,
                r: params.level("r")?,
                deadline: params.deadline()?,
            };
            let found = buckets.get(request_).await?;
            Ok(answer::read(&bucket, found, request.headers().get(header::ACCEPT)))
        }
        (Resource::Key(bucket, key), "DELETE") => {
            let request = DeleteRequest {
                bucket,
                key,
                context: params.context()?,
                w: params.level("w")?,
                operation: params.operation()?,
                deadline: params.deadline()?,
            };
            Ok(answer::written(&buckets.delete(request).await?))
        }
        (Resource::Key(..), _) => Ok(not_allowed("GET, PUT, POST, DELETE")),
    }
}

async fn put(
    buckets: &dyn Buckets,
    bucket: String,
    key: Bytes,
    request: &Request<Bytes>,
    params: &Params<'_>,
) -> Answer {
    if request.body().len() > limits::MAX_VALUE_BYTES {
        return Ok(answer::failure(
            StatusCode::PAYLOAD_TOO_LARGE,
            "ValueTooLarge",
            &format!(
                "the value has {} bytes; at most {} are allowed",
                request.body().len(),
                limits::MAX_VALUE_BYTES
            ),
            "store it in pieces",
        ));
    }
    let content_type = match request.headers().get(header::CONTENT_TYPE) {
        None => String::new(),
        Some(value) => value
            .to_str()
            .map_err(|_| BucketError::invalid("the content type is not ASCII", "send a plain content type"))?
            .to_owned(),
    };
    let request = PutRequest {
        bucket,
        key,
        value: request.body().clone(),
        content_type,
        context: params.context()?,
        w: params.level("w")?,
        ttl: params.ttl()?,
        operation: params.operation()?,
        deadline: params.deadline()?,
    };
    Ok(answer::written(&buckets.put(request).await?))
}

fn wants_keys(params: &Params<'_>) -> Result<bool, BucketError> {
    match params.get("keys")?.as_deref() {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(other) => Err(BucketError::invalid(
            format!("keys={other} is neither true nor false"),
            "send keys=true to list keys",
        )),
    }
}

async fn list_keys(buckets: &dyn Buckets, bucket: String, params: &Params<'_>) -> Answer {
    let request = KeysRequest {
        bucket: bucket.clone(),
        after: params.after()?,
        limit: limit(params)?,
        deadline: params.deadline()?,
    };
    let page = buckets.keys(request).await?;
    let keys: Vec<Value> = page
        .keys
        .iter()
        .map(|key| {
            let path = format!("/kv/{}/{}", escape::segment(bucket.as_bytes()), escape::segment(key));
            match std::str::from_utf8(key) {
                Ok(text) => json!({ "key": text, "path": path }),
                // Not text: the path is the only way to write it.
                Err(_) => json!({ "path": path }),
            }
        })
        .collect();
    let next = Some(page.next).filter(|next| !next.is_empty()).map(|next| encode_opaque(&next));
    Ok(answer::json_body(StatusCode::OK, &json!({ "keys": keys, "next": next })))
}

async fn list_buckets(buckets: &dyn Buckets, params: &Params<'_>) -> Answer {
    let after = params.get("after")?.unwrap_or_default().into_owned();
    let found = buckets.list_buckets(after, limit(params)?).await?;
    let list: Vec<Value> = found.iter().map(settings::describe).collect();
    Ok(answer::json_body(StatusCode::OK, &json!({ "buckets": list })))
}

fn limit(params: &Params<'_>) -> Result<usize, BucketError> {
    let limit = params.number("limit")?.unwrap_or(DEFAULT_LIMIT);
    match usize::try_from(limit) {
        Ok(limit) if (1..=limits::MAX_LIST_KEYS).contains(&limit) => Ok(limit),
        _ => Err(BucketError::invalid(
            format!("limit={limit} is out of range"),
            format!("limit is 1 to {}", limits::MAX_LIST_KEYS),
        )),
    }
}

fn not_allowed(allow: &'static str) -> Response<Full<Bytes>> {
    let mut response = answer::failure(
        StatusCode::METHOD_NOT_ALLOWED,
        "MethodNotAllowed",
        "this path does not take that method",
        &format!("it takes {allow}"),
    );
    answer::set(response.headers_mut(), "allow", allow);
    response
}
