//! Gets the bytes of keys and certificates from files, folders and contents. A file with a private key that others can
//! read is refused; a bare certificate may be public.

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::error::CertificateError;
use super::format;
use super::material::Material;
use crate::connection::{CertificateKind, CertificateSource};
use crate::files;

/// Far above any key store, far below what would hurt.
const LARGEST_FILE: u64 = 1024 * 1024;
/// Files looked at in a certificate folder.
const MOST_FILES: usize = 256;

/// Everything the source holds. `property` names it when it is not a file.
pub(super) fn read(
    property: &str,
    kind: Option<CertificateKind>,
    source: &CertificateSource,
    password: &str,
) -> Result<Material, CertificateError> {
    match source {
        CertificateSource::Contents(contents) => {
            format::read(property, kind, contents.expose().as_bytes(), password)
        }
        CertificateSource::File(path) => read_file(path, kind, password),
        CertificateSource::Folder(folder) => read_folder(folder, password),
    }
}

fn read_file(
    path: &Path,
    kind: Option<CertificateKind>,
    password: &str,
) -> Result<Material, CertificateError> {
    // Secrets mounted by Kubernetes are links; the mode and owner of what they point at are what counts.
    let target = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let (bytes, exposed) = match files::read_private(&target, LARGEST_FILE) {
        Ok(bytes) => (bytes, None),
        Err(exposed @ files::FileError::Exposed { .. }) => {
            (files::read_bounded(&target, LARGEST_FILE)?, Some(exposed))
        }
        Err(error) => return Err(error.into()),
    };
    let bytes = Zeroizing::new(bytes);
    let material = format::read(&path.display().to_string(), kind, &bytes, password);
    match (exposed, &material) {
        (Some(exposed), Ok(material)) if !material.keys.is_empty() => Err(exposed.into()),
        _ => material,
    }
}

/// Every file that a reader understands is an entry; the others are left alone, unless there is no entry at all.
fn read_folder(folder: &Path, password: &str) -> Result<Material, CertificateError> {
    let place = folder.display();
    let listing = std::fs::read_dir(folder).map_err(|error| {
        CertificateError::Unusable(format!(
            "{place}: the certificate folder cannot be read ({error}). Create it for the agent's user and put the key and certificate files there."
        ))
    })?;
    let mut paths: Vec<PathBuf> = listing.filter_map(Result::ok).map(|entry| entry.path()).collect();
    paths.retain(|path| path.is_file());
    paths.sort();
    paths.truncate(MOST_FILES);
    let mut material = Material::default();
    let mut first_problem = None;
    for path in paths {
        match read_file(&path, None, password) {
            Ok(found) => material.append(found),
            Err(problem) => first_problem = first_problem.or(Some(problem)),
        }
    }
    if material.keys.is_empty()
        && let Some(problem) = first_problem
    {
        return Err(problem);
    }
    Ok(material)
}
