#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| eco::archive::fuzz_entry::archive(data));
