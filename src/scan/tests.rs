//! The scanner's own test: a leak planted in each form, in each kind of place, is found; and nothing is
//! found where nothing was planted.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, DictionaryArray, Int64Array, ListArray, RecordBatch, StringArray,
    StructArray,
};
use arrow::datatypes::{Field, Int32Type};
use data_encoding::{BASE64, BASE64URL_NOPAD, HEXLOWER, HEXUPPER};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::forms::{Form, Hash};
use super::{NEEDLE_BYTES_MIN, Report, Scanner};

const SERIAL: &str = "X1-2031-000417";
const ADDRESS: &str = "2a02:8071:b4a0::1f:9";
const SHORT: &str = "9.8.7.6";
const VISITOR: &str = "0b5e3c9a-7d41-4f6e-9a55-1c2d3e4f5a6b";
const NAME: &str = "Åse \"K\"/Ødegård";

fn scanner() -> Scanner {
    let needles = [
        ("serial", SERIAL),
        ("address", ADDRESS),
        ("address", SHORT),
        ("visitor", VISITOR),
        ("name", NAME),
    ];
    Scanner::new(needles.map(|(kind, value)| (kind, value.to_owned()))).unwrap()
}

fn forms_found(bytes: &[u8]) -> Vec<(&'static str, Form)> {
    let mut report = Report::default();
    scanner().bytes("memory", bytes, &mut report);
    let mut found: Vec<_> = report.findings.iter().map(|found| (found.kind, found.form)).collect();
    found.sort_unstable();
    found.dedup();
    found
}

fn octets(text: &str) -> Vec<u8> {
    text.parse::<std::net::Ipv6Addr>().unwrap().octets().to_vec()
}

/// Every form, as other programs write it, with other bytes around it.
#[test]
fn each_form_is_found() {
    let uuid = uuid::Uuid::parse_str(VISITOR).unwrap();
    let planted: Vec<(&str, Form, Vec<u8>)> = vec![
        ("serial", Form::Text, SERIAL.into()),
        ("serial", Form::Text, SERIAL.to_lowercase().into()),
        ("address", Form::Text, SHORT.into()),
        ("address", Form::Text, ADDRESS.to_uppercase().into()),
        ("name", Form::Text, NAME.to_uppercase().into()),
        ("name", Form::PercentEncoded, b"%C3%85se+%22K%22%2F%C3%98deg%C3%A5rd".into()),
        ("name", Form::PercentEncoded, b"%c3%85se%20%22K%22/%c3%98deg%c3%a5rd".into()),
        ("serial", Form::PercentEncoded, b"%58%31%2d%32%30%33%31%2d%30%30%30%34%31%37".into()),
        ("name", Form::Escaped, r#"Åse \"K\"/Ødegård"#.into()),
        ("name", Form::Escaped, br#"\u00c5se \"K\"/\u00D8deg\u00e5rd"#.into()),
        ("address", Form::Octets, octets(ADDRESS)),
        ("visitor", Form::Octets, uuid.as_bytes().to_vec()),
        ("visitor", Form::Hex, uuid.simple().to_string().into()),
        ("serial", Form::Hex, HEXLOWER.encode(SERIAL.as_bytes()).into()),
        ("serial", Form::Hex, HEXUPPER.encode(SERIAL.as_bytes()).into()),
        ("address", Form::Hex, HEXLOWER.encode(&octets(ADDRESS)).into()),
        ("visitor", Form::Base64, BASE64.encode(uuid.as_bytes()).into()),
    ];
    for (kind, form, bytes) in planted {
        let around = [b"{\"a\":\"\x00\xff", &bytes[..], b"\x01\"}"].concat();
        assert!(forms_found(&around).contains(&(kind, form)), "{kind} as {form}");
    }
}

#[test]
fn base64_is_found_at_each_alignment_in_both_alphabets() {
    for value in [SERIAL, SHORT, NAME] {
        for before in ["", "a", "ab", "abc", "abcd"] {
            let text = format!("{before}{value}tail");
            for alphabet in [BASE64, BASE64URL_NOPAD] {
                let found = forms_found(alphabet.encode(text.as_bytes()).as_bytes());
                assert!(found.iter().any(|&(_, form)| form == Form::Base64), "{before}, {value}");
            }
        }
    }
}

#[test]
fn unsalted_hashes_are_found_raw_and_in_hex_also_when_cut_to_128_bits() {
    for hash in Hash::ALL {
        for value in [SERIAL.to_owned(), SERIAL.to_lowercase()] {
            let digest = hash.of(value.as_bytes());
            let raw = [b"..", &digest[..16], b".."].concat();
            assert_eq!(forms_found(&raw), [("serial", Form::Hash(hash))]);
            let hex = HEXUPPER.encode(&digest);
            assert_eq!(forms_found(hex.as_bytes()), [("serial", Form::HashHex(hash))]);
        }
    }
    let of_abc = |hash: Hash| HEXLOWER.encode(&hash.of(b"abc"));
    assert_eq!(of_abc(Hash::Md5), "900150983cd24fb0d6963f7d28e17f72");
    assert_eq!(of_abc(Hash::Sha1), "a9993e364706816aba3e25717850c26c9cd0d89d");
    assert!(of_abc(Hash::Sha256).starts_with("ba7816bf8f01cfea414140de5dae2223"));
    assert!(of_abc(Hash::Blake3).starts_with("6437b3ac38465133ffb63b75273a8db5"));
}

/// A Parquet file with `values`, compressed, with a dictionary: in the raw file they cannot be seen.
fn parquet_file(values: ArrayRef) -> Vec<u8> {
    let batch = RecordBatch::try_from_iter([("planted", values)]).unwrap();
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(3).unwrap()))
        .set_statistics_enabled(parquet::file::properties::EnabledStatistics::None)
        .build();
    let mut file = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut file, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    file
}

