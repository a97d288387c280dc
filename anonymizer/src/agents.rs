//! User agent to browser, operating system and device class, by uap-core's patterns.
//!
//! A user agent is whatever its sender writes, and the patterns capture parts of it: a captured name passes only
//! if the patterns themselves spell it out, and a version only if it has at most three digits.

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use quick_cache::sync::Cache;
use ua_parser::{Extractor, Regexes};

use crate::error::Error;

/// The shipped patterns; where they are from is told beside them.
const SHIPPED: &str = include_str!("../data/uap-core/regexes.yaml");
/// Bytes of a user agent that are looked at; real ones have one to two hundred.
const USER_AGENT_BYTES_MAX: usize = 512;
/// User agents remembered, at most `USER_AGENT_BYTES_MAX` each.
const CACHE_ENTRIES: usize = 8_192;
/// What stands for every name that the patterns do not spell out.
const OTHER: &str = "Other";

/// What is known of a user agent.
#[derive(Default)]
pub(crate) struct Agent {
    /// Family and major version: `Firefox 145`.
    pub(crate) browser: Option<String>,
    /// Family: `Windows`.
    pub(crate) os: Option<String>,
    pub(crate) class: Option<DeviceClass>,
}

/// What a device is, as coarse as it is useful.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DeviceClass {
    Desktop,
    Mobile,
    Tablet,
    Bot,
    Other,
}

impl DeviceClass {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Desktop => "desktop",
            Self::Mobile => "mobile",
            Self::Tablet => "tablet",
            Self::Bot => "bot",
            Self::Other => "other",
        }
    }
}

/// Compiled patterns, and a bounded memory of what they gave.
pub struct Agents {
    extractor: Extractor<'static>,
    /// Every browser name that may leave.
    browsers: HashSet<String>,
    /// Every system name that may leave.
    systems: HashSet<String>,
    cache: Cache<Box<str>, Arc<Agent>>,
    none: Arc<Agent>,
}

impl Agents {
    /// The patterns that ship with the binary.
    ///
    /// # Errors
    ///
    /// [`Error::Agents`], if this build was made with a file that is none.
    pub fn shipped() -> Result<Self, Error> {
        Self::of(SHIPPED, "shipped")
    }

    /// Patterns from a file in the form of uap-core's `regexes.yaml`.
    ///
    /// # Errors
    ///
    /// [`Error::Io`]; [`Error::Agents`] if the file has another form, or a pattern does not compile.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let text = fs::read_to_string(path).map_err(Error::io("read", path))?;
        Self::of(&text, &path.display().to_string())
    }

    pub(crate) fn of(text: &str, name: &str) -> Result<Self, Error> {
        let refuse = |what: String| Error::Agents { name: name.to_owned(), what };
        let regexes: Regexes<'static> =
            serde_yaml_ng::from_str(text).map_err(|error| refuse(error.to_string()))?;
        let names = regexes.user_agent_parsers.iter();
        let browsers = names
            .flat_map(|parser| spelled_out(&parser.regex, parser.family_replacement.as_deref()))
            .collect();
        let names = regexes.os_parsers.iter();
        let systems = names
            .flat_map(|parser| spelled_out(&parser.regex, parser.os_replacement.as_deref()))
            .collect();
        let extractor = Extractor::try_from(regexes).map_err(|error| refuse(error.to_string()))?;
        let cache = Cache::new(CACHE_ENTRIES);
        Ok(Self { extractor, browsers, systems, cache, none: Arc::default() })
    }

    /// What is known of `user_agent`, which is [`bounded`].
    pub(crate) fn parse(&self, user_agent: &str) -> Arc<Agent> {
        if user_agent.is_empty() {
            return Arc::clone(&self.none);
        }
        if let Some(known) = self.cache.get(user_agent) {
            return known;
        }
        let agent = Arc::new(self.look(user_agent));
        self.cache.insert(user_agent.into(), Arc::clone(&agent));
        agent
    }

    fn look(&self, user_agent: &str) -> Agent {
        let (browser, os, device) = self.extractor.extract(user_agent);
        let browser = browser.and_then(|found| {
            let family = self.browsers.get(found.family.as_ref())?;
            let major = found.major.filter(|major| {
                (1..=3).contains(&major.len()) && major.bytes().all(|byte| byte.is_ascii_digit())
            });
            Some(major.map_or_else(|| family.clone(), |major| format!("{family} {major}")))
        });
        let os = os.and_then(|found| self.systems.get(found.os.as_ref()).cloned());
        let bot = device.is_some_and(|found| found.device == "Spider");
        let class = if bot { DeviceClass::Bot } else { class(user_agent, os.as_deref()) };
        let other = || OTHER.to_owned();
        Agent {
            browser: Some(browser.unwrap_or_else(other)),
            os: Some(os.unwrap_or_else(other)),
            class: Some(class),
        }
    }
}

