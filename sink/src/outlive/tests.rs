//! What is left of rows at any time, against a model that looks at one value at a time.

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, Date32Array, Int32Array, Int64Array, StringArray,
    TimestampMicrosecondArray,
};
use proptest::prelude::*;

use super::*;

const FIELDS: usize = 3;
const TODAY: i32 = 20_000;

/// Purposes with their periods, and what each carries.
#[derive(Clone, Debug)]
struct World {
    keep_days: Vec<Option<u32>>,
    /// Bits of purposes: of the family, then of each field.
    carriers: [u32; FIELDS + 1],
    /// Granted purposes and day of each row.
    rows: Vec<(u32, i32)>,
}

impl World {
    fn package(&self) -> Package {
        let names = |bits: u32| {
            let own = (0..self.keep_days.len()).filter(|index| bits & (1 << index) != 0);
            own.map(|index| format!("\"p{index}\"")).collect::<Vec<_>>().join(", ")
        };
        let mut policy = "controller = \"C\"\nversion = \"1\"\n".to_owned();
        for (index, days) in self.keep_days.iter().enumerate() {
            policy.push_str(&format!("[purposes.p{index}]\nbasis = \"consent\"\nnotice = \"n\"\n"));
            if let Some(days) = days {
                policy.push_str(&format!("keep = \"{days} days\"\n"));
            }
        }
        let mut family = format!(
            "family = \"f\"\ncontributor = {{ from = \"visit\" }}\npurposes = [{}]\n[fields]\n",
            names(self.carriers[0])
        );
        for field in 0..FIELDS {
            let own = names(self.carriers[field + 1]);
            family.push_str(&format!(
                "f{field} = {{ type = [\"a\"], is = \"usage\", purposes = [{own}], about = \"it\" }}\n"
            ));
        }
        let files = [("policy.toml", policy), ("f.toml", family)];
        let files = files.map(|(name, text)| (name.to_owned(), text));
        Package::from_files(files.into()).unwrap_or_else(|wrong| {
            panic!("{}", wrong.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
        })
    }

    fn carriers(&self) -> u32 {
        self.carriers.iter().fold(0, |all, own| all | own)
    }

    /// As gate 1 makes them.
    fn rows(&self, package: &Package) -> RecordBatch {
        let count = self.rows.len();
        let granted = |row: usize| self.rows[row].0 & self.carriers();
        let number = |name: &str| package.purpose(name).unwrap().0;
        let set = |bits: u32| {
            let own = (0..self.keep_days.len()).filter(|index| bits & (1 << index) != 0);
            own.fold(PurposeSet::default(), |set, index| set.with(number(&format!("p{index}"))))
        };
        let stands = |row: usize, which: usize| granted(row) & self.carriers[which] != 0;
        let columns = package.families[0].stored_schema();
        let columns = columns.fields().iter().map(|field| -> ArrayRef {
            let rows = 0..count;
            match field.name().as_str() {
                columns::DAY => {
                    Arc::new(rows.map(|row| Some(self.rows[row].1)).collect::<Date32Array>())
                }
                columns::TIME => {
                    Arc::new(TimestampMicrosecondArray::from_value(0, count).with_timezone("UTC"))
                }
                columns::CONTRIBUTOR => Arc::new(
                    rows.map(|row| stands(row, 0).then_some([7; 16])).collect::<BinaryArray>(),
                ),
                columns::EVENT_KEY => Arc::new(BinaryArray::from_opt_vec(vec![None; count])),
                columns::CLOCK => Arc::new(StringArray::from(vec!["device"; count])),
                columns::POSITION => Arc::new(Int64Array::from_value(0, count)),
                columns::EPOCH | columns::PARTITION | columns::ROW => {
                    Arc::new(Int32Array::from_value(0, count))
                }
                columns::PURPOSES => {
                    let texts = rows.map(|row| package.purposes_text(set(granted(row))));
                    Arc::new(StringArray::from_iter_values(texts))
                }
                name => {
                    let which = name[1..].parse::<usize>().unwrap() + 1;
                    let values = rows.map(|row| stands(row, which).then_some("a"));
                    Arc::new(values.collect::<StringArray>())
                }
            }
        });
        RecordBatch::try_new(package.families[0].stored_schema(), columns.collect()).unwrap()
    }

    /// The model: a value is there while one purpose that was granted, and carries it, has no period or is within it.
    fn is_there(&self, row: usize, which: usize, now: Millis) -> bool {
        let (granted, day) = self.rows[row];
        (0..self.keep_days.len()).any(|index| {
            let carries = granted & self.carriers[which] & (1 << index) != 0;
            let age_days = (now.0 - Millis::of_day(day + 1).0).div_euclid(DAY_MS);
            carries && self.keep_days[index].is_none_or(|days| age_days < i64::from(days))
        })
    }

    fn check(&self, rows: &RecordBatch, now: Millis) -> Result<(), TestCaseError> {
        prop_assert_eq!(rows.num_rows(), self.rows.len(), "no event goes");
        let days = rows.column_by_name(columns::DAY).unwrap().as_primitive::<Date32Type>();
        for row in 0..self.rows.len() {
            prop_assert_eq!(days.value(row), self.rows[row].1, "in their order");
            for which in 0..=FIELDS {
                let name = match which {
                    0 => columns::CONTRIBUTOR.to_owned(),
                    field => format!("f{}", field - 1),
                };
                let is_there = rows.column_by_name(&name).unwrap().is_valid(row);
                let expected = self.is_there(row, which, now);
                prop_assert_eq!(is_there, expected, "{} of row {} at {}", name, row, now);
            }
        }
        Ok(())
    }
}

fn any_world() -> impl Strategy<Value = World> {
    (1_usize..5).prop_flat_map(|purposes| {
        let most = (1_u32 << purposes) - 1;
        let keep_days = proptest::collection::vec(proptest::option::of(4_u32..30), purposes);
        let carriers = proptest::array::uniform4(1..=most);
        let rows = proptest::collection::vec((0..=most, TODAY - 40..TODAY), 1..20);
        (keep_days, carriers, rows).prop_map(|(keep_days, carriers, rows)| World {
            keep_days,
            carriers,
            rows,
        })
    })
}

proptest! {
    /// At any time, reached at once or by rounds in between; and taken away again, nothing changes.
    #[test]
    fn values_live_as_long_as_the_longest_purpose_that_stands(
        world in any_world(),
        hours in proptest::collection::vec(0_i64..24 * 45, 1..5),
    ) {
        let package = world.package();
        let family = &package.families[0];
        let mut hours = hours;
        hours.sort_unstable();
        let fresh = world.rows(&package);
        let mut rows = fresh.clone();
        for hour in hours {
            let now = Millis::of_day(TODAY).plus(hour * HOUR_MS);
            rows = without_over("f", &package, family, &rows, now).unwrap();
            world.check(&rows, now)?;
            prop_assert_eq!(&rows, &without_over("f", &package, family, &fresh, now).unwrap());
            prop_assert_eq!(&rows, &without_over("f", &package, family, &rows, now).unwrap());
        }
    }
}
