//! The model that writes instructions, answers and scores: any model.

use std::error::Error as StdError;

/// What a model could not do; its words must not quote a prompt, which holds a note.
pub type Cause = Box<dyn StdError + Send + Sync>;

/// How a prompt is to be continued.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Ask {
    /// The most new tokens.
    pub max_tokens: usize,
    /// 0 takes the likeliest token at every step.
    pub temperature: f64,
    /// A number for the sampling of this prompt, so that a run can be repeated where the model can.
    pub seed: u64,
}

/// A model that writes: a local one, or whatever a service offers. Nothing is sent anywhere by this crate.
///
/// A closure from a prompt and an [`Ask`] to a text is one, too. What fails for a moment should be tried again by the
/// writer: an error ends the run, which goes on where it stopped when it is started again.
pub trait Writer {
    /// Which model it is: a run is not gone on with by another one.
    fn name(&self) -> String;

    /// The text after a prompt; `None` if the prompt is longer than what the model reads, which costs that item alone.
    ///
    /// # Errors
    ///
    /// Why there is none.
    fn write(&mut self, prompt: &str, ask: &Ask) -> Result<Option<String>, Cause>;
}

impl<W: Writer + ?Sized> Writer for &mut W {
    fn name(&self) -> String {
        (**self).name()
    }

    fn write(&mut self, prompt: &str, ask: &Ask) -> Result<Option<String>, Cause> {
        (**self).write(prompt, ask)
    }
}

/// A closure with a name: see [`named`].
#[derive(Debug)]
pub struct Named<F> {
    name: String,
    function: F,
}

/// A [`Writer`] from a name and a closure.
///
/// ```
/// use clinical_instructions::{Ask, Writer, named};
///
/// let mut writer = named("echo", |prompt: &str, _: &Ask| Ok(Some(prompt.to_uppercase())));
/// # let ask = clinical_instructions::Judging::new(["a"]).ask(0);
/// assert_eq!(writer.write("fever", &ask).unwrap().unwrap(), "FEVER");
/// ```
pub fn named<F>(name: impl Into<String>, function: F) -> Named<F>
where
    F: FnMut(&str, &Ask) -> Result<Option<String>, Cause>,
{
    let name = name.into();
    Named { name, function }
}

impl<F> Writer for Named<F>
where
    F: FnMut(&str, &Ask) -> Result<Option<String>, Cause>,
{
    fn name(&self) -> String {
        self.name.clone()
    }

    fn write(&mut self, prompt: &str, ask: &Ask) -> Result<Option<String>, Cause> {
        (self.function)(prompt, ask)
    }
}
