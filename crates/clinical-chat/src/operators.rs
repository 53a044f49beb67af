//! Operators with Python's meaning.
//!
//! The engine's own differ from Python's: it iterates over `None`, compares numbers with texts, adds lists lazily and
//! knows no `%` for texts. A compiled template gets a filter in the place of each such instruction, by a name that no
//! template can write. This needs the engine's `unstable_machinery`, which may change in any release, hence its exact
//! version.

use std::cmp::Ordering;

use minijinja::formatting::{FormatStyle, format};
use minijinja::machinery::{Instruction, Instructions};
use minijinja::value::{Tuple, ValueKind};
use minijinja::{Environment, Error, State, Value};

use crate::engine::require_iterable;
use crate::methods::widths;
use crate::python::{self, invalid, pay};

const ADD: &str = "\u{2295}add";
const CONCATENATE: &str = "\u{2295}concatenate";
const REMAINDER: &str = "\u{2295}remainder";
const SLICE: &str = "\u{2295}slice";
const ITERABLE: &str = "\u{2295}iterable";
const LESS: &str = "\u{2295}less";
const LESS_OR_EQUAL: &str = "\u{2295}less or equal";
const GREATER: &str = "\u{2295}greater";
const GREATER_OR_EQUAL: &str = "\u{2295}greater or equal";

/// No place in the engine's table of filters.
const NO_LOCAL: u8 = !0;

/// Adds the filters to an engine.
pub(crate) fn add(environment: &mut Environment<'_>) {
    environment.add_filter(ADD, sum);
    environment.add_filter(CONCATENATE, concatenate);
    environment.add_filter(REMAINDER, remainder);
    environment.add_filter(SLICE, slice);
    environment.add_filter(ITERABLE, loop_over);
    environment.add_filter(LESS, |a: &Value, b: &Value| Ok(order(a, b)?.is_lt()));
    environment.add_filter(LESS_OR_EQUAL, |a: &Value, b: &Value| {
        Ok(order(a, b)?.is_le())
    });
    environment.add_filter(GREATER, |a: &Value, b: &Value| Ok(order(a, b)?.is_gt()));
    environment.add_filter(GREATER_OR_EQUAL, |a: &Value, b: &Value| {
        Ok(order(a, b)?.is_ge())
    });
}

/// The filter in the place of an instruction, and how many values it takes from the stack.
fn replacement(instruction: &Instruction<'_>) -> Option<(&'static str, u16)> {
    Some(match instruction {
        Instruction::Add => (ADD, 2),
        Instruction::StringConcat => (CONCATENATE, 2),
        Instruction::Rem => (REMAINDER, 2),
        Instruction::Slice => (SLICE, 4),
        Instruction::Lt => (LESS, 2),
        Instruction::Lte => (LESS_OR_EQUAL, 2),
        Instruction::Gt => (GREATER, 2),
        Instruction::Gte => (GREATER_OR_EQUAL, 2),
        _ => return None,
    })
}

