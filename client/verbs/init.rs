//! `init`: makes a folder a project.

use super::print;
use crate::failure::Failure;
use crate::gitignore;
use specweave_jobs::disk;
use specweave_jobs::project::Project;
use std::path::Path;

/// Makes the folder a project, with what SpecWeave itself would write; an existing one is left as it is.
pub fn init(folder: &Path, no_gitignore: bool) -> Result<u8, Failure> {
    let write = |path: &Path, source| Failure::Write { path: path.to_path_buf(), source };
    let real = folder.canonicalize().map_err(|source| write(folder, source))?;
    let above = Project::find(folder).ok().filter(|above| above.root() != real);
    let is_new = !disk::exists(&real.join(".specweave"));
    let state = real.join(".specweave/state");
    disk::make_folders(&state, 0o777).map_err(|source| write(&state, source))?;
    let project = Project::find(folder)?;
    let config = project.config();
    if !disk::exists(&config) {
        let name = project.root().file_name().map(|name| name.to_string_lossy().into_owned());
        let settings = serde_json::json!({
            "version": "2.0",
            "project": {"name": name.unwrap_or_default(), "version": "0.1.0"},
            "language": "en"
        });
        let text = serde_json::to_string_pretty(&settings).expect("plain data serialises");
        disk::replace(&config, text.as_bytes(), 0o644).map_err(|source| write(&config, source))?;
    }
    print(&format!(
        "{} is a project{}. Start a job: specweave-jobs clone owner/repo\n",
        project.root().display(),
        if is_new { " now" } else { " already" }
    ))?;
    if let Some(above) = above {
        let above = above.root().display();
        print(&format!("It lies within another one, {above}, whose jobs are its own.\n"))?;
    }
    if !no_gitignore {
        let missing = gitignore::missing(&project);
        if !missing.is_empty() {
            gitignore::add(&project, &missing)?;
            print(&format!(
                "Added {} to .gitignore (--no-gitignore leaves it as it is).\n",
                missing.join(" and ")
            ))?;
        }
    }
    Ok(0)
}
