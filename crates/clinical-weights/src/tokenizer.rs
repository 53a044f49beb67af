//! The tokenizer of a model directory.

use clinical_tokenizer::{OpenOptions, Tokenizer, files_of};

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

    /// Opens the tokenizer: that of the GGUF file if [`Self::weights`] would take the weights from one (with the `tokenizer.json`
    /// beside it for what it does not say), else that of the directory. Links that leave the directory are refused as they are for weights, which the tokenizer's own reader
    /// would not do.
    ///
    /// # Errors
    ///
    /// [`Error::OutsideDirectory`], [`Error::NotAFile`], [`Error::EmptyFile`], [`Error::Unreadable`],
    /// [`Error::FileMissing`] for a link to nothing, those of [`Self::gguf`] and of the tokenizer.
    pub fn tokenizer<E>(&self, options: &OpenOptions) -> Result<Tokenizer, E>
    where
        E: From<Error> + From<clinical_tokenizer::Error>,
    {
        self.check_tokenizer_files()?;
        if let Some(file) = self.gguf()? {
            let vocabulary = file.vocabulary()?;
            return Ok(Tokenizer::from_vocabulary_in(
                &vocabulary,
                self.directory(),
                options,
            )?);
        }
        Ok(Tokenizer::from_dir_with(self.directory(), options)?)
    }
}
