//! The tokenizer of a model directory.

use clinical_tokenizer::{FILES, OpenOptions, Tokenizer};

use crate::{CheckpointDir, Error};

impl CheckpointDir {
    /// Opens the tokenizer: that of the GGUF file if [`Self::weights`] would take the weights from one, else that of the
    /// directory. Links that leave the directory are refused as they are for weights, which the tokenizer's own reader
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
        if let Some(file) = self.gguf()? {
            return Ok(Tokenizer::from_vocabulary(&file.vocabulary()?, options)?);
        }
        self.check_files(&FILES)?;
        Ok(Tokenizer::from_dir_with(self.path(), options)?)
    }
}
