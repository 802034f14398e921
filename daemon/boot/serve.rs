//! The gRPC server: our service, health and reflection on the daemon's socket. What is answered is decided in `rpc/`.

use crate::boot::accept;
use crate::rpc::Service;
use specweave_jobs::v1::jobs_service_server::JobsServiceServer;
use std::os::unix::net::UnixListener as StdListener;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UnixListener;

/// A message larger than this is refused.
const MOST_MESSAGE: usize = 16 * 1024 * 1024;

/// Serves one listener: only connections of the daemon's own user.
pub async fn connections<H>(listener: StdListener, service: Arc<Service>, health: H)
where
    H: tonic::codegen::Service<
            http::Request<tonic::body::Body>,
            Response = http::Response<tonic::body::Body>,
            Error = std::convert::Infallible,
        > + tonic::server::NamedService
        + Clone
        + Send
        + Sync
        + 'static,
    H::Future: Send + 'static,
{
    let listener = match UnixListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "the socket cannot be used"),
    };
    let connections = accept::connections(listener);
    let described = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(specweave_jobs::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    // Python's library still asks by the older name.
    let (reflection, reflection_alpha) = match (described().build_v1(), described().build_v1alpha()) {
        (Ok(reflection), Ok(alpha)) => (reflection, alpha),
        (Err(error), _) | (_, Err(error)) => {
            return tracing::error!(%error, "the contract's descriptors are broken");
        }
    };
    let jobs = JobsServiceServer::from_arc(service).max_decoding_message_size(MOST_MESSAGE);
    let served = tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(Duration::from_secs(30)))
        .http2_keepalive_timeout(Some(Duration::from_secs(10)))
        .max_concurrent_streams(accept::MOST_CALLS)
        .add_service(health)
        .add_service(reflection)
        .add_service(reflection_alpha)
        .add_service(jobs)
        .serve_with_incoming(connections)
        .await;
    if let Err(error) = served {
        tracing::error!(%error, "serving ended");
    }
}