/// The filter before an instruction, which looks at the value on top of the stack.
fn check(instruction: &Instruction<'_>) -> Option<&'static str> {
    matches!(instruction, Instruction::PushLoop(_)).then_some(ITERABLE)
}

/// The template with Python's operators.
pub(crate) fn with_python_operators<'s>(
    template: &Instructions<'s>,
) -> Result<Instructions<'s>, Error> {
    let all: Vec<Instruction<'s>> = (0..).map_while(|at| template.get(at).cloned()).collect();
    // Where each instruction comes to stand.
    let mut slots = Vec::with_capacity(all.len() + 1);
    let mut slot = 0u32;
    for instruction in &all {
        slots.push(slot);
        slot += 1 + u32::from(check(instruction).is_some());
    }
    slots.push(slot);
    let to = |at: u32| {
        let slot = slots.get(at as usize).copied();
        slot.ok_or_else(|| invalid("a jump out of the template"))
    };
    let mut changed = Instructions::new(template.name(), template.source());
    for (at, instruction) in all.into_iter().enumerate() {
        let line = template.get_line(at as u32).unwrap_or(0);
        let line = u16::try_from(line).unwrap_or(u16::MAX);
        if let Some(check) = check(&instruction) {
            changed.add_with_line(Instruction::ApplyFilter(check, Some(1), NO_LOCAL), line);
        }
        let instruction = match instruction {
            Instruction::Iterate(at) => Instruction::Iterate(to(at)?),
            Instruction::Jump(at) => Instruction::Jump(to(at)?),
            Instruction::JumpIfFalse(at) => Instruction::JumpIfFalse(to(at)?),
            Instruction::JumpIfFalseOrPop(at) => Instruction::JumpIfFalseOrPop(to(at)?),
            Instruction::JumpIfTrueOrPop(at) => Instruction::JumpIfTrueOrPop(to(at)?),
            Instruction::BuildMacro(name, at, flags) => {
                Instruction::BuildMacro(name, to(at)?, flags)
            }
            other => match replacement(&other) {
                Some((filter, values)) => Instruction::ApplyFilter(filter, Some(values), NO_LOCAL),
                None => other,
            },
        };
        changed.add_with_line(instruction, line);
    }
    Ok(changed)
}

/// What a loop goes over: no `None`, and always something with a length.
fn loop_over(state: &mut State<'_, '_>, value: Value) -> Result<Value, Error> {
    require_iterable(&value)?;
    let known = matches!(
        value.kind(),
        ValueKind::Seq | ValueKind::Map | ValueKind::Undefined
    );
    match known {
        true => Ok(value),
        false => items(state, &value).map(Value::from),
    }
}

/// `value[start:stop:step]`, as a value of the same type.
fn slice(
    state: &mut State<'_, '_>,
    value: &Value,
    start: &Value,
    stop: &Value,
    step: &Value,
) -> Result<Value, Error> {
    let bound = |value: &Value| match value.is_none() {
        true => Ok(None),
        false => i64::try_from(value.clone())
            .map(Some)
            .map_err(|_| invalid("the bounds of a slice are whole numbers")),
    };
    let bounds = (bound(start)?, bound(stop)?, bound(step)?.unwrap_or(1));
    if let Some(text) = value.as_str() {
        pay(state, 4 * text.len())?;
        let characters: Vec<char> = text.chars().collect();
        let indices = indices(bounds, characters.len())?;
        return Ok(Value::from(
            indices.map(|i| characters[i]).collect::<String>(),
        ));
    }
    if !matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable) {
        return Err(invalid("a value of this kind cannot be sliced"));
    }
    let items = items(state, value)?;
    let taken = indices(bounds, items.len())?
        .map(|i| items[i].clone())
        .collect();
    Ok(list_like(value, taken))
}

fn list_like(value: &Value, items: Vec<Value>) -> Value {
    match value.is_tuple() {
        true => Value::from(Tuple::from(items)),
        false => Value::from(items),
    }
}

fn items(state: &State<'_, '_>, value: &Value) -> Result<Vec<Value>, Error> {
    let mut items = Vec::new();
    for item in value.try_iter()? {
        pay(state, 64)?;
        items.push(item);
    }
    Ok(items)
}

/// The indices of `slice(start, stop, step).indices(length)`.
fn indices(
    (start, stop, step): (Option<i64>, Option<i64>, i64),
    length: usize,
) -> Result<impl Iterator<Item = usize>, Error> {
    if step == 0 {
        return Err(invalid("the step of a slice is not 0"));
    }
    let length = length as i64;
    let (low, high) = if step > 0 {
        (0, length)
    } else {
        (-1, length - 1)
    };
    let clip = |at: i64| {
        let at = if at < 0 {
            at.saturating_add(length)
        } else {
            at
        };
        at.clamp(low, high.max(low))
    };
    let first = start.map_or(if step > 0 { low } else { high }, clip);
    let end = stop.map_or(if step > 0 { high } else { low }, clip);
    let next = move |at: &i64| at.checked_add(step);
    let inside = move |at: &i64| if step > 0 { *at < end } else { *at > end };
    Ok(std::iter::successors(Some(first), next)
        .take_while(inside)
        .map(|at| at as usize))
}

