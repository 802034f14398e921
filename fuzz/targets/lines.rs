//! Any bytes as a journal, a ledger or a store: none of them is believed without the MAC of a key that they do not know.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

/// The daemon's own readers, which name each other by their room.
#[path = "."]
mod store {
    // Each of them has more than this needs.
    #[allow(dead_code)]
    #[path = "../../daemon/store/lines.rs"]
    pub mod lines;
    #[allow(dead_code)]
    #[path = "../../daemon/store/mac.rs"]
    pub mod mac;
}

use store::{lines, mac};

static KEY: LazyLock<mac::FileKey> = LazyLock::new(|| {
    let folder = std::env::temp_dir().join(format!("fuzz-lines-{}", std::process::id()));
    mac::UserKey::of_user(&folder).unwrap().place("fuzz").file("fuzz")
});

fuzz_target!(|bytes: &[u8]| {
    let path = std::env::temp_dir().join(format!("fuzz-lines-{}.jsonl", std::process::id()));
    std::fs::write(&path, bytes).unwrap();
    let believed = lines::Lines::look(&path, &KEY, |_| true).unwrap();
    assert_eq!(believed, 0);
    if let Ok(serde_json::Value::Object(object)) = serde_json::from_slice(bytes) {
        assert_eq!(KEY.believed(object), None);
    }
});
