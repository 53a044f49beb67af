//! One model on several devices.

use std::thread;

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::{GradientsParams, ModuleOptimizer, MultiGradientsParams};
use burn::tensor::distributed::{CollectiveTensor, ReduceOperation, all_reduce};
use burn::tensor::{Device, Tensor};

use crate::StepError;

/// How the gradients of the devices become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Reduction {
    /// Summed on one device, which makes the step and sends the weights round. Works with any devices.
    #[default]
    Gather,
    /// Summed by the devices among themselves with Burn's collective; each makes the same step. For GPUs.
    AllReduce,
}

/// What a replica makes of its part of the batch.
#[derive(Debug, Clone)]
pub struct Part {
    /// The mean loss over the part's targets.
    pub loss: Tensor<1>,
    /// How many targets the mean is over: tokens with a label, or rows. The part weighs as much in the step; 0 for a
    /// part that is empty, whose loss is then not looked at.
    pub targets: f64,
}

/// Replicas of a model that learn as one.
pub struct DataParallel<M> {
    replicas: Vec<M>,
    devices: Vec<Device>,
    /// One with [`Reduction::Gather`], else one for each replica.
    optimizers: Vec<ModuleOptimizer>,
    reduction: Reduction,
}

impl<M: Module + Clone + Send + Sync> DataParallel<M> {
    /// Puts a replica of `model` on each device. With [`Reduction::Gather`] the same device may be
    /// named several times, to try a program out.
    ///
    /// # Errors
    ///
    /// [`StepError::NoDevice`]; for [`Reduction::AllReduce`] [`StepError::NoCollective`] and [`StepError::SameDevice`].
    pub fn new<E>(
        model: M,
        optimizer: ModuleOptimizer,
        devices: &[Device],
        reduction: Reduction,
    ) -> Result<Self, StepError<E>> {
        if devices.is_empty() {
            return Err(StepError::NoDevice);
        }
        let mut optimizers = vec![optimizer];
        if reduction == Reduction::AllReduce {
            let without = devices.iter().find(|device| !has_collective(device));
            if let Some(device) = without {
                return Err(StepError::NoCollective {
                    device: format!("{device:?}"),
                });
            }
            let twice = |at: &usize| devices[..*at].contains(&devices[*at]);
            if let Some(at) = (0..devices.len()).find(twice) {
                return Err(StepError::SameDevice {
                    device: format!("{:?}", devices[at]),
                });
            }
            optimizers = vec![optimizers.swap_remove(0); devices.len()];
        }
        let devices: Vec<Device> = devices
            .iter()
            .map(|device| device.clone().autodiff())
            .collect();
        let replicas = devices
            .iter()
            .map(|device| model.clone().train().fork(device))
            .collect();
        Ok(Self {
            replicas,
            devices,
            optimizers,
            reduction,
        })
    }

    /// The replicas, all with the same weights.
    #[must_use]
    pub fn replicas(&self) -> &[M] {
        &self.replicas
    }

    /// The device of each replica.
    #[must_use]
    pub fn devices(&self) -> &[Device] {
        &self.devices
    }

    /// The model on the first device.
    #[must_use]
    pub fn into_model(mut self) -> M {
        self.replicas.swap_remove(0)
    }

    /// One optimiser step with the mean gradient over all targets of all parts, and the mean loss before it.
    ///
    /// `part` is called once for each replica, at the same time, with the replica and its number.
    ///
    /// # Errors
    ///
    /// [`StepError`]; after each of them the weights are as they were.
    pub fn step<E: Send>(
        &mut self,
        learning_rate: f64,
        part: impl Fn(&M, usize) -> Result<Part, E> + Sync,
    ) -> Result<f64, StepError<E>> {
        let parts = self.parts(part)?;
        let total: f64 = parts.iter().map(|part| part.targets).sum();
        if total == 0.0 {
            return Err(StepError::NoTargets);
        }
        let mean: f64 = parts
            .iter()
            .filter(|part| part.targets > 0.0)
            .map(|part| f64::from(part.loss.clone().into_scalar::<f32>()) * part.targets / total)
            .sum();
        if !mean.is_finite() {
            return Err(StepError::NotFinite { loss: mean });
        }
        let gradients = self.gradients(parts, total)?;
        match self.reduction {
            Reduction::Gather => self.gather(learning_rate, gradients),
            Reduction::AllReduce => self.all_reduce(learning_rate, gradients),
        }
        Ok(mean)
    }