enum Number {
    Integer(i128),
    Float(f64),
}

/// Numbers and booleans.
fn number(value: &Value) -> Option<Number> {
    match value.kind() {
        ValueKind::Bool => Some(Number::Integer(i128::from(value.is_true()))),
        ValueKind::Number => match python::float(value) {
            Some(float) => Some(Number::Float(float)),
            None => i128::try_from(value.clone()).ok().map(Number::Integer),
        },
        _ => None,
    }
}

fn as_float(number: &Number) -> f64 {
    match number {
        Number::Integer(integer) => *integer as f64,
        Number::Float(float) => *float,
    }
}

fn integer(value: i128) -> Value {
    i64::try_from(value).map_or_else(|_| Value::from(value), Value::from)
}

fn unsupported(what: &str, a: &Value, b: &Value) -> Error {
    invalid(format_args!("{what} of {} and {}", a.kind(), b.kind()))
}

fn sum(state: &mut State<'_, '_>, a: &Value, b: &Value) -> Result<Value, Error> {
    if let (Some(a), Some(b)) = (a.as_str(), b.as_str()) {
        pay(state, a.len() + b.len())?;
        return Ok(Value::from([a, b].concat()));
    }
    let wrong = || unsupported("no sum", a, b);
    if let (Some(left), Some(right)) = (number(a), number(b)) {
        return match (&left, &right) {
            (Number::Integer(a), Number::Integer(b)) => {
                a.checked_add(*b).map(integer).ok_or_else(wrong)
            }
            _ => Ok(Value::from(as_float(&left) + as_float(&right))),
        };
    }
    let is_list = |value: &Value| matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable);
    if is_list(a) && is_list(b) && a.is_tuple() == b.is_tuple() {
        let mut all = items(state, a)?;
        all.extend(items(state, b)?);
        return Ok(list_like(a, all));
    }
    Err(wrong())
}

fn concatenate(state: &mut State<'_, '_>, a: &Value, b: &Value) -> Result<String, Error> {
    Ok(python::str(state, a)? + &python::str(state, b)?)
}

/// `%`: of texts a format, of numbers the remainder with the sign of the divisor.
fn remainder(state: &mut State<'_, '_>, a: &Value, b: &Value) -> Result<Value, Error> {
    if let Some(text) = a.as_str() {
        let arguments = match b.is_tuple() {
            true => items(state, b)?,
            false => vec![b.clone()],
        };
        if text.contains('*') {
            return Err(invalid("widths from arguments are not supported"));
        }
        pay(state, widths(text))?;
        for argument in &arguments {
            pay(state, argument.as_str().map_or(0, str::len))?;
        }
        return format(FormatStyle::Printf, text, &arguments).map(Value::from);
    }
    let wrong = || unsupported("no remainder", a, b);
    match (number(a).ok_or_else(wrong)?, number(b).ok_or_else(wrong)?) {
        (Number::Integer(a), Number::Integer(b)) => {
            let remainder = a.checked_rem_euclid(b).ok_or_else(wrong)?;
            Ok(integer(if b < 0 && remainder != 0 {
                remainder + b
            } else {
                remainder
            }))
        }
        (a, b) if as_float(&b) != 0.0 => {
            let (a, b) = (as_float(&a), as_float(&b));
            let remainder = a % b;
            let other_sign = remainder != 0.0 && (remainder < 0.0) != (b < 0.0);
            Ok(Value::from(if other_sign {
                remainder + b
            } else {
                remainder
            }))
        }
        _ => Err(wrong()),
    }
}

/// Numbers, texts and lists have an order among themselves.
fn order(a: &Value, b: &Value) -> Result<Ordering, Error> {
    let numbers = number(a).is_some() && number(b).is_some();
    let alike = matches!(a.kind(), ValueKind::String | ValueKind::Seq) && a.kind() == b.kind();
    match numbers || alike {
        true => Ok(a.cmp(b)),
        false => Err(unsupported("no order", a, b)),
    }
}
