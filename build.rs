//! Compiles the contract without protoc and adds what `--json` needs: the messages serialise with the
//! field names of the .proto, moments as RFC 3339, enums as their documented words.

use prost::Message;

const PROTO: &str = "proto/specweave/jobs/v1/jobs.proto";
const PACKAGE: &str = ".specweave.jobs.v1";

const MOMENTS: [&str; 9] = [
    "RateBudget.reset_at",
    "Conflict.seen_at",
    "Job.started_at",
    "Job.updated_at",
    "Job.completed_at",
    "Schedule.next_at",
    "Schedule.last_at",
    "Pause.resume_at",
    "GetInfoResponse.started_at",
];

const ENUMS: [(&str, &str); 18] = [
    ("KnownSource.tracker", "tracker"),
    ("KnownProfile.tracker", "tracker"),
    ("ResolveConflictRequest.use", "on_conflict"),
    ("Job.type", "job_type"),
    ("Job.state", "job_state"),
    ("Schedule.last_state", "job_state"),
    ("Pause.reason", "pause_reason"),
    ("Job.action", "action"),
    ("CloneSpec.layout", "layout"),
    ("CloneSpec.gone", "gone"),
    ("Item.state", "item_state"),
    ("Item.action", "action"),
    ("PreviewItem.action", "action"),
    ("Failure.reason", "failure_reason"),
    ("ImportSpec.trackers", "trackers"),
    ("SyncSpec.tracker", "tracker"),
    ("SyncSpec.direction", "direction"),
    ("SyncSpec.on_conflict", "on_conflict"),
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto/specweave");
    // Which half of proto/system.rs is built.
    println!("cargo:rerun-if-env-changed=SPECWEAVE_JOBS_PORTABLE");
    println!("cargo:rustc-check-cfg=cfg(linux_system)");
    let is_linux = std::env::var("CARGO_CFG_TARGET_OS")? == "linux";
    if is_linux && std::env::var_os("SPECWEAVE_JOBS_PORTABLE").is_none() {
        println!("cargo:rustc-cfg=linux_system");
    }
    println!("cargo:rustc-env=SPECWEAVE_JOBS_VERSION={}", version());
    let descriptors = protox::compile([PROTO], ["proto"])?;
    let out = std::path::PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;

    let mut config = tonic_prost_build::configure()
        .type_attribute(".", "#[derive(serde::Serialize)]")
        .type_attribute(".", "#[serde(rename_all = \"snake_case\")]");
    for field in MOMENTS {
        config = config.field_attribute(
            format!("{PACKAGE}.{field}"),
            "#[serde(serialize_with = \"crate::json::moment\", skip_serializing_if = \"Option::is_none\")]",
        );
    }
    for (field, words) in ENUMS {
        config = config.field_attribute(
            format!("{PACKAGE}.{field}"),
            format!("#[serde(serialize_with = \"crate::json::{words}\")]"),
        );
    }
    config.compile_fds(descriptors)?;
    Ok(())
}

/// The release, and the commit where this is a checkout: an archive of the sources has none.
fn version() -> String {
    let release = std::env::var("CARGO_PKG_VERSION").unwrap_or_default();
    // Only that of this very folder: the sources may lie unpacked within somebody's project.
    if !std::path::Path::new(".git").exists() {
        return release;
    }
    // What is not there would have everything built anew each time.
    for path in [".git/HEAD", ".git/logs/HEAD"].into_iter().filter(|path| std::path::Path::new(path).exists())
    {
        println!("cargo:rerun-if-changed={path}");
    }
    let said = std::process::Command::new("git").args(["rev-parse", "--short=10", "HEAD"]).output();
    let commit = said.ok().filter(|said| said.status.success());
    let commit = commit.and_then(|said| String::from_utf8(said.stdout).ok());
    commit.map_or(release.clone(), |commit| format!("{release} ({})", commit.trim()))
}
