//! The kernel's own types: where a program attaches to, which functions it may call, what CO-RE relocations mean here.
//!
//! Read when first asked for, once for all objects of a deployment.

use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use aya_obj::btf;
use ouro_btf::{Btf, Kind};
use ouro_rules::bundle::Bundle;

use super::sys;
use crate::object::Reason;

const FOLDER: &str = "/sys/kernel/btf";

/// The types that CO-RE relocations are made for.
#[derive(Debug, Clone, Default)]
pub(crate) enum CoreTypes {
    /// The running kernel's.
    #[default]
    Kernel,
    /// Those in this file.
    File(PathBuf),
    /// These, which travelled in a bundle.
    Bundled(Arc<[u8]>),
}

impl CoreTypes {
    /// Those of a file that was given, else those that travelled in the bundle, else the running kernel's.
    pub(crate) fn of(bundle: &Bundle, file: Option<&PathBuf>) -> CoreTypes {
        let file = file.cloned().map(CoreTypes::File);
        file.or_else(|| bundle.btf.clone().map(CoreTypes::Bundled)).unwrap_or_default()
    }
}

/// The types, read or not.
#[derive(Default)]
pub(super) struct KernelTypes {
    pub(super) core_from: CoreTypes,
    kernel: OnceLock<Result<Btf, Reason>>,
    core: OnceLock<Result<btf::Btf, Reason>>,
}

/// A type of the kernel, of a module or of a program.
pub(super) struct Found {
    /// Its id.
    pub(super) id: u32,
    /// The module's BTF, or the program; none is the kernel's own.
    pub(super) module: Option<OwnedFd>,
}

impl Found {
    /// The module's BTF, or the program.
    pub(super) fn module(&self) -> Option<BorrowedFd<'_>> {
        self.module.as_ref().map(AsFd::as_fd)
    }
}

impl KernelTypes {
    /// The kernel's own types.
    pub(super) fn kernel(&self) -> Result<&Btf, Reason> {
        let read = || {
            let path = Path::new(FOLDER).join("vmlinux");
            let bytes = fs::read(&path).map_err(|error| no_types(&path, &error.to_string()))?;
            Btf::read(&bytes).map_err(|error| no_types(&path, &error.to_string()))
        };
        self.kernel.get_or_init(read).as_ref().map_err(Reason::clone)
    }

    /// The types that CO-RE relocations are made for.
    pub(super) fn core(&self) -> Result<&btf::Btf, Reason> {
        let file = |path: &Path| {
            let parsed = btf::Btf::parse_file(path, Default::default());
            parsed.map_err(|error| no_types(path, &super::chain(&error)))
        };
        let read = || match &self.core_from {
            CoreTypes::Kernel => file(&Path::new(FOLDER).join("vmlinux")),
            CoreTypes::File(path) => file(path),
            CoreTypes::Bundled(bytes) => {
                let parsed = btf::Btf::parse(bytes, Default::default());
                parsed.map_err(|error| format!("the types in the bundle cannot be read: {}", super::chain(&error)))
            }
        };
        self.core.get_or_init(read).as_ref().map_err(Reason::clone)
    }

    /// Finds a type by name and kind, in the kernel first and then in its modules.
    pub(super) fn find(&self, name: &str, kind: Kind) -> Result<Option<Found>, Reason> {
        let kernel = self.kernel()?;
        if let Some(id) = find(kernel, name, kind, 1) {
            return Ok(Some(Found { id, module: None }));
        }
        let own = kernel.ids().end;
        for module in modules() {
            let Ok(bytes) = fs::read(Path::new(FOLDER).join(&module)) else { continue };
            // A module's types go on counting from the kernel's.
            let mut types = kernel.clone();
            if types.extend(&bytes).is_ok()
                && let Some(id) = find(&types, name, kind, own)
            {
                let failed = |error| format!("`{name}` is in the module `{module}`, whose types cannot be had: {error}");
                return Ok(Some(Found { id, module: Some(sys::module_btf(&module).map_err(failed)?) }));
            }
        }
        Ok(None)
    }
}

fn find(types: &Btf, name: &str, kind: Kind, from: u32) -> Option<u32> {
    let is_it = |id: &u32| types.get(*id).is_some_and(|ty| ty.kind == kind && types.name(ty) == name);
    (from..types.ids().end).find(is_it)
}

fn modules() -> Vec<String> {
    let entries = fs::read_dir(FOLDER).into_iter().flatten().filter_map(Result::ok);
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.retain(|name| name != "vmlinux");
    names.sort_unstable();
    names
}

fn no_types(path: &Path, why: &str) -> Reason {
    format!("it needs the kernel's types, and `{}` cannot be read: {why}", path.display())
}
