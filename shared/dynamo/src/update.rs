//! Builds the expressions of an update.

use std::collections::HashMap;

use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::AttributeValue;

use crate::item::number;

/// An update under construction. Each attribute is named `#` and its name, because some short names
/// are reserved words.
#[derive(Debug, Default)]
pub(crate) struct Update {
    sets: Vec<String>,
    removes: Vec<String>,
    conditions: Vec<String>,
    names: HashMap<String, String>,
    values: HashMap<String, AttributeValue>,
}

impl Update {
    pub(crate) fn into_update(self, builder: UpdateItemFluentBuilder) -> UpdateItemFluentBuilder {
        let mut expression = format!("SET {}", self.sets.join(", "));
        if !self.removes.is_empty() {
            expression = format!("{expression} REMOVE {}", self.removes.join(", "));
        }
        builder
            .update_expression(expression)
            .condition_expression(self.conditions.join(" AND "))
            .set_expression_attribute_names(Some(self.names))
            .set_expression_attribute_values(Some(self.values))
    }

    pub(crate) fn set(&mut self, attribute: &'static str, value: AttributeValue) {
        self.name(attribute);
        self.value(attribute, value);
        self.sets.push(format!("#{attribute} = :{attribute}"));
    }

    pub(crate) fn set_if_absent(&mut self, attribute: &'static str, value: AttributeValue) {
        self.name(attribute);
        self.value(attribute, value);
        self.sets.push(format!("#{attribute} = if_not_exists(#{attribute}, :{attribute})"));
    }

    /// Adds one to a number that is `first` while it is absent.
    pub(crate) fn increment(&mut self, attribute: &'static str, first: u64) {
        self.name(attribute);
        self.value("first", number(first));
        self.value("one", number(1));
        self.sets.push(format!("#{attribute} = if_not_exists(#{attribute}, :first) + :one"));
    }

    pub(crate) fn remove(&mut self, attribute: &'static str) {
        self.name(attribute);
        self.removes.push(format!("#{attribute}"));
    }

    pub(crate) fn condition(&mut self, attributes: &[&'static str], condition: &str) {
        attributes.iter().for_each(|attribute| self.name(attribute));
        self.conditions.push(condition.to_owned());
    }

    fn name(&mut self, attribute: &'static str) {
        self.names.insert(format!("#{attribute}"), attribute.to_owned());
    }

    pub(crate) fn value(&mut self, name: &str, value: AttributeValue) {
        self.values.insert(format!(":{name}"), value);
    }
}
