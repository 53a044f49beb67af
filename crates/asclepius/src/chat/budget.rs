//! What a template may build. The engine counts steps; a string that doubles at each of forty fills any memory.
//!
//! A compiled template gets an instruction behind each one that makes a value: it takes the value's size off an allowance and
//! stops the template when nothing is left. What is written is counted when it is formatted. Filters and methods whose result
//! can be much larger than their arguments are held against the allowance before they run.

use minijinja::machinery::{Instruction, Instructions, Token, tokenize};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Rest, ValueKind, ValueOrKwargs};
use minijinja::{Environment, Error, ErrorKind, Output, State, Value, filters};

/// Bytes that all values of one rendering together may have, beside [`FACTOR`] for each byte of the conversation.
const ALLOWANCE: usize = 64 << 20;

/// A conversation is trimmed, split, put together and written a few times; a list of its characters takes some 48 bytes
/// for each.
const FACTOR: usize = 64;

/// What a list of the characters of a text takes for each byte.
const ELEMENT: usize = 48;

/// What a value takes beside its text.
const VALUE: usize = 16;

/// Values inside values; the engine itself recurses over them.
const MAX_DEPTH: usize = 64;

/// Tokens of one tag. Published templates have up to a few dozen.
const MAX_TOKENS: usize = 1000;

/// `elif` in a whole template. Published ones have a few.
const MAX_BRANCHES: usize = 500;

/// The filter behind each instruction that makes a value. No template can write this name.
const CHARGE: &str = "\u{2295}";

/// No place in the engine's table of filters.
const NO_LOCAL: u8 = !0;

/// The rest of the allowance of one rendering.
struct Left(usize);

fn too_much() -> Error {
    Error::new(ErrorKind::InvalidOperation, "the template builds too much")
}

fn unsupported(what: &'static str) -> Error {
    Error::new(ErrorKind::InvalidOperation, what)
}

/// What is left of this rendering's allowance.
fn left<'s>(state: &'s mut State<'_, '_>) -> &'s mut usize {
    if state.get_extension::<Left>().is_none() {
        let messages = state.lookup("messages").unwrap_or_default();
        let conversation = weight(&messages, usize::MAX, 0).unwrap_or(0);
        let whole = ALLOWANCE.saturating_add(conversation.saturating_mul(FACTOR));
        state.get_or_insert_extension(Left(whole));
    }
    &mut state.get_or_insert_extension(Left(0)).0
}

/// Bytes of a value and of everything in it, each time it is in it; `None` beyond `limit`.
fn weight(value: &Value, limit: usize, depth: usize) -> Option<usize> {
    let mut sum = VALUE;
    if let Some(text) = value.as_str() {
        sum += text.len();
    } else if let Some(bytes) = value.as_bytes() {
        sum += bytes.len();
    } else if matches!(
        value.kind(),
        ValueKind::Seq | ValueKind::Map | ValueKind::Iterable
    ) {
        if depth == MAX_DEPTH {
            return None;
        }
        let is_map = value.kind() == ValueKind::Map;
        for item in value.try_iter().ok()? {
            if is_map {
                let entry = value.get_item(&item).unwrap_or_default();
                sum = sum.checked_add(weight(&entry, limit.checked_sub(sum)?, depth + 1)?)?;
            }
            sum = sum.checked_add(weight(&item, limit.checked_sub(sum)?, depth + 1)?)?;
        }
    }
    (sum <= limit).then_some(sum)
}

/// Takes the size of a value off the allowance.
fn charge(state: &mut State<'_, '_>, value: Value) -> Result<Value, Error> {
    let left = left(state);
    let size = weight(&value, *left, 0).ok_or_else(too_much)?;
    *left -= size;
    Ok(value)
}

