#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| eco::restore::fuzz_entry::journal(data));
