//! How a daemon comes to be the one of its project: whose child it is, the locks that prove it, its socket and endpoint,
//! taking and serving connections, and its own log. Nothing here knows what a job is: `serve` hands every call to `rpc`.

pub mod accept;
pub mod daemon_log;
pub mod lifecycle;
pub mod limits;
pub mod parent;
pub mod serve;
