//! tmp
pub mod grpc {
    //! tmp
    use http::{Request, Response};
    use hyper::body::Incoming;
    /// tmp
    pub type Service = ();
    /// tmp
    pub fn service(_: torc_coordinator::node::Node) -> Service {}
    /// tmp
    pub async fn call(_: Service, _r: Request<Incoming>) -> Response<http_body_util::combinators::UnsyncBoxBody<bytes::Bytes, tonic::Status>> { use http_body_util::BodyExt; Response::new(http_body_util::Full::new(bytes::Bytes::new()).map_err(|n| match n {}).boxed_unsync()) }
}
pub mod http {
    //! tmp
    use http::{Request, Response};
    /// tmp
    pub async fn handle(_: &torc_coordinator::node::Node, _r: Request<bytes::Bytes>) -> Response<http_body_util::Full<bytes::Bytes>> { Response::new(http_body_util::Full::new(bytes::Bytes::new())) }
}
