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
fn every_kind_of_source_is_told_apart() {
    let github = |owner: &str, name: &str| Source::GitHub { owner: owner.into(), name: name.into() };
    assert_eq!(Source::parse("acme/api").unwrap(), github("acme", "api"));
    assert_eq!(Source::parse("acme/api.git").unwrap(), github("acme", "api"));
    assert_eq!(
        Source::parse("acme/api-*").unwrap(),
        Source::GitHubGlob { owner: "acme".into(), glob: "api-*".into() }
    );
    for address in ["https://h/a/b.git", "git@h:a/b", "ssh://h/a/b", "file:///srv/a", "/srv/a/b.git"] {
        assert_eq!(Source::parse(address).unwrap(), Source::Address(address.into()));
    }
    for bad in ["acme", "", "a/b/c", "../x", "ftp://h/x", "ext::sh -c x://", "a b/c", "a/b;rm"] {
        assert!(Source::parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_login_is_taken_out_of_an_address() {
    let (clean, login) = split_login("https://bob:t%40k@h/a/b.git");
    assert_eq!(clean, "https://h/a/b.git");
    assert_eq!(login, Some(("bob".into(), "t@k".into())));
    assert_eq!(split_login("https://tok@h/a").1, Some((String::new(), "tok".into())));
    assert_eq!(split_login("git@h:a/b"), ("git@h:a/b".into(), None));
    assert_eq!(split_login("ssh://bob:pw@h/a"), ("ssh://bob@h/a".into(), None));
    assert_eq!(split_login("ssh://git@h/a"), ("ssh://git@h/a".into(), None));
}

#[test]
fn filters_follow_specweaves_rules() {
    let takes = |wanted: &[&str], unwanted: &[&str], name: &str| {
        let own = |list: &[&str]| list.iter().map(|text| text.to_string()).collect::<Vec<_>>();
        Filter::new(&own(wanted), &own(unwanted)).unwrap().takes(name)
    };
    assert!(takes(&[], &[], "anything"));
    assert!(takes(&["API*"], &[], "api-gateway"));
    assert!(takes(&["api"], &[], "Api-Gateway"), "no glob character: a prefix");
    assert!(!takes(&["api"], &[], "my-api"));
    assert!(takes(&["regex:^web|-be$"], &[], "inventory-BE"));
    assert!(takes(&["ends: -fe", "contains:core"], &[], "data-core-lib"));
    assert!(!takes(&["*"], &["*-legacy"], "crm-legacy"));
    assert!(Filter::new(&["regex:(".into()], &[]).is_err());
    assert!(Filter::new(&["[".into()], &[]).is_err());
}

#[test]
fn addresses_suggest_owner_and_name() {
    let told = |address: &str| {
        let listed = described(address);
        (listed.owner, listed.name, listed.project)
    };
    assert_eq!(told("https://github.com/acme/api.git"), ("acme".into(), "api".into(), None));
    assert_eq!(told("git@github.com:acme/api.git"), ("acme".into(), "api".into(), None));
    assert_eq!(
        told("https://dev.azure.com/acme/Nova%20CAD/_git/ui"),
        ("acme".into(), "ui".into(), Some("Nova CAD".into()))
    );
    assert_eq!(told("/srv/git/api.git"), ("git".into(), "api".into(), None));
    assert_eq!(told("https://host/api.git"), ("local".into(), "api".into(), None));
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