    fn parts<E: Send>(
        &self,
        part: impl Fn(&M, usize) -> Result<Part, E> + Sync,
    ) -> Result<Vec<Part>, StepError<E>> {
        let part = &part;
        let found = on_each(&self.replicas, |at, replica| part(replica, at));
        let mut parts = Vec::with_capacity(found.len());
        for (at, found) in found.into_iter().enumerate() {
            let part = found
                .ok_or(StepError::Device { part: at })?
                .map_err(|cause| StepError::Loss { part: at, cause })?;
            if !(part.targets >= 0.0 && part.targets.is_finite()) {
                return Err(StepError::BadTargets {
                    part: at,
                    targets: part.targets,
                });
            }
            parts.push(part);
        }
        Ok(parts)
    }

    /// What each part adds to the gradient of the mean.
    fn gradients<E>(
        &self,
        parts: Vec<Part>,
        total: f64,
    ) -> Result<Vec<GradientsParams>, StepError<E>> {
        let work: Vec<(&M, Part)> = self.replicas.iter().zip(parts).collect();
        let found = on_each(&work, |_, (replica, part)| {
            if part.targets == 0.0 {
                return GradientsParams::new();
            }
            let loss = part.loss.clone().mul_scalar(part.targets / total);
            GradientsParams::from_grads(loss.backward(), *replica)
        });
        found
            .into_iter()
            .enumerate()
            .map(|(part, found)| found.ok_or(StepError::Device { part }))
            .collect()
    }

    fn gather(&mut self, learning_rate: f64, gradients: Vec<GradientsParams>) {
        let grads = gradients.into_iter().zip(self.devices.iter().cloned());
        let grads = MultiGradientsParams {
            grads: grads.collect(),
        };
        let first = self.replicas.swap_remove(0);
        let stepped = self.optimizers[0].step_multi(learning_rate, first, grads);
        let stepped = stepped.fork(&self.devices[0]);
        self.replicas = self
            .devices
            .iter()
            .map(|device| stepped.clone().fork(device))
            .collect();
    }

    fn all_reduce(&mut self, learning_rate: f64, mut gradients: Vec<GradientsParams>) {
        self.replicas[0].visit(&mut Exchange {
            devices: &self.devices,
            gradients: &mut gradients,
        });
        let replicas = std::mem::take(&mut self.replicas);
        self.replicas = replicas
            .into_iter()
            .zip(gradients)
            .zip(&mut self.optimizers)
            .map(|((replica, gradients), optimizer)| {
                optimizer.step(learning_rate, replica, gradients)
            })
            .collect();
    }
}

/// Runs `work` for each item on a thread of its own; `None` where it panicked.
fn on_each<T: Sync, R: Send>(items: &[T], work: impl Fn(usize, &T) -> R + Sync) -> Vec<Option<R>> {
    let work = &work;
    thread::scope(|scope| {
        let threads: Vec<_> = items
            .iter()
            .enumerate()
            .map(|(at, item)| scope.spawn(move || work(at, item)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().ok())
            .collect()
    })
}

/// Whether the device's backend can sum tensors over devices: those that Burn dispatches collectives to, of which only
/// their names can be asked for.
fn has_collective(device: &Device) -> bool {
    let name = format!("{device:?}");
    name.contains("Cube(") || name.contains("Remote(")
}

/// Replaces each device's gradient of a parameter by the sum over all devices.
struct Exchange<'a> {
    devices: &'a [Device],
    gradients: &'a mut [GradientsParams],
}

impl ModuleVisitor for Exchange<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let own: Vec<Option<Tensor<D>>> = self
            .gradients
            .iter_mut()
            .map(|gradients| gradients.remove(param.id))
            .collect();
        if own.iter().all(Option::is_none) {
            return;
        }
        let shape = param.lazy_shape();
        // A device with an empty part brings zeros. All devices must take part before the first may wait.
        let sums: Vec<CollectiveTensor<D>> = own
            .into_iter()
            .zip(self.devices)
            .map(|(own, device)| {
                let own =
                    own.unwrap_or_else(|| Tensor::zeros(shape.clone(), &device.clone().inner()));
                all_reduce(own, ReduceOperation::Sum, self.devices.to_vec())
            })
            .collect();
        for (gradients, sum) in self.gradients.iter_mut().zip(sums) {
            gradients.register(param.id, sum.resolve());
        }
    }
}
