// Times llama.cpp on a GGUF file: reading a prompt, and each token behind it. One JSON line.
//
//     npm install node-llama-cpp          # anywhere; llama.cpp prebuilt for each processor
//     node scripts/bench_llamacpp.mjs FILE.gguf [LENGTH=1024] [NEW_TOKENS=64] [THREADS=2] [RUNS=3]
//
// Flash attention is off, which was faster on processors. The prompt is ids without meaning; sampling is greedy.
// `scripts/random_gguf` makes a file of random weights in the shape of a model. Node looks for the package in the working directory.
import { createRequire } from "node:module";
import { basename, join } from "node:path";
import { pathToFileURL } from "node:url";

const found = createRequire(join(process.cwd(), "x.js")).resolve("node-llama-cpp");
const { getLlama, LlamaLogLevel } = await import(pathToFileURL(found));

const [file, ...numbers] = process.argv.slice(2);
if (!file) throw new Error("a GGUF file is needed");
const [length, newTokens, threads, runs] = [1024, 64, 2, 3].map((value, at) => Number(numbers[at] ?? value));

const llama = await getLlama({ gpu: false, build: "never", maxThreads: threads, logLevel: LlamaLogLevel.error });
const model = await llama.loadModel({ modelPath: file, gpuLayers: 0 });
const context = await model.createContext({
  contextSize: length + newTokens + 64, batchSize: length, threads, flashAttention: false,
});
const sequence = context.getSequence();
const ids = Array.from({ length }, (_, at) => 5 + ((at * 7919) % 30000));

const median = (values) => values.sort((a, b) => a - b)[Math.floor(values.length / 2)];
const prefill = [], decode = [];
for (let run = 0; run <= runs; run++) {
  await sequence.clearHistory();
  const start = performance.now();
  const tokens = sequence.evaluate(ids, { temperature: 0, yieldEogToken: true });
  await tokens.next();
  const read = performance.now();
  for (let token = 0; token < newTokens; token++) await tokens.next();
  const end = performance.now();
  await tokens.return();
  if (run > 0) { // the first one warms up
    prefill.push((read - start) / 1e3);
    decode.push((end - read) / newTokens);
  }
}
console.log(JSON.stringify({
  peer: "llama.cpp through node-llama-cpp", file: basename(file), threads, length, new_tokens: newTokens, runs,
  prefill_s: median(prefill), prefill_min_s: Math.min(...prefill), ms_per_token: median(decode), ms_per_token_min: Math.min(...decode),
  peak_rss_mb: Math.round(process.resourceUsage().maxRSS / 1024),
}));
process.exit(0);
