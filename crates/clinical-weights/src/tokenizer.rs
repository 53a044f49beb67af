//! The files of a tokenizer, which another crate opens.

use clinical_tokenizer::files_of;

use crate::{CheckpointDir, Error};

impl CheckpointDir {
    /// [`Self::check_files`] of the files that the tokenizer's own reader would open.
    ///
    /// # Errors
    ///
    /// Those of [`Self::check_files`].
    pub fn check_tokenizer_files(&self) -> Result<(), Error> {
        for name in files_of(self.directory()) {
            match name.split_once('/') {
                None => self.check_files(&[&name])?,
                Some((folder, name)) => self.folder(folder)?.check_files(&[name])?,
            }
        }
        Ok(())
    }
}
