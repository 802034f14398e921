//! Any bytes as `.env`: names and values, none of which holds a line break.
#![no_main]

use libfuzzer_sys::fuzz_target;
use specweave_jobs::environment::parse_dotenv;

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    for (name, value) in parse_dotenv(&text) {
        assert!(!name.contains(['\n', '=']) && !value.contains('\n'));
    }
});
