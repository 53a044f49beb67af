//! The parameters that a run trains, by their paths in the model.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::{Tensor, TensorData};

/// One trained parameter.
#[derive(Debug, Clone)]
pub(crate) struct Trained {
    pub(crate) id: u64,
    pub(crate) data: TensorData,
}

/// The path of the parameter that a walk through a module is at.
#[derive(Debug, Default)]
struct Position(Vec<String>);

impl Position {
    fn enter(&mut self, name: &str, container: &str) {
        // The variant of an enum belongs to the module, not to the name.
        if !container.starts_with("Enum:") {
            self.0.push(name.to_owned());
        }
    }

    fn exit(&mut self, container: &str) {
        if !container.starts_with("Enum:") {
            self.0.pop();
        }
    }

    fn path(&self) -> String {
        self.0.join(".")
    }
}

/// What is read of every trained parameter.
trait Read {
    type Found;
    fn read<const D: usize>(param: &Param<Tensor<D>>) -> Self::Found;
}

struct Collect<R: Read> {
    position: Position,
    found: BTreeMap<String, R::Found>,
}

impl<R: Read> ModuleVisitor for Collect<R> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.position.enter(name, container);
    }

    fn exit_module(&mut self, _: &str, container: &str) {
        self.position.exit(container);
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if param.is_require_grad() {
            self.found.insert(self.position.path(), R::read(param));
        }
    }
}

fn collect<R: Read, M: Module>(model: &M) -> BTreeMap<String, R::Found> {
    let mut collect = Collect::<R> {
        position: Position::default(),
        found: BTreeMap::new(),
    };
    model.visit(&mut collect);
    collect.found
}

/// The shapes of all parameters that are trained.
pub(crate) fn shapes<M: Module>(model: &M) -> BTreeMap<String, Vec<usize>> {
    struct Shapes;

    impl Read for Shapes {
        type Found = Vec<usize>;
        fn read<const D: usize>(param: &Param<Tensor<D>>) -> Vec<usize> {
            param.lazy_shape().to_vec()
        }
    }

    collect::<Shapes, M>(model)
}

/// The values of all parameters that are trained.
pub(crate) fn values<M: Module>(model: &M) -> BTreeMap<String, Trained> {
    struct Values;

    impl Read for Values {
        type Found = Trained;
        fn read<const D: usize>(param: &Param<Tensor<D>>) -> Trained {
            Trained {
                id: param.id.val(),
                data: param.val().into_data(),
            }
        }
    }

    collect::<Values, M>(model)
}

/// The model with saved values, and with the identities that the state of the optimizer knows them by. All of `saved`
/// must be there, with the shapes of [`shapes`].
pub(crate) fn restore<M: Module>(model: M, saved: BTreeMap<String, Trained>) -> M {
    struct Restore(Position, BTreeMap<String, Trained>);

    impl ModuleMapper for Restore {
        fn enter_module(&mut self, name: &str, container: &str) {
            self.0.enter(name, container);
        }

        fn exit_module(&mut self, _: &str, container: &str) {
            self.0.exit(container);
        }

        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let Some(saved) = self.1.remove(&self.0.path()) else {
                return param;
            };
            let (_, old, mapper) = param.consume();
            let value = Tensor::from_data(saved.data, (&old.device(), old.dtype()));
            let id = ParamId::from(saved.id);
            Param::from_mapped_value(id, value, mapper).set_require_grad(true)
        }
    }

    model.map(&mut Restore(Position::default(), saved))
}

/// The model with every trained parameter's values one after another in memory, as [`restore`] puts them. Loaded weights
/// may be transposed views of a file; kernels sum those in another order, so a run that goes on from a checkpoint would
/// differ in the last bits.
pub(crate) fn settled<M: Module>(model: M) -> M {
    struct Settle;

    impl ModuleMapper for Settle {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            if !param.is_require_grad() {
                return param;
            }
            let (id, value, mapper) = param.consume();
            let place = (value.device(), value.dtype());
            let value = Tensor::from_data(value.into_data(), (&place.0, place.1));
            Param::from_mapped_value(id, value, mapper).set_require_grad(true)
        }
    }

    model.map(&mut Settle)
}
