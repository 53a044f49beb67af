//! Questions on their way to the engine, and what comes back.

use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::{Duration, Instant};

use asclepius::{Answer, AnswerOptions, Generation, LongText, MarkerPolicy, StopReason};
use axum::body::Body;
use axum::http::Response;
use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_core::Stream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::app::{App, Context, Guard, Loaded, lost, random};
use crate::fields::Fields;
use crate::options::Limits;
use crate::reply::ApiError;

/// Bytes of a text that are taken for one token until it is read.
const BYTES: u64 = 4;

/// A stream whose first piece does not come within this time begins without it, so that proxies see something.
const SILENCE: Duration = Duration::from_secs(5);

/// The most stop strings.
const STOPS: usize = 16;

/// What is asked.
pub(crate) enum Ask {
    /// A question about a note.
    Note { note: Arc<str>, question: String },
    /// A conversation, as roles and contents.
    Chat(Arc<[(String, String)]>),
    /// A text to go on with.
    Text(Arc<str>),
}

impl Ask {
    fn bytes(&self) -> usize {
        match self {
            Self::Note { note, question } => note.len() + question.len(),
            Self::Chat(messages) => messages.iter().map(|(_, content)| content.len()).sum(),
            Self::Text(text) => text.len(),
        }
    }
}

/// What comes back for the question `at`.
pub(crate) enum Message {
    /// More of its text.
    Piece { at: usize, text: String },
    /// All of it.
    Answer { at: usize, answer: Box<Answer> },
    /// Why there is none.
    Failed { at: usize, error: ApiError },
}

/// How tokens are chosen, as clients say it.
pub(crate) struct Sampling {
    pub(crate) generation: Generation,
    pub(crate) n: usize,
    pub(crate) log_probs: bool,
}

impl Sampling {
    /// Takes the parameters that all calls have. `length` is how many tokens an answer may have unless said.
    pub(crate) fn take(
        fields: &mut Fields,
        limits: &Limits,
        length: usize,
    ) -> Result<Self, ApiError> {
        let newer = fields.count("max_completion_tokens", 1, limits.new_tokens)?;
        let older = fields.count("max_tokens", 1, limits.new_tokens)?;
        let length = newer.or(older).unwrap_or(length.min(limits.new_tokens));
        let temperature = fields.number("temperature", 0.0, 2.0)?;
        let top_p = fields.number("top_p", 0.0, 1.0)?;
        let top_k = fields.count("top_k", 0, usize::MAX)?;
        let min_p = fields.number("min_p", 0.0, 1.0)?;
        let seed: Option<i64> = fields.take("seed", "a whole number")?;
        let penalty = fields.number("repetition_penalty", 0.01, 10.0)?;
        let zero = |value: &serde_json::Value| value.as_f64() == Some(0.0);
        for name in ["frequency_penalty", "presence_penalty"] {
            fields.only(name, zero, "use `repetition_penalty`")?;
        }
        let samples = match temperature {
            Some(temperature) => temperature > 0.0,
            None => top_p.is_some() || top_k.is_some() || min_p.is_some(),
        };
        let mut generation = Generation::greedy();
        if samples {
            generation = Generation::sample()
                .with_top_k(top_k.unwrap_or(0))
                .with_top_p(top_p.filter(|p| *p > 0.0).unwrap_or(1.0))
                .with_min_p(min_p.unwrap_or(0.0))
                .with_temperature(temperature.unwrap_or(1.0))
                .with_seed(seed.map_or_else(random, i64::cast_unsigned));
            // The likeliest token is all that is left.
            if top_p == Some(0.0) {
                generation = generation.with_top_k(1);
            }
        }
        generation = generation.with_max_new_tokens(length);
        if let Some(penalty) = penalty {
            generation = generation.with_repetition_penalty(penalty);
        }
        if let Some(stops) = fields.strings("stop")? {
            if stops.len() > STOPS || stops.iter().any(String::is_empty) {
                let message = format!("`stop` must be at most {STOPS} strings that are not empty");
                return Err(ApiError::param("stop", message));
            }
            generation = generation.with_stop_strings(stops);
        }
        let what = "an object of token ids and numbers from -100 to 100";
        let biases: Option<std::collections::BTreeMap<String, f64>> =
            fields.take("logit_bias", what)?;
        for (id, bias) in biases.unwrap_or_default() {
            let id: Option<u32> = id.parse().ok();
            match id.filter(|_| (-100.0..=100.0).contains(&bias)) {
                Some(id) => generation = generation.with_logit_bias(id, bias),
                None => {
                    let message = format!("`logit_bias` must be {what}");
                    return Err(ApiError::param("logit_bias", message));
                }
            }
        }
        Ok(Self {
            generation,
            n: fields.count("n", 1, limits.items)?.unwrap_or(1),
            log_probs: false,
        })
    }