/// Values that share most of their bytes with the planted one, so that compression breaks it up.
fn neighbours(planted: &str) -> Vec<String> {
    let mut values: Vec<String> = (0..2_000).map(|n| format!("X1-2031-{:06}", n + 1_000)).collect();
    values.insert(1_000, planted.to_owned());
    values
}

#[test]
fn a_value_in_compressed_parquet_is_found_in_every_kind_of_column() {
    let texts = neighbours(SERIAL);
    let strings = Arc::new(StringArray::from(texts.clone()));
    let binary: BinaryArray = texts.iter().map(|text| Some(text.as_bytes())).collect();
    let dictionary: DictionaryArray<Int32Type> = texts.iter().map(String::as_str).collect();
    let field = Arc::new(Field::new("inner", arrow::datatypes::DataType::Utf8, true));
    let nested = StructArray::from(vec![(field, Arc::clone(&strings) as ArrayRef)]);
    let columns: [ArrayRef; 4] =
        [strings, Arc::new(binary), Arc::new(dictionary), Arc::new(nested)];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.parquet");
    for column in columns {
        let content = parquet_file(column);
        assert_eq!(forms_found(&content), [], "seen in the raw file, so this tests nothing");
        std::fs::write(&path, content).unwrap();
        let mut report = Report::default();
        scanner().folder(folder.path(), &mut report).unwrap();
        assert!(report.found >= 1);
        assert_eq!((report.findings[0].kind, report.findings[0].form), ("serial", Form::Text));
        assert!(report.findings[0].place.ends_with("rows.parquet, column planted"));
        assert!(report.files == 1 && report.values >= 2_001);
    }
}

#[test]
fn a_list_can_be_searched() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("list.parquet");
    let numbers = [Some([Some(41_700_000_977_i64)])];
    let list = ListArray::from_iter_primitive::<arrow::datatypes::Int64Type, _, _>(numbers);
    std::fs::write(&path, parquet_file(Arc::new(list))).unwrap();
    let scanner = Scanner::new([("serial", "41700000977".to_owned())]).unwrap();
    let mut report = Report::default();
    scanner.file(&path, &mut report).unwrap();
    assert_eq!(report.found, 1);
}

