/// Why a step cannot be made. `E` is the error of the caller's loss.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error<E> {
    /// There is no device to train on.
    #[error("at least one device is needed")]
    NoDevice,
    /// The devices have no collective operations.
    #[error("{device} has no collective operations: use `Reduction::Gather`")]
    NoCollective {
        /// The device.
        device: String,
    },
    /// A collective needs devices that are not the same.
    #[error("{device} is named twice: use `Reduction::Gather`, or each device once")]
    SameDevice {
        /// The device.
        device: String,
    },
    /// No part of the batch has a target, so there is no mean.
    #[error("no part of the batch has a target to learn from")]
    NoTargets,
    /// The number of targets of a part is negative or not a number.
    #[error("part {part} has {targets} targets")]
    BadTargets {
        /// The part.
        part: usize,
        /// What it said.
        targets: f64,
    },
    /// The caller's loss could not be computed. Nothing has changed.
    #[error("the loss of part {part} cannot be computed: {cause}")]
    Loss {
        /// The part.
        part: usize,
        /// Why.
        cause: E,
    },
    /// A device stopped while it computed. Nothing has changed.
    #[error("device {part} stopped while it computed its part")]
    Device {
        /// The number of the device.
        part: usize,
    },
    /// The loss is infinite or not a number. Nothing has changed.
    #[error("the loss is {loss}: lower the learning rate, or look at the batch")]
    NotFinite {
        /// The mean over the batch.
        loss: f64,
    },
}
