//! What `/.well-known/gpc.json` says: that a site heeds Global Privacy Control, as its specification asks of those who do.

use crate::model::Package;
use crate::time::Millis;

/// Where it stands, below the name of whoever answers.
pub const PATH: &str = "/.well-known/gpc.json";

/// The whole file; none for a package that ignores the signal, which then has no such file. `lastUpdate` is the day of the
/// policy, where its version is a day.
#[must_use]
pub fn support(package: &Package) -> Option<String> {
    if !package.signals.gpc {
        return None;
    }
    let day = package.version.as_str();
    let is_day = day.len() == 10 && Millis::parse(&format!("{day}T00:00:00Z")).is_some();
    let day = if is_day { format!(", \"lastUpdate\": \"{day}\"") } else { String::new() };
    Some(format!("{{\"gpc\": true{day}}}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(version: &str, more: &str) -> Option<String> {
        let files = crate::DEFAULT_FILES.iter().map(|(name, text)| {
            let version_was = "version    = ";
            let lines = text.lines().map(|line| match line.starts_with(version_was) {
                true => format!("{version_was}{version:?}\n{more}\n"),
                false => format!("{line}\n"),
            });
            let text = if *name == "policy.toml" { lines.collect() } else { (*text).to_owned() };
            ((*name).to_owned(), text)
        });
        support(&Package::from_files(files.collect::<Vec<_>>()).unwrap())
    }

    #[test]
    fn who_heeds_the_signal_says_so_and_since_when() {
        assert_eq!(
            of("2026-05-16", "").unwrap(),
            "{\"gpc\": true, \"lastUpdate\": \"2026-05-16\"}\n"
        );
        assert_eq!(of("3", "").unwrap(), "{\"gpc\": true}\n");
        assert_eq!(of("3", "signals = { gpc = \"objection\" }").unwrap(), "{\"gpc\": true}\n");
        assert_eq!(of("3", "signals = { gpc = \"ignored\" }"), None);
    }
}
