//! Names of C that nothing else has.

use std::collections::HashSet;

/// Keywords of C99 to C23 and of C++, macros of the headers that the client includes, and what compilers for small
/// machines add.
const KEPT: &str = "
    alignas alignof and and_eq asm assert auto bitand bitor bool break case catch char char16_t char32_t char8_t class
    co_await co_return co_yield compl complex concept const const_cast consteval constexpr constinit continue
    decltype default delete do double dynamic_cast else enum errno explicit export extern false far float for friend
    fortran goto huge i386 if imaginary inline int int16_t int32_t int64_t int8_t interrupt intptr_t linux long mips
    mutable namespace near new noexcept noreturn not not_eq nullptr offsetof operator or or_eq private protected
    ptrdiff_t public register reinterpret_cast requires restrict return short signed size_t sizeof static
    static_assert static_cast stderr stdin stdout struct switch template this thread_local throw true try typedef
    typeid typename typeof typeof_unqual uint16_t uint32_t uint64_t uint8_t uintptr_t union unix unsigned using
    virtual void volatile wchar_t while xor xor_eq";

/// Names of one scope, each given once.
#[derive(Default)]
pub(super) struct Names(HashSet<String>);

impl Names {
    /// `wanted` with as many underscores behind it as it takes until none of `forms` of it is kept or given.
    pub(super) fn give(&mut self, wanted: &str, forms: impl Fn(&str) -> Vec<String>) -> String {
        let mut name = wanted.to_owned();
        while forms(&name).iter().any(|form| is_kept(form) || self.0.contains(form)) {
            name.push('_');
        }
        self.0.extend(forms(&name));
        name
    }

    /// The same, of a name that stands for itself.
    pub(super) fn one(&mut self, wanted: &str) -> String {
        self.give(wanted, |name| vec![name.to_owned()])
    }
}

fn is_kept(name: &str) -> bool {
    // `INT_LEAST8_MAX` and its like, which <stdint.h> defines.
    let is_limit = ["INT", "UINT", "PTRDIFF", "SIZE", "SIG", "WCHAR", "WINT"]
        .iter()
        .any(|begin| name.starts_with(begin))
        && ["_MAX", "_MIN", "_C", "_WIDTH"].iter().any(|end| name.ends_with(end));
    is_limit || KEPT.split_whitespace().any(|word| word == name)
}

/// A family's name in C: the client's own begin with `quorate`.
pub(super) fn of_family(name: &str) -> String {
    if name.starts_with("quorate") { format!("policy_{name}") } else { name.to_owned() }
}

/// A word in capitals, with underscores for what no name can have; its number where nothing else is left of it.
pub(super) fn capital(word: &str, number: usize) -> String {
    let sign = |letter: char| {
        if letter.is_ascii_alphanumeric() { letter.to_ascii_uppercase() } else { '_' }
    };
    let name: String = word.chars().map(sign).collect();
    if name.bytes().any(|byte| byte.is_ascii_alphanumeric()) { name } else { number.to_string() }
}

/// A text in quotes, in printable ASCII; no `?` is left, for two of them begin a trigraph.
pub(super) fn literal(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'"' | b'\\' | b'?' => format!("\\{}", char::from(byte)),
        b' '..=b'~' => char::from(byte).to_string(),
        _ => format!("\\{byte:03o}"),
    };
    format!("\"{}\"", text.bytes().map(byte).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_given_once_and_never_one_of_the_language() {
        let mut names = Names::default();
        assert_eq!(names.one("int"), "int_");
        assert_eq!(names.one("int_"), "int__");
        assert_eq!(names.one("use"), "use");
        assert_eq!(names.one("UINT_FAST8_MAX"), "UINT_FAST8_MAX_");
        let forms = |name: &str| vec![name.to_owned(), format!("{name}_write")];
        assert_eq!(names.give("door", forms), "door");
        assert_eq!(names.give("door_write", forms), "door_write_");
    }

    #[test]
    fn words_become_capitals_and_texts_ascii() {
        assert_eq!(capital("dark mode", 1), "DARK_MODE");
        assert_eq!((capital("é", 3), capital("", 4)), ("3".to_owned(), "4".to_owned()));
        assert_eq!(literal("a\"b\\c??=é\n"), "\"a\\\"b\\\\c\\?\\?=\\303\\251\\012\"");
    }
}
