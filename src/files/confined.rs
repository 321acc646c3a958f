//! Files below one folder and nowhere else: every step of a path is opened from the folder above it without following
//! links, so neither `..` nor a link planted by somebody else leads out, whatever changes meanwhile. Whole files appear at
//! once: what is being written has another name until it is finished.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags};

use super::lock::try_lock;
use super::{FileError, check_owner};

/// Longest path below the folder, in bytes, and longest name.
const LONGEST_PATH: usize = 4096;
const LONGEST_NAME: usize = 200;

/// Why a path below the folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfinedError {
    /// The path itself is not one below the folder.
    #[error("'{path}' {what}")]
    Path {
        /// As it was given.
        path: String,
        /// What is wrong with it and what to write.
        what: String,
    },
    /// There is such a file already.
    #[error("'{path}' exists already. Give another name, or Overwrite=true.")]
    Exists {
        /// As it was given.
        path: String,
    },
    /// Somebody else is writing it now.
    #[error("'{path}' is being written by another run. Wait until that has ended.")]
    Busy {
        /// As it was given.
        path: String,
    },
    /// The operating system refused, or something odd stands there.
    #[error(transparent)]
    File(#[from] FileError),
}

/// A folder that holds everything that may be read and written.
#[derive(Debug)]
pub struct Confined {
    path: PathBuf,
    folder: OwnedFd,
}

/// A file to read, with how long it was when it was opened.
#[derive(Debug)]
pub struct ConfinedFile {
    file: File,
    length: u64,
    path: PathBuf,
}

