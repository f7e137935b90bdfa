//! The expressions of a request: which parameters are present, which must not be combined, and their binding.

use super::legacy;
use super::params::Params;
use crate::ApiError;
use crate::expr::{
    Condition, ExpressionKind, ParsedCondition, ParsedProjection, Placeholders, Projection,
    attributes_to_get, expected_condition,
};

impl Params {
    /// The text of an expression parameter, if it is there.
    fn expression(&self, kind: ExpressionKind) -> Option<&str> {
        match kind {
            ExpressionKind::Condition => self.condition_expression.as_deref(),
            ExpressionKind::Filter => self.filter_expression.as_deref(),
            ExpressionKind::KeyCondition => self.key_condition_expression.as_deref(),
            ExpressionKind::Projection => self.projection_expression.as_deref(),
            ExpressionKind::Update => self.update_expression.as_deref(),
        }
    }

    /// The legacy parameters that are there, in the order in which DynamoDB lists them.
    fn legacy_parameters(&self) -> Vec<&'static str> {
        let mut present = Vec::new();
        let mut note = |there: bool, name: &'static str| {
            if there {
                present.push(name);
            }
        };
        note(self.attributes_to_get.is_some(), "AttributesToGet");
        note(self.scan_filter.is_some(), "ScanFilter");
        note(self.query_filter.is_some(), "QueryFilter");
        note(self.attribute_updates.is_some(), "AttributeUpdates");
        note(self.expected.is_some(), "Expected");
        note(self.conditional_operator.is_some(), "ConditionalOperator");
        // Conditions on the key go together with a filter or projection expression.
        note(self.key_conditions.is_some() && self.key_condition_expression.is_some(), "KeyConditions");
        present
    }

    /// Refuses legacy parameters beside expressions, and placeholders without an expression that could use
    /// them. `kinds` are the expressions that the operation has, in the order in which DynamoDB lists them.
    ///
    /// # Errors
    /// `ValidationException`.
    pub(super) fn check_mixing(&self, kinds: &[ExpressionKind]) -> Result<(), ApiError> {
        let present: Vec<&str> = kinds
            .iter()
            .filter(|kind| self.expression(**kind).is_some())
            .map(|kind| kind.parameter())
            .collect();
        let legacy = self.legacy_parameters();
        if !present.is_empty() && !legacy.is_empty() {
            return Err(ApiError::validation(format!(
                "Can not use both expression and non-expression parameters in the same request: Non-expression parameters: {{{}}} Expression parameters: {{{}}}",
                legacy.join(", "),
                present.join(", ")
            )));
        }
        if self.names.is_some() && present.is_empty() {
            return Err(ApiError::validation(
                "ExpressionAttributeNames can only be specified when using expressions",
            ));
        }
        if self.values.is_some() {
            let with_values: Vec<ExpressionKind> =
                kinds.iter().copied().filter(|kind| *kind != ExpressionKind::Projection).collect();
            if with_values.iter().all(|kind| self.expression(*kind).is_none()) {
                let names: Vec<&str> = with_values.iter().map(|kind| kind.parameter()).collect();
                let verb = if names.len() == 1 { "is" } else { "are" };
                return Err(ApiError::validation(format!(
                    "ExpressionAttributeValues can only be specified when using expressions: {} {verb} null",
                    names.join(" and ")
                )));
            }
        }
        Ok(())
    }

    /// The names and values that the request's expressions may use. Takes the values out of the parameters.
    ///
    /// # Errors
    /// `ValidationException` for the names, the keys of the values, then the values.
    pub(super) fn placeholders(&mut self) -> Result<Placeholders, ApiError> {
        if let Some(names) = &self.names {
            Placeholders::check_names(names)?;
        }
        let values = match self.values.take() {
            Some(values) => {
                Placeholders::check_value_keys(values.items.keys().map(String::as_str))?;
                Some(values.into_checked("ExpressionAttributeValues")?)
            }
            None => None,
        };
        Placeholders::new(self.names.clone(), values)
    }

    /// Parses and binds the condition-like expression of a kind, if it is there.
    ///
    /// # Errors
    /// `ValidationException`.
    pub(super) fn bind_condition(
        &self,
        kind: ExpressionKind,
        placeholders: &mut Placeholders,
    ) -> Result<Option<Condition>, ApiError> {
        self.expression(kind).map(|text| ParsedCondition::cached(kind, text)?.bind(placeholders)).transpose()
    }

    /// Parses and binds the projection, if it is there.
    ///
    /// # Errors
    /// `ValidationException`.
    pub(super) fn bind_projection(
        &self,
        placeholders: &mut Placeholders,
    ) -> Result<Option<Projection>, ApiError> {
        self.projection_expression
            .as_deref()
            .map(|text| ParsedProjection::cached(text)?.bind(placeholders))
            .transpose()
    }

    /// `AttributesToGet` as a projection, if it is there.
    ///
    /// # Errors
    /// `ValidationException` for a name that is empty or there twice.
    pub(super) fn legacy_projection(&self) -> Result<Option<Projection>, ApiError> {
        self.attributes_to_get.as_deref().map(attributes_to_get).transpose()
    }

    /// `Expected` as a condition, if it is there.
    ///
    /// # Errors
    /// `ValidationException`.
    pub(super) fn expected_condition(&self) -> Result<Option<Condition>, ApiError> {
        let expected = self.expected.as_ref().map(legacy::expected).transpose()?.unwrap_or_default();
        expected_condition(&expected, self.operator())
    }

    /// The condition of a write without other expressions, legacy or not.
    ///
    /// # Errors
    /// `ValidationException`.
    pub(super) fn write_condition(&mut self) -> Result<Option<Condition>, ApiError> {
        if self.condition_expression.is_none() {
            return self.expected_condition();
        }
        let mut placeholders = self.placeholders()?;
        let condition = self.bind_condition(ExpressionKind::Condition, &mut placeholders)?;
        placeholders.check_unused()?;
        Ok(condition)
    }

    /// The projection of a read without other expressions, legacy or not.
    ///
    /// # Errors
    /// `ValidationException`.
    pub(super) fn read_projection(&mut self) -> Result<Option<Projection>, ApiError> {
        if self.projection_expression.is_none() {
            return self.legacy_projection();
        }
        let mut placeholders = self.placeholders()?;
        let projection = self.bind_projection(&mut placeholders)?;
        placeholders.check_unused()?;
        Ok(projection)
    }
}