/// Cuts a user agent at `USER_AGENT_BYTES_MAX`, between characters.
pub(crate) fn bounded(user_agent: &str) -> &str {
    &user_agent[..user_agent.floor_char_boundary(USER_AGENT_BYTES_MAX)]
}

/// The class of what is no bot: by the words that browsers agree on, then by the system.
fn class(user_agent: &str, os: Option<&str>) -> DeviceClass {
    let has = |word: &str| user_agent.contains(word);
    if [
        "SmartTV",
        "SMART-TV",
        "Smart TV",
        "AppleTV",
        "Android TV",
        "GoogleTV",
        "BRAVIA",
        "AFT",
        "CrKey",
    ]
    .into_iter()
    .any(has)
    {
        return DeviceClass::Other;
    }
    // Android says `Mobile` on telephones alone; iPads have their own name.
    let android = has("Android");
    if has("iPad") || has("Tablet") || has("Kindle") || (android && !has("Mobi")) {
        return DeviceClass::Tablet;
    }
    if android || has("Mobi") || has("iPhone") || has("iPod") {
        return DeviceClass::Mobile;
    }
    let desktop = os.is_some_and(|os| {
        [
            "Windows",
            "Mac OS X",
            "Linux",
            "Chrome OS",
            "Ubuntu",
            "Fedora",
            "Debian",
            "FreeBSD",
            "OpenBSD",
        ]
        .contains(&os)
    });
    if desktop { DeviceClass::Desktop } else { DeviceClass::Other }
}

/// The names that a pattern can give without repeating what it was given: its replacement if that is fixed, or
/// the alternatives of its first group that are plain text, put into the replacement's `$1` if it has one.
fn spelled_out(regex: &str, replacement: Option<&str>) -> Vec<String> {
    match replacement {
        Some(fixed) if !fixed.contains('$') => vec![fixed.trim().to_owned()],
        Some(template) => literals(regex)
            .iter()
            .map(|name| template.replace("$1", name).trim().to_owned())
            .filter(|name| !name.contains('$'))
            .collect(),
        None => literals(regex),
    }
}

/// The alternatives of the first capturing group that stand for themselves alone.
fn literals(regex: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut name = Some(String::new());
    let mut depth = 0_usize;
    let mut chars = regex.chars().peekable();
    let mut in_class = false;
    while let Some(char) = chars.next() {
        let captures = char == '(' && chars.peek() != Some(&'?');
        match (depth, char) {
            (_, '\\') => {
                let escaped = chars.next();
                // `\d`, `\w`, `\b`: not themselves.
                let plain = escaped.filter(|char| !char.is_ascii_alphanumeric());
                match (plain, &mut name) {
                    (Some(plain), Some(name)) => name.push(plain),
                    _ => name = None,
                }
            }
            (_, ']') if in_class => in_class = false,
            _ if in_class => {}
            (_, '[') => {
                in_class = true;
                name = None;
            }
            (0, '(') if captures && !in_class => {
                depth = 1;
                name = Some(String::new());
            }
            (0, _) => {}
            (_, '(') => {
                depth += 1;
                name = None;
            }
            (1, '|') => {
                names.extend(name.take());
                name = Some(String::new());
            }
            (1, ')') => {
                names.extend(name.take());
                break;
            }
            (_, ')') => depth -= 1,
            (_, '.' | '*' | '+' | '?' | '{' | '}' | '^' | '$') => name = None,
            (1, plain) => {
                if let Some(name) = &mut name {
                    name.push(plain);
                }
            }
            (_, _) => {}
        }
    }
    names.retain(|name| !name.trim().is_empty());
    names
}

#[cfg(test)]
mod tests;
