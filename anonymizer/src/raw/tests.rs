use super::*;
use crate::fixture::{Bench, DEVICES, devices, event, package};

#[test]
fn size_is_known_without_looking() {
    let bench = Bench::new(package());
    let nobody = bench.nobody();
    let mut builder = RawBuilder::new(&bench.package, DEVICES);
    assert_eq!((builder.rows(), builder.bytes()), (0, 0));
    let mut values = vec![Value::Null; devices::FIELDS];
    values[devices::SERIAL] = Value::Text("X1-2031-000417");
    for _ in 0..1_000 {
        builder.append(&event(&values), &nobody);
    }
    let guessed = builder.bytes();
    let batch = builder.finish();
    assert_eq!((batch.rows(), batch.family()), (1_000, DEVICES));
    let sliced = batch.columns.columns().iter();
    let real: usize = sliced.map(|column| column.to_data().get_slice_memory_size().unwrap()).sum();
    assert!(guessed.abs_diff(real) < real / 4, "{guessed} instead of {real}");
    assert_eq!((builder.rows(), builder.bytes()), (0, 0));
    builder.append(&event(&[]), &nobody);
    assert_eq!(builder.finish().rows(), 1, "values that are not given are null");
}