/// Holds what a filter or method may build against the allowance; `value` is the first of the arguments.
fn foresee(state: &mut State<'_, '_>, name: &str, arguments: &[Value]) -> Result<(), Error> {
    let left = *left(state);
    let mut sizes = Vec::with_capacity(arguments.len());
    for argument in arguments {
        sizes.push(weight(argument, left, 0).ok_or_else(too_much)?);
    }
    let size = |i: usize| sizes.get(i).copied().unwrap_or(VALUE);
    let own = size(0);
    let needed = match name {
        // As many joints as there are values.
        "join" if arguments.len() > 1 => (own / VALUE + 1).saturating_mul(size(1).max(own)),
        "replace" => {
            let from = size(1).saturating_sub(VALUE).max(1);
            (own / from + 1).saturating_mul(size(2))
        }
        "indent" | "batch" | "slice" | "tojson" => {
            let numbers = arguments.iter().filter_map(Value::as_usize);
            let named = arguments.iter().filter(|value| value.is_kwargs());
            let inside = named
                .filter_map(|value| Some((value, value.try_iter().ok()?)))
                .flat_map(|(value, keys)| {
                    keys.filter_map(|key| value.get_item(&key).ok()?.as_usize())
                });
            let most = numbers.chain(inside).max().unwrap_or(4);
            own.saturating_mul(most.saturating_add(6))
        }
        _ => 0,
    };
    let list = sizes.iter().sum::<usize>().saturating_mul(ELEMENT);
    match needed.saturating_add(list) <= left {
        true => Ok(()),
        false => Err(too_much()),
    }
}

/// Prepares an engine: filters, methods and output that keep to the allowance.
pub(super) fn limit(environment: &mut Environment<'_>) {
    let builtin = [
        ("safe", Value::from_function(filters::safe)),
        ("escape", Value::from_function(filters::escape)),
        ("e", Value::from_function(filters::escape)),
        ("lower", Value::from_function(filters::lower)),
        ("upper", Value::from_function(filters::upper)),
        ("title", Value::from_function(filters::title)),
        ("capitalize", Value::from_function(filters::capitalize)),
        ("replace", Value::from_function(filters::replace)),
        ("dictsort", Value::from_function(filters::dictsort)),
        ("items", Value::from_function(filters::items)),
        ("reverse", Value::from_function(filters::reverse)),
        ("trim", Value::from_function(filters::trim)),
        ("join", Value::from_function(filters::join)),
        ("split", Value::from_function(filters::split)),
        ("lines", Value::from_function(filters::lines)),
        ("sort", Value::from_function(filters::sort)),
        ("list", Value::from_function(filters::list)),
        ("string", Value::from_function(filters::string)),
        ("batch", Value::from_function(filters::batch)),
        ("slice", Value::from_function(filters::slice)),
        ("indent", Value::from_function(filters::indent)),
        ("select", Value::from_function(filters::select)),
        ("reject", Value::from_function(filters::reject)),
        ("selectattr", Value::from_function(filters::selectattr)),
        ("rejectattr", Value::from_function(filters::rejectattr)),
        ("map", Value::from_function(filters::map)),
        ("groupby", Value::from_function(filters::groupby)),
        ("unique", Value::from_function(filters::unique)),
        ("tojson", Value::from_function(filters::tojson)),
    ];
    for (name, filter) in builtin {
        let filter = move |state: &mut State<'_, '_>, arguments: Rest<ValueOrKwargs>| {
            let arguments = arguments.into_values();
            foresee(state, name, &arguments)?;
            let value = filter.call(state, &arguments)?;
            charge(state, value)
        };
        environment.add_filter(name, filter);
    }
    // Formats with any width, lazy chains of lists, and what shows the engine's state: no published template needs them.
    for name in ["format", "pprint", "chain", "zip", "sum", "urlencode"] {
        environment.remove_filter(name);
    }
    environment.remove_global("debug");
    environment.add_filter(CHARGE, charge);
    environment.set_unknown_method_callback(|state, value, method, arguments| {
        if method == "format" {
            return Err(unsupported("the method format is not supported"));
        }
        let all: Vec<Value> = std::iter::once(value).chain(arguments).cloned().collect();
        foresee(state, method, &all)?;
        minijinja_contrib::pycompat::unknown_method_callback(state, value, method, arguments)
    });
    environment.set_formatter(
        |output: &mut Output<'_>, state: &mut State<'_, '_>, value: &Value| {
            charge(state, value.clone())?;
            minijinja::escape_formatter(output, state, value)
        },
    );
}

