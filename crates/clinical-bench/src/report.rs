//! The line that a run prints.

use serde::Serialize;

/// Where the time of a step of `train` goes: means over the runs.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct StepTimes {
    /// The loss.
    pub forward_s: f64,
    /// The gradients.
    pub backward_s: f64,
    /// The optimiser's step.
    pub optimizer_s: f64,
    /// Processor time of a whole step, of all threads together; `None` where the system does not tell.
    pub cpu_s_per_run: Option<f64>,
}

/// Processor time of this process so far, in seconds.
pub(crate) fn processor_time() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name of the program, in parentheses, may have spaces.
    let (_, fields) = stat.rsplit_once(')')?;
    let ticks = |at: usize| fields.split_whitespace().nth(at)?.parse::<u32>().ok();
    // Fields 14 and 15 of all, in hundredths of a second on every Linux.
    Some((f64::from(ticks(11)?) + f64::from(ticks(12)?)) / 100.0)
}

/// One measured workload. Times are seconds of the wall clock.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The name or file that was asked for.
    pub model: String,
    /// `encode`, `prefill`, `decode`, `greedy`, `forward` or `train`.
    pub workload: String,
    /// `f32`, ...
    pub precision: String,
    /// Threads of the CPU backend.
    pub threads: usize,
    /// Rows.
    pub batch: usize,
    /// Tokens of a row's input.
    pub length: usize,
    /// Steps of `decode`, tokens of `greedy`, target tokens of `train` on a T5, else 0.
    pub new_tokens: usize,
    /// Beams of `greedy`.
    pub beams: usize,
    /// Timed runs; one more goes before them untimed.
    pub runs: usize,
    /// The median run.
    pub median_s: f64,
    /// The fastest run.
    pub min_s: f64,
    /// The slowest run.
    pub max_s: f64,
    /// Median time over tokens (over steps in `decode`, new tokens in `greedy`), in milliseconds.
    pub ms_per_token: f64,
    /// Arithmetic of matrix products over the median time.
    pub gflops_per_s: f64,
    /// The largest resident size of the process, weights included.
    pub peak_rss_mb: f64,
    /// Rank of the adapters of `train`, where they alone are trained.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lora_rank: Option<usize>,
    /// Whether `train` computed each layer again in the backward pass.
    pub recompute: bool,
    /// The parts of `train`.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub step: Option<StepTimes>,
}

impl Report {
    /// Fills the figures from the times of the runs.
    pub(crate) fn fill(&mut self, mut seconds: Vec<f64>, tokens: usize, flops: f64) {
        seconds.sort_by(f64::total_cmp);
        let middle = seconds.len() / 2;
        self.runs = seconds.len();
        self.median_s = if seconds.len() % 2 == 1 {
            seconds[middle]
        } else {
            (seconds[middle - 1] + seconds[middle]) / 2.0
        };
        self.min_s = seconds[0];
        self.max_s = seconds[seconds.len() - 1];
        self.ms_per_token = 1e3 * self.median_s / tokens as f64;
        self.gflops_per_s = flops / self.median_s / 1e9;
        self.peak_rss_mb =
            clinical_kernels::peak_rss_bytes().unwrap_or(0) as f64 / f64::from(1 << 20);
    }
}
