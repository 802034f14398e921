//! One reading of every tracker's reply. Pure: what to do about it is decided elsewhere.

use crate::net;
use crate::trackers::TrackerError;
use http::{HeaderMap, StatusCode};
use std::time::Duration;

/// What a limit without a moment costs.
const UNTOLD_WAIT: Duration = Duration::from_secs(60);

/// A remote's own words are cut here.
const MOST_WORDS: usize = 300;

/// Reads a reply. `what` names what was asked for; `body` may be its beginning alone. `Ok` is a reply whose data
/// count, also when it is the last one before a limit.
pub fn check(what: &str, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Result<(), TrackerError> {
    let content = headers.get(http::header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let page_for_people = content.is_some_and(|kind| kind.starts_with("text/html"));
    let sign_in = status == StatusCode::NON_AUTHORITATIVE_INFORMATION
        || status == StatusCode::FOUND
        || (status.is_success() && page_for_people);
    if sign_in {
        let text = "token expired or wrong (the server answered with a sign-in page)";
        return Err(TrackerError::Auth(text.into()));
    }
    // Jira answers as to nobody when a token is wrong, and says so only here.
    let login = headers.get("x-seraph-loginreason").and_then(|reason| reason.to_str().ok());
    if login.is_some_and(|reason| reason.contains("AUTHENTICATED_FAILED") || reason.contains("DENIED")) {
        return Err(TrackerError::Auth("token expired or wrong".into()));
    }
    if status.is_success() || status == StatusCode::NOT_MODIFIED {
        return Ok(());
    }
    let said = words(body);
    let limit = || TrackerError::Limited(net::asked_to_wait(headers).unwrap_or(UNTOLD_WAIT));
    match status {
        StatusCode::UNAUTHORIZED => Err(TrackerError::Auth("token expired or wrong".into())),
        StatusCode::TOO_MANY_REQUESTS => Err(limit()),
        StatusCode::FORBIDDEN if is_limit(headers, &said) => Err(limit()),
        StatusCode::FORBIDDEN => {
            Err(TrackerError::Forbidden { what: what.to_owned(), said: forbidden(headers, said) })
        }
        StatusCode::NOT_FOUND => Err(TrackerError::NotFound(what.to_owned())),
        StatusCode::GONE => Err(TrackerError::Gone { what: what.to_owned(), said }),
        StatusCode::SERVICE_UNAVAILABLE if net::asked_to_wait(headers).is_some() => Err(limit()),
        status if status.is_server_error() => Err(TrackerError::Transient { what: what.to_owned(), status }),
        StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => {
            Err(TrackerError::Refused { what: what.to_owned(), said })
        }
        status => Err(TrackerError::Status { what: what.to_owned(), status }),
    }
}

/// Why something is not allowed: the server's own words, and what its headers say would help.
fn forbidden(headers: &HeaderMap, said: String) -> String {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("");
    let mut told = if said.is_empty() { "the token may not do it".to_owned() } else { said };
    if let Some((_, address)) = header("x-github-sso").split_once("url=") {
        told.push_str(&format!(" (authorize the token at {address})"));
    }
    match header("x-accepted-github-permissions") {
        "" => {}
        wanted => told.push_str(&format!(" (it needs {wanted})")),
    }
    match (header("x-accepted-oauth-scopes"), header("x-oauth-scopes")) {
        (wanted, granted) if !wanted.is_empty() && headers.contains_key("x-oauth-scopes") => {
            told.push_str(&format!(" (it needs one of the scopes {wanted}, and has {granted:?})"));
        }
        _ => {}
    }
    told
}

/// Whether a reply that is JSON ends where it should: a proxy may lose the rest of it, and nothing else tells.
pub fn is_whole(headers: &HeaderMap, body: &[u8]) -> bool {
    let kind = headers.get(http::header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or("");
    let is_json = kind.split(';').next().is_some_and(|kind| kind.trim_end().ends_with("json"));
    let read = || serde_json::from_slice::<serde::de::IgnoredAny>(body);
    !is_json || body.is_empty() || !read().is_err_and(|error| error.is_eof())
}

fn is_limit(headers: &HeaderMap, said: &str) -> bool {
    let spent = headers.get("x-ratelimit-remaining").is_some_and(|left| left.as_bytes() == b"0");
    let said = said.to_lowercase();
    let named = ["rate limit", "secondary", "abuse", "too quickly"].iter().any(|word| said.contains(word));
    let asked = headers.get("retry-after").is_some_and(|after| after.as_bytes() != b"0");
    asked || spent || named
}

/// The reason in an error's body: the message of its JSON, or its beginning.
fn words(body: &[u8]) -> String {
    let json: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let list = json["errorMessages"].as_array().into_iter().flatten().filter_map(|one| one.as_str());
    let fields = json["errors"].as_object().into_iter().flatten();
    let fields = fields.filter_map(|(field, one)| Some(format!("{field}: {}", one.as_str()?)));
    let listed: Vec<String> = list.map(str::to_owned).chain(fields).collect();
    // GitHub says in a list what is wrong with what.
    let details = json["errors"].as_array().into_iter().flatten().filter_map(|one| {
        let text = one["message"].as_str().map(str::to_owned);
        text.or_else(|| Some(format!("{} {}", one["field"].as_str()?, one["code"].as_str()?)))
    });
    let details: Vec<String> = details.collect();
    let text = match json["message"].as_str() {
        Some(message) if !details.is_empty() => format!("{message}: {}", details.join("; ")),
        Some(message) => message.to_owned(),
        None if !listed.is_empty() => listed.join("; "),
        None => String::from_utf8_lossy(&body[..body.len().min(MOST_WORDS)]).into_owned(),
    };
    let mut text = specweave_jobs::text::plain(text.trim());
    text.truncate(text.floor_char_boundary(MOST_WORDS));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn read(status: u16, headers: &[(&'static str, &'static str)], body: &str) -> Result<(), TrackerError> {
        let headers = headers
            .iter()
            .map(|(name, value)| (http::HeaderName::from_static(name), HeaderValue::from_static(value)));
        check("it", StatusCode::from_u16(status).unwrap(), &headers.collect(), body.as_bytes())
    }

    #[test]
    fn the_reply_that_spends_the_last_point_still_counts() {
        assert!(
            read(200, &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "9999999999")], "[]").is_ok()
        );
        assert!(read(200, &[("retry-after", "20")], "{}").is_ok(), "Azure DevOps only asks to slow down");
        assert!(read(304, &[("x-ratelimit-remaining", "0")], "").is_ok());
    }

    #[test]
    fn a_limit_is_told_from_a_token_that_may_not() {
        let limited = |result| matches!(result, Err(TrackerError::Limited(_)));
        assert!(limited(read(429, &[], "")));
        assert!(limited(read(403, &[("retry-after", "5")], "")));
        assert!(limited(read(403, &[("x-ratelimit-remaining", "0")], "")));
        assert!(limited(read(403, &[], r#"{"message":"You have exceeded a secondary rate limit"}"#)));
        assert!(limited(read(503, &[("retry-after", "5")], "")));
        let forbidden = |result| matches!(result, Err(TrackerError::Forbidden { .. }));
        assert!(matches!(read(401, &[], ""), Err(TrackerError::Auth(_))));
        assert!(forbidden(read(403, &[], r#"{"message":"Resource not accessible"}"#)));
        assert!(
            forbidden(read(403, &[("retry-after", "0")], "")),
            "Data Center says with every reply that it may go on"
        );
    }

    #[test]
    fn a_sign_in_page_is_a_bad_token_whatever_its_status() {
        for status in [200, 203, 302] {
            let read = read(status, &[("content-type", "text/html; charset=utf-8")], "<html>");
            assert!(matches!(read, Err(TrackerError::Auth(_))), "{status}");
        }
        assert!(matches!(
            read(200, &[("x-seraph-loginreason", "AUTHENTICATED_FAILED")], "{}"),
            Err(TrackerError::Auth(_))
        ));
    }

    #[test]
    fn a_reply_that_ends_in_the_middle_is_not_whole() {
        let headers = HeaderMap::from_iter([(
            http::header::CONTENT_TYPE,
            HeaderValue::from_static("application/json; charset=utf-8"),
        )]);
        for (body, wanted) in [("[1, {\"a\": ", false), ("[1]", true), ("", true), ("no json", true)] {
            assert_eq!(is_whole(&headers, body.as_bytes()), wanted, "{body}");
        }
        assert!(is_whole(&HeaderMap::new(), b"["));
    }

    #[test]
    fn the_remotes_own_words_are_kept_and_cut() {
        let Err(TrackerError::Refused { said, .. }) =
            read(400, &[], r#"{"errorMessages":["no\u0007 such","b"]}"#)
        else {
            panic!()
        };
        assert_eq!(said, "no\u{fffd} such; b");
        let Err(TrackerError::Gone { said, .. }) = read(410, &[], &"é".repeat(1_000)) else { panic!() };
        assert!(said.len() <= MOST_WORDS);
    }
}
