//! Any bytes as streamed records, in both forms: records or one fault, never a panic. `cargo fuzz run records`.
#![no_main]

use o365_agent::activity::{RecordFormat, RecordReader};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    for format in [RecordFormat::Ndjson, RecordFormat::Csv] {
        let mut reader = RecordReader::new(bytes, format);
        while let Ok(Some(_)) = reader.read() {}
    }
});
