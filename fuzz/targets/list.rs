//! Any bytes as `background-jobs.json`: read, shown and written again without harm.
#![no_main]

use libfuzzer_sys::fuzz_target;
use specweave_jobs::mirror::{Document, from_entries};
use specweave_jobs::project::Project;
use std::sync::LazyLock;

static PROJECT: LazyLock<Project> = LazyLock::new(|| {
    let root = std::env::temp_dir().join(format!("fuzz-list-{}", std::process::id()));
    std::fs::create_dir_all(root.join(".specweave")).unwrap();
    Project::find(&root).unwrap()
});

fuzz_target!(|bytes: &[u8]| {
    let Some(document) = Document::of_bytes(bytes) else { return };
    for job in from_entries(&document.jobs, &PROJECT) {
        let progress = job.progress.unwrap_or_default();
        assert!(progress.current <= progress.total && progress.percentage <= 100);
    }
    let mut written = Vec::new();
    document.write(&mut written, |_| None).unwrap();
    let again = Document::of_bytes(&written).expect("what is written can be read");
    assert_eq!(again.jobs.len(), document.jobs.len());
});