impl Confined {
    /// Opens the folder, whose own path may contain links: it is the operator's choice.
    ///
    /// # Errors
    /// [`FileError`], also when it is not ours or others can replace files in it.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        super::check_folder_is_ours(path)?;
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        let folder = rustix::fs::open(path, flags, Mode::empty())
            .map_err(|error| FileError::io(path, "opening")(error.into()))?;
        Ok(Self { path: path.to_owned(), folder })
    }

    /// Opens a regular file to read.
    ///
    /// # Errors
    /// [`ConfinedError`].
    pub fn read(&self, path: &str) -> Result<ConfinedFile, ConfinedError> {
        let (folder, name, shown) = self.walk(path)?;
        // O_NONBLOCK: opening a FIFO that somebody planted must not hang; it has no effect on a regular file.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(&folder, &*name, flags, Mode::empty());
        let file = File::from(opened.map_err(|error| FileError::io(&shown, "opening")(error.into()))?);
        let metadata = file.metadata().map_err(FileError::io(&shown, "reading its properties"))?;
        if !metadata.is_file() {
            return Err(FileError::NotRegular { path: shown.display().to_string() }.into());
        }
        Ok(ConfinedFile { file, length: metadata.len(), path: shown })
    }

    /// Begins a file, or goes on with one that was begun for the same `content` and not finished: a text that is the same
    /// only for the same bytes. The file gets its name in [`PartialFile::finish`].
    ///
    /// # Errors
    /// [`ConfinedError`].
    pub fn begin(&self, path: &str, content: &str, overwrite: bool) -> Result<PartialFile, ConfinedError> {
        let (folder, name, shown) = self.walk(path)?;
        if !overwrite && rustix::fs::statat(&folder, &*name, AtFlags::SYMLINK_NOFOLLOW).is_ok() {
            return Err(ConfinedError::Exists { path: path.to_owned() });
        }
        let partial = format!(".{name}.{}.part", crate::secret::fingerprint(content.as_bytes()));
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(&folder, &*partial, flags, Mode::RUSR | Mode::WUSR);
        let file = File::from(opened.map_err(|error| FileError::io(&shown, "creating")(error.into()))?);
        let metadata = file.metadata().map_err(FileError::io(&shown, "reading its properties"))?;
        if !metadata.is_file() || metadata.nlink() != 1 {
            return Err(FileError::NotRegular { path: self.path.join(partial).display().to_string() }.into());
        }
        check_owner(&shown, &metadata)?;
        if !try_lock(&file, &shown)? {
            return Err(ConfinedError::Busy { path: path.to_owned() });
        }
        // Whoever held the lock may have finished it before we got it: then this is no longer the begun file.
        let now = rustix::fs::statat(&folder, &*partial, AtFlags::SYMLINK_NOFOLLOW);
        if now.map_or(true, |now| now.st_ino != metadata.ino()) {
            return Err(ConfinedError::Busy { path: path.to_owned() });
        }
        let metadata = file.metadata().map_err(FileError::io(&shown, "reading its properties"))?;
        Ok(PartialFile {
            folder,
            name,
            partial,
            file,
            length: metadata.len(),
            overwrite,
            given: path.to_owned(),
            shown,
        })
    }

    /// The last folder of `path`, its file name, and the whole path to show.
    fn walk(&self, path: &str) -> Result<(OwnedFd, String, PathBuf), ConfinedError> {
        let bad = |what: &str| ConfinedError::Path {
            path: crate::error::clean_foreign_text(path),
            what: what.to_owned(),
        };
        let inside = match path.strip_prefix('/') {
            None => path,
            // An absolute path is as good, when it is the folder's own and goes on below it.
            Some(_) => {
                Path::new(path).strip_prefix(&self.path).ok().and_then(Path::to_str).ok_or_else(|| {
                    bad(&format!("is not below {}. Write a path relative to it.", self.path.display()))
                })?
            }
        };
        if path.len() > LONGEST_PATH {
            return Err(bad("is longer than 4096 bytes. Shorten it."));
        }
        if inside.contains(['\0', '\\']) || inside.chars().any(char::is_control) {
            return Err(bad("has a backslash or a control character. Write folders with '/'."));
        }
        let steps: Vec<&str> = inside.split('/').collect();
        if steps.iter().any(|step| matches!(*step, "" | "." | "..")) {
            return Err(bad("has an empty step, '.' or '..'. Write the path without them."));
        }
        let Some((name, folders)) = steps.split_last() else { return Err(bad("names nothing.")) };
        if name.len() > LONGEST_NAME {
            return Err(bad("has a file name of more than 200 bytes. Shorten it."));
        }
        let (mut folder, mut shown) = (None::<OwnedFd>, self.path.clone());
        for step in folders {
            shown.push(step);
            let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let above = folder.as_ref().unwrap_or(&self.folder);
            let opened =
                rustix::fs::openat(above, *step, flags, Mode::empty()).map_err(|error| match error {
                    // A link is "not a folder" when links are not followed.
                    rustix::io::Errno::NOTDIR | rustix::io::Errno::LOOP => bad(&format!(
                        "leads through '{step}', which is no folder of its own; links are not followed."
                    )),
                    error => FileError::io(&shown, "opening")(error.into()).into(),
                })?;
            folder = Some(opened);
        }
        let folder = match folder {
            Some(folder) => folder,
            None => rustix::io::fcntl_dupfd_cloexec(&self.folder, 0)
                .map_err(|error| FileError::io(&self.path, "opening")(error.into()))?,
        };
        shown.push(name);
        Ok((folder, (*name).to_owned(), shown))
    }
}

impl ConfinedFile {
    /// How long it was when it was opened.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Its last name.
    pub fn name(&self) -> String {
        self.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    }

    /// `length` bytes from `from` on, fewer at its end. Blocking: call it off the async threads.
    ///
    /// # Errors
    /// [`FileError::Io`].
    pub fn read_at(&self, from: u64, length: usize) -> Result<Vec<u8>, FileError> {
        let mut bytes = vec![0; length];
        let mut read = 0;
        while read < length {
            match self.file.read_at(&mut bytes[read..], from + read as u64) {
                Ok(0) => break,
                Ok(more) => read += more,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(FileError::io(&self.path, "reading")(error)),
            }
        }
        bytes.truncate(read);
        Ok(bytes)
    }
}

