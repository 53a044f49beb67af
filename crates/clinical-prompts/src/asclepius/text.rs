//! The published prompt texts, byte for byte, with `{placeholders}`.
//!
//! One literal per line, so that trailing spaces survive every editor. The misspellings
//! (`languge`, `necesarry`) are published; models were trained with them.

/// `ours` of `src/utils.py`. Note the space after `[Instruction End]`.
pub(super) const INFERENCE: &str = concat!(
    "You are an intelligent clinical languge model.\n",
    "Below is a snippet of patient's discharge summary and a following instruction from healthcare professional.\n",
    "Write a response that appropriately completes the instruction.\n",
    "The response should provide the accurate answer to the instruction, while being concise.\n",
    "\n",
    "[Discharge Summary Begin]\n",
    "{note}\n",
    "[Discharge Summary End]\n",
    "\n",
    "[Instruction Begin]\n",
    "{question}\n",
    "[Instruction End] \n",
);

/// `PROMPT` of `src/instruction_ft.py`. No space after `[Instruction End]`.
pub(super) const TRAINING: &str = concat!(
    "You are an intelligent clinical languge model.\n",
    "Below is a snippet of patient's discharge summary and a following instruction from healthcare professional.\n",
    "Write a response that appropriately completes the instruction.\n",
    "The response should provide the accurate answer to the instruction, while being concise.\n",
    "\n",
    "[Discharge Summary Begin]\n",
    "{note}\n",
    "[Discharge Summary End]\n",
    "\n",
    "[Instruction Begin]\n",
    "{question}\n",
    "[Instruction End]\n",
);

/// `ours` followed by `\nResponse: `, as `get_prompt` of `src/utils.py` does for base models.
pub(super) const NOT_FINE_TUNED: &str = concat!(
    "You are an intelligent clinical languge model.\n",
    "Below is a snippet of patient's discharge summary and a following instruction from healthcare professional.\n",
    "Write a response that appropriately completes the instruction.\n",
    "The response should provide the accurate answer to the instruction, while being concise.\n",
    "\n",
    "[Discharge Summary Begin]\n",
    "{note}\n",
    "[Discharge Summary End]\n",
    "\n",
    "[Instruction Begin]\n",
    "{question}\n",
    "[Instruction End] \n",
    "\n",
    "Response: ",
);

/// `alpaca` of `src/utils.py`.
pub(super) const ALPACA: &str = concat!(
    "Below is an instruction that describes a task, paired with an input that provides further context. Write a response that appropriately completes the request.\n",
    "\n",
    "### Instruction:\n",
    "{question}\n",
    "\n",
    "### Input:\n",
    "{note}\n",
    "\n",
    "### Response:",
);

/// `medalpaca` of `src/utils.py`.
pub(super) const MEDALPACA: &str = concat!(
    "Below is an instruction that describes a task, paired with an input that provides further context. Write a response that appropriately completes the request.\n",
    "\n",
    "### Instruction:\n",
    "{question}\n",
    "\n",
    "### Input:\n",
    "{note}\n",
    "\n",
    "### Response:\n",
);

/// `chat` of `src/utils.py`, for Vicuna and Clinical Camel.
pub(super) const CHAT: &str = concat!(
    "\n",
    "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, detailed, and polite answers to the user's questions. USER: [The start of the Discharge Summary]\n",
    "{note}\n",
    "[The end of the Discharge Summary]\n",
    "{question} ASSISTANT: \n",
);

/// `preprocessing/pmc_preprocessing.py`.
pub(super) const NOTE_GENERATION: &str = concat!(
    "You are an intelligent clinical model.\n",
    "\n",
    "[The start of case report]\n",
    "{pmc}\n",
    "[The end of case report]\n",
    "\n",
    "Based on the patient's case report provided, please generate a synthetic discharge summary in the style of an Electronic Health Record (EHR).\n",
    "\n",
    "Please follow these requirements:\n",
    "\n",
    "1. Generate only the discharge summary. Do not generate any other phrases such as notification.\n",
    "2. If there are any standard clinical terms used in the case report, they should be replaced with their commonly used non-standardized equivalents in the discharge summary. For example, \"hypercholesterolemia\" can be rewritten as \"high cholesterol\".\n",
    "3. The discharge summary include abbreviations that are not defined in the context.\n",
    "4. The discharge summary may contain minor grammatical errors.\n",
    "5. Ensure that the discharge summary does not contain any clinical information or details (such as medication names, dosages, treatment plans, diagnoses, procedures, test results, etc.) that are not explicitly mentioned or defined within the given case report.\n",
    "6. For patients who have not yet been discharged, create a hospital course summary rather than discharge summary.\n",
    "7. While preserving the structure of the EHR and maintaining medical consistency, generate a detailed and comprehensive discharge summary.\n",
    "8. The discharge summary is a comprehensive document that can be organized using several distinct headings.",
);

