//! The contract keeps the style rules that linters of protocol buffers agree on, read from its own descriptors.

use prost::Message;
use prost_types::{DescriptorProto, EnumDescriptorProto, FileDescriptorProto, FileDescriptorSet};
use std::collections::BTreeSet;

fn contract() -> FileDescriptorProto {
    let all = FileDescriptorSet::decode(specweave_jobs::DESCRIPTORS).unwrap();
    all.file.into_iter().find(|file| file.package() == "specweave.jobs.v1").unwrap()
}

fn is_pascal(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_uppercase()) && name.chars().all(|c| c.is_ascii_alphanumeric())
}

fn is_snake(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(allowed)
        && !name.ends_with('_')
        && !name.contains("__")
}

fn upper_snake(pascal: &str) -> String {
    let mut out = String::new();
    for letter in pascal.chars() {
        if letter.is_ascii_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.push(letter.to_ascii_uppercase());
    }
    out
}

fn check_enum(one: &EnumDescriptorProto, wrong: &mut Vec<String>) {
    let prefix = format!("{}_", upper_snake(one.name()));
    for value in &one.value {
        if !value.name().starts_with(&prefix) {
            wrong.push(format!("{} has no prefix {prefix}", value.name()));
        }
    }
    let zero = one.value.first().map(|value| (value.name().to_owned(), value.number()));
    if zero != Some((format!("{prefix}UNSPECIFIED"), 0)) {
        wrong.push(format!("{} does not begin with {prefix}UNSPECIFIED = 0", one.name()));
    }
    let numbers: BTreeSet<i32> = one.value.iter().map(|value| value.number()).collect();
    if numbers.len() != one.value.len() {
        wrong.push(format!("{} uses a number twice", one.name()));
    }
}

fn check_message(one: &DescriptorProto, wrong: &mut Vec<String>) {
    if !is_pascal(one.name()) {
        wrong.push(format!("{} is not in PascalCase", one.name()));
    }
    let mut numbers = BTreeSet::new();
    for field in &one.field {
        if !is_snake(field.name()) {
            wrong.push(format!("{}.{} is not in lower_snake_case", one.name(), field.name()));
        }
        if !numbers.insert(field.number()) {
            wrong.push(format!("{}.{} has another field's number", one.name(), field.name()));
        }
    }
    one.enum_type.iter().for_each(|inner| check_enum(inner, wrong));
    one.nested_type.iter().for_each(|inner| check_message(inner, wrong));
}

#[test]
fn the_contract_keeps_the_style_rules_of_protocol_buffers() {
    let file = contract();
    let mut wrong = Vec::new();
    assert_eq!(file.name(), "specweave/jobs/v1/jobs.proto", "a file lies where its package says");
    assert_eq!(file.syntax(), "proto3");
    file.message_type.iter().for_each(|message| check_message(message, &mut wrong));
    file.enum_type.iter().for_each(|one| check_enum(one, &mut wrong));
    let mut used = BTreeSet::new();
    for service in &file.service {
        if !service.name().ends_with("Service") {
            wrong.push(format!("{} does not end with Service", service.name()));
        }
        for method in &service.method {
            for (kind, of) in [("Request", method.input_type()), ("Response", method.output_type())] {
                let expected = format!(".specweave.jobs.v1.{}{kind}", method.name());
                if of != expected {
                    wrong.push(format!("{} takes or gives {of}, not {expected}", method.name()));
                }
                if !used.insert(of.to_owned()) {
                    wrong.push(format!("{of} is used by two calls"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(file.message_type.len() > 30 && file.enum_type.len() > 8, "the descriptors were read");
}
