//! Whether a certificate's subject is the wanted one. Never fails: what cannot be read does not match.

/// `*`, the exact name in either order of its parts, else a part of it; case and spaces round separators do not count.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Match {
    Exact,
    Part,
}

/// How `parts` (the most general first) match `wanted`.
pub(super) fn matches(parts: &[String], wanted: &str) -> Option<Match> {
    if wanted.trim() == "*" {
        return Some(Match::Exact);
    }
    let wanted = normal(wanted);
    let forward = normal(&parts.join(","));
    let backward = normal(&parts.iter().rev().map(String::as_str).collect::<Vec<_>>().join(","));
    if wanted == forward || wanted == backward {
        return Some(Match::Exact);
    }
    (!wanted.is_empty() && (forward.contains(&wanted) || backward.contains(&wanted))).then_some(Match::Part)
}

/// Lower case, without quotes, escapes, and spaces round `,` and `=`.
fn normal(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for one in name.chars() {
        match one {
            '"' | '\\' => {}
            ',' | '=' => {
                out.truncate(out.trim_end().len());
                out.push(one);
            }
            ' ' if out.is_empty() || out.ends_with([',', '=', ' ']) => {}
            _ => out.extend(one.to_lowercase()),
        }
    }
    out.truncate(out.trim_end().len());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_match_exactly_or_in_part() {
        let parts = ["C=DE".to_owned(), "O=Contoso\\, Inc".to_owned(), "CN=mail agent".to_owned()];
        for (wanted, expected) in [
            ("*", Some(Match::Exact)),
            ("CN=mail agent, O=\"Contoso, Inc\", C=DE", Some(Match::Exact)),
            ("c=DE,o=contoso\\, inc , cn = Mail Agent", Some(Match::Exact)),
            ("CN=mail agent", Some(Match::Part)),
            ("agent", Some(Match::Part)),
            ("CN=mail", Some(Match::Part)),
            ("CN=other", None),
            ("", None),
        ] {
            assert_eq!(matches(&parts, wanted), expected, "{wanted}");
        }
    }
}
