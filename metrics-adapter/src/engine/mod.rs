//! One autoscaler per object. Samples come in, decisions go onto the [`Board`]; nothing else is shared.

mod board;

pub use board::{Board, Cell, ObjectKey};
