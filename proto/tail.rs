//! Where the last lines of a file begin, without reading all of it.

use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

const BLOCK: u64 = 16 * 1024;

/// The offset at which the last `lines` lines begin. 0 for a missing file.
pub fn offset_of_last_lines(path: &Path, lines: u32) -> io::Result<u64> {
    let mut file = match crate::disk::open_regular(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    let len = file.metadata()?.len();
    let mut end = len;
    let mut breaks = 0;
    let mut block = Vec::new();
    while end > 0 {
        let start = end.saturating_sub(BLOCK);
        block.resize((end - start) as usize, 0);
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(&mut block)?;
        for (at, _) in block.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n') {
            let place = start + at as u64;
            // The break that ends the last line begins no other.
            if place + 1 == len {
                continue;
            }
            breaks += 1;
            if breaks == lines {
                return Ok(place + 1);
            }
        }
        end = start;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_found_across_blocks_and_without_a_final_break() {
        let path = std::env::temp_dir().join(format!("tail-{:x}", crate::disk::random()));
        for end in ["", "\n"] {
            let lines: Vec<String> = (0..5000).map(|n| format!("line {n}")).collect();
            let text = lines.join("\n") + end;
            std::fs::write(&path, &text).unwrap();
            for wanted in [1, 50, 4999] {
                let at = offset_of_last_lines(&path, wanted).unwrap() as usize;
                assert_eq!(text[at..].lines().count(), wanted as usize);
                assert_eq!(text[at..].lines().next(), Some(lines[5000 - wanted as usize].as_str()));
            }
            assert_eq!(offset_of_last_lines(&path, 9000).unwrap(), 0);
        }
        std::fs::remove_file(&path).unwrap();
    }
}
