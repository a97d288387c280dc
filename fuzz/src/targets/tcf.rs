//! TC strings, against a second reader that spells every bit out, and against themselves with one bit changed.

use anonymizer::TcString;

const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
/// Where the purposes that were consented to stand: the first of 24 bits.
const PURPOSES: usize = 152;
/// Longest string that is read.
const BYTES_MAX: usize = 16 << 10;

/// The whole input is one string.
pub(crate) fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let read = TcString::read(text);
    let spelled = spell(text).filter(|_| text.len() <= BYTES_MAX);
    let told = read.map(|read| {
        let consents = (1..=24_u8).map(|purpose| read.covers(&[purpose]));
        (consents.collect::<Vec<bool>>(), read.updated.0)
    });
    assert_eq!(told, spelled, "the two readers do not agree");
    let Some(read) = read else { return };
    assert!(read.covers(&[]), "nothing is asked for");
    for purpose in 1..=24_u8 {
        let changed = flip(text, PURPOSES + usize::from(purpose) - 1);
        let other = TcString::read(&changed).expect("its form is the same");
        assert_eq!(other.consents ^ read.consents, 1 << (purpose - 1), "another purpose changed");
        assert_eq!(other.updated, read.updated);
    }
}

/// The string with one bit changed.
fn flip(text: &str, bit: usize) -> String {
    let mut letters = text.as_bytes().to_vec();
    let place = LETTERS.iter().position(|letter| *letter == letters[bit / 6]);
    let value = place.expect("it was read") ^ (32 >> (bit % 6));
    letters[bit / 6] = LETTERS[value];
    String::from_utf8(letters).expect("letters")
}

/// Purposes consented to and the time in milliseconds, read as people would: bits written out, cut off from the left.
fn spell(text: &str) -> Option<(Vec<bool>, i64)> {
    let core = text.split('.').next()?;
    let values = core.bytes().map(|byte| LETTERS.iter().position(|letter| *letter == byte));
    let bits: Option<String> = values.map(|value| Some(format!("{:06b}", value?))).collect();
    let bits = bits?;
    let mut rest = bits.as_str();
    let mut cut = |count: usize| {
        let (bits, after) = rest.split_at_checked(count)?;
        rest = after;
        Some(bits)
    };
    let number = |bits: &str| i64::from_str_radix(bits, 2).ok();
    if cut(6)? != "000010" {
        return None;
    }
    cut(36)?;
    let updated = number(cut(36)?)? * 100;
    cut(152 - 78)?;
    let purposes = cut(24)?.chars().map(|bit| bit == '1').collect();
    cut(213 - 176)?;
    for _ in 0..2 {
        let last = usize::try_from(number(cut(16)?)?).ok()?;
        if cut(1)? == "0" {
            cut(last)?;
            continue;
        }
        for _ in 0..number(cut(12)?)? {
            let pair = cut(1)? == "1";
            let first = number(cut(16)?)?;
            if pair && number(cut(16)?)? < first {
                return None;
            }
        }
    }
    for _ in 0..number(cut(12)?)? {
        cut(8)?;
        for _ in 0..number(cut(12)?)? {
            let pair = cut(1)? == "1";
            let first = number(cut(16)?)?;
            if pair && number(cut(16)?)? < first {
                return None;
            }
        }
    }
    Some((purposes, updated))
}
