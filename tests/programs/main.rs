//! Ten programs that people write with this library, and an eleventh, each against the public interface alone and in at
//! most 25 lines of its own.

mod p01_one_answer;
mod p02_many_notes;
mod p03_many_users;
mod p04_mednli_labels;
mod p05_fine_tune;
mod p06_entities_of_a_table;
mod p07_spans_in_the_original;
mod p08_whatever_it_is;
mod p09_bert_classifier;
mod p10_unsure_words;
mod p11_plain_llama;