    /// The options of the choice `number`: each draws by itself.
    pub(crate) fn options(&self, number: usize) -> AnswerOptions {
        let generation = self.generation.clone();
        let seed = generation.seed.wrapping_add(number as u64);
        AnswerOptions::new().with_generation(generation.with_seed(seed))
    }

    /// How many choices must be computed: without sampling all are alike.
    pub(crate) fn different(&self) -> usize {
        if self.generation.sample { self.n } else { 1 }
    }
}

/// `long_note` and `markers`, which our own calls have.
pub(crate) fn note_options(
    fields: &mut Fields,
    options: AnswerOptions,
) -> Result<AnswerOptions, ApiError> {
    let what = "`error`, `cut_start`, `cut_end` or `windows`";
    let policy = fields.take::<String>("long_note", what)?;
    let policy = match policy.as_deref() {
        None | Some("error") => LongText::Error,
        Some("cut_start") => LongText::CutStart,
        Some("cut_end") => LongText::CutEnd,
        Some("windows") => LongText::Windows { overlap: 64 },
        Some(_) => {
            let message = format!("`long_note` must be {what}");
            return Err(ApiError::param("long_note", message));
        }
    };
    let what = "`error` or `escape`";
    let markers = fields.take::<String>("markers", what)?;
    let markers = match markers.as_deref() {
        None | Some("error") => MarkerPolicy::Error,
        Some("escape") => MarkerPolicy::Escape,
        Some(_) => {
            let message = format!("`markers` must be {what}");
            return Err(ApiError::param("markers", message));
        }
    };
    Ok(options.with_long_text(policy).with_markers(markers))
}

/// Puts questions into the queue, all or none of them.
pub(crate) fn start(
    app: &Arc<App>,
    loaded: &Arc<Loaded>,
    context: &Context,
    asks: Vec<(Ask, AnswerOptions, Generation)>,
) -> Result<Events, ApiError> {
    let (send, receive) = unbounded_channel();
    let guard = app.guard();
    let count = asks.len();
    let deadline = context.began + app.options.limits.answer_time;
    let tasks = asks
        .into_iter()
        .enumerate()
        .map(|(at, (ask, options, generation))| {
            let tokens = (ask.bytes() as u64).div_ceil(BYTES) + generation.max_new_tokens as u64;
            let options = options
                .with_generation(generation.with_deadline(deadline))
                .with_cancel(guard.flag());
            let one = One {
                at,
                ask,
                options,
                deadline,
                app: Arc::clone(app),
                loaded: Arc::clone(loaded),
                context: context.clone(),
                send: send.clone(),
            };
            let run: Box<dyn FnOnce() + Send> = Box::new(move || one.run());
            (tokens, run)
        });
    app.submit(tasks.collect())?;
    Ok(Events {
        receive,
        count,
        _guard: guard,
    })
}

/// One question, on a thread for models.
struct One {
    at: usize,
    ask: Ask,
    options: AnswerOptions,
    deadline: Instant,
    app: Arc<App>,
    loaded: Arc<Loaded>,
    context: Context,
    send: UnboundedSender<Message>,
}

impl One {
    fn run(self) {
        let at = self.at;
        let message = match self.answer() {
            Ok(answer) => Message::Answer {
                at,
                answer: Box::new(answer),
            },
            Err(error) => Message::Failed { at, error },
        };
        let _ = self.send.send(message);
    }

