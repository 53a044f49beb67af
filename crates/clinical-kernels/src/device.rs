//! The devices this build can run on.

use burn::tensor::Device;

/// A device, or a setting of the process, that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The name is none of `cpu`, `ndarray`, `cuda`, `cuda:N`, `cube-cpu`, `ws://HOST:PORT`, `ws://HOST:PORT/N`.
    #[error("unknown device `{name}`: use cpu, ndarray, cuda, cuda:N or ws://HOST:PORT/N")]
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
    /// The other machine does not answer, does not know the token, or has no such device.
    #[error("device {index} of {url} cannot be reached: {cause}")]
    Remote {
        /// The server.
        url: String,
        /// The number of the device there.
        index: usize,
        /// Why.
        cause: String,
    },
    /// [`LEVEL_VARIABLE`](crate::LEVEL_VARIABLE) names no instructions.
    #[error(
        "the environment variable CLINICAL_KERNELS is `{name}`: use portable, avx2 or avx512, or unset it"
    )]
    UnknownLevel {
        /// What it says.
        name: String,
    },
    /// [`LEVEL_VARIABLE`](crate::LEVEL_VARIABLE) names instructions that this processor does not have.
    #[error(
        "the environment variable CLINICAL_KERNELS is `{name}`, and this processor has no more than {best}: use that, \
         or unset the variable"
    )]
    NoSuchLevel {
        /// What it says.
        name: &'static str,
        /// The most that there is.
        best: &'static str,
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

/// Whether numbers of this device's tensors lie in this process's memory, so that all of them are at hand: Burn's CPU
/// backends. From others the program waits for what it reads.
#[must_use]
pub fn is_host(device: &Device) -> bool {
    let device = device.clone().without_autodiff();
    #[cfg(feature = "flex")]
    if device == Device::flex() {
        return true;
    }
    #[cfg(feature = "ndarray")]
    if device == Device::ndarray() {
        return true;
    }
    let _ = device;
    false
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
            Ok(_) => {
                keep_compiled_kernels();
                Ok(Device::cuda(index))
            }
            Err(_) => Err(Error::NoDriver { library: LIBRARY }),
        }
    }
    #[cfg(not(feature = "cuda"))]
    {
        let _ = index;
        Err(Error::NotBuilt { feature: "cuda" })
    }
}

/// CubeCL keeps what autotuning has found by itself (`docs/gpu.md` says where); this makes it keep compiled kernels
/// too, whatever else the caller's `cubecl.toml` says. Too late where CubeCL was used before, which changes nothing.
#[cfg(feature = "cuda")]
fn keep_compiled_kernels() {
    use cubecl::config::{CubeClRuntimeConfig, RuntimeConfig};
    let mut config = CubeClRuntimeConfig::from_current_dir().override_from_env();
    config.compilation.cache = true;
    CubeClRuntimeConfig::try_set(config);
}

/// The environment variable in which [`parse`] looks for the token of a remote device.
pub const TOKEN_VARIABLE: &str = "CLINICAL_DEVICE_TOKEN";

/// A device of the machine that serves at `url` (`ws://HOST:PORT`; example `device_server`). What a model computes
/// there crosses the network unencrypted, notes as token ids among it: only inside a network that may see them, or
/// through a tunnel.
///
/// # Errors
///
/// [`Error::NotBuilt`] without the `remote` feature, [`Error::Remote`] where there is no such device.
pub fn remote(url: &str, index: usize, token: Option<&str>) -> Result<Device, Error> {
    #[cfg(feature = "remote")]
    {
        let mut host = burn::remote::RemoteHost::websocket(url);
        if let Some(token) = token {
            host = host.with_credential(token);
        }
        Device::remote_options(&host)
            .device_index(index)
            .init()
            .map_err(|cause| Error::Remote {
                url: url.to_owned(),
                index,
                cause: cause.to_string(),
            })
    }
    #[cfg(not(feature = "remote"))]
    {
        let _ = (url, index, token);
        Err(Error::NotBuilt { feature: "remote" })
    }
}

/// The CPU through the kernels of GPUs: CubeCL's own runtime for it. Slow, and without bf16; it shows on any machine
/// what a GPU is given to compute.
///
/// # Errors
///
/// [`Error::NotBuilt`] without the `cube-cpu` feature.
pub fn cube_cpu() -> Result<Device, Error> {
    #[cfg(feature = "cube-cpu")]
    return Ok(Device::cpu());
    #[cfg(not(feature = "cube-cpu"))]
    return Err(Error::NotBuilt {
        feature: "cube-cpu",
    });
}

/// A device from its name: `cpu`, `ndarray`, `cuda`, `cuda:N`, `cube-cpu` ([`cube_cpu`]), or `ws://HOST:PORT/N` for
/// device N (default 0) of a server, whose token is taken from the environment variable [`TOKEN_VARIABLE`].
///
/// # Errors
///
/// [`Error::UnknownDevice`], and the errors of [`cuda`], [`remote`] and [`check_level`](crate::check_level).
pub fn parse(name: &str) -> Result<Device, Error> {
    crate::check_level()?;
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
        "cube-cpu" => cube_cpu(),
        _ if name.starts_with("ws://") => {
            let (url, index) = match name["ws://".len()..].split_once('/') {
                Some((host, index)) => (
                    &name[.."ws://".len() + host.len()],
                    index.parse().map_err(|_| unknown())?,
                ),
                None => (name, 0),
            };
            remote(url, index, std::env::var(TOKEN_VARIABLE).ok().as_deref())
        }
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
    fn the_cpu_is_the_host() {
        assert!(is_host(&cpu()));
        assert!(is_host(&cpu().autodiff()));
    }

    #[test]
    fn names() {
        assert!(parse("cpu").is_ok());
        assert!(matches!(parse("tpu"), Err(Error::UnknownDevice { .. })));
        assert!(matches!(parse("cuda:x"), Err(Error::UnknownDevice { .. })));
        assert!(matches!(
            parse("ws://host:1/x"),
            Err(Error::UnknownDevice { .. })
        ));
        #[cfg(not(feature = "cuda"))]
        assert!(matches!(parse("cuda:1"), Err(Error::NotBuilt { .. })));
        #[cfg(not(feature = "remote"))]
        assert!(matches!(
            parse("ws://host:1/1"),
            Err(Error::NotBuilt { .. })
        ));
    }
}
