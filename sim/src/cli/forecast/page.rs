//! x
use crate::backtest::{Backtest, Point};
pub(super) fn render(_: &Backtest, _: &[Point]) -> anyhow::Result<String> {
    Ok(String::new())
}
