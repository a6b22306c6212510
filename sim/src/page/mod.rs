//! Pages for a browser.
