//! PyTorch files, through `pytorch-reader`, after [`pickle`](crate::pickle) has looked at what they ask for.

use pytorch_reader::{PytorchError, PytorchReader};

use crate::file::{Content, OpenFile};
use crate::table::{Entry, Place, TensorInfo};
use crate::{Dtype, Error, pickle};
use clinical_files::shown;

/// The tensors of a PyTorch file. Their values stay in the file.
pub(crate) fn entries(
    file: &OpenFile,
    content: Content,
    index: usize,
) -> Result<Vec<Entry>, Error> {
    pickle::check(file, content)?;
    let reader = PytorchReader::new(&file.path).map_err(|error| refuse(file, error))?;
    Ok(reader
        .into_tensors()
        .into_iter()
        .map(|(name, tensor)| Entry {
            info: TensorInfo {
                name,
                dtype: Dtype::from_torch(tensor.dtype()),
                shape: tensor.shape().to_vec(),
                bytes: tensor.byte_len() as u64,
                file: index,
            },
            place: Place::Torch(tensor),
            turned: false,
        })
        .collect())
}

fn refuse(file: &OpenFile, error: PytorchError) -> Error {
    let path = file.path.clone();
    let detail = shown(&error.to_string());
    match error {
        PytorchError::Io(source)
            if !matches!(
                source.kind(),
                std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof
            ) =>
        {
            Error::Unreadable { path, source }
        }
        PytorchError::Io(_) | PytorchError::Zip(_) => Error::TorchArchive { path, detail },
        _ => Error::TorchPickle { path, detail },
    }
}