#[test]
fn digits_kept_as_a_number_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("numbers.parquet");
    let numbers: Int64Array = (0..500).map(|n| 41_700_000_000 + n * 977).collect();
    std::fs::write(&path, parquet_file(Arc::new(numbers))).unwrap();
    let scanner = Scanner::new([("serial", (41_700_000_000_i64 + 977).to_string())]).unwrap();
    let mut report = Report::default();
    scanner.file(&path, &mut report).unwrap();
    assert_eq!(report.found, 1);
}

#[test]
fn names_of_files_and_folders_below_are_searched() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join(format!("serial={SERIAL}"));
    std::fs::create_dir_all(&inner).unwrap();
    std::fs::write(inner.join("part"), b"nothing").unwrap();
    let mut report = Report::default();
    scanner().folder(folder.path(), &mut report).unwrap();
    assert_eq!(report.findings.len(), 1);
    assert!(report.findings[0].place.starts_with("the name of "));
}

#[test]
fn neighbouring_values_do_not_make_up_a_third() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("versions.parquet");
    let versions = StringArray::from(vec!["9.8", ".7.6", "9.8.", "7.6"]);
    std::fs::write(&path, parquet_file(Arc::new(versions))).unwrap();
    let mut report = Report::default();
    scanner().file(&path, &mut report).unwrap();
    assert_eq!(report.findings, []);
}

#[test]
fn what_was_not_sent_is_not_found() {
    let mut noise = blake3::Hasher::new_derive_key("scanner noise").finalize_xof();
    let mut bytes = vec![0; 1 << 20];
    noise.fill(&mut bytes);
    assert_eq!(forms_found(&bytes), []);
    assert_eq!(forms_found(BASE64.encode(&bytes).as_bytes()), []);
    assert_eq!(forms_found(b"X1-2031-000418 9.8.7.5 2a02:8071:b4a0::1f:8"), []);
}

/// Empty blocks are skipped; what begins in one, ends in one or lies between two is found all the same.
#[test]
fn a_value_beside_empty_blocks_is_found() {
    for before in [0, 1, 4_089, 4_090, 4_096, 8_190, 12_288] {
        let bytes = [vec![0; before], SERIAL.into(), vec![0; 9_000]].concat();
        assert_eq!(forms_found(&bytes), [("serial", Form::Text)], "{before}");
    }
    let ending_in_zero = (0..).map(|n| format!("X1-2031-{n:06}"));
    let ending_in_zero = ending_in_zero.map(|text| (Hash::Md5.of(text.as_bytes()), text));
    let (hash, text) = ending_in_zero.into_iter().find(|(hash, _)| hash[15] == 0).unwrap();
    let mut report = Report::default();
    let scanner = Scanner::new([("serial", text)]).unwrap();
    scanner.bytes("memory", &[vec![1; 4_096 - 15], hash, vec![0; 8_192]].concat(), &mut report);
    assert_eq!(report.found, 1);
}

#[test]
fn a_value_too_short_to_look_for_is_refused_without_being_told() {
    let short = "k".repeat(NEEDLE_BYTES_MIN - 1);
    let error = Scanner::new([("visitor", short.clone())]).err().unwrap().to_string();
    assert!(error.contains("visitor") && !error.contains(&short));
}

#[test]
fn a_finding_never_quotes_the_value() {
    let mut report = Report::default();
    scanner().bytes("stdout", SERIAL.as_bytes(), &mut report);
    let text = format!("{} {:?}", report.findings[0], report.findings[0]);
    assert!(text.contains("serial as text in stdout") && !text.contains(SERIAL));
}

#[test]
fn a_damaged_table_file_is_an_error_and_not_a_clean_report() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("torn.parquet");
    let mut content = parquet_file(Arc::new(StringArray::from(neighbours(SERIAL))));
    content.truncate(content.len() - 9);
    std::fs::write(&path, content).unwrap();
    assert!(scanner().file(&path, &mut Report::default()).is_err());
}
