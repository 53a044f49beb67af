// The official OpenAI client for JavaScript against a running server with the demonstration model. Started by
// scripts/check_openai: node check_openai.mjs ADDRESS NOTE, where the package `openai` can be found.
import { readFileSync } from "node:fs";
import OpenAI from "openai";

const [address, file] = process.argv.slice(2);
const client = new OpenAI({ baseURL: `${address}v1`, apiKey: "none", maxRetries: 20 });
const model = "demonstration";
const messages = [
    { role: "system", content: readFileSync(file, "utf8") },
    { role: "user", content: "What is the discharge diagnosis?" },
];

function check(name, holds) {
    if (!holds) {
        console.error(`FAIL ${name}`);
        process.exit(1);
    }
    console.log(`ok   ${name}`);
}

const chat = (options) => client.chat.completions.create({ model, messages, ...options });

async function refused(name, kind, param, options) {
    try {
        await chat(options);
    } catch (error) {
        check(`${name}: ${error.message}`, error instanceof kind && (!param || error.param === param));
        return;
    }
    check(`${name}: it was answered`, false);
}

const names = [];
for await (const one of client.models.list()) names.push(one.id);
check("models", names.includes(model));

const answer = await chat({ logprobs: true, top_logprobs: 3 });
const text = answer.choices[0].message.content;
check(`chat: ${text}`, text.includes("stroke") && answer.choices[0].finish_reason === "stop");
const usage = answer.usage;
check("usage", usage.total_tokens === usage.prompt_tokens + usage.completion_tokens);
const tokens = answer.choices[0].logprobs.content;
check("logprobs", tokens.length === usage.completion_tokens && tokens.every((token) => token.logprob <= 0));
check("the tokens are the text", tokens.map((token) => token.token).join("") === text);
const greedy = (token) => token.top_logprobs.length === 3 && token.top_logprobs[0].token === token.token
    && Math.abs(token.top_logprobs[0].logprob - token.logprob) < 1e-6
    && token.top_logprobs[0].logprob >= token.top_logprobs[2].logprob;
check("top_logprobs: the likeliest was chosen", tokens.every(greedy));

let [pieces, counted, told] = ["", null, []];
const stream = await chat({
    stream: true, stream_options: { include_usage: true }, logprobs: true, top_logprobs: 2,
});
let chunks = 0;
for await (const chunk of stream) {
    chunks += 1;
    for (const choice of chunk.choices) {
        pieces += choice.delta.content ?? "";
        told.push(...(choice.logprobs?.content ?? []));
    }
    counted = chunk.usage ?? counted;
}
check(`stream of ${chunks} chunks`, pieces === text && counted.completion_tokens === usage.completion_tokens);
check("logprobs of a stream", told.length === tokens.length && told.every((token) => token.top_logprobs.length === 2));
const ended = await chat({ stream: true });
for await (const chunk of ended) if (chunk.choices[0]?.delta.content) break;
check("a stream that is given up", true);

const stopped = await chat({ stop: ["stroke"] });
check("stop", !stopped.choices[0].message.content.includes("stroke") && stopped.choices[0].finish_reason === "stop");
const sampled = () => chat({ temperature: 1.5, seed: 3, n: 2 });
const texts = (all) => JSON.stringify(all.choices.map((choice) => choice.message.content));
const [one, again] = [await sampled(), await sampled()];
check("seed and n", one.choices.length === 2 && texts(one) === texts(again));
const short = await chat({ max_tokens: 2 });
check("max_tokens", short.choices[0].finish_reason === "length" && short.usage.completion_tokens === 2);

const more = await client.completions.create({ model, prompt: "Discharge Diagnosis:", max_tokens: 8, logprobs: 2 });
const of = more.choices[0].logprobs;
check(`completion: ${more.choices[0].text}`, more.usage.completion_tokens <= 8);
check("logprobs of a completion", of.tokens.length === more.usage.completion_tokens
    && of.tokens.every((token, at) => of.top_logprobs[at][token] === of.token_logprobs[at])
    && of.text_offset.length === of.tokens.length);
const vectors = await client.embeddings.create({ model: "demonstration-bert", input: ["chest pain", "no fever"] });
check(`embeddings of ${vectors.data[0].embedding.length}`,
    vectors.data.length === 2 && vectors.data[0].embedding.every(Number.isFinite));

await refused("another model", OpenAI.NotFoundError, "model", { model: "other" });
await refused("a parameter that is not known", OpenAI.BadRequestError, "mirostat", { mirostat: 2 });
await refused("a number outside its range", OpenAI.BadRequestError, "temperature", { temperature: 9 });
await refused("too many top_logprobs", OpenAI.BadRequestError, "top_logprobs", { logprobs: true, top_logprobs: 21 });
await refused("top_logprobs alone", OpenAI.BadRequestError, "top_logprobs", { top_logprobs: 2 });
await refused("the same in a stream", OpenAI.BadRequestError, "top_logprobs", { top_logprobs: 2, stream: true });

const schema = {
    type: "object", properties: { sex: { enum: ["male", "female"] } }, required: ["sex"], additionalProperties: false,
};
const format = { type: "json_schema", json_schema: { name: "sex", schema } };
try {
    const value = JSON.parse((await chat({ response_format: format })).choices[0].message.content);
    check(`schema: ${value.sex}`, ["male", "female"].includes(value.sex));
} catch (error) {
    const word = "this server was built without the feature `grammar`";
    check(`schema: ${error.message}`, error instanceof OpenAI.BadRequestError && error.message.includes("feature `grammar`"));
    console.log(`skipped: schemas, ${word}`);
}
console.log(`OpenAI's client for JavaScript is content`);
