//! A metrics page of any text, read twice: whatever is accepted makes finite loads, and nothing panics.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|pages: (&str, &str)| {
    plimsoll_fuzz::decide([pages.0, pages.1], |query, page, at| query.read(page, at));
});
