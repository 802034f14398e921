//! Compiles the contract without protoc and adds what `--json` needs: the messages serialise with the
//! field names of the .proto, moments as RFC 3339, enums as their documented words.

use prost::Message;

const PROTO: &str = "proto/specweave/jobs/v1/jobs.proto";
const PACKAGE: &str = ".specweave.jobs.v1";

const MOMENTS: [&str; 6] = [
    "Conflict.seen_at",
    "Job.started_at",
    "Job.updated_at",
    "Job.completed_at",
    "Pause.resume_at",
    "GetInfoResponse.started_at",
];

const ENUMS: [(&str, &str); 11] = [
    ("Job.type", "job_type"),
    ("Job.state", "job_state"),
    ("Pause.reason", "pause_reason"),
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