/// A file that is being written. Dropped unfinished, what it has stays for the next try.
#[derive(Debug)]
pub struct PartialFile {
    folder: OwnedFd,
    name: String,
    partial: String,
    file: File,
    length: u64,
    overwrite: bool,
    given: String,
    shown: PathBuf,
}

impl PartialFile {
    /// How many bytes it has.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Shows every byte it has to `show`, in order.
    ///
    /// # Errors
    /// [`FileError::Io`].
    pub fn review(&mut self, mut show: impl FnMut(&[u8])) -> Result<(), FileError> {
        let mut piece = vec![0; 64 * 1024];
        self.file.seek(SeekFrom::Start(0)).map_err(FileError::io(&self.shown, "reading"))?;
        let mut left = self.length;
        while left > 0 {
            let most = piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let read = self.file.read(&mut piece[..most]).map_err(FileError::io(&self.shown, "reading"))?;
            if read == 0 {
                break;
            }
            show(&piece[..read]);
            left -= read as u64;
        }
        self.length -= left;
        Ok(())
    }

    /// Throws away what it has.
    ///
    /// # Errors
    /// [`FileError::Io`].
    pub fn restart(&mut self) -> Result<(), FileError> {
        self.file.set_len(0).map_err(FileError::io(&self.shown, "shortening"))?;
        self.length = 0;
        Ok(())
    }

