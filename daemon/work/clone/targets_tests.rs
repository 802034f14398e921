use super::*;

fn listed(owner: &str, name: &str, project: Option<&str>, address: &str) -> Listed {
    Listed {
        owner: owner.into(),
        name: name.into(),
        project: project.map(Into::into),
        address: address.into(),
        ..Listed::default()
    }
}

#[test]
fn a_name_that_would_leave_the_project_or_hide_is_refused_and_the_others_stay() {
    let bad = ["..", ".", "a/b", "a\\b", "x\u{1b}[2J", ".GIT", "x.partial-1", "", &"n".repeat(201)];
    let mut all: Vec<Listed> = bad.iter().map(|name| listed("acme", name, None, "https://h/x")).collect();
    all.push(listed("..", "fine", None, "https://h/y"));
    all.push(listed("acme", "fine", None, "https://h/acme/fine"));
    let (targets, refusals) = place(all, Layout::Owner, false, |_| None);
    assert_eq!(targets.len(), 1);
    assert_eq!(targets[0].path, "repositories/acme/fine");
    assert_eq!(refusals.len(), bad.len() + 1);
    assert!(refusals.iter().all(|refusal| !refusal.name.contains('\u{1b}') && !refusal.reason.is_empty()));
}

#[test]
fn two_repositories_never_share_a_place() {
    let (targets, refusals) = place(
        vec![
            listed("acme", "Api", None, "https://h/acme/Api"),
            listed("acme", "api", None, "https://other/acme/api"),
            listed("acme", "Api", None, "https://h/acme/Api.git"),
            listed("org", "ui", Some("P1"), "https://ado/org/P1/_git/ui"),
            listed("org", "ui", Some("P2"), "https://ado/org/P2/_git/ui"),
            listed("org", "P2", Some("P2"), "https://ado/org/P2/_git/P2"),
        ],
        Layout::Owner,
        false,
        |_| None,
    );
    let paths: Vec<&str> = targets.iter().map(|target| target.path.as_str()).collect();
    let wanted = [
        "repositories/acme/Api",
        "repositories/other/acme/api",
        "repositories/org/ui",
        "repositories/org/P2/ui",
        "repositories/org/P2/P2",
    ];
    assert_eq!(paths, wanted);
    assert!(refusals.is_empty(), "{refusals:?}");
    // A path of this machine has no other place.
    let (_, refusals) = place(
        vec![listed("git", "x", None, "/srv/git/x.git"), listed("git", "X", None, "/mnt/git/X.git")],
        Layout::Owner,
        false,
        |_| None,
    );
    assert!(refusals[0].reason.contains("differs only in case"), "{}", refusals[0].reason);
}

#[test]
fn groups_tell_repositories_apart_and_a_layout_has_all_of_them() {
    let common = |group: &str| {
        listed("common", "api", None, &format!("https://gitlab.example/{group}/common/api.git"))
    };
    let paths = |layout| {
        let (targets, _) = place(vec![common("be"), common("fe")], layout, false, |_| None);
        targets.into_iter().map(|target| target.path).collect::<Vec<_>>()
    };
    assert_eq!(paths(Layout::Owner), ["repositories/common/api", "repositories/fe/common/api"]);
    let whole = ["be", "fe"].map(|group| format!("repositories/gitlab.example/{group}/common/api"));
    assert_eq!(paths(Layout::Host), whole);
    for name in ["aux", "con.js", "q?x", "co:lon", "-dash", "x.", ".github"] {
        assert_eq!(
            place(vec![listed("acme", name, None, "https://h/x")], Layout::Owner, false, |_| None).0.len(),
            1,
            "{name}"
        );
    }
}

#[test]
fn a_repository_keeps_the_place_at_which_it_stands_whoever_comes_first() {
    let common = |group: &str| {
        listed("common", "api", None, &format!("https://gitlab.example/{group}/common/api.git"))
    };
    let paths = |all: Vec<Listed>| {
        let standing = |path: &str| {
            (path == "repositories/common/api").then(|| "https://gitlab.example/be/common/api".to_owned())
        };
        let (targets, refusals) = place(all, Layout::Owner, false, standing);
        assert!(refusals.is_empty());
        targets.into_iter().map(|target| target.path).collect::<Vec<_>>()
    };
    assert_eq!(
        paths(vec![common("fe"), common("be")]),
        ["repositories/fe/common/api", "repositories/common/api"]
    );
    assert_eq!(
        paths(vec![common("fe")]),
        ["repositories/fe/common/api"],
        "also where the other is not asked for"
    );
}
