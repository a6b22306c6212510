//! One autoscaler per object. Samples come in, decisions go onto the [`Board`](crate::board::Board); nothing else is shared.

mod mind;
mod run;
mod state;

pub use mind::Mind;
pub(crate) use run::Collecting;
pub use run::{CpuSource, Engine, Object, Server, Source};
pub use state::{StateError, about, forget};