    /// Adds bytes. Blocking: call it off the async threads.
    ///
    /// # Errors
    /// [`FileError::Io`].
    pub fn add(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        self.file.seek(SeekFrom::Start(self.length)).map_err(FileError::io(&self.shown, "writing"))?;
        self.file.write_all(bytes).map_err(FileError::io(&self.shown, "writing"))?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Gives it its name, durably. Returns the path.
    ///
    /// # Errors
    /// [`ConfinedError`]; without leave to overwrite also when such a file has appeared meanwhile.
    pub fn finish(self) -> Result<PathBuf, ConfinedError> {
        self.file.set_len(self.length).map_err(FileError::io(&self.shown, "shortening"))?;
        self.file.sync_all().map_err(FileError::io(&self.shown, "flushing to disk"))?;
        let flags = if self.overwrite { RenameFlags::empty() } else { RenameFlags::NOREPLACE };
        rustix::fs::renameat_with(&self.folder, &*self.partial, &self.folder, &*self.name, flags).map_err(
            |error| match error {
                rustix::io::Errno::EXIST => ConfinedError::Exists { path: self.given.clone() },
                error => FileError::io(&self.shown, "renaming")(error.into()).into(),
            },
        )?;
        rustix::fs::fsync(&self.folder)
            .map_err(|error| FileError::io(&self.shown, "flushing to disk")(error.into()))?;
        Ok(self.shown)
    }

    /// Removes it. What cannot be removed stays: it is private, and the next try begins anew.
    pub fn discard(self) {
        let _private_and_harmless = rustix::fs::unlinkat(&self.folder, &*self.partial, AtFlags::empty());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn folder() -> (tempfile::TempDir, Confined) {
        let outside = tempfile::tempdir().unwrap();
        let root = outside.path().join("root");
        std::fs::create_dir_all(root.join("sub")).unwrap();
        std::fs::write(outside.path().join("secret"), "secret").unwrap();
        std::fs::write(root.join("sub/file"), "0123456789").unwrap();
        let confined = Confined::open(&root).unwrap();
        (outside, confined)
    }

    #[test]
    fn nothing_leads_out_of_the_folder() {
        let (outside, confined) = folder();
        let root = outside.path().join("root");
        symlink(outside.path(), root.join("link")).unwrap();
        symlink("../secret", root.join("linked")).unwrap();
        symlink(root.join("sub"), root.join("within")).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, root.join("fifo"), rustix::fs::FileType::Fifo, 0o600.into(), 0)
            .unwrap();
        let secret = outside.path().join("secret").display().to_string();
        for path in [
            "../secret",
            "sub/../../secret",
            "sub/..",
            "..",
            ".",
            "",
            "/",
            "/etc/passwd",
            &secret,
            "link/secret",
            "linked",
            "within/file",
            "fifo",
            "sub",
            "sub//file",
            "./sub/file",
            "sub/file/",
            "sub\\file",
            "sub/fi\0le",
            "sub/fi\nle",
            "sub/absent",
        ] {
            assert!(confined.read(path).is_err(), "{path:?} was read");
            if path != "sub/absent" && path != "linked" && path != "fifo" && path != "sub" {
                assert!(confined.begin(path, "c", true).is_err(), "{path:?} was begun");
            }
        }
        let inside = root.join("sub/file").display().to_string();
        for path in ["sub/file", &inside] {
            let file = confined.read(path).unwrap();
            assert_eq!((file.length(), file.name().as_str()), (10, "file"));
            assert_eq!(file.read_at(7, 9).unwrap(), b"789");
        }
        // Writing to a link's name replaces the link and leaves what it points to alone.
        let mut partial = confined.begin("linked", "c", true).unwrap();
        partial.add(b"new").unwrap();
        partial.finish().unwrap();
        assert_eq!(std::fs::read(outside.path().join("secret")).unwrap(), b"secret");
        assert_eq!(std::fs::read(root.join("linked")).unwrap(), b"new");
    }

    #[test]
    fn a_file_appears_whole_private_and_goes_on_where_it_stopped() {
        let (outside, confined) = folder();
        let root = outside.path().join("root");
        let mut first = confined.begin("sub/new", "etag-1", false).unwrap();
        first.add(b"01234").unwrap();
        assert!(matches!(confined.begin("sub/new", "etag-1", false), Err(ConfinedError::Busy { .. })));
        drop(first);
        assert!(!root.join("sub/new").exists());
        assert_eq!(confined.begin("sub/new", "etag-2", false).unwrap().length(), 0, "another content");
        let mut again = confined.begin("sub/new", "etag-1", false).unwrap();
        let mut seen = Vec::new();
        again.review(|piece| seen.extend_from_slice(piece)).unwrap();
        assert_eq!(seen, b"01234");
        again.add(b"56789").unwrap();
        assert_eq!(again.finish().unwrap(), root.join("sub/new"));
        assert_eq!(std::fs::read(root.join("sub/new")).unwrap(), b"0123456789");
        assert_eq!(std::fs::metadata(root.join("sub/new")).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(matches!(confined.begin("sub/new", "etag-1", false), Err(ConfinedError::Exists { .. })));
    }

    #[test]
    fn without_overwrite_a_file_that_appears_meanwhile_is_kept() {
        let (outside, confined) = folder();
        let mut partial = confined.begin("sub/late", "c", false).unwrap();
        partial.add(b"ours").unwrap();
        std::fs::write(outside.path().join("root/sub/late"), "theirs").unwrap();
        assert!(matches!(partial.finish(), Err(ConfinedError::Exists { .. })));
        assert_eq!(std::fs::read(outside.path().join("root/sub/late")).unwrap(), b"theirs");
    }

    #[test]
    fn a_folder_in_which_others_may_write_is_refused() {
        let (outside, _) = folder();
        let root = outside.path().join("root");
        std::fs::set_permissions(&root, std::fs::Permissions::from_mode(0o777)).unwrap();
        assert!(Confined::open(&root).unwrap_err().to_string().contains("chmod go-w"));
    }

    proptest::proptest! {
        #[test]
        fn whatever_is_opened_is_below_the_folder(path in "[a-z./\\\\]{0,12}") {
            let (outside, confined) = folder();
            if let Ok((_, name, shown)) = confined.walk(&path) {
                proptest::prop_assert!(shown.starts_with(outside.path().join("root")));
                proptest::prop_assert!(!name.contains('/') && name != "..");
            }
        }
    }
}
