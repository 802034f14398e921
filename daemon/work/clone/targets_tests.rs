use super::*;

fn listed(owner: &str, name: &str, project: Option<&str>, address: &str) -> Listed {
    Listed {
        owner: owner.into(),
        name: name.into(),
        project: project.map(Into::into),
        address: address.into(),
        archived: false,
        fork: false,
    }
}

#[test]
fn a_name_that_would_leave_the_project_or_hide_is_refused_and_the_others_stay() {
    let bad = [
        "..",
        ".",
        "a/b",
        "a\\b",
        "x\u{1b}[2J",
        "CON",
        "com1.x",
        ".GIT",
        "x.",
        " x",
        "",
        "q?",
        &"n".repeat(201),
    ];
    let mut all: Vec<Listed> = bad.iter().map(|name| listed("acme", name, None, "https://h/x")).collect();
    all.push(listed("..", "fine", None, "https://h/y"));
    all.push(listed("acme", "fine", None, "https://h/acme/fine"));
    let (targets, refusals) = place(all);
    assert_eq!(targets.len(), 1);
    assert_eq!(targets[0].path, "repositories/acme/fine");
    assert_eq!(refusals.len(), bad.len() + 1);
    assert!(refusals.iter().all(|refusal| !refusal.name.contains('\u{1b}') && !refusal.reason.is_empty()));
}

#[test]
fn two_repositories_never_share_a_place() {
    let (targets, refusals) = place(vec![
        listed("acme", "Api", None, "https://h/acme/Api"),
        listed("acme", "api", None, "https://other/acme/api"),
        listed("acme", "Api", None, "https://h/acme/Api.git"),
        listed("org", "ui", Some("P1"), "https://ado/org/P1/_git/ui"),
        listed("org", "ui", Some("P2"), "https://ado/org/P2/_git/ui"),
        listed("org", "P2", Some("P2"), "https://ado/org/P2/_git/P2"),
    ]);
    let paths: Vec<&str> = targets.iter().map(|target| target.path.as_str()).collect();
    assert_eq!(paths, ["repositories/acme/Api", "repositories/org/ui", "repositories/org/P2/ui"]);
    assert_eq!(refusals.len(), 2);
    assert!(refusals[1].reason.contains("around it"), "{}", refusals[1].reason);
    assert!(refusals[0].reason.contains("differs only in case"), "{}", refusals[0].reason);
}
