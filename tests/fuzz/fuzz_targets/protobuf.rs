//! A metrics page in protobuf of any bytes, read twice: whatever is accepted makes finite loads, and nothing panics.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|pages: (&[u8], &[u8])| {
    plimsoll_fuzz::decide([pages.0, pages.1], |query, page, at| query.read_protobuf(page, at));
});
