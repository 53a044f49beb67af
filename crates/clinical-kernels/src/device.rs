//! The devices this build can run on.

use burn::tensor::Device;

/// A device that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The name is none of `cpu`, `ndarray`, `cuda`, `cuda:N`.
    #[error("unknown device `{name}`: use cpu, ndarray, cuda or cuda:N")]
    UnknownDevice {
        /// The name that was given.
        name: String,
    },
    /// This build has no code for the device.
    #[error("this build has no `{feature}` support: build again with `--features {feature}`")]
    NotBuilt {
        /// The Cargo feature that brings the device.
        feature: &'static str,
    },
    /// The NVIDIA driver library is not installed.
    #[error(
        "no NVIDIA driver found on this machine (`{library}` cannot be opened): install the driver, or use the CPU"
    )]
    NoDriver {
        /// The library that was looked for.
        library: &'static str,
    },
    /// The thread pool was in use before the number of threads was set.
    #[error("the number of threads must be set once, before the first model runs")]
    ThreadsAlreadyStarted,
}

/// The CPU.
///
/// With the default feature this is Burn's Flex backend; in a build with `ndarray` alone, that one.
///
/// # Panics
///
/// Never in a build with `flex` or `ndarray`. A build with neither and `cuda` has no CPU code; Burn's default device is
/// returned there.
#[must_use]
pub fn cpu() -> Device {
    #[cfg(feature = "flex")]
    return Device::flex();
    #[cfg(all(not(feature = "flex"), feature = "ndarray"))]
    return Device::ndarray();
    #[cfg(not(any(feature = "flex", feature = "ndarray")))]
    return Device::default();
}

/// Burn's deprecated ndarray CPU backend.
#[cfg(feature = "ndarray")]
#[must_use]
pub fn ndarray() -> Device {
    Device::ndarray()
}

/// The NVIDIA GPU with this index.
///
/// # Errors
///
/// [`Error::NotBuilt`] without the `cuda` feature, [`Error::NoDriver`] where the driver library is missing (Burn itself
/// would panic there).
pub fn cuda(index: usize) -> Result<Device, Error> {
    #[cfg(feature = "cuda")]
    {
        const LIBRARY: &str = if cfg!(windows) {
            "nvcuda.dll"
        } else {
            "libcuda.so.1"
        };
        // SAFETY: opening the driver runs its initialisers, which is what every CUDA program does.
        match unsafe { libloading::Library::new(LIBRARY) } {
            Ok(_) => Ok(Device::cuda(index)),
            Err(_) => Err(Error::NoDriver { library: LIBRARY }),
        }
    }
    #[cfg(not(feature = "cuda"))]
    {
        let _ = index;
        Err(Error::NotBuilt { feature: "cuda" })
    }
}

/// A device from its name: `cpu`, `ndarray`, `cuda` or `cuda:N`.
///
/// # Errors
///
/// [`Error::UnknownDevice`], and the errors of [`cuda`].
pub fn parse(name: &str) -> Result<Device, Error> {
    let unknown = || Error::UnknownDevice {
        name: name.to_owned(),
    };
    match name {
        "cpu" => Ok(cpu()),
        #[cfg(feature = "ndarray")]
        "ndarray" => Ok(ndarray()),
        #[cfg(not(feature = "ndarray"))]
        "ndarray" => Err(Error::NotBuilt { feature: "ndarray" }),
        "cuda" => cuda(0),
        _ => match name.strip_prefix("cuda:") {
            Some(index) => cuda(index.parse().map_err(|_| unknown())?),
            None => Err(unknown()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert!(parse("cpu").is_ok());
        assert!(matches!(parse("tpu"), Err(Error::UnknownDevice { .. })));
        assert!(matches!(parse("cuda:x"), Err(Error::UnknownDevice { .. })));
        #[cfg(not(feature = "cuda"))]
        assert!(matches!(parse("cuda:1"), Err(Error::NotBuilt { .. })));
    }
}
