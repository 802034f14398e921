//! How a daemon comes to be the one of its project: whose child it is, the locks that prove it, its socket and endpoint,
//! taking connections, and its own log. Nothing here knows what a job is. It uses the shared library and `store`'s tenure.

pub mod accept;
pub mod daemon_log;
pub mod lifecycle;
pub mod parent;
