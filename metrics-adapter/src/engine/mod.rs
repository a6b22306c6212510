//! One autoscaler per object. Samples come in, decisions go onto the [`Board`]; nothing else is shared.

mod board;
mod run;

pub use board::{Board, Cell, ObjectKey};
pub use run::{Engine, Object};