    fn answer(&self) -> Result<Answer, ApiError> {
        let late = || ApiError::deadline(self.app.options.limits.answer_time.as_secs());
        if Instant::now() >= self.deadline {
            return Err(late());
        }
        let mut is_first = true;
        let on_piece = |piece: &str| {
            if std::mem::take(&mut is_first) {
                let seconds = self.context.began.elapsed().as_secs_f64();
                self.app.metrics.first_token(seconds);
            }
            let text = piece.to_owned();
            match self.send.send(Message::Piece { at: self.at, text }) {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            }
        };
        let (engine, options) = (&self.loaded.engine, &self.options);
        let answer = match &self.ask {
            Ask::Note { note, question } => {
                engine.answer_streaming(note, question, options, on_piece)
            }
            Ask::Chat(messages) => {
                let messages: Vec<(&str, &str)> = messages
                    .iter()
                    .map(|(role, content)| (role.as_str(), content.as_str()))
                    .collect();
                engine.chat_streaming(&messages, options, on_piece)
            }
            Ask::Text(text) => engine.complete_streaming(text, options, on_piece),
        };
        match answer {
            Err(asclepius::Error::Cancelled) if Instant::now() >= self.deadline => Err(late()),
            Err(error) => Err(error.into()),
            Ok(answer) if answer.stop == StopReason::Deadline && answer.text.is_empty() => {
                Err(late())
            }
            Ok(answer) => {
                self.context.counts.add(answer.usage);
                Ok(answer)
            }
        }
    }
}

/// What comes back for some questions. Dropping it ends them.
pub(crate) struct Events {
    receive: UnboundedReceiver<Message>,
    count: usize,
    _guard: Guard,
}

impl Events {
    /// Waits for all answers, in the order of the questions.
    pub(crate) async fn all(mut self) -> Vec<Result<Answer, ApiError>> {
        let mut all: Vec<Result<Answer, ApiError>> = (0..self.count).map(|_| Err(lost())).collect();
        while let Some(message) = self.receive.recv().await {
            let (at, result) = match message {
                Message::Piece { .. } => continue,
                Message::Answer { at, answer } => (at, Ok(*answer)),
                Message::Failed { at, error } => (at, Err(error)),
            };
            if let Some(slot) = all.get_mut(at) {
                *slot = result;
            }
        }
        all
    }

    /// A stream of events that `make` makes of what comes, and of the end (`None`). What fails at once is the error of
    /// the whole request.
    pub(crate) async fn stream(
        mut self,
        make: impl FnMut(Option<Message>) -> Vec<Event> + Send + Unpin + 'static,
    ) -> Result<Response<Body>, ApiError> {
        let first = tokio::time::timeout(SILENCE, self.receive.recv()).await;
        let mut stream = EventStream {
            events: self,
            make,
            ready: Vec::new().into_iter(),
            open: 0,
            over: false,
        };
        stream.open = stream.events.count;
        match first {
            Ok(None) => return Err(lost()),
            Ok(Some(Message::Failed { error, .. })) if stream.events.count == 1 => {
                return Err(error);
            }
            Ok(Some(message)) => stream.take(message),
            Err(_) => {}
        }
        let sse = Sse::new(stream).keep_alive(KeepAlive::default());
        let mut response = sse.into_response();
        // A proxy must not hold pieces back.
        let no = axum::http::HeaderValue::from_static("no");
        response.headers_mut().insert("x-accel-buffering", no);
        Ok(response)
    }
}

/// Server-sent events.
struct EventStream<F> {
    events: Events,
    make: F,
    ready: std::vec::IntoIter<Event>,
    /// Questions that are not over.
    open: usize,
    over: bool,
}

impl<F: FnMut(Option<Message>) -> Vec<Event>> EventStream<F> {
    fn take(&mut self, message: Message) {
        if !matches!(message, Message::Piece { .. }) {
            self.open = self.open.saturating_sub(1);
        }
        self.ready = (self.make)(Some(message)).into_iter();
    }
}

impl<F: FnMut(Option<Message>) -> Vec<Event> + Unpin> Stream for EventStream<F> {
    type Item = Result<Event, std::convert::Infallible>;

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut TaskContext<'_>,
    ) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            if let Some(event) = this.ready.next() {
                return Poll::Ready(Some(Ok(event)));
            }
            if this.over {
                return Poll::Ready(None);
            }
            match this.events.receive.poll_recv(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(message)) => this.take(message),
                // A task that ended without a word.
                Poll::Ready(None) if this.open > 0 => {
                    let error = lost();
                    this.take(Message::Failed { at: 0, error });
                    this.open = 0;
                }
                Poll::Ready(None) => {
                    this.over = true;
                    this.ready = (this.make)(None).into_iter();
                }
            }
        }
    }
}

/// One event of JSON.
pub(crate) fn event(value: &serde_json::Value) -> Event {
    Event::default().data(value.to_string())
}
