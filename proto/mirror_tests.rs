use super::*;
use proptest::prelude::*;

/// JSON as somebody might leave it there.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        // A range of all numbers seldom meets its ends.
        prop_oneof![Just(f64::MAX), Just(-f64::MAX), Just(u64::MAX as f64)].prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        Just(Value::from("running")),
        Just(Value::from("clone-repos")),
        Just(Value::from("../../etc")),
    ];
    let key = prop_oneof![
        Just("jobs".to_owned()),
        Just("id".to_owned()),
        Just("status".to_owned()),
        Just("progress".to_owned()),
        Just("current".to_owned()),
        Just("total".to_owned()),
        Just("config".to_owned()),
        Just("startedAt".to_owned()),
        Just("itemsFailed".to_owned()),
        ".{0,6}",
    ];
    leaf.prop_recursive(4, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((key.clone(), inner), 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

fn parse(bytes: &[u8]) -> Result<Document, Option<serde_json::Error>> {
    Document::parse(bytes, Entry::new)
}

fn project() -> Project {
    Project::find(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/specweave-state/import-github").as_path(),
    )
    .expect("the fixture is a project")
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_another_tool_wrote_is_kept_and_shown_within_bounds(
        rest in any_json(),
        jobs in prop::collection::vec(any_json(), 0..5),
    ) {
        let text = serde_json::json!({"mine": rest, "jobs": jobs}).to_string();
        let document = parse(text.as_bytes()).unwrap();
        let project = project();
        for entry in &document.jobs {
            for job in from_entries([entry], &project) {
                let progress = job.progress.unwrap();
                prop_assert!(progress.current <= progress.total && progress.percentage <= 100);
                for moment in [&job.started_at, &job.updated_at, &job.completed_at].into_iter().flatten() {
                    prop_assert!(clock::millis(moment).abs() <= FURTHEST_MOMENT);
                }
            }
            let killed = entry.with_status(v1::JobState::Paused, 0);
            prop_assert_eq!(killed.value().is_object(), entry.value().is_object());
        }
        let mut bytes = Vec::new();
        document.write(&mut bytes, |_| None).unwrap();
        let again: Value = serde_json::from_slice(&bytes).unwrap();
        let before: Value = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(again, before);
    }

    #[test]
    fn any_bytes_are_read_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = parse(&bytes);
    }

    #[test]
    fn a_list_that_is_cut_anywhere_is_refused_and_not_taken_for_an_empty_one(cut in 0..1_000_usize) {
        let path = project().background_jobs();
        let whole = std::fs::read(path).unwrap();
        let cut = cut % (whole.len() - 1);
        prop_assert!(parse(&whole[..cut]).is_err());
    }
}
