//! Names of fields that say by themselves what they hold: `patient_name`, `email`, `password`.
//!
//! It knows the usual English names, not every name: a value under another one is judged by what it is declared as.

use crate::model::Category;

/// Words that say it wherever they stand in a name.
const WORDS: [(&str, Category); 24] = [
    ("email", Category::Email),
    ("phone", Category::Telephone),
    ("telephone", Category::Telephone),
    ("msisdn", Category::Telephone),
    ("birthdate", Category::BirthDate),
    ("birthday", Category::BirthDate),
    ("birth", Category::BirthDate),
    ("dob", Category::BirthDate),
    ("surname", Category::Name),
    ("diagnosis", Category::Health),
    ("medication", Category::Health),
    ("patient", Category::Health),
    ("dicom", Category::Scan),
    ("xray", Category::Scan),
    ("radiograph", Category::Scan),
    ("photo", Category::Scan),
    ("password", Category::Credentials),
    ("passwd", Category::Credentials),
    ("passphrase", Category::Credentials),
    ("iban", Category::Payment),
    ("cvv", Category::Payment),
    ("postcode", Category::PostalAddress),
    ("zipcode", Category::PostalAddress),
    ("filename", Category::FileName),
];

/// Whole names, without what stands between their words.
const NAMES: [(&str, Category); 47] = [
    ("mail", Category::Email),
    ("mailaddress", Category::Email),
    ("firstname", Category::Name),
    ("lastname", Category::Name),
    ("fullname", Category::Name),
    ("givenname", Category::Name),
    ("familyname", Category::Name),
    ("realname", Category::Name),
    ("displayname", Category::Name),
    ("username", Category::Name),
    ("personname", Category::Name),
    ("contactname", Category::Name),
    ("customername", Category::Name),
    ("operatorname", Category::Name),
    ("doctorname", Category::Name),
    ("patientname", Category::Name),
    ("patientbirthdate", Category::BirthDate),
    ("patientage", Category::BirthDate),
    ("street", Category::PostalAddress),
    ("streetaddress", Category::PostalAddress),
    ("postaladdress", Category::PostalAddress),
    ("homeaddress", Category::PostalAddress),
    ("zip", Category::PostalAddress),
    ("medicalrecord", Category::Health),
    ("healthrecord", Category::Health),
    ("medicalhistory", Category::Health),
    ("image", Category::Scan),
    ("picture", Category::Scan),
    ("screenshot", Category::Scan),
    ("scandata", Category::Scan),
    ("scanfile", Category::Scan),
    ("scanimage", Category::Scan),
    ("pixeldata", Category::Scan),
    ("creditcard", Category::Payment),
    ("cardnumber", Category::Payment),
    ("bankaccount", Category::Payment),
    ("accountnumber", Category::Payment),
    ("secret", Category::Credentials),
    ("accesstoken", Category::Credentials),
    ("authtoken", Category::Credentials),
    ("apikey", Category::Credentials),
    ("filepath", Category::FileName),
    ("modelname", Category::FileName),
    ("projectname", Category::FileName),
    ("supportrequest", Category::Support),
    ("supportmessage", Category::Support),
    ("ticket", Category::Support),
];

/// Longer names are nobody's.
const BYTES_MAX: usize = 64;

impl Category {
    /// What a field of that name would hold, if the name says so: `patientName`, `patient_name` and `PATIENT-NAME` alike.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        if name.len() > BYTES_MAX {
            return None;
        }
        let words = words(name);
        let whole = words.concat();
        let named = NAMES.iter().find(|(known, _)| *known == whole);
        // Two words that are written as one elsewhere: `birth_date`, `file-name`, `x-ray`.
        let says = |known: &str| {
            words.iter().any(|word| word == known)
                || words.windows(2).any(|pair| pair.concat() == known)
        };
        named.or_else(|| WORDS.iter().find(|(known, _)| says(known))).map(|(_, category)| *category)
    }
}

/// The words of a name in lower case: cut where no letter or digit stands, and where a capital follows a small letter.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut after_small = false;
    for letter in name.chars() {
        let cut = !letter.is_ascii_alphanumeric() || (letter.is_ascii_uppercase() && after_small);
        if cut && words.last().is_some_and(|word| !word.is_empty()) {
            words.push(String::new());
        }
        if letter.is_ascii_alphanumeric()
            && let Some(word) = words.last_mut()
        {
            word.push(letter.to_ascii_lowercase());
        }
        after_small = letter.is_ascii_lowercase() || letter.is_ascii_digit();
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known_however_they_are_written() {
        for (name, category) in [
            ("patientName", Category::Name),
            ("PATIENT-NAME", Category::Name),
            ("patient.id", Category::Health),
            ("user_email", Category::Email),
            ("e-mail", Category::Email),
            ("contactPhoneNumber", Category::Telephone),
            ("date_of_birth", Category::BirthDate),
            ("x_ray", Category::Scan),
            ("DICOM", Category::Scan),
            ("file-name", Category::FileName),
            ("modelName", Category::FileName),
            ("new_password", Category::Credentials),
            ("iban", Category::Payment),
            ("support_request", Category::Support),
        ] {
            assert_eq!(Category::of_name(name), Some(category), "{name}");
        }
    }

    #[test]
    fn names_of_usage_are_left_alone() {
        for name in [
            "name",
            "product",
            "scan_program",
            "version",
            "country",
            "device_class",
            "mobile",
            "page",
            "hostname",
            "duration",
            "mail_opened",
            "image_count",
            "photosynthesis",
            "phoneme",
            "token_count",
            "",
            "__",
            "Ünïcode",
        ] {
            assert_eq!(Category::of_name(name), None, "{name}");
        }
        assert_eq!(Category::of_name(&"email_".repeat(20)), None, "too long");
    }
}
