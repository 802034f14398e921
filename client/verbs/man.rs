//! `man`: the manual pages, one of the whole and one a verb, made from what may be typed.

use super::print;
use crate::cli::Cli;
use crate::failure::Failure;
use clap::CommandFactory;
use specweave_jobs::disk;
use std::path::Path;

pub fn man(folder: Option<&Path>) -> Result<u8, Failure> {
    let Some(folder) = folder else {
        let mut page = Vec::new();
        let rendered = clap_mangen::Man::new(Cli::command()).render(&mut page);
        rendered.expect("memory takes what is written to it");
        print(&String::from_utf8_lossy(&page))?;
        return Ok(0);
    };
    let write = |source| Failure::Write { path: folder.to_path_buf(), source };
    // The folder is the user's own: links on the way to it, and dots in its name, lead where they lead.
    std::fs::create_dir_all(folder).map_err(write)?;
    let folder = folder.canonicalize().map_err(write)?;
    let place = folder.join("man1");
    disk::make_folders(&place, 0o755).map_err(write)?;
    clap_mangen::generate_to(Cli::command(), &place).map_err(write)?;
    print(&format!(
        "Wrote a page for every verb into {}. Look: man -M {} specweave-jobs-clone\n",
        place.display(),
        folder.display()
    ))?;
    Ok(0)
}
