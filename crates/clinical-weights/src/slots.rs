//! The parameters of a module, listed without initialising any.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Bool, Device, Int, Tensor};
use clinical_kernels::Packed;
use clinical_nn::ADAPTER_CONTAINER;

use crate::KeyMap;

/// What a parameter takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Float,
    Int,
    Bool,
}

/// One parameter of a module.
#[derive(Debug, Clone)]
pub(crate) struct Slot {
    /// The fields on the way to it, joined by dots.
    pub(crate) path: String,
    /// Its shape in the module.
    pub(crate) shape: Vec<usize>,
    pub(crate) kind: Kind,
    /// Whether it is the matrix of a `Linear`, the transpose of `[outputs, inputs]`.
    pub(crate) transposed: bool,
    /// Whether checkpoints hold such a matrix as the module does.
    pub(crate) input_major: bool,
    /// Whether it is the table of an `Embedding`.
    pub(crate) table: bool,
    /// Whether packed weights stand in for its values.
    pub(crate) packed: bool,
    pub(crate) device: Device,
}

impl Slot {
    /// The shape that it has in a checkpoint.
    pub(crate) fn file_shape(&self) -> Vec<usize> {
        match self.input_major {
            true => self.shape.clone(),
            false => self.rows_first(),
        }
    }

    /// Its shape with the outputs of a dense layer, or the entries of a table, first.
    pub(crate) fn rows_first(&self) -> Vec<usize> {
        let mut shape = self.shape.clone();
        if self.transposed {
            shape.reverse();
        }
        shape
    }
}

/// Where a walk through a module is. The visitor that plans and the mapper that loads must agree on every path.
#[derive(Debug, Default)]
pub(crate) struct Position {
    names: Vec<String>,
    containers: Vec<String>,
    /// Depth below an adapter or a reparameterisation: their parameters are no part of a checkpoint.
    adapters: usize,
}

/// The container that Burn reports for the state that is attached to a parameter.
pub(crate) const REPARAMETERIZATION: &str = "Reparameterization";

/// Whether parameters in this container are no part of a checkpoint.
fn is_adapter(container: &str) -> bool {
    container == REPARAMETERIZATION || container == ADAPTER_CONTAINER
}

impl Position {
    pub(crate) fn enter(&mut self, name: &str, container: &str) {
        self.adapters += usize::from(is_adapter(container));
        self.containers.push(container.to_owned());
        // The variant of an enum belongs to the module, not to the name.
        if !container.starts_with("Enum:") {
            self.names.push(name.to_owned());
        }
    }

    pub(crate) fn exit(&mut self, container: &str) {
        self.adapters -= usize::from(is_adapter(container));
        self.containers.pop();
        if !container.starts_with("Enum:") {
            self.names.pop();
        }
    }

    /// The path of the parameter at this index, `None` for those that no checkpoint holds.
    pub(crate) fn path(&self) -> Option<String> {
        (self.adapters == 0).then(|| self.names.join("."))
    }

    /// Whether this is the table of an `Embedding`, `[entries, width]`.
    pub(crate) fn is_table(&self, rank: usize) -> bool {
        rank == 2 && self.is_weight_of("Struct:Embedding")
    }

    /// Whether this is the matrix of a `Linear`, `[d_input, d_output]` in Burn and the transpose of that in PyTorch.
    pub(crate) fn is_linear_weight(&self, rank: usize) -> bool {
        rank == 2 && self.is_weight_of("Struct:Linear")
    }

    fn is_weight_of(&self, kind: &str) -> bool {
        self.names.last().is_some_and(|name| name == "weight")
            && self
                .containers
                .last()
                .is_some_and(|container| container == kind)
    }
}

/// All parameters of a module, in its own order.
pub(crate) fn slots<M: Module>(module: &M, keys: &KeyMap) -> Vec<Slot> {
    let mut lister = Lister {
        position: Position::default(),
        keys,
        slots: Vec::new(),
    };
    module.visit(&mut lister);
    lister.slots
}

struct Lister<'k> {
    position: Position,
    keys: &'k KeyMap,
    slots: Vec<Slot>,
}

impl Lister<'_> {
    fn add(&mut self, shape: &[usize], kind: Kind, device: Device) {
        if let Some(path) = self.position.path() {
            let transposed = kind == Kind::Float && self.position.is_linear_weight(shape.len());
            self.slots.push(Slot {
                input_major: transposed && self.keys.is_input_major(&path),
                path,
                transposed,
                table: kind == Kind::Float && self.position.is_table(shape.len()),
                packed: false,
                shape: shape.to_vec(),
                kind,
                device,
            });
        }
    }
}

impl ModuleVisitor for Lister<'_> {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.position.enter(name, container_type);
        // What is attached to a parameter comes right after it.
        if container_type == REPARAMETERIZATION
            && name == Packed::NAME
            && let Some(slot) = self.slots.last_mut()
        {
            slot.packed = true;
        }
    }

    fn exit_module(&mut self, _name: &str, container_type: &str) {
        self.position.exit(container_type);
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.add(
            param.lazy_shape().as_slice(),
            Kind::Float,
            param.lazy_device(),
        );
    }

    fn visit_int<const D: usize>(&mut self, param: &Param<Tensor<D, Int>>) {
        self.add(
            param.lazy_shape().as_slice(),
            Kind::Int,
            param.lazy_device(),
        );
    }

    fn visit_bool<const D: usize>(&mut self, param: &Param<Tensor<D, Bool>>) {
        self.add(
            param.lazy_shape().as_slice(),
            Kind::Bool,
            param.lazy_device(),
        );
    }
}
