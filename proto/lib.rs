//! What the daemon and its clients share: the contract, where things lie, and the documented files.
//!
//! * [`v1`]: the generated messages and services of `specweave/jobs/v1/jobs.proto`.
//! * [`project`]: the project's root and every path below it, the endpoint file.
//! * [`mirror`]: the documented `background-jobs.json`, read and written.
//! * [`diagnosis`], [`conflict_files`]: what can be seen of a project without asking a daemon.
//! * [`environment`]: which variables of a caller travel with its job.
//! * [`disk`], [`clock`], [`process`], [`text`]: whole-file replacement, moments, liveness of a pid,
//!   text that came from elsewhere.
//!
//! Nothing here owns a job or talks to a network.

pub mod clock;
pub mod conflict_files;
pub mod crash;
pub mod diagnosis;
pub mod disk;
pub mod environment;
pub mod json;
pub mod mirror;
pub mod process;
pub mod project;
pub mod redactor;
pub mod system;
pub mod tail;
pub mod text;

/// The generated contract. Its documentation is that of the .proto file.
#[allow(missing_docs, unused_qualifications, clippy::all, clippy::too_many_lines, rustdoc::all)]
pub mod v1 {
    tonic::include_proto!("specweave.jobs.v1");
}

/// The contract's descriptors, for server reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// The number that a client and a daemon must share. It changes only when an old client would
/// misread a new daemon; versions may differ freely.
pub const PROTOCOL: u32 = 1;

/// The request header in which a client names its [`PROTOCOL`]; a caller without it is taken at v1.
pub const PROTOCOL_HEADER: &str = "x-specweave-jobs-protocol";

/// The `domain` of every `google.rpc.ErrorInfo`.
pub const ERROR_DOMAIN: &str = "jobs.specweave.dev";

/// The reasons of `google.rpc.ErrorInfo`, explained in the .proto file.
pub mod reason {
    pub const JOB_NOT_FOUND: &str = "JOB_NOT_FOUND";
    pub const JOB_AMBIGUOUS: &str = "JOB_AMBIGUOUS";
    pub const CONFLICT_NOT_FOUND: &str = "CONFLICT_NOT_FOUND";
    pub const JOB_NOT_KILLABLE: &str = "JOB_NOT_KILLABLE";
    pub const JOB_NOT_RESUMABLE: &str = "JOB_NOT_RESUMABLE";
    pub const JOB_NOT_REMOVABLE: &str = "JOB_NOT_REMOVABLE";
    pub const ITEM_NOT_FAILED: &str = "ITEM_NOT_FAILED";
    pub const CONFIG_NOT_FOUND: &str = "CONFIG_NOT_FOUND";
    pub const EMPTY_SELECTION: &str = "EMPTY_SELECTION";
    pub const TARGET_BUSY: &str = "TARGET_BUSY";
    pub const INVALID_SPEC: &str = "INVALID_SPEC";
    pub const AUTH_FAILED: &str = "AUTH_FAILED";
    pub const REMOTE_FAILED: &str = "REMOTE_FAILED";
    pub const OUT_OF_MEMORY: &str = "OUT_OF_MEMORY";
    pub const STATE_NOT_WRITABLE: &str = "STATE_NOT_WRITABLE";
    pub const PROTOCOL_MISMATCH: &str = "PROTOCOL_MISMATCH";
    pub const SHUTTING_DOWN: &str = "SHUTTING_DOWN";
}
