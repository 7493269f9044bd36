//! Bundles.
use crate::chain::ChainSpec;
use crate::diagnostic::Diagnostic;
/// Links.
pub fn link(_spec: &ChainSpec, _inputs: &[Vec<u8>]) -> Result<Vec<u8>, Vec<Diagnostic>> {
    Err(vec![])
}