/// The template with charges behind everything that makes a value, and without what cannot be charged.
pub(super) fn charged<'s>(template: &Instructions<'s>) -> Result<Instructions<'s>, Error> {
    let all: Vec<Instruction<'s>> = (0..).map_while(|at| template.get(at).cloned()).collect();
    // Where each instruction comes to stand.
    let mut places = Vec::with_capacity(all.len() + 1);
    let mut place = 0u32;
    for instruction in &all {
        places.push(place);
        place += 1 + u32::from(makes_a_value(instruction) || raw(instruction).is_some());
    }
    places.push(place);
    let to = |at: u32| {
        places
            .get(at as usize)
            .copied()
            .ok_or_else(|| unsupported("a jump out of the template"))
    };
    let mut charged = Instructions::new(template.name(), template.source());
    for (at, instruction) in all.into_iter().enumerate() {
        let line = template.get_line(at as u32).unwrap_or(0);
        let line = u16::try_from(line).unwrap_or(u16::MAX);
        let mut add = |instruction| {
            charged.add_with_line(instruction, line);
        };
        if let Some(text) = raw(&instruction) {
            add(Instruction::LoadConst(Value::from(text)));
            add(Instruction::Emit);
            continue;
        }
        let makes_a_value = makes_a_value(&instruction);
        add(match instruction {
            Instruction::Iterate(at) => Instruction::Iterate(to(at)?),
            Instruction::Jump(at) => Instruction::Jump(to(at)?),
            Instruction::JumpIfFalse(at) => Instruction::JumpIfFalse(to(at)?),
            Instruction::JumpIfFalseOrPop(at) => Instruction::JumpIfFalseOrPop(to(at)?),
            Instruction::JumpIfTrueOrPop(at) => Instruction::JumpIfTrueOrPop(to(at)?),
            Instruction::BuildMacro(name, at, flags) => {
                Instruction::BuildMacro(name, to(at)?, flags)
            }
            other => other,
        });
        if makes_a_value {
            add(Instruction::ApplyFilter(CHARGE, Some(1), NO_LOCAL));
        }
    }
    Ok(charged)
}

/// Text between the template's tags, which is written without a look at it.
fn raw<'s>(instruction: &Instruction<'s>) -> Option<&'s str> {
    match instruction {
        Instruction::EmitRaw(text) => Some(text),
        _ => None,
    }
}

/// Filters charge by themselves.
fn makes_a_value(instruction: &Instruction<'_>) -> bool {
    matches!(
        instruction,
        Instruction::Add
            | Instruction::StringConcat
            | Instruction::Slice
            | Instruction::BuildList(_)
            | Instruction::BuildTuple(_)
            | Instruction::BuildMap(_)
            | Instruction::EndCapture
            | Instruction::CallFunction(..)
            | Instruction::CallMethod(..)
            | Instruction::CallObject(_)
    )
}

/// Refuses, before the engine parses it, what it would not survive or could not be charged.
///
/// Multiplication repeats texts and lists, some of them while the template is compiled; no published template multiplies. The
/// engine recurses over each link of a chain (`not not x`, `a.b.c`, `a ~ b ~ c`, `elif`), so their lengths are bounded.
pub(super) fn refuse(source: &str, syntax: SyntaxConfig) -> Result<(), Error> {
    let (mut tokens, mut branches) = (0, 0);
    for token in tokenize(source, false, syntax) {
        match token?.0 {
            Token::Mul | Token::Pow => return Err(unsupported("multiplication is not supported")),
            Token::VariableStart | Token::BlockStart => tokens = 0,
            Token::Ident("elif") => branches += 1,
            _ => tokens += 1,
        }
        if tokens > MAX_TOKENS || branches > MAX_BRANCHES {
            return Err(unsupported("the template nests too deeply"));
        }
    }
    Ok(())
}
