//! Extensions: which program of a bundle they extend, and what of it they replace.
//!
//! Pure; knows bundles, not kernels.

use ouro_rules::bundle::Bundle;
use ouro_rules::manifest::ManifestProgram;

use crate::kernel::Replaced;

/// The program that an extension extends; none of what is no extension.
pub(crate) fn extended<'a>(bundle: &'a Bundle, program: &ManifestProgram) -> Option<&'a ManifestProgram> {
    let name = &program.replaces.as_ref()?.program;
    bundle.manifest.programs.iter().find(|program| program.name == *name)
}

/// What an extension replaces. A program whose object the bundle does not have is one in an empty object.
pub(crate) fn replaced<'a>(bundle: &'a Bundle, program: &'a ManifestProgram) -> Option<Replaced<'a>> {
    let extended = extended(bundle, program)?;
    let object = bundle.objects.get(&extended.object).map_or(&[][..], Vec::as_slice);
    Some(Replaced { object, program: &extended.function, function: &program.replaces.as_ref()?.function })
}