/// `preprocessing/bootstraping.py`.
pub(super) const INSTRUCTION_GENERATION: &str = concat!(
    "You are a healthcare professional who often uses an advanced clinical language model that can analyze clinical notes.\n",
    "You can ask a question and use the output from this model to aid in your decision-making process.\n",
    "\n",
    "Let's suppose you want to ask a question about the task of \"{task}\" related to the given discharge summary.\n",
    "How would you frame your question?\n",
    "\n",
    "[Discharge Summary Begin]\n",
    "{note}\n",
    "[Discharge Summary End]\n",
    "\n",
    "We also offer five example questions related to the task for your reference.\n",
    "Although you can refer to these samples, try to create a distinct question.\n",
    "Try not to repeat the verb or structure of sentences used in examples to maximize diversity.\n",
    "The crucial aspect of your question is that it should be answerable using only the information available in the discharge summary.\n",
    "Also, try to keep your question as brief as possible.\n",
    "\n",
    "[Example Questions Begin]\n",
    "{samples}\n",
    "[Example Questions End]\n",
    "\n",
    "Please output solely a question.",
);

/// `preprocessing/postproc_questions.py`.
pub(super) const ANSWER_GENERATION: &str = concat!(
    "You are an intelligent clinical language model.\n",
    "\n",
    "[Discharge Summary Begin]\n",
    "{note}\n",
    "[Discharge Summary End]\n",
    "\n",
    "[Instruction Begin]\n",
    "{question}\n",
    "[Instruction End]\n",
    "\n",
    "Above, we provide you with a part of the discharge summary and the instruction that the healthcare professional gave about it.\n",
    "Generate a response to the healthcare professional's instruction using the given discharge summary.\n",
    "\n",
    "Here are requirements:\n",
    "- Your response must be accurate and concise to the instruction.\n",
    "- If the instruction is not fully answerable within the given discharge summary, explain the reason why it is unanswerable using the given information. \n",
    "- Do not say that you cannot respond as an AI model.\n",
    "- Do not ask back nor rephrase the instruction.\n",
    "\n",
    "Response:",
);

/// `eval/gpt4_evaluate.py`.
pub(super) const JUDGING: &str = concat!(
    "You are an intelligent clinical language model. \n",
    "\n",
    "[Discharge Summary Begin]\n",
    "{note}\n",
    "[Discharge Summary End]\n",
    "\n",
    "[Instruction Begin]\n",
    "{question}\n",
    "[Instruction End]\n",
    "\n",
    "{answers}\n",
    "Above, we provide you a discharge summary and the instruction that the healthcare professional gave about the discharge summary.\n",
    "You are also provided with {num_samples} corresponding responses from {num_samples} different clinical models.\n",
    "Your task is to read the discharge summary and the instruction carefully then find the answer to the instruction. \n",
    "Then, compare your answer with each model's response and evaluate the response based on the following criteria.\n",
    "\n",
    "Criteria : \n",
    "1. Unacceptable (1 point): The model's response includes any incorrect or irrelevant contents. If the instruction was unanswerable, the model did not acknowledge this and outputs wrong answer.\n",
    "2. Poor (2 points): The model's response does not contain any incorrect or irrelevant contents, but omits significant or crucial contents that the instruction is requiring for.\n",
    "3. Satisfactory (3 points): The model's response does not contain any incorrect or irrelevant contents, but omits minor or insignificant contents that the instruction is requiring for.\n",
    "4. Excellent (4 points): The model's response contains all necesarry information that the instruction is requiring for. If the instruction was unanswerable, the model correctly acknowledged this and says that it is unanswerable.\n",
    "\n",
    "When evaluating each score based on above criteria, ensure that each judgement is not affected by other model's response.\n",
    "First line must contain only {num_samples} values, which indicate the score for each model, respectively.\n",
    "The {num_samples} scores are separated by a space.\n",
    "Output scores without explanation.\n",
);

/// One answer inside [`JUDGING`].
pub(super) const JUDGED_ANSWER: &str = concat!(
    "[Agent {A}'s Answer Begin]\n",
    "{sample}\n",
    "[Agent {A}'s Answer End]\n",
    "\n",
);
