use super::*;

const A: &str = "1111111111111111111111111111111111111111";
const B: &str = "2222222222222222222222222222222222222222";

fn lines(lines: &[&str]) -> Vec<u8> {
    let mut out = Vec::new();
    for line in lines {
        match *line {
            "0000" | "0001" => out.extend_from_slice(line.as_bytes()),
            text => packet(&mut out, text),
        }
    }
    out
}

fn reader(bytes: &[u8]) -> PacketReader<&[u8]> {
    PacketReader::new(bytes, Duration::from_secs(1))
}

#[tokio::test]
async fn an_old_advertisement_gives_refs_tags_and_the_default_branch() {
    let bytes = lines(&[
        "# service=git-upload-pack\n",
        "0000",
        &format!("{A} HEAD\0ofs-delta symref=HEAD:refs/heads/trunk side-band-64k\n"),
        &format!("{A} refs/heads/trunk\n"),
        &format!("{B} refs/tags/v1\n"),
        &format!("{A} refs/tags/v1^{{}}\n"),
        "0000",
    ]);
    let (dialect, refs) = read_advertisement(&mut reader(&bytes)).await.unwrap();
    assert!(has_side_band(&dialect));
    assert_eq!(refs.head_branch.as_deref(), Some("refs/heads/trunk"));
    assert_eq!(refs.head.unwrap().to_string(), A);
    assert_eq!(refs.refs.len(), 2);
    assert_eq!(refs.refs[1].peeled.unwrap().to_string(), A);
}

#[tokio::test]
async fn an_empty_repository_advertises_no_refs() {
    let zero = "0".repeat(40);
    let bytes = lines(&[&format!("{zero} capabilities^{{}}\0side-band-64k\n"), "0000"]);
    let (_, refs) = read_advertisement(&mut reader(&bytes)).await.unwrap();
    assert_eq!(refs, RemoteRefs::default());
}

#[tokio::test]
async fn a_new_server_is_asked_for_its_refs() {
    let bytes = lines(&["version 2\n", "ls-refs=unborn\n", "fetch=shallow\n", "0000"]);
    let (dialect, _) = read_advertisement(&mut reader(&bytes)).await.unwrap();
    let Dialect::V2 { capabilities } = &dialect else { panic!("{dialect:?}") };
    assert!(String::from_utf8(ls_refs_request(capabilities)).unwrap().contains("unborn"));

    let answer = lines(&[
        &format!("{A} HEAD symref-target:refs/heads/main\n"),
        &format!("{A} refs/heads/main\n"),
        &format!("{B} refs/tags/v1 peeled:{A}\n"),
        "0000",
    ]);
    let refs = read_ls_refs(&mut reader(&answer)).await.unwrap();
    assert_eq!(refs.head_branch.as_deref(), Some("refs/heads/main"));
    assert_eq!(refs.refs.len(), 2);

    let unborn = lines(&["unborn HEAD symref-target:refs/heads/main\n", "0000"]);
    let refs = read_ls_refs(&mut reader(&unborn)).await.unwrap();
    assert_eq!((refs.refs.len(), refs.head, refs.head_branch.as_deref()), (0, None, Some("refs/heads/main")));
}

#[tokio::test]
async fn the_pack_follows_the_shallow_commits() {
    let v0 = Dialect::V0 { capabilities: vec!["side-band-64k".into()] };
    let bytes = lines(&[&format!("shallow {A}\n"), "0000", "NAK\n", "\u{2}counting\n", "\u{1}PACK", "0000"]);
    let mut from = reader(&bytes);
    assert_eq!(read_until_pack(&mut from, &v0, 1).await.unwrap().len(), 1);
    assert_eq!(read_pack(&mut from).await.unwrap().unwrap(), "PACK");
    assert!(read_pack(&mut from).await.unwrap().is_none());

    let v2 = Dialect::V2 { capabilities: vec![] };
    let bytes =
        lines(&["shallow-info\n", &format!("shallow {A}\n"), "0001", "packfile\n", "\u{1}PACK", "0000"]);
    assert_eq!(read_until_pack(&mut reader(&bytes), &v2, 1).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_remote_that_reports_an_error_is_quoted_and_one_that_talks_nonsense_is_not_git() {
    let bytes = lines(&["ERR access denied\n"]);
    let error = read_advertisement(&mut reader(&bytes)).await.unwrap_err();
    assert_eq!(error.to_string(), "access denied");
    for nonsense in [&b"<html>"[..], b"0002", b"0003", b"zzzz", b"0009abcde"] {
        let error = read_advertisement(&mut reader(nonsense)).await.unwrap_err();
        assert!(matches!(error, CloneError::NotGit(_) | CloneError::Network(_)), "{error:?}");
    }
    let sha256 = lines(&["version 2\n", "object-format=sha256\n", "0000"]);
    let error = read_advertisement(&mut reader(&sha256)).await.unwrap_err();
    assert!(matches!(error, CloneError::Inexact(_)));
}
