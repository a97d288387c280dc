//! What another tracker says of a page, in the words of the family `web`.

use schemas::model::Kind;

use crate::decode::{Cell, Cells};
use crate::plan::Plan;
use crate::protocols::FAMILY;

/// Longest name that is looked up in another form, in bytes.
const NAME_BYTES_MAX: usize = 64;

/// An event's name as it is declared: as it was sent; or else in our word for what the trackers send by themselves; or
/// else in lower case with `_` between words (`Signup`, `Form Sent`). Where none of them is declared it stays.
pub(super) fn name<'a>(plan: &Plan, cells: &mut Cells<'a>, cell: Cell<'a>) -> Cell<'a> {
    let Some(sent) = cells.text(cell).filter(|sent| sent.len() <= NAME_BYTES_MAX) else {
        return cell;
    };
    let listed = plan.field(FAMILY, "name").and_then(|(_, listed)| listed);
    let is_declared = |word: &str| listed.is_some_and(|listed| listed.contains_key(word));
    if is_declared(sent) {
        return cell;
    }
    let word = match sent {
        super::OUTBOUND => "outbound_link".to_owned(),
        "File Download" => "download".to_owned(),
        "Form: Submission" => "form".to_owned(),
        "404" => "error".to_owned(),
        sent => {
            let words = sent.split(|letter: char| !letter.is_ascii_alphanumeric());
            let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
            words.join("_").to_ascii_lowercase()
        }
    };
    if is_declared(&word) { cells.copy(&word) } else { cell }
}

/// The address of a page whose fragment says where it is: a fragment that is a path (`#/…`, `#!/…`) becomes the rest of
/// the path, without what stands in it behind `?`, `#` or `&`. Any other may hold anything, and goes where all fragments
/// go: nowhere.
pub(super) fn hashed<'a>(cells: &mut Cells<'a>, cell: Cell<'a>) -> Cell<'a> {
    let Some((page, fragment)) = cells.text(cell).and_then(|url| url.split_once('#')) else {
        return cell;
    };
    let route = fragment.strip_prefix('!').unwrap_or(fragment);
    if !route.starts_with('/') {
        return cell;
    }
    let route = route.split(['?', '#', '&']).next().unwrap_or_default();
    let (path, query) = page.find('?').map_or((page, ""), |start| page.split_at(start));
    let url = format!("{}{route}{query}", path.trim_end_matches('/'));
    cells.copy(&url)
}

/// A number that a tracker measured, `engaged` in milliseconds: one beyond the declared range is its end, since the
/// event is no less true for a page that stayed open.
pub(super) fn measured<'a>(plan: &Plan, field: &str, cell: Cell<'a>) -> Cell<'a> {
    let kind = plan.field(FAMILY, field).map(|(field, _)| &field.kind);
    let (Some(number), Some(kind)) = (cell.float(), kind) else { return cell };
    let (unit, min, max) = match kind {
        Kind::Integer { min, max } => (1, *min, *max),
        Kind::Duration { unit_ms, min, max } => (*unit_ms, *min, *max),
        Kind::Enum { .. }
        | Kind::String { .. }
        | Kind::Url { .. }
        | Kind::Version
        | Kind::Float { .. }
        | Kind::Boolean
        | Kind::Timestamp => return cell,
    };
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "clamped")]
    let units = (number / unit as f64).round() as i64;
    Cell::Integer(units.clamp(min, max))
}
