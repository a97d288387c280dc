//! Words people write: names, spans of time, and words that were nearly right.

use crate::time::{DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS};

/// Whether `text` may name a family, a field, a purpose or a statistic: it becomes a folder or a column.
pub(super) fn is_name(text: &str) -> bool {
    text.len() <= 48
        && text.starts_with(|first: char| first.is_ascii_lowercase())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

/// What a name looks like, for diagnostics.
pub(super) const NAME_FORM: &str =
    "a name of at most 48 lower-case letters, digits and underscores that begins with a letter";

/// Reads `28 days`, `1 hour`, `hour`: milliseconds.
pub(super) fn span_ms(text: &str) -> Option<i64> {
    let (count, unit) = match text.split_once(' ') {
        Some((count, unit)) => (count.parse::<u32>().ok()?, unit.trim()),
        None => (1, text),
    };
    let unit_ms = match unit.strip_suffix('s').unwrap_or(unit) {
        "second" => SECOND_MS,
        "minute" => MINUTE_MS,
        "hour" => HOUR_MS,
        "day" => DAY_MS,
        "week" => 7 * DAY_MS,
        _ => return None,
    };
    i64::from(count).checked_mul(unit_ms)
}

/// Writes a span of milliseconds the way [`span_ms`] reads it.
pub(crate) fn span_text(ms: i64) -> String {
    let units = [(DAY_MS, "day"), (HOUR_MS, "hour"), (MINUTE_MS, "minute"), (SECOND_MS, "second")];
    for (unit_ms, unit) in units {
        if ms >= unit_ms && ms % unit_ms == 0 {
            let count = ms / unit_ms;
            return format!("{count} {unit}{}", if count == 1 { "" } else { "s" });
        }
    }
    format!("{ms} ms")
}

/// `a`, `b` or `c`, each in back quotes.
pub(super) fn list<T: AsRef<str>>(words: &[T]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{}`", word.as_ref())).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => "nothing".to_owned(),
    }
}

/// What to write instead of `wrong`: the nearest of `known`, or all of them if none is near.
pub(super) fn nearest<T: AsRef<str>>(wrong: &str, known: &[T]) -> String {
    let near = known
        .iter()
        .map(|word| (distance(wrong, word.as_ref()), word.as_ref()))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, word)| *distance <= (word.len() / 3).max(1));
    match near {
        Some((_, word)) => format!("`{word}`"),
        None => list(known),
    }
}

/// Letters to insert, remove, replace or swap with the next, to get from one word to the other.
fn distance(from: &str, to: &str) -> usize {
    let (from, to): (Vec<char>, Vec<char>) =
        (from.chars().take(64).collect(), to.chars().take(64).collect());
    let mut rows = vec![(0..=to.len()).collect::<Vec<usize>>()];
    for (above, letter) in from.iter().enumerate() {
        let mut row = vec![above + 1];
        for (left, other) in to.iter().enumerate() {
            let replaced = rows[above][left] + usize::from(letter != other);
            let mut least = replaced.min(rows[above][left + 1] + 1).min(row[left] + 1);
            let swapped =
                above > 0 && left > 0 && *letter == to[left - 1] && from[above - 1] == *other;
            if swapped {
                least = least.min(rows[above - 1][left - 1] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[from.len()][to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_and_written() {
        for (text, ms) in
            [("28 days", 28 * DAY_MS), ("1 hour", HOUR_MS), ("90 seconds", 90 * SECOND_MS)]
        {
            assert_eq!(span_ms(text), Some(ms));
            assert_eq!(span_text(ms), text);
        }
        assert_eq!(span_ms("hour"), Some(HOUR_MS));
        assert_eq!(span_ms("2 weeks"), Some(14 * DAY_MS));
        for wrong in ["", "days", "-1 day", "1.5 days", "1 month", "99999999999 days", "1  "] {
            assert!(span_ms(wrong).is_none_or(|ms| wrong == "days" && ms == DAY_MS), "{wrong}");
        }
    }

    #[test]
    fn the_nearest_word_is_found_or_all_are_listed() {
        assert_eq!(nearest("abuot", &["about", "type"]), "`about`");
        assert_eq!(nearest("colour", &["about", "type"]), "`about` or `type`");
        assert_eq!(nearest("name", &["late", "family"]), "`late` or `family`");
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "ab"), 2);
    }
}
